package ownfiles

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// bed is a daemon's files, and logs beside them.
type bed struct {
	t   *testing.T
	dir string
	set *Set
}

func newBed(t *testing.T) *bed {
	b := &bed{t: t, dir: t.TempDir(), set: New()}
	for _, name := range []string{"etc/lbshipd.yaml", "etc/cluster.key", "etc/pass", "etc/app.log", "lib/positions", "lib/spool/siem/1.seg",
		"big/dead/loki/1.jsonl", "etc/jwt/..data/lab.key", "log/app.log", "log/lbshipd/lbshipd.log"} {
		b.write(name)
	}
	b.link(os.Symlink, b.path("big/dead"), "lib/dead-letters") // on another disk
	b.link(os.Symlink, "..data/lab.key", "etc/jwt/lab.key")
	b.link(os.Symlink, b.path("etc/cluster.key"), "etc/key-by-link")
	b.set.Keep("the data directory", b.path("lib"), "")
	b.set.Keep("the configuration file", b.path("etc/lbshipd.yaml"))
	b.set.Keep("the cluster key", b.path("etc/key-by-link"))
	b.set.Keep("the keys of tokens", b.path("etc/jwt"))
	b.set.Name([]string{b.path("etc/pass"), b.path("not/there")})
	return b
}

func (b *bed) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) write(name string) string {
	b.t.Helper()
	b.must(os.MkdirAll(filepath.Dir(b.path(name)), 0o755))
	b.must(os.WriteFile(b.path(name), []byte("secret\n"), 0o600))
	return b.path(name)
}

func (b *bed) link(how func(to, name string) error, to, name string) string {
	b.t.Helper()
	b.must(os.MkdirAll(filepath.Dir(b.path(name)), 0o755))
	b.must(how(to, b.path(name)))
	return b.path(name)
}

// mount binds one place over another, as only root can.
func (b *bed) mount(from, at string) string {
	b.t.Helper()
	if err := unix.Mount(from, at, "", unix.MS_BIND, ""); err != nil {
		b.t.Skipf("bind mounts need root: %v", err)
	}
	b.t.Cleanup(func() { unix.Unmount(at, unix.MNT_DETACH) })
	return at
}

// elsewhere is a process that sees the daemon's files through a mount namespace of its own.
func (b *bed) elsewhere() int {
	b.t.Helper()
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	if err := cmd.Start(); err != nil {
		b.t.Skipf("mount namespaces need root: %v", err)
	}
	b.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd.Process.Pid
}

func (b *bed) check(path string) error {
	b.t.Helper()
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	b.must(err)
	defer f.Close()
	return b.set.Check(f)
}

