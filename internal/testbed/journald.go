// Package testbed starts real servers for tests: private, on loopback or in
// directories of their own, and cleaned up when the test ends.
package testbed

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// TB is what the rigs need of a test; testing.TB is one.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Logf(format string, args ...any)
	Cleanup(func())
}

const (
	journaldBinary = "/lib/systemd/systemd-journald"
	remoteBinary   = "/lib/systemd/systemd-journal-remote"
)

var journaldCount atomic.Int64

// Journald is a private systemd-journald: an instance with a namespace of its
// own that touches nothing of the host's journal.
type Journald struct {
	Name string // its namespace: journalctl --namespace=Name reads it
	Dir  string // its journal files: /var/log/journal/<machine-id>.<Name>

	sockets string
	cmd     *exec.Cmd
	keep    net.Conn
	dead    chan struct{}
}

// StartJournald starts a private journald, which stops when the test ends; its
// files are removed then. conf are lines for its [Journal] section, such as
// "SystemMaxFileSize=4M" or "Storage=persistent" (which is the default here,
// as is no rate limit). It needs root.
func StartJournald(tb TB, conf ...string) *Journald {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skipf("a private journald needs root")
	}
	if _, err := os.Stat(journaldBinary); err != nil {
		tb.Skipf("no journald: %v", err)
	}
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		tb.Skipf("no machine id: %v", err)
	}
	name := fmt.Sprintf("lbt%d-%d", os.Getpid(), journaldCount.Add(1))
	j := &Journald{
		Name:    name,
		Dir:     filepath.Join("/var/log/journal", strings.TrimSpace(string(id))+"."+name),
		sockets: "/run/systemd/journal." + name,
	}
	file := "/etc/systemd/journald@" + name + ".conf"
	text := "[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\nRateLimitBurst=0\n" + strings.Join(conf, "\n") + "\n"
	tb.Cleanup(func() {
		j.stop()
		os.Remove(file)
		os.RemoveAll(j.Dir)
		os.RemoveAll(strings.Replace(j.Dir, "/var/", "/run/", 1))
		os.RemoveAll(j.sockets)
	})
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		tb.Fatalf("writing the journald configuration: %v", err)
	}
	j.Restart(tb)
	return j
}

// Restart starts the instance, after stopping it if it runs.
func (j *Journald) Restart(tb TB) {
	tb.Helper()
	j.stop()
	os.RemoveAll(j.sockets)
	j.cmd = exec.Command(journaldBinary, j.Name)
	var errs bytes.Buffer
	j.cmd.Stderr = &errs
	if err := j.cmd.Start(); err != nil {
		tb.Fatalf("starting journald: %v", err)
	}
	j.dead = make(chan struct{})
	go func(cmd *exec.Cmd, dead chan struct{}) { cmd.Wait(); close(dead) }(j.cmd, j.dead)
	deadline := time.Now().Add(time.Minute)
	for {
		conn, err := j.keepAlive()
		if err == nil {
			j.keep = conn
			// The socket that journalctl --sync and --rotate ask is the last to be there.
			asked, e := net.Dial("unix", filepath.Join(j.sockets, "io.systemd.journal"))
			if e == nil {
				asked.Close()
				return
			}
			err = e
			conn.Close()
		}
		select {
		case <-j.dead:
			tb.Fatalf("journald ended: %s", errs.String())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			tb.Fatalf("journald does not listen: %v: %s", err, errs.String())
		}
	}
}

// PID returns the instance's process id.
func (j *Journald) PID() int { return j.cmd.Process.Pid }

// Kill ends the instance with SIGKILL, as a crash does. Restart starts it anew.
func (j *Journald) Kill() {
	j.cmd.Process.Kill()
	<-j.dead
}

func (j *Journald) stop() {
	if j.keep != nil {
		j.keep.Close()
		j.keep = nil
	}
	if j.cmd == nil || j.cmd.Process == nil {
		return
	}
	j.cmd.Process.Signal(os.Interrupt)
	select {
	case <-j.dead:
	case <-time.After(10 * time.Second):
		j.cmd.Process.Kill()
		<-j.dead
	}
	j.cmd = nil
}

// Field is a journal field for Send and AppendExport; the value may hold any
// bytes, and a name may come several times.
type Field struct{ Name, Value string }

