package doctor

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/admin"
	"github.com/lbshipd/lbshipd/config"
)

// Every kind that the code names is one that is listed, and every one that is listed is found somewhere.
func TestKindsAreThoseThatAreFound(t *testing.T) {
	used := map[string]bool{}
	files, _ := filepath.Glob("*.go")
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || name == "kinds.go" {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && fmt.Sprint(call.Fun) == "found" {
				if lit, ok := call.Args[0].(*ast.BasicLit); ok {
					id, _ := strconv.Unquote(lit.Value)
					kindOf(id) // panics if there is none
				}
			}
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				id, _ := strconv.Unquote(lit.Value)
				used[id] = true
			}
			return true
		})
	}
	for _, k := range kinds {
		if !used[k.ID] {
			t.Errorf("%s is never found", k.ID)
		}
	}
	for id := range used { // those of tables, such as that of causes
		if strings.HasPrefix(id, "target-") && !strings.Contains(id, " ") {
			kindOf(id)
		}
	}
}

// run1 makes one check.
func run1(t *testing.T, p *patient, c func(context.Context, *patient, *result)) []Finding {
	t.Helper()
	r := runCheck(t.Context(), p, check{"test", "test", c}, 10*time.Second)
	found, state := r.close()
	if state.Status == "not-made" {
		t.Errorf("not made: %s", state.Reason)
	}
	return found
}

func ids(all []Finding) (list []string) {
	for _, f := range all {
		list = append(list, f.ID)
	}
	return list
}

// A check that hangs is left behind, and what it finds later is not told.
func TestACheckThatHangsIsLeftBehind(t *testing.T) {
	release := make(chan struct{})
	left := make(chan struct{})
	r := runCheck(t.Context(), &patient{}, check{"hangs", "test", func(_ context.Context, _ *patient, r *result) {
		<-release
		r.add(found("disk-full", "x", "late"))
		close(left)
	}}, 10*time.Millisecond)
	f, state := r.close()
	close(release)
	<-left
	if len(f) > 0 || state.Status != "not-made" || !strings.Contains(state.Reason, "did not end") || r.count() > 0 {
		t.Errorf("%+v %+v", f, state)
	}
}

// What the daemon says of a target gives way to what its test says, which is more exact.
func TestTidy(t *testing.T) {
	probed := found("target-tls-ca", `target "a"`, "1")
	probed.probed = true
	said := found("target-tls", `target "a"`, "2")
	said.secondhand = true
	other := found("target-rate-limited", `target "b"`, "3")
	other.secondhand = true
	warning := found("disk-low", "/", "4")
	got := tidy([]Finding{warning, said, probed, other, probed})
	if want := []string{"target-tls-ca", "target-rate-limited", "disk-low"}; !slices.Equal(ids(got), want) {
		t.Errorf("%v, want %v", ids(got), want)
	}
	for worst, code := range map[Level]int{OK: 0, Warning: 1, Error: 2} {
		if r := (&Report{Status: worst}); r.ExitCode() != code {
			t.Errorf("%s: %d", worst, r.ExitCode())
		}
	}
}

func TestQuoted(t *testing.T) {
	for _, text := range []string{"/var/log/app.log", "a b", "it's", "$(reboot)", "", "a;b", "-n", "*"} {
		out, err := exec.Command("sh", "-c", "printf %s "+quoted(text)).Output()
		if err != nil || string(out) != text {
			t.Errorf("%q became %q by way of %s", text, out, quoted(text))
		}
	}
	if f := found("file-unreadable", "/a\nb\x1b[2J", "x"); strings.ContainsAny(f.Where, "\n\x1b") {
		t.Errorf("%q", f.Where)
	}
}

const someUnit = `
[Unit]
User=nobody-else
[Service]
EnvironmentFile=-%s/daemon.env
Environment="LBSHIPD_CONFIG=--config /etc/lbshipd/lbshipd.yaml"
ExecStart=/usr/bin/lbshipd run --admin-socket /run/lbshipd/admin.sock \
  $LBSHIPD_CONFIG ${LBSHIPD_OPTIONS}
User=daemon
# a comment
SupplementaryGroups=systemd-journal adm
ProtectHome=yes
PrivateTmp=yes
PrivateUsers=yes
LimitNOFILE=1024:4096
`

