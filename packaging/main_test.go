// Package packaging holds the tests of what is installed: the packages looked
// at from all sides, and at work in a Debian of their own under systemd.
package packaging

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// gate is the environment variable that lets the tests run that build packages
// and boot systemd: minutes.
const gate = "LBSHIPD_PACKAGES"

// onlyAppliance is the gate's value with which no package is built, for the tests of the appliance.
const onlyAppliance = "appliance"

// Two releases, the second of which is an upgrade of the first.
const (
	older = "0.9.1"
	newer = "0.9.2~rc1"
)

// builtEnv names the directory of what the tests are about, for the process that runs them.
const builtEnv = "LBSHIPD_PACKAGES_BUILT"

// suites are the Debians that are tried: systemd 252, which knows no
// Type=notify-reload, and 257, which does.
var suites = []string{"bookworm", "trixie"}

// TestMain builds with the network that there is, and then runs the tests in a
// network of their own, whose loopback they share with the containers: all
// ports are free, 9600 too, and nobody else's.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(gate) == "" || testing.Short() {
		os.Exit(m.Run())
	}
	if os.Getenv(builtEnv) != "" {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "starting loopback: %v %s\n", err, out)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	code, err := prepareAndRun()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func prepareAndRun() (code int, err error) {
	for _, suite := range suites {
		if os.Getenv(gate) == onlyAppliance && suite != applianceSuite {
			continue
		}
		if err := bootstrap(suite); err != nil {
			return 1, err
		}
	}
	dir := os.Getenv("LBSHIPD_PACKAGES_KEEP") // to write these tests with
	if dir == "" {
		if dir, err = os.MkdirTemp("", "lbshipd-packages-"); err != nil {
			return 1, err
		}
		defer os.RemoveAll(dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "done")); err != nil {
		if err := buildAll(dir); err != nil {
			return 1, err
		}
		os.WriteFile(filepath.Join(dir, "done"), nil, 0o644)
	}
	self := exec.Command("/proc/self/exe", os.Args[1:]...)
	self.Env = append(os.Environ(), builtEnv+"="+dir)
	self.Stdout, self.Stderr = os.Stdout, os.Stderr
	self.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	err = self.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return ended.ExitCode(), nil
	}
	return 0, err
}

// buildAll builds the older release twice, the second time in another place,
// and the newer one for this machine only.
func buildAll(dir string) error {
	elsewhere := filepath.Join(dir, "elsewhere")
	if err := copyTree(elsewhere); err != nil {
		return err
	}
	packages, appliance := "packaging/build.sh", "packaging/appliance/build.sh"
	for _, b := range []struct{ script, root, out, version, arches string }{
		{appliance, "..", "appliance", older, "amd64 arm64"},
		{appliance, elsewhere, "appliance-again", older, "amd64 arm64"},
		{packages, "..", "older", older, "amd64 arm64"},
		{packages, elsewhere, "again", older, "amd64 arm64"},
		{packages, "..", "newer", newer, "amd64"},
	} {
		if b.script == packages && os.Getenv(gate) == onlyAppliance {
			continue
		}
		cmd := exec.Command(b.script, append([]string{filepath.Join(dir, b.out)}, strings.Fields(b.arches)...)...)
		cmd.Dir = b.root
		cmd.Env = append(os.Environ(), "VERSION="+b.version, "SOURCE_DATE_EPOCH=1795000000")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building packages of %s in %s: %w\n%s", b.version, b.root, err, out)
		}
	}
	return os.RemoveAll(elsewhere)
}

// copyTree copies what git knows and does not ignore, and git's own files.
func copyTree(to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	script := `cd .. && { git ls-files -z -co --exclude-standard --deduplicate; find .git -print0; } |
		while IFS= read -r -d '' f; do [ ! -e "$f" ] || printf '%s\0' "$f"; done | cpio -0 -pdm --quiet "$0"`
	out, err := exec.Command("bash", "-c", script, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copying the source: %w %s", err, out)
	}
	return nil
}

// bootstrapped is where the bare Debian is kept: the number is that of what is in it.
func bootstrapped(suite string) string {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "lbshipd", "debian-"+suite+"-1")
}

// bootstrap makes a Debian with systemd and next to nothing else, once.
func bootstrap(suite string) error {
	dir := bootstrapped(suite)
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	making := dir + ".making"
	if err := os.RemoveAll(making); err != nil {
		return err
	}
	out, err := exec.Command("debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,dbus,rpm", suite, making).CombinedOutput()
	if err != nil {
		return fmt.Errorf("making a bare Debian %s: %w\n%s", suite, err, out)
	}
	return os.Rename(making, dir)
}

// gated skips a test that does not run in what TestMain has prepared, and returns where that is.
func gated(t *testing.T) string {
	t.Helper()
	dir := os.Getenv(builtEnv)
	if dir == "" {
		t.Skipf("builds packages and boots systemd, for minutes, as root: set %s=1 (make packages-test)", gate)
	}
	return dir
}

// built returns the path of one package of a build, such as ("older", "amd64.deb").
func built(t *testing.T, build, suffix string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(gated(t), build, "*"+suffix))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s packages %s: %v %v", build, suffix, found, err)
	}
	return found[0]
}
