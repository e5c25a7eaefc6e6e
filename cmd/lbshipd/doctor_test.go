//go:build !appliance

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/admin"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/doctor"
)

// asProgram makes the test's binary the program itself, for tests that need it
// to be a process of its own, or somebody else's.
const asProgram = "LBSHIPD_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// fault is one fault that is planted. Without it nothing may be found.
type fault struct {
	// plant prepares everything, with the fault or without, and returns doctor's flags.
	plant func(t *testing.T, on bool) []string
	id    string   // of the finding
	where string   // what its place holds
	mend  string   // what one of its commands, or words if there can be no command, holds
	also  []string // what follows of it
	odd   string   // what is found without it too, for the test does something odd
	// status is what lbshipd status says of it as well; "" if it needs no daemon.
	status string
}

// always are findings of the machine that the test runs on, and that no daemon runs.
var always = []string{"daemon-not-running", "clock-unsynchronised"}

// Each fault is found, named with its place and what mends it, and nothing else is: neither with the
// fault, nor without it.
func TestDoctorFindsPlantedFaults(t *testing.T) {
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, on := range []bool{false, true} {
				name := map[bool]string{true: "with the fault", false: "without it"}[on]
				t.Run(name, func(t *testing.T) { f.check(t, on) })
			}
		})
	}
}

func (f *fault) check(t *testing.T, on bool) {
	args := f.plant(t, on)
	code, report, out := runDoctorHere(t, args...)
	var hit *doctor.Finding
	for i := range report.Findings {
		x := &report.Findings[i]
		switch {
		case on && x.ID == f.id && hit == nil:
			hit = x
		case slices.Contains(always, x.ID):
		case on && slices.Contains(f.also, x.ID), x.ID == f.odd:
		case x.ID == "certificate-expires" && f.id != x.ID && strings.HasPrefix(x.Where, "tls-bundle"): // those of tests last a day
		default:
			t.Errorf("found as well: %+v", *x)
		}
	}
	for _, c := range report.Checks {
		if c.Status == "not-made" && !(on && f.id == "etcd-unreachable" || c.Name == "clock") {
			t.Errorf("not made: %+v", c)
		}
	}
	if !on {
		return
	}
	if hit == nil {
		t.Fatalf("%s is not found in %s", f.id, out)
	}
	if !strings.Contains(hit.Where, f.where) || hit.What == "" || hit.Why == "" {
		t.Errorf("the place is not %q: %+v", f.where, *hit)
	}
	if !slices.ContainsFunc(hit.Mend, func(r doctor.Remedy) bool { return strings.Contains(r.Run+" "+r.Say, f.mend) }) {
		t.Errorf("%q does not mend it: %+v", f.mend, hit.Mend)
	}
	if want := map[doctor.Level]int{doctor.Warning: 1, doctor.Error: 2}[report.Status]; code != want || report.Status == doctor.OK {
		t.Errorf("exit code %d of %s", code, report.Status)
	}
	f.wantStatus(t, args)
}

// wantStatus looks whether lbshipd status names the fault too.
func (f *fault) wantStatus(t *testing.T, args []string) {
	if f.status == "" {
		return
	}
	i := slices.Index(args, "--admin-socket")
	code, out := lbshipd("status", "--endpoint", "unix:"+args[i+1])
	if code != 1 || !strings.Contains(out, f.status) {
		t.Errorf("status (exit code %d) does not say %q:\n%s", code, f.status, out)
	}
}

// runDoctorHere runs doctor for programs.
func runDoctorHere(t *testing.T, args ...string) (code int, r doctor.Report, out string) {
	t.Helper()
	code, out = lbshipd(append([]string{"doctor", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return code, r, out
}

// bed is a folder that everybody may enter, with a log file and a data directory for the user
// nobody (if that is asked for).
type bed struct {
	t       *testing.T
	dir     string
	log     string // a log file
	data    string
	sources string // YAML of the sources; a log file that can be read if nothing else is said
}

func newBed(t *testing.T) *bed {
	t.Helper()
	dir, err := os.MkdirTemp("", "lbshipd-doctor-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bed{t: t, dir: dir, log: filepath.Join(dir, "logs", "app.log"), data: filepath.Join(dir, "data")}
	b.ok(os.Chmod(dir, 0o755))
	b.ok(os.Mkdir(filepath.Dir(b.log), 0o755))
	b.ok(os.Mkdir(b.data, 0o700))
	b.ok(os.WriteFile(b.log, []byte("one line\n"), 0o644))
	b.sources = fmt.Sprintf("[{name: app, startAt: beginning, file: {paths: [%q]}}]", b.log)
	return b
}

func (b *bed) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// give makes what is below a folder nobody's.
func (b *bed) give(path string) {
	b.t.Helper()
	if os.Geteuid() != 0 {
		b.t.Skip("needs root: what another user may read is looked at")
	}
	b.ok(os.Chown(path, nobody, nobody))
}

// nobody is the number of the user nobody, and of its group, wherever there is systemd.
const nobody = 65534

// config writes a configuration with these targets, and returns the flags for it.
func (b *bed) config(targets string) []string {
	b.t.Helper()
	path := filepath.Join(b.dir, "lbshipd.yaml")
	b.ok(os.WriteFile(path, fmt.Appendf(nil, "sources: %s\n%s\n", b.sources, targets), 0o640))
	if os.Geteuid() == 0 {
		b.ok(os.Chown(path, 0, nobody))
	}
	return []string{"--config", path, "--data-dir", b.data}
}

const toStdout = "targets: [{name: out, stdout: {}}]"

// program starts the program with these arguments, as another user if uid is above 0, until the test ends.
func (b *bed) program(uid int, args ...string) *exec.Cmd {
	b.t.Helper()
	binary := os.Args[0]
	if uid > 0 {
		binary = filepath.Join(b.dir, "lbshipd")
		text, err := os.ReadFile(os.Args[0])
		b.ok(err)
		b.ok(os.WriteFile(binary, text, 0o755))
	}
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "HOME="+b.dir)
	if uid > 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: nobody}}
	}
	return cmd
}

// daemon starts a daemon and waits until its status is as wanted; it returns doctor's flags for it.
func (b *bed) daemon(uid int, targets, what string, wanted func(*admin.Status) bool) []string {
	b.t.Helper()
	flags := b.config(targets)
	socket := filepath.Join(b.data, "admin.sock")
	cmd := b.program(uid, append([]string{"run", "--listen", "off"}, flags...)...)
	b.ok(cmd.Start())
	b.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	var out string
	for deadline := time.Now().Add(time.Minute); ; {
		_, out = lbshipd("status", "-o", "json", "--endpoint", "unix:"+socket)
		var st admin.Status
		if json.Unmarshal([]byte(out), &st) == nil && st.Config.Applied != nil && wanted(&st) {
			return append(flags, "--admin-socket", socket)
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("waited too long for %s: %s", what, out)
		}
		<-time.After(20 * time.Millisecond)
	}
}
