package testbed

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// StdoutStream is the standard output of a service.
type StdoutStream struct {
	io.WriteCloser
	wait func()
}

// stdoutEnv makes the test binary, run again, a process whose standard input
// becomes a service's output: journald remembers the unit by process.
const stdoutEnv = "LBSHIPD_TESTBED_STDOUT"

func init() {
	header := os.Getenv(stdoutEnv)
	if header == "" {
		return
	}
	path, header, _ := strings.Cut(header, "\n")
	joinUnit(strings.Split(header, "\n")[1])
	conn, err := net.Dial("unix", path)
	if err == nil {
		err = passCredentials(conn.(*net.UnixConn))
	}
	if err == nil {
		_, err = io.WriteString(conn, header)
	}
	if err == nil {
		fmt.Println("connected")
		_, err = io.Copy(conn, os.Stdin)
	}
	if err == nil {
		err = untilRead(conn.(*net.UnixConn))
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// passCredentials makes the kernel note the sender with all that is written,
// also before journald asks for it: of a writer that it cannot name, journald
// leaves the unit out.
func passCredentials(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_PASSCRED, 1)
	}); e != nil {
		return e
	}
	return err
}

// untilRead waits until journald has read all and hung up. Of a process that
// has ended it can no longer learn the unit, and journalctl --sync does not
// wait for what still lies in a socket.
func untilRead(conn *net.UnixConn) error {
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, conn)
	if errors.Is(err, syscall.ECONNRESET) { // journald was killed
		return nil
	}
	return err
}

// unitDirs returns the control groups of a unit in the hierarchies that
// journald may look at.
func unitDirs(unit string) (dirs []string) {
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"} {
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err == nil && unit != "" {
			dirs = append(dirs, filepath.Join(root, "system.slice", unit))
		}
	}
	return dirs
}

// joinUnit moves this process to the unit's control group, which journald
// believes before what the stream says. Without cgroups the stream's word
// has to do.
func joinUnit(unit string) {
	for _, dir := range unitDirs(unit) {
		for range 20 { // another test may be removing the group
			os.MkdirAll(dir, 0o755)
			if os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0) == nil {
				break
			}
		}
	}
}

// Stdout starts a process that writes as a service does: its lines become
// entries with that identifier, unit (_SYSTEMD_UNIT) and priority (0 to 7; a
// line's own "<N>" prefix wins). Close ends it.
func (j *Journald) Stdout(tb TB, identifier, unit string, priority int) *StdoutStream {
	tb.Helper()
	return j.StdoutAs(tb, 0, identifier, unit, priority)
}

// StdoutAs does the same as another user, without a unit of its own; journald
// keeps what users from 1000 on write in files of theirs, user-UID.journal.
func (j *Journald) StdoutAs(tb TB, uid uint32, identifier, unit string, priority int) *StdoutStream {
	tb.Helper()
	cmd := exec.Command("/proc/self/exe")
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	cmd.Env = append(os.Environ(), stdoutEnv+"="+filepath.Join(j.sockets, "stdout")+"\n"+streamHeader(identifier, unit, priority))
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatalf("making a pipe: %v", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatalf("making a pipe: %v", err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatalf("starting a writer: %v", err)
	}
	s := &StdoutStream{in, sync.OnceFunc(func() {
		cmd.Wait()
		for _, dir := range unitDirs(unit) {
			os.Remove(dir) // fails while another test uses it
		}
	})}
	tb.Cleanup(func() { s.Close() })
	answer := make([]byte, 200)
	if n, _ := out.Read(answer); string(answer[:n]) != "connected\n" {
		tb.Fatalf("connecting to journald's stdout socket: %s", answer[:n])
	}
	return s
}

// streamHeader is that of sd_journal_stream_fd: identifier, unit, priority,
// level prefix, and whether to forward to syslog, kmsg and console.
func streamHeader(identifier, unit string, priority int) string {
	return fmt.Sprintf("%s\n%s\n%d\n1\n0\n0\n0\n", identifier, unit, priority)
}

// keepAlive connects from this process; a stream that stays keeps the
// instance from ending when it is idle.
func (j *Journald) keepAlive() (net.Conn, error) {
	conn, err := net.Dial("unix", filepath.Join(j.sockets, "stdout"))
	if err != nil {
		return nil, err
	}
	if _, err = io.WriteString(conn, streamHeader("testbed", "", 6)); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// Line writes one line.
func (s *StdoutStream) Line(line string) error {
	_, err := io.WriteString(s.WriteCloser, line+"\n")
	return err
}

// Close ends the stream and waits until all of it was handed to journald.
func (s *StdoutStream) Close() error {
	err := s.WriteCloser.Close()
	s.wait()
	return err
}
