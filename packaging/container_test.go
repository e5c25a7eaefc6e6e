package packaging

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// container is a bare Debian with systemd as its process 1. It shares the
// network of the tests, and nothing else.
type container struct {
	root string // its files, seen from outside
	init int    // its process 1, seen from outside
}

// orderly is SIGRTMIN+4: systemd as process 1 shuts down.
const orderly = syscall.Signal(34 + 4)

// boot starts one that is stopped, and forgotten, when the test ends.
func boot(t *testing.T, suite string) *container {
	t.Helper()
	return bootImage(t, suite, nil)
}

// bootImage is boot with a system that prepare, if there is one, has changed before
// it starts, and with more options of systemd-nspawn.
func bootImage(t *testing.T, suite string, prepare func(*container), more ...string) *container {
	t.Helper()
	gated(t)
	dir, err := os.MkdirTemp("", "lbshipd-debian-")
	if err != nil {
		t.Fatal(err)
	}
	c := &container{root: filepath.Join(dir, "root")}
	for _, name := range []string{"root", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", bootstrapped(suite), dir, dir)
	if err := syscall.Mount("overlay", c.root, "overlay", 0, options); err != nil {
		t.Fatalf("mounting %s: %v", options, err)
	}
	if prepare != nil {
		prepare(c)
	}
	var console bytes.Buffer
	nspawn := exec.Command("systemd-nspawn", append([]string{"--boot", "--quiet", "--register=no", "--keep-unit", "--link-journal=no",
		"--resolv-conf=off", "--timezone=off", "--console=pipe", "--machine=" + filepath.Base(dir), "--hostname=lbshipd", "-D", c.root}, more...)...)
	nspawn.Stdout, nspawn.Stderr = &console, &console
	nspawn.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := nspawn.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { nspawn.Wait(); close(ended) }()
	t.Cleanup(func() {
		if c.init != 0 {
			syscall.Kill(c.init, orderly)
		}
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Error("the container does not stop")
			nspawn.Process.Signal(syscall.SIGTERM)
		}
		if err := syscall.Unmount(c.root, 0); err != nil {
			t.Errorf("unmounting %s: %v", c.root, err)
			return
		}
		os.RemoveAll(dir)
	})
	await(t, time.Minute, "the container has started", func() bool {
		select {
		case <-ended:
			t.Fatalf("the container has ended: %s", console.String())
		default:
		}
		if c.init = initOf(nspawn.Process.Pid); c.init == 0 {
			return false
		}
		out, _ := c.try("systemctl", "is-system-running")
		return out == "running" || out == "degraded"
	})
	return c
}

// initOf returns the child of nspawn that is a process 1, 0 if there is none yet:
// before it, nspawn has others.
func initOf(nspawn int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", nspawn, nspawn))
	for _, pid := range strings.Fields(string(text)) {
		status, _ := os.ReadFile("/proc/" + pid + "/status")
		_, numbers, _ := strings.Cut(string(status), "\nNSpid:")
		numbers, _, _ = strings.Cut(numbers, "\n")
		if !strings.HasSuffix(numbers, "\t1") {
			continue
		}
		n, _ := strconv.Atoi(pid)
		return n
	}
	return 0
}

// try runs a command in the container and returns what it printed, without
// white space around it.
func (c *container) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	all := append([]string{"-t", strconv.Itoa(c.init), "-m", "-u", "-i", "-p", "-C", "-r", "-w", "env", "-i",
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}, args...)
	out, err := exec.CommandContext(ctx, "nsenter", all...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// run is try for what must not fail.
func (c *container) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.try(args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// property returns what systemd says of the service.
func (c *container) property(t *testing.T, name string) string {
	t.Helper()
	return c.run(t, "systemctl", "show", "--value", "-p", name, "lbshipd.service")
}

// path is where a file of the container is, seen from outside.
func (c *container) path(name string) string { return filepath.Join(c.root, name) }

// write writes a file in the container; a file that is there keeps its owner and mode.
func (c *container) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(c.path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.path(name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (c *container) exists(name string) bool {
	_, err := os.Lstat(c.path(name))
	return err == nil
}

// copyIn copies a file of ours into the container's /root, and returns its path there.
func (c *container) copyIn(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	name := "/root/" + filepath.Base(path)
	c.write(t, name, string(data))
	return name
}

// log is what the daemon has said.
func (c *container) log() string {
	out, _ := c.try("journalctl", "-u", "lbshipd", "-o", "cat", "--no-pager", "-n", "60")
	return out
}

func await(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, limit)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