// Whatever name leads to a file of the daemon's own, it is refused.
func TestEveryWayToOwnFilesIsRefused(t *testing.T) {
	const data, conf, cluster, tokens, named = "data directory", "configuration file", "cluster key", "keys of tokens", "names"
	for _, c := range []struct {
		name, want string
		way        func(b *bed) string
	}{
		{"by its name", data, func(b *bed) string { return b.path("lib/positions") }},
		{"below the directory", data, func(b *bed) string { return b.path("lib/spool/siem/1.seg") }},
		{"created since", data, func(b *bed) string { b.check(b.path("log/app.log")); return b.write("lib/spool/siem/2.seg") }},
		{"in a directory that a link in it leads to", data, func(b *bed) string { return b.path("big/dead/loki/1.jsonl") }},
		{"dots", data, func(b *bed) string { return b.dir + "/log/../lib/./positions" }},
		{"symbolic link", data, func(b *bed) string { return b.link(os.Symlink, b.path("lib/positions"), "log/a.log") }},
		{"symbolic link to the directory", data, func(b *bed) string { return b.link(os.Symlink, b.path("lib"), "log/d") + "/positions" }},
		{"hard link", data, func(b *bed) string { return b.link(os.Link, b.path("lib/positions"), "log/a.log") }},
		{"hard link to what lies deeper", data, func(b *bed) string { return b.link(os.Link, b.path("big/dead/loki/1.jsonl"), "log/a.log") }},
		{"/proc/self/root", data, func(b *bed) string { return "/proc/self/root" + b.path("lib/positions") }},
		{"/proc/self/cwd", data, func(b *bed) string { b.t.Chdir(b.path("log")); return "/proc/self/cwd/../lib/positions" }},
		{"/proc/self/fd of a file", data, func(b *bed) string {
			f, err := os.Open(b.path("lib/positions"))
			b.must(err)
			b.t.Cleanup(func() { f.Close() })
			return fmt.Sprintf("/proc/self/fd/%d", f.Fd())
		}},
		{"/proc/self/fd of one that was replaced", data, func(b *bed) string {
			f, err := os.Open(b.path("lib/positions"))
			b.must(err)
			b.t.Cleanup(func() { f.Close() })
			b.must(os.Rename(b.write("lib/positions.new"), b.path("lib/positions")))
			return fmt.Sprintf("/proc/self/fd/%d", f.Fd())
		}},
		{"/proc/self/fd of a directory", data, func(b *bed) string {
			f, err := os.Open(b.path("lib"))
			b.must(err)
			b.t.Cleanup(func() { f.Close() })
			return fmt.Sprintf("/proc/self/fd/%d/positions", f.Fd())
		}},
		{"another mount namespace", data, func(b *bed) string {
			return "/proc/" + strconv.Itoa(b.elsewhere()) + "/root" + b.path("lib/positions")
		}},
		{"another mount namespace, single file", conf, func(b *bed) string {
			return "/proc/" + strconv.Itoa(b.elsewhere()) + "/root" + b.path("etc/lbshipd.yaml")
		}},
		{"bind mount of the directory", data, func(b *bed) string {
			b.must(os.Mkdir(b.path("mnt"), 0o755))
			return b.mount(b.path("lib"), b.path("mnt")) + "/positions"
		}},
		{"bind mount of what lies below", data, func(b *bed) string {
			b.must(os.Mkdir(b.path("mnt"), 0o755))
			return b.mount(b.path("lib/spool"), b.path("mnt")) + "/siem/1.seg"
		}},
		{"bind mount of one file", data, func(b *bed) string { return b.mount(b.path("lib/spool/siem/1.seg"), b.write("log/b.log")) }},
		{"bind mount of the configuration", conf, func(b *bed) string { return b.mount(b.path("etc/lbshipd.yaml"), b.write("log/b.log")) }},
		{"the configuration", conf, func(b *bed) string { return b.path("etc/lbshipd.yaml") }},
		{"the configuration, replaced", conf, func(b *bed) string {
			b.must(os.Rename(b.write("etc/x"), b.path("etc/lbshipd.yaml")))
			return b.path("etc/lbshipd.yaml")
		}},
		{"the configuration before it was replaced", conf, func(b *bed) string {
			f, err := os.Open(b.path("etc/lbshipd.yaml"))
			b.must(err)
			b.t.Cleanup(func() { f.Close() })
			b.must(os.Rename(b.write("etc/x"), b.path("etc/lbshipd.yaml")))
			return fmt.Sprintf("/proc/self/fd/%d", f.Fd())
		}},
		{"the configuration's hard link", conf, func(b *bed) string { return b.link(os.Link, b.path("etc/lbshipd.yaml"), "log/a.log") }},
		{"what takes its place next", conf, func(b *bed) string { return b.write("etc/.lbshipd.yaml.lbshipd-new-123") }},
		{"an editor's copy", conf, func(b *bed) string { return b.write("etc/.lbshipd.yaml.swp") }},
		{"an editor's second copy", conf, func(b *bed) string { return b.write("etc/.lbshipd.yaml.swn") }},
		{"what an editor can undo", conf, func(b *bed) string { return b.write("etc/.lbshipd.yaml.un~") }},
		{"an editor's numbered copy", conf, func(b *bed) string { return b.write("etc/lbshipd.yaml.~12~") }},
		{"a second saved copy", conf, func(b *bed) string { return b.write("etc/lbshipd.yaml.save.2") }},
		{"Ansible's copy", conf, func(b *bed) string { return b.write("etc/lbshipd.yaml.4711.2026-11-21@08:00:00~") }},
		{"a copy of a day", cluster, func(b *bed) string { return b.write("etc/cluster.key.20261121") }},
		{"a package manager's copy", conf, func(b *bed) string { return b.write("etc/lbshipd.yaml.dpkg-old") }},
		{"what a link leads to", cluster, func(b *bed) string { return b.path("etc/cluster.key") }},
		{"a copy of what a link leads to", cluster, func(b *bed) string { return b.write("etc/cluster.key~") }},
		{"a link in a directory of keys", tokens, func(b *bed) string { return b.path("etc/jwt/lab.key") }},
		{"what that leads to", tokens, func(b *bed) string { return b.path("etc/jwt/..data/lab.key") }},
		{"a file that an object names", named, func(b *bed) string { return b.path("etc/pass") }},
		{"a file that an object names, and that comes later", named, func(b *bed) string { return b.write("not/there") }},
		{"environment", "proc", func(*bed) string { return "/proc/self/environ" }},
		{"memory", "proc", func(*bed) string { return "/proc/self/mem" }},
		{"command line of another", "proc", func(*bed) string { return "/proc/1/cmdline" }},
		{"settings of the kernel", "proc", func(*bed) string { return "/proc/sys/kernel/hostname" }},
		{"sysfs", "sysfs", func(*bed) string { return "/sys/kernel/profiling" }},
		{"cgroup", "cgroup", func(b *bed) string {
			all, _ := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
			all = append(all, "/sys/fs/cgroup/cgroup.procs")
			return all[0]
		}},

		// Everything else is a matter of what the daemon's user may read.
		{"a log", "", func(b *bed) string { return b.path("log/app.log") }},
		{"a log called like the daemon", "", func(b *bed) string { return b.path("log/lbshipd/lbshipd.log") }},
		{"a log beside the configuration", "", func(b *bed) string { return b.path("etc/app.log") }},
		{"a log called like the configuration", "", func(b *bed) string { return b.write("etc/lbshipd.yaml.log") }},
		{"a copy that is called so elsewhere", "", func(b *bed) string { return b.write("log/lbshipd.yaml.swp") }},
		{"a log by /proc/self/root", "", func(b *bed) string { return "/proc/self/root" + b.path("log/app.log") }},
		{"a directory that begins like the data directory", "", func(b *bed) string { return b.write("library/app.log") }},
		{"a file that no object names any more", "", func(b *bed) string { b.set.Name(nil); return b.path("etc/pass") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t)
			path := c.way(b)
			if _, err := os.Stat(path); err != nil && !strings.HasPrefix(path, b.dir) {
				t.Skipf("not on this machine: %v", err)
			}
			err := b.check(path)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("%s: %v", path, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%s: %v, want it refused as %q", path, err, c.want)
			}
		})
	}
}