// Native is a connection to journald's native datagram socket.
type Native struct{ conn *net.UnixConn }

// Native connects to the native socket, as sd_journal_send does.
func (j *Journald) Native(tb TB) *Native {
	tb.Helper()
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: filepath.Join(j.sockets, "socket"), Net: "unixgram"})
	if err != nil {
		tb.Fatalf("connecting to journald's native socket: %v", err)
	}
	tb.Cleanup(func() { conn.Close() })
	return &Native{conn}
}

// Send writes one entry, at most about 200 KiB.
func (n *Native) Send(fields ...Field) error {
	_, err := n.conn.Write(appendNative(nil, fields))
	return err
}

func appendNative(b []byte, fields []Field) []byte {
	for _, f := range fields {
		if strings.ContainsRune(f.Value, '\n') {
			b = append(b, f.Name...)
			b = append(b, '\n')
			b = binary.LittleEndian.AppendUint64(b, uint64(len(f.Value)))
			b = append(b, f.Value...)
		} else {
			b = append(b, f.Name...)
			b = append(b, '=')
			b = append(b, f.Value...)
		}
		b = append(b, '\n')
	}
	return b
}

// Rotate makes the instance start new files (journalctl --rotate).
func (j *Journald) Rotate(tb TB) { tb.Helper(); j.ctl(tb, "--rotate") }

// Sync waits until what was sent before is in the files (journalctl --sync).
func (j *Journald) Sync(tb TB) { tb.Helper(); j.ctl(tb, "--sync") }

// Vacuum removes archived files until at most so many files are left.
func (j *Journald) Vacuum(tb TB, files int) {
	tb.Helper()
	j.ctl(tb, fmt.Sprintf("--vacuum-files=%d", files))
}

func (j *Journald) ctl(tb TB, arg string) {
	tb.Helper()
	out, err := exec.Command("journalctl", "--namespace="+j.Name, arg).CombinedOutput()
	if err != nil {
		tb.Fatalf("journalctl %s: %v: %s", arg, err, out)
	}
}

// AppendExport appends an entry in journal export format, as journalctl -o
// export writes it, for FabricateJournal. Times are in µs; boot is a 128-bit
// hexadecimal identifier.
func AppendExport(b []byte, realtime, monotonic uint64, boot string, fields ...Field) []byte {
	b = fmt.Appendf(b, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%s\n", realtime, monotonic, boot)
	for _, f := range fields {
		if isText(f.Value) {
			b = append(b, f.Name...)
			b = append(b, '=')
			b = append(b, f.Value...)
		} else {
			b = append(b, f.Name...)
			b = append(b, '\n')
			b = binary.LittleEndian.AppendUint64(b, uint64(len(f.Value)))
			b = append(b, f.Value...)
		}
		b = append(b, '\n')
	}
	return append(b, '\n')
}

func isText(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' && s[i] != '\t' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// JournalLayout says how FabricateJournal writes a file.
type JournalLayout struct {
	Compact  bool // the layout of systemd 252's journald; else the older one
	Unkeyed  bool // Jenkins hashes instead of SipHash
	Compress bool // large fields, with what this systemd uses (zstd)
}

// FabricateJournal turns entries in export format into a real journal file,
// with systemd-journal-remote. Every field is kept, trusted ones too.
func FabricateJournal(tb TB, path string, export io.Reader, layout JournalLayout) {
	tb.Helper()
	cmd := JournalRemote(tb, path, layout)
	cmd.Stdin = export
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("systemd-journal-remote: %v: %s", err, out)
	}
}

// JournalRemote returns the command that appends the export format on its
// standard input to the journal file at path, for a test that wants to write
// while it reads.
func JournalRemote(tb TB, path string, layout JournalLayout) *exec.Cmd {
	tb.Helper()
	if _, err := os.Stat(remoteBinary); err != nil {
		tb.Skipf("no systemd-journal-remote: %v", err)
	}
	cmd := exec.Command(remoteBinary, "--output="+path, fmt.Sprintf("--compress=%v", layout.Compress), "-")
	cmd.Env = append(os.Environ(),
		fmt.Sprintf("SYSTEMD_JOURNAL_COMPACT=%v", layout.Compact),
		fmt.Sprintf("SYSTEMD_JOURNAL_KEYED_HASH=%v", !layout.Unkeyed))
	return cmd
}
