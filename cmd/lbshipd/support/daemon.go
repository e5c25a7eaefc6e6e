package support

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// daemon is a process that runs.
type daemon struct {
	pid  int
	args []string // without the program's name
	env  map[string]string
	dir  string // its working directory, empty if not known
	how  string // how it was found
	root bool
}

// maxProc bounds what is read of one file of /proc or /sys, in bytes.
const maxProc = 1 << 20

// find finds the daemon and what it was started with.
func (g *gatherer) find() {
	pid, how := g.o.PID, "by --pid"
	sockets := g.o.Sockets
	if g.o.DataDir != "" {
		sockets = append([]string{filepath.Join(g.o.DataDir, "admin.sock")}, sockets...)
	}
	for _, socket := range sockets {
		if pid == 0 {
			pid, how = peerOf(socket), "by its socket "+socket
		}
	}
	if pid == 0 && g.o.Config == "" && g.o.DataDir == "" { // else it may be another one
		pid, how = g.running(), "by its name"
	}
	if pid > 0 {
		d, err := g.readDaemon(pid)
		if err != nil {
			g.note("the daemon's process", err)
		}
		if d != nil {
			d.how, g.daemon = how, d
		}
	}
	g.settings = g.startedWith()
	if g.o.Config != "" {
		g.settings.Config = g.o.Config
	}
	if g.o.DataDir != "" {
		g.settings.DataDir = g.o.DataDir
	}
	if g.daemon == nil && g.settings.DataDir != "" {
		g.settings.Socket = filepath.Join(g.settings.DataDir, "admin.sock")
	}
}

func (g *gatherer) note(what string, err error) {
	g.noted = append(g.noted, Missing{what, err.Error()})
}

func (g *gatherer) describe() string {
	if g.daemon == nil {
		return "none is running, or none was found"
	}
	return fmt.Sprintf("process %d, found %s", g.daemon.pid, g.daemon.how)
}

// proc is a path of the process, below /proc.
func (d *daemon) proc(elements ...string) string {
	return filepath.Join(append([]string{"/proc", strconv.Itoa(d.pid)}, elements...)...)
}

func (g *gatherer) readDaemon(pid int) (*daemon, error) {
	d := &daemon{pid: pid, env: map[string]string{}}
	line, err := readSome(d.proc("cmdline"), maxProc)
	if err != nil {
		return nil, err
	}
	if args := splitZero(line); len(args) > 0 {
		d.args = args[1:]
	}
	d.dir, _ = os.Readlink(d.proc("cwd")) // only for relative names
	if info, err := os.Stat(d.proc()); err == nil {
		st, ok := info.Sys().(*syscall.Stat_t)
		d.root = ok && st.Uid == 0
	}
	env, err := readSome(d.proc("environ"), maxProc)
	for _, entry := range splitZero(env) {
		name, value, _ := strings.Cut(entry, "=")
		d.env[name] = value
	}
	if err != nil {
		err = fmt.Errorf("its environment, in which its directories are: %w", err)
	}
	return d, err
}

func splitZero(b []byte) (parts []string) {
	for p := range bytes.SplitSeq(bytes.TrimSuffix(b, []byte{0}), []byte{0}) {
		parts = append(parts, string(p))
	}
	return parts
}

// running returns the process of a daemon, 0 if there is none. Of several it is that of
// the unit, or else the oldest.
func (g *gatherer) running() int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	var found []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		args := splitZero(line)
		if err != nil || len(args) < 2 || filepath.Base(args[0]) != "lbshipd" || !slices.Contains(args[1:], "run") {
			continue
		}
		group, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cgroup"))
		if g.o.Unit != "" && bytes.Contains(group, []byte("/"+g.o.Unit)) {
			return pid
		}
		found = append(found, pid)
	}
	if len(found) == 0 {
		return 0
	}
	return slices.Min(found)
}

// peerOf returns the process that listens on a Unix socket, 0 if that cannot be known.
func peerOf(path string) int {
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return 0
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil && cred.Pid > 1 {
			pid = int(cred.Pid) // 1 is systemd, which holds the socket for the daemon
		}
	})
	return pid
}

// startedWith is what the daemon's command line says, or if none runs, what the
// package's daemon.env would start it with.
func (g *gatherer) startedWith() Settings {
	var args []string
	dir, root := "/", true
	getenv := func(string) string { return "" }
	if g.daemon != nil {
		args, dir, root = g.daemon.args, g.daemon.dir, g.daemon.root
		getenv = func(name string) string { return g.daemon.env[name] }
	} else {
		args = g.packaged()
	}
	s, err := g.o.CommandLine(args, getenv, root)
	if err != nil {
		g.note("what the daemon was started with", err)
	}
	if g.daemon == nil {
		s.DataDir, s.Socket, s.Defaults = "/var/lib/lbshipd", "", true
	}
	absolute := func(path string) string {
		if path == "" || filepath.IsAbs(path) || dir == "" {
			return path
		}
		return filepath.Join(dir, path)
	}
	s.Config, s.DataDir, s.Socket = absolute(s.Config), absolute(s.DataDir), absolute(s.Socket)
	for i := range s.Files {
		s.Files[i] = absolute(s.Files[i])
	}
	for i := range s.Secrets {
		s.Secrets[i] = absolute(s.Secrets[i])
	}
	return s
}

// Where the package has its settings.
const (
	packagedEnv    = "/etc/lbshipd/daemon.env"
	packagedConfig = "/etc/lbshipd/lbshipd.yaml"
)

func (g *gatherer) packaged() []string {
	text, err := readSome(g.path(packagedEnv), maxProc)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			g.note(packagedEnv, err)
		}
		return []string{"run", "--config", packagedConfig}
	}
	origin, options := "--config "+packagedConfig, ""
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, `"'`)
		switch name {
		case "LBSHIPD_CONFIG":
			origin = value
		case "LBSHIPD_OPTIONS":
			options = value
		}
	}
	return append([]string{"run"}, strings.Fields(origin+" "+options)...)
}

// path is one of the machine's files.
func (g *gatherer) path(path string) string { return filepath.Join("/", g.o.root, path) }
