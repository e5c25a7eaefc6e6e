package packaging

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// output runs a tool on this machine.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// Whoever builds a commit, wherever, gets the same bytes.
func TestTwoBuildsAreIdentical(t *testing.T) {
	dir := filepath.Dir(built(t, "older", "amd64.deb"))
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 7 { // deb, rpm and SBOM for two architectures, SHA256SUMS
		t.Errorf("there are %v", files)
	}
	sums, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		a, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "..", "again", f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s: two builds differ", f.Name())
		}
		digest := sha256.Sum256(a)
		if line := hex.EncodeToString(digest[:]) + "  " + f.Name() + "\n"; f.Name() != "SHA256SUMS" && !strings.Contains(string(sums), line) {
			t.Errorf("SHA256SUMS lacks %s", line)
		}
	}
}

func TestLintianFindsNoErrors(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		deb := built(t, "older", arch+".deb")
		cmd := exec.Command("lintian", "--allow-root", "--fail-on", "error", deb)
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "E: ") {
			t.Errorf("lintian: %v\n%s", err, out)
		}
	}
}

// file is one entry of a package.
type file struct{ path, mode, owner, content string }

// The two kinds of packages hold the same: files, modes, owners, contents,
// what the administrator may change, and what is run when they come and go.
func TestRPMEqualsDeb(t *testing.T) {
	for deb, rpm := range map[string]string{"amd64.deb": "x86_64.rpm", "arm64.deb": "aarch64.rpm"} {
		deb, rpm := built(t, "older", deb), built(t, "older", rpm)
		theirs, ours := rpmFiles(t, rpm), debFiles(t, deb)
		if len(theirs) < 60 {
			t.Errorf("the rpm has only %d entries", len(theirs))
		}
		for path, f := range theirs {
			if ours[path] != f {
				t.Errorf("rpm has %+v, deb %+v", f, ours[path])
			}
		}
		for path, f := range ours {
			// Folders of the distribution's own are in a deb, not in an rpm.
			if _, ok := theirs[path]; !ok && (f.content != "" || strings.Contains(path, "lbshipd")) {
				t.Errorf("deb has %+v, rpm does not", f)
			}
		}
		conf := strings.Fields(output(t, "rpm", "-qpc", rpm))
		if want := strings.Fields(output(t, "dpkg-deb", "-I", deb, "conffiles")); !slices.Equal(conf, want) || len(conf) != 2 {
			t.Errorf("configuration files: rpm %v, deb %v", conf, want)
		}
		for ofRPM, ofDeb := range map[string]string{"PREIN": "preinst", "POSTIN": "postinst", "PREUN": "prerm", "POSTUN": "postrm"} {
			script := strings.TrimSpace(output(t, "rpm", "-qp", "--qf", "%{"+ofRPM+"}", rpm))
			if want := strings.TrimSpace(output(t, "dpkg-deb", "-I", deb, ofDeb)); script != want || len(script) < 50 {
				t.Errorf("%s and %s differ:\n%s\n%s", ofRPM, ofDeb, script, want)
			}
		}
	}
}

func debFiles(t *testing.T, deb string) map[string]file {
	t.Helper()
	all := map[string]file{}
	dir := t.TempDir()
	output(t, "dpkg-deb", "-x", deb, dir)
	for line := range strings.Lines(output(t, "dpkg-deb", "-c", deb)) {
		f := strings.Fields(line)
		path := strings.TrimSuffix(strings.TrimPrefix(f[5], "."), "/")
		all[path] = file{path, f[0], strings.Replace(f[1], "/", ":", 1), content(t, filepath.Join(dir, path))}
	}
	return all
}

func rpmFiles(t *testing.T, rpm string) map[string]file {
	t.Helper()
	all := map[string]file{}
	dir := t.TempDir()
	output(t, "sh", "-c", `rpm2cpio "$0" | (cd "$1" && cpio -idm --quiet --no-absolute-filenames)`, rpm, dir)
	list := output(t, "rpm", "-qp", "--qf", "[%{FILENAMES} %{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME}\n]", rpm)
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		all[f[0]] = file{f[0], f[1], f[2], content(t, filepath.Join(dir, f[0]))}
	}
	return all
}

