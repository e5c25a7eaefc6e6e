package testbed

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// mainEnv makes the test binary, run again in a mount namespace of its own,
// put file systems of its own where journald works, and become journald.
const mainEnv = "LBSHIPD_TESTBED_MAIN_JOURNALD"

func init() {
	conf, ok := os.LookupEnv(mainEnv)
	if !ok {
		return
	}
	os.Unsetenv(mainEnv)
	fail := func(doing string, err error) {
		os.Stderr.WriteString(doing + ": " + err.Error() + "\n")
		os.Exit(1)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		fail("making mounts private", err)
	}
	for _, dir := range []string{"/run", "/var/log", "/etc/systemd"} {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
			fail("mounting "+dir, err)
		}
	}
	for _, dir := range []string{"/run/systemd/journal", "/run/log", "/var/log/journal"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			fail("making "+dir, err)
		}
	}
	if err := os.WriteFile("/etc/systemd/journald.conf", []byte(conf), 0o644); err != nil {
		fail("writing the configuration", err)
	}
	fail("running journald", syscall.Exec(journaldBinary, []string{"systemd-journald"}, os.Environ()))
}

// MainJournald is a systemd-journald that believes to be the machine's own, in a
// mount namespace: unlike one with a namespace of journald's it begins in /run and
// can flush to /var.
type MainJournald struct {
	Run, Var string // its /run/log/journal and /var/log/journal, seen from outside
	root     string
	cmd      *exec.Cmd
}

// StartMainJournald starts one, which ends with the test. conf are lines for
// [Journal]. It needs root.
func StartMainJournald(tb TB, conf ...string) *MainJournald {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skipf("a journald in a mount namespace needs root")
	}
	if _, err := os.Stat(journaldBinary); err != nil {
		tb.Skipf("no journald: %v", err)
	}
	m := &MainJournald{cmd: exec.Command("/proc/self/exe")}
	m.cmd.Env = append(os.Environ(), mainEnv+"=[Journal]\nRateLimitIntervalSec=0\nReadKMsg=no\nAudit=no\n"+strings.Join(conf, "\n")+"\n")
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	var errs bytes.Buffer
	m.cmd.Stderr = &errs
	if err := m.cmd.Start(); err != nil {
		tb.Skipf("no mount namespace: %v", err)
	}
	tb.Cleanup(func() {
		m.cmd.Process.Kill()
		m.cmd.Wait()
	})
	m.root = filepath.Join("/proc", strconv.Itoa(m.cmd.Process.Pid), "root")
	m.Run, m.Var = filepath.Join(m.root, "run/log/journal"), filepath.Join(m.root, "var/log/journal")
	m.await(tb, "its socket", func() bool {
		conn, err := m.dial()
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, &errs)
	return m
}

func (m *MainJournald) await(tb TB, what string, cond func() bool, errs *bytes.Buffer) {
	tb.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			said := ""
			if errs != nil {
				m.cmd.Process.Kill()
				m.cmd.Wait()
				said = errs.String()
			}
			tb.Fatalf("waiting for journald: %s: %s", what, said)
		}
	}
}

func (m *MainJournald) dial() (*net.UnixConn, error) {
	return net.DialUnix("unixgram", nil, &net.UnixAddr{Name: filepath.Join(m.root, "run/systemd/journal/socket"), Net: "unixgram"})
}

// Native connects to the native socket, as sd_journal_send does.
func (m *MainJournald) Native(tb TB) *Native {
	tb.Helper()
	conn, err := m.dial()
	if err != nil {
		tb.Fatalf("connecting to journald's native socket: %v", err)
	}
	tb.Cleanup(func() { conn.Close() })
	return &Native{conn}
}

// Sync waits until what was sent before is in the files.
func (m *MainJournald) Sync(tb TB) { tb.Helper(); m.ctl(tb, "--sync") }

// Flush makes it go on in /var/log/journal (journalctl --flush).
func (m *MainJournald) Flush(tb TB) { tb.Helper(); m.ctl(tb, "--flush") }

// Relinquish makes it go back to /run/log/journal (journalctl --relinquish-var).
func (m *MainJournald) Relinquish(tb TB) { tb.Helper(); m.ctl(tb, "--relinquish-var") }

func (m *MainJournald) ctl(tb TB, arg string) {
	tb.Helper()
	out, err := exec.Command("nsenter", "--mount=/proc/"+strconv.Itoa(m.cmd.Process.Pid)+"/ns/mnt", "journalctl", arg).CombinedOutput()
	if err != nil {
		tb.Fatalf("journalctl %s: %v: %s", arg, err, out)
	}
}