// The unit is read as systemd reads it: drop-ins by name, empty values empty lists.
func TestUnit(t *testing.T) {
	etc, usr := t.TempDir(), t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(usr, unitName), fmt.Sprintf(someUnit, etc))
	write(filepath.Join(etc, "daemon.env"), "# flags\nLBSHIPD_OPTIONS=--node-label rack=7\n")
	dirs := []string{etc, usr}
	u := loadUnit(dirs)
	want := []string{"run", "--admin-socket", "/run/lbshipd/admin.sock", "--config", "/etc/lbshipd/lbshipd.yaml", "--node-label", "rack=7"}
	if got := u.args(); !slices.Equal(got, want) {
		t.Errorf("arguments %q", got)
	}
	id, err := u.identity()
	if err != nil || id.name != "daemon" || !id.inGroup("adm") || !id.inGroup("systemd-journal") || id.readsAll {
		t.Errorf("%+v %v", id, err)
	}
	for path, by := range map[string]string{"/home/app/x.log": "ProtectHome=yes", "/tmp/x.log": "PrivateTmp=yes", "/var/log/x.log": "", "/homes/x.log": ""} {
		if got, hidden := u.hides(path); got != by || hidden != (by != "") {
			t.Errorf("%s is hidden by %q", path, got)
		}
	}
	p := &patient{unit: u, user: id}
	if n, of := p.openFiles(); n != 4096 || of != "LimitNOFILE of "+unitName {
		t.Errorf("%d %s", n, of)
	}

	write(filepath.Join(etc, unitName+".d", "10-a.conf"), "[Service]\nSupplementaryGroups=\nPrivateUsers=no\nAmbientCapabilities=CAP_DAC_READ_SEARCH\nProtectHome=read-only\n")
	write(filepath.Join(usr, unitName+".d", "10-a.conf"), "[Service]\nUser=root\n") // hidden by the one of /etc
	write(filepath.Join(usr, unitName+".d", "20-b.conf"), "[Service]\nSupplementaryGroups=adm\nPrivateTmp=no\n")
	u = loadUnit(dirs)
	id, err = u.identity()
	if err != nil || id.name != "daemon" || id.inGroup("systemd-journal") || !id.inGroup("adm") || !id.readsAll {
		t.Errorf("%+v %v", id, err)
	}
	if by, hidden := u.hides("/home/app/x.log"); hidden {
		t.Error(by)
	}
	if err := os.Symlink(os.DevNull, filepath.Join(etc, unitName)); err != nil {
		t.Fatal(err)
	}
	if u := loadUnit(dirs); !u.is() || u.masked != filepath.Join(etc, unitName) || u.last("User") == "" {
		t.Errorf("masked: %+v", u)
	}
	if u := loadUnit([]string{t.TempDir()}); u.is() || u.args() != nil {
		t.Errorf("%+v", u)
	}
}

