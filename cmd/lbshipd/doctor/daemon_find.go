package doctor

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Daemon is the daemon that runs, or how it would be started.
type Daemon struct {
	PID    int      // 0: none is known to run
	Socket string   // of its admin API, if it was found
	Args   []string // what it is started with, behind the program's name; nil: not known
	Dir    string   // its working directory; empty: not known
	// StateDir is where it has its data if no flag says so; empty: not known.
	StateDir string
	From     string // where all that was found
}

// lookFor is how long a daemon's socket may take to be connected to.
const lookFor = time.Second

// Find looks for the daemon: by its sockets, else by its unit.
func Find(ctx context.Context, sockets []string) Daemon {
	for _, path := range sockets {
		pid, ok := listener(ctx, path)
		if !ok {
			continue
		}
		d := Daemon{PID: pid, Socket: path, From: fmt.Sprintf("the daemon at %s (process %d)", path, pid)}
		if pid == 0 { // systemd holds the socket for it
			d = fromUnit()
			d.Socket = path
		}
		d.look()
		return d
	}
	return fromUnit()
}

// fromUnit is the daemon as its unit would start it, zero if there is none.
func fromUnit() Daemon {
	u := loadUnit(unitDirs)
	if !u.is() {
		return Daemon{}
	}
	return Daemon{Args: u.args(), Dir: "/", StateDir: "/var/lib/lbshipd", From: u.path}
}

// listener is the process behind a Unix socket, 0 if it cannot be told.
func listener(ctx context.Context, path string) (pid int, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return 0, false
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, true
	}
	raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil && cred.Pid > 1 {
			pid = int(cred.Pid)
		}
	})
	return pid, true
}

// look finds out how the process was started.
func (d *Daemon) look() {
	if d.PID == 0 {
		return
	}
	proc := procDir(d.PID)
	if line, err := os.ReadFile(filepath.Join(proc, "cmdline")); err == nil {
		words := strings.Split(string(bytes.TrimSuffix(line, []byte{0})), "\x00")
		if i := slices.Index(words, "run"); i > 0 {
			d.Args = words[i:]
		}
	}
	d.Dir, _ = os.Readlink(filepath.Join(proc, "cwd"))
	if env, err := os.ReadFile(filepath.Join(proc, "environ")); err == nil {
		for _, v := range strings.Split(string(env), "\x00") {
			if dir, ok := strings.CutPrefix(v, "STATE_DIRECTORY="); ok {
				d.StateDir, _, _ = strings.Cut(dir, ":")
			}
		}
	}
	if group, err := os.ReadFile(filepath.Join(proc, "cgroup")); d.StateDir == "" && err == nil && strings.Contains(string(group), "/"+unitName) {
		d.StateDir = "/var/lib/lbshipd"
	}
}

func procDir(pid int) string { return "/proc/" + strconv.Itoa(pid) }

// holder is the process that has locked a file with flock(2), 0 if none is known to. Looking
// does not lock: a daemon that starts just now is not disturbed.
func holder(path string) int {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0
	}
	inode := ":" + strconv.FormatUint(st.Ino, 10)
	for line := range strings.Lines(string(locks)) {
		// 1: FLOCK  ADVISORY  WRITE 4711 08:01:131090 0 EOF
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "FLOCK" || !strings.HasSuffix(f[5], inode) {
			continue
		}
		pid, _ := strconv.Atoi(f[4])
		// Other file systems have the same numbers: the process must have the file open.
		if pid > 0 && hasOpen(pid, &st) {
			return pid
		}
	}
	return 0
}

// hasOpen reports whether a process has a file open; true too if that cannot be seen.
func hasOpen(pid int, file *unix.Stat_t) bool {
	fds, err := filepath.Glob(procDir(pid) + "/fd/*")
	if err != nil || len(fds) == 0 {
		return true
	}
	for _, fd := range fds {
		var st unix.Stat_t
		if unix.Stat(fd, &st) == nil && st.Dev == file.Dev && st.Ino == file.Ino {
			return true
		}
	}
	return false
}
