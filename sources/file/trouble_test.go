package file

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/sources"
)

// asNobody calls f with the rights of an ordinary user.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const nobody = 65534
	before, _, _ := unix.RawSyscall(unix.SYS_SETFSUID, nobody, 0, 0)
	defer unix.RawSyscall(unix.SYS_SETFSUID, before, 0, 0)
	if now, _, _ := unix.RawSyscall(unix.SYS_SETFSUID, nobody, 0, 0); now != nobody && os.Getuid() == 0 {
		t.Fatalf("the file system's user is %d, want %d", now, nobody)
	}
	f()
}

// What may not be read is said of the source as long as it is so.
func TestWhatMayNotBeReadIsSaidOfTheSource(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	a, b, sub := filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log"), filepath.Join(dir, "sub")
	write(t, a, "1\n")
	write(t, b, "1\n")
	write(t, filepath.Join(sub, "c.log"), "1\n")
	src := testSource(t, filepath.Join(dir, "**/*.log"), 0)
	found := 0
	d := newDiscovery(src, func(sources.Input) { found++ })
	defer d.close()
	for _, path := range []string{a, b, sub} {
		must(t, os.Chmod(path, 0))
	}
	says := func(want ...string) {
		t.Helper()
		asNobody(t, d.walk)
		d.release(time.Now().Add(settleFor))
		got := ""
		if err := src.Trouble(); err != nil {
			got = err.Error()
		}
		if len(want) == 0 && got != "" {
			t.Errorf("in trouble: %s", got)
		}
		for _, want := range want {
			if !strings.Contains(got, want) {
				t.Errorf("says %q, want %q in it", got, want)
			}
		}
	}
	asNobody(t, d.start)
	says("3 files or directories are left out, "+a+" among them: ", "permission denied: run lbshipd as root")
	must(t, os.Chmod(a, 0o644))
	must(t, os.Chmod(sub, 0o755))
	says(b + " is left out: ")
	must(t, os.Remove(b))
	says()
	if found != 2 {
		t.Errorf("%d inputs of 2", found)
	}
}