// The unit's daemon is helped by drop-ins, and is told of what the unit hides.
func TestFilesOfTheUnit(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: what another user may read is looked at")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	gid, ok := groupNumber("adm")
	if !ok || os.Chown(path, 0, gid) != nil {
		t.Fatal("there is no group adm")
	}
	u := unit{path: "/x/" + unitName, values: map[string][]string{"User": {"daemon"}, "PrivateTmp": {"no"}}}
	id, err := u.identity()
	if err != nil {
		t.Fatal(err)
	}
	p := &patient{unit: u, user: id}
	p.cfg = &config.Config{Sources: []config.Source{{Name: "app", File: &config.FileSource{Paths: []string{path}}}}}
	all := run1(t, p, checkFiles)
	if len(all) != 1 || all[0].ID != "file-unreadable" {
		t.Fatalf("%+v", all)
	}
	text := fmt.Sprint(all[0].Mend)
	// t.TempDir is within a folder of root's: that is in the way.
	for _, want := range []string{"setfacl -m g:daemon:x /", "AmbientCapabilities=CAP_DAC_READ_SEARCH", "PrivateUsers=no", "systemctl daemon-reload && systemctl restart lbshipd"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
	if f := p.unreadableFile(path, "app", &denial{at: path}); !strings.Contains(fmt.Sprint(f.Mend), `printf '[Service]\nSupplementaryGroups=adm\n' > /etc/systemd/system/lbshipd.service.d/group-adm.conf`) {
		t.Errorf("%+v", f.Mend)
	}
	p.unit.values["PrivateTmp"] = []string{"yes"}
	if all := run1(t, p, checkFiles); len(all) != 1 || all[0].ID != "file-hidden" || !strings.Contains(all[0].Mend[0].Run, "PrivateTmp=no") {
		t.Errorf("%+v", all)
	}
}

// Limits are compared with what the configuration needs.
func TestLimits(t *testing.T) {
	was := sysctls
	defer func() { sysctls = was }()
	sysctls = t.TempDir()
	set := func(name, value string) {
		if err := os.WriteFile(filepath.Join(sysctls, name), []byte(value+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := &patient{user: identity{uid: 4711, name: "somebody"}}
	p.cfg = &config.Config{Sources: []config.Source{{Name: "a", Journald: &config.JournaldSource{}}, {Name: "b", Journald: &config.JournaldSource{}}}}
	set("max_user_instances", "128")
	set("max_user_watches", "8192")
	if all := run1(t, p, checkLimits); len(all) > 0 {
		t.Errorf("%+v", all)
	}
	set("max_user_instances", "3")
	all := run1(t, p, checkLimits)
	if len(all) != 1 || all[0].Where != "fs.inotify.max_user_instances" || !strings.Contains(all[0].Mend[0].Run, "fs.inotify.max_user_instances=1024") {
		t.Errorf("%+v", all)
	}
}

// Everything that a status may say becomes a finding.
func TestStatusIsTakenApart(t *testing.T) {
	seconds, bytes := 60.0, int64(1<<20)
	now := time.Now()
	st := &admin.Status{Status: "degraded", Reasons: []string{`source "app" is about to drop 1048576 bytes that target "loki" has not taken, the first of them in about 1m0s`, `target "loki": refused records cannot be kept as dead letters: disk`},
		Config:    admin.ConfigStatus{Refused: "x: mistake", StoreAwaySince: &now, Cached: true, Rejected: []config.Rejected{{Kind: config.KindTarget, Name: "bad", Reason: "no"}}},
		Positions: admin.PositionStatus{Error: "no space"},
		Sources:   []admin.SourceStatus{{Name: "app", Error: "gone"}, {Name: "quiet", Silent: true, QuietSeconds: 60}},
		Targets: []admin.TargetStatus{{Name: "loki", Class: "server_error", Error: "HTTP 500", FailingSince: &now}, {Name: "siem", Class: "tls", Error: "no"},
			{Name: "s", Spool: &admin.SpoolStatus{Full: true}}, {Name: "r", Spool: &admin.SpoolStatus{Error: "read-only"}}},
		Ledger: []admin.LedgerStatus{{Source: "app", Target: "loki", AtRiskBytes: &bytes, AtRiskSeconds: &seconds, Difference: 3}}}
	all := run1(t, &patient{Options: Options{DataDir: "/data"}, status: st}, checkDaemon)
	want := []string{"config-refused", "store-away", "object-rejected", "positions-not-saved", "source-error", "source-silent", "target-failing", "target-tls",
		"spool-full", "spool-failing", "ledger-difference", "at-risk", "daemon-degraded"}
	if got := ids(all); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, f := range all {
		if f.Where == "" || f.What == "" || f.ID != "config-refused" && len(f.Mend) == 0 {
			t.Errorf("%+v", f)
		}
	}
	if all := run1(t, &patient{status: &admin.Status{Status: "ok"}}, checkDaemon); len(all) > 0 {
		t.Errorf("%+v", all)
	}
}

// A deleted file that only the daemon has open is told once a rotation would be over; one that somebody
// writes to is told as that; one that somebody merely reads is nobody's worry.
func TestDeletedFiles(t *testing.T) {
	was := settles
	defer func() { settles = was }()
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	if err := os.WriteFile(path, []byte("a line\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	reader := exec.Command("sh", "-c", "exec 3<"+quoted(path)+"; echo; read end")
	in, err := reader.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := reader.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	defer reader.Wait()
	defer in.Close()
	if _, err := out.Read(make([]byte, 1)); err != nil { // it has the file open
		t.Fatal(err)
	}
	p := &patient{}
	p.cfg = &config.Config{Sources: []config.Source{{Name: "app", File: &config.FileSource{Paths: []string{filepath.Join(dir, "*.log")}}}}}
	want := func(what string, pid int, after time.Duration, id string) {
		t.Helper()
		p.pid, settles = pid, after
		r := runCheck(t.Context(), p, check{"test", "test", checkDeleted}, 10*time.Second)
		all, _ := r.close()
		if id == "" && len(all) > 0 || id != "" && (len(all) != 1 || all[0].ID != id || all[0].Where != path) {
			t.Errorf("%s: %+v, want %q", what, all, id)
		}
	}
	want("not deleted", reader.Process.Pid, -time.Hour, "")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want("read by somebody", 0, -time.Hour, "")
	want("held for a moment", reader.Process.Pid, time.Hour, "")
	want("held", reader.Process.Pid, -time.Hour, "file-deleted-held")
}

// Whatever is in a unit, it is read without a panic, and what it says has no line breaks.
func FuzzUnit(f *testing.F) {
	f.Add(fmt.Sprintf(someUnit, "/nowhere"))
	f.Add("[Service]\nExecStart=$A ${B} \\\n c\nEnvironment=A='1 2' \"B=3\nUser=\n=\n[")
	f.Fuzz(func(t *testing.T, text string) {
		u := unit{path: "/x", values: map[string][]string{}}
		u.read(text)
		for _, a := range u.args() {
			if strings.ContainsAny(a, " \n\t") {
				t.Errorf("argument %q", a)
			}
		}
		u.hides("/home/x")
		u.on("PrivateTmp")
	})
}