// What was the data directory's a moment ago is not any more: with each save of the positions an
// inode comes free, and the next log that anybody creates has it.
func TestWhatWasOursIsNotRefused(t *testing.T) {
	b := newBed(t)
	was := b.write("lib/positions.previous")
	b.must(b.check(b.path("log/app.log"))) // what is in the data directory is known now
	b.must(os.Rename(was, b.path("log/new.log")))
	b.must(b.check(b.path("log/new.log")))
}

// What cannot be told is refused.
func TestAClosedFileIsRefused(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := New().Check(f); err == nil {
		t.Error("a closed file is allowed")
	}
}

// The inode of a file of ours that has gone may be a log's the next moment, which is read.
func TestInodesAreUsedAgain(t *testing.T) {
	for _, ours := range []string{"lib/positions", "etc/pass", "big/dead/loki/1.jsonl"} {
		b := newBed(t)
		log := b.link(os.Link, b.path(ours), "log/new.log")
		if err := b.check(log); err == nil {
			t.Errorf("%s is allowed by another name", ours)
		}
		b.must(os.Remove(b.path(ours)))
		if err := b.check(log); err != nil {
			t.Errorf("%s is gone, and a log that has its inode is refused: %v", ours, err)
		}
	}
}

// A link that leads in a circle, or above the directory that it is in, does not make the
// whole machine the daemon's own.
func TestOddLinksEnd(t *testing.T) {
	b := newBed(t)
	b.link(os.Symlink, b.path("lib"), "lib/again")
	b.link(os.Symlink, "/", "lib/root")
	b.must(b.check(b.path("log/app.log")))
	if n := len(b.set.trees[b.path("lib")].files) + len(b.set.trees[b.path("lib")].dirs); n > treeMost {
		t.Errorf("%d were looked at", n)
	}
	if err := b.check(b.path("lib/positions")); err == nil {
		t.Error("a file of the data directory is allowed")
	}
}