// content is what stands for a file's; "" for a folder.
func content(t *testing.T, path string) string {
	t.Helper()
	if info, err := os.Lstat(path); err != nil || info.IsDir() {
		return ""
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

func TestTheBinaryIsOfItsArchitectureAndStatic(t *testing.T) {
	for suffix, machine := range map[string]elf.Machine{"amd64.deb": elf.EM_X86_64, "arm64.deb": elf.EM_AARCH64} {
		dir := t.TempDir()
		output(t, "dpkg-deb", "-x", built(t, "older", suffix), dir)
		f, err := elf.Open(filepath.Join(dir, "usr/bin/lbshipd"))
		if err != nil {
			t.Fatal(err)
		}
		if libs, _ := f.ImportedLibraries(); f.Machine != machine || len(libs) > 0 {
			t.Errorf("%s: %s %v", suffix, f.Machine, libs)
		}
		f.Close()
	}
}

// What Prometheus and Grafana are given is in the packages, with the page about it.
func TestDashboardsAndAlertsAreInThePackages(t *testing.T) {
	dir := t.TempDir()
	output(t, "dpkg-deb", "-x", built(t, "older", "amd64.deb"), dir)
	for _, kind := range []string{"grafana", "prometheus"} {
		want, err := filepath.Glob(filepath.Join(kind, "*"))
		if err != nil || len(want) != 2 {
			t.Fatalf("%s holds %v (%v)", kind, want, err)
		}
		have, err := filepath.Glob(filepath.Join(dir, "usr/share/lbshipd", kind, "*"))
		if err != nil || len(have) != len(want) {
			t.Errorf("the package has %v", have)
		}
		for _, name := range want {
			if installed := content(t, filepath.Join(dir, "usr/share/lbshipd", name)); installed == "" || installed != content(t, name) {
				t.Errorf("%s is not what the package has", name)
			}
		}
	}
	if installed := content(t, filepath.Join(dir, "usr/share/doc/lbshipd/monitoring.md")); installed == "" || installed != content(t, filepath.Join("..", "docs", "monitoring.md")) {
		t.Errorf("docs/monitoring.md is not what the package has")
	}
}

// The bill names what is in the binary of the package: all of it, nothing else.
func TestBillOfMaterials(t *testing.T) {
	dir := t.TempDir()
	output(t, "dpkg-deb", "-x", built(t, "older", "amd64.deb"), dir)
	binary := filepath.Join(dir, "usr/bin/lbshipd")
	data, err := os.ReadFile(built(t, "older", "amd64.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var bill struct {
		BOMFormat, SpecVersion, SerialNumber string
		Version                              int
		Metadata                             struct {
			Timestamp string
			Component struct {
				Version string
				Hashes  []struct{ Alg, Content string }
			}
		}
		Components []struct {
			Ref                       string `json:"bom-ref"`
			Type, Name, Version, PURL string
		}
		Dependencies []struct {
			Ref       string
			DependsOn []string
		}
	}
	if err := json.Unmarshal(data, &bill); err != nil {
		t.Fatal(err)
	}
	if bill.BOMFormat != "CycloneDX" || bill.SpecVersion != "1.5" || bill.Version != 1 || bill.Metadata.Component.Version != older || bill.Metadata.Timestamp != "2026-11-18T11:06:40Z" {
		t.Errorf("the bill's head is %+v", bill.Metadata)
	}
	// The pattern of the specification's JSON schema.
	if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`).MatchString(bill.SerialNumber) {
		t.Errorf("serial number %s", bill.SerialNumber)
	}
	if h := bill.Metadata.Component.Hashes; len(h) != 1 || h[0].Alg != "SHA-256" || h[0].Content != content(t, binary) {
		t.Errorf("hashes %+v", h)
	}
	want := map[string]string{}
	for line := range strings.Lines(output(t, "go", "version", "-m", binary)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "dep" {
			want[f[1]] = f[2]
		}
	}
	if len(want) < 20 {
		t.Errorf("go version -m names only %d modules", len(want))
	}
	refs := map[string]bool{}
	for _, c := range bill.Components {
		if refs[c.Ref] || c.Type != "library" || c.PURL != c.Ref || !strings.HasPrefix(c.PURL, "pkg:golang/"+c.Name+"@") {
			t.Errorf("component %+v", c)
		}
		refs[c.Ref] = true
		if c.Name == "stdlib" {
			continue
		}
		if want[c.Name] != c.Version {
			t.Errorf("%s is %q in the bill, %q in the binary", c.Name, c.Version, want[c.Name])
		}
		delete(want, c.Name)
	}
	if len(want) > 0 {
		t.Errorf("not in the bill: %v", want)
	}
	if len(bill.Dependencies) != len(bill.Components)+1 || len(bill.Dependencies[0].DependsOn) != len(bill.Components) {
		t.Errorf("%d dependencies of %d components", len(bill.Dependencies), len(bill.Components))
	}
	for _, ref := range bill.Dependencies[0].DependsOn {
		if !refs[ref] {
			t.Errorf("%s is depended on and no component", ref)
		}
	}
}
