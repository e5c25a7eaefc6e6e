package testbed

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const rsyslogdBinary = "rsyslogd"

// RsyslogOptions say how a Rsyslog receives.
type RsyslogOptions struct {
	// Protocol is "tcp" (the default), "udp", "gtls" or "ossl": the last two
	// are TLS by GnuTLS or OpenSSL; "relp", or "relp-tls" or "relp-ossl", which
	// are RELP over TLS by one or the other.
	Protocol string
	// CA signs what clients show; Cert is shown to them. TLS only.
	CA   *CA
	Cert *Cert
	// AuthMode is imtcp's StreamDriver.AuthMode: "x509/name" (the default if
	// there are PermittedPeers), "x509/certvalid", "x509/fingerprint" or
	// "anon" (the default else); or imrelp's tls.authMode: "name" or
	// "certvalid", by the same rule.
	AuthMode       string
	PermittedPeers []string
	// MaxMessageSize is the global of that name, such as "64k"; rsyslog's own default if empty.
	MaxMessageSize string
	// EscapeControl lets rsyslog write control characters as #ooo, as it does
	// by default; here the default is to keep what was sent.
	EscapeControl bool
	// Direct handles messages in the thread that received them, instead of in
	// a queue that a kill would lose.
	Direct bool
	// Input holds more parameters of the input() statement.
	Input string
	// Config holds more lines, which come first.
	Config string
}

// Rsyslog is a private rsyslogd that writes everything it receives into a
// file of its own.
type Rsyslog struct {
	// Address is host:port; it stays the same when it is started anew.
	Address string

	o       RsyslogOptions
	dir     string
	port    int
	cmd     *exec.Cmd
	dead    chan struct{}
	log     bytes.Buffer // read only once dead
	started int
}

// RsyslogMessage is one message as rsyslog understood it. The texts are the
// octets that it holds, except that a NUL cannot be one of them.
type RsyslogMessage struct {
	PRI, Version, Timestamp, Host, AppName, ProcID, MsgID, StructuredData, Msg, Raw string
}

// StartRsyslog starts a rsyslogd on a free port of 127.0.0.1. It ends with the
// test, and its files go with it.
func StartRsyslog(tb TB, o RsyslogOptions) *Rsyslog {
	tb.Helper()
	if _, err := exec.LookPath(rsyslogdBinary); err != nil {
		tb.Skipf("no rsyslogd: %v", err)
	}
	dir, err := os.MkdirTemp("", "rsyslog")
	if err != nil {
		tb.Fatalf("making a folder for rsyslog: %v", err)
	}
	r := &Rsyslog{o: o, dir: dir}
	tb.Cleanup(func() {
		r.Kill()
		os.RemoveAll(dir)
	})
	var failed error
	for range 5 {
		r.port = freePort(tb, o.Protocol)
		r.Address = net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port))
		if failed = r.start(tb); failed == nil {
			return r
		}
		r.Kill()
	}
	tb.Fatalf("rsyslog does not start: %v", failed)
	return nil
}

// freePort finds a port below those that the kernel gives to outgoing
// connections, so that a rsyslog that is stopped finds it free again.
func freePort(tb TB, protocol string) int {
	tb.Helper()
	var last error
	for range 100 {
		port := 10000 + rand.IntN(20000)
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		var l io.Closer
		if protocol == "udp" {
			l, last = net.ListenPacket("udp", address)
		} else {
			l, last = net.Listen("tcp", address)
		}
		if last == nil {
			l.Close()
			return port
		}
	}
	tb.Fatalf("finding a free port: %v", last)
	return 0
}

// Start starts it again on the same port after Stop or Kill.
func (r *Rsyslog) Start(tb TB) {
	tb.Helper()
	if err := cutTorn(r.file()); err != nil {
		tb.Fatalf("cutting the message that was being written: %v", err)
	}
	if err := r.start(tb); err != nil {
		tb.Fatalf("starting rsyslog again: %v", err)
	}
}

func (r *Rsyslog) start(tb TB) error {
	tb.Helper()
	r.started++
	conf := filepath.Join(r.dir, "rsyslog.conf")
	if err := os.WriteFile(conf, []byte(r.config(tb)), 0o600); err != nil {
		return err
	}
	pidfile := filepath.Join(r.dir, fmt.Sprintf("pid%d", r.started))
	r.cmd = exec.Command(rsyslogdBinary, "-n", "-i", pidfile, "-f", conf)
	r.log.Reset()
	r.cmd.Stdout, r.cmd.Stderr = &r.log, &r.log
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		return err
	}
	r.dead = make(chan struct{})
	go func(cmd *exec.Cmd, dead chan struct{}) { cmd.Wait(); close(dead) }(r.cmd, r.dead)
	deadline := time.Now().Add(time.Minute)
	for !r.listens() {
		select {
		case <-r.dead:
			return fmt.Errorf("it ended: %s", r.log.String())
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			r.Kill()
			return fmt.Errorf("it does not listen on %s: %s%s", r.Address, r.log.String(), r.Log())
		}
	}
	return nil
}

// listens looks for the socket in the kernel's table and for its owner:
// connecting to it would show up in its log.
func (r *Rsyslog) listens() bool {
	table, state := "tcp", "0A"
	if r.o.Protocol == "udp" {
		table, state = "udp", "07"
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", r.cmd.Process.Pid, table))
	if err != nil {
		return false
	}
	local := fmt.Sprintf(":%04X", r.port)
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) > 9 && strings.HasSuffix(f[1], local) && f[3] == state && r.owns("socket:["+f[9]+"]") {
			return true
		}
	}
	return false
}

func (r *Rsyslog) owns(socket string) bool {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", r.cmd.Process.Pid))
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == socket {
			return true
		}
	}
	return false
}

func (r *Rsyslog) config(tb TB) string {
	tb.Helper()
	var c strings.Builder
	fmt.Fprintln(&c, r.o.Config)
	fmt.Fprintf(&c, "global(workDirectory=%q", r.dir)
	if !r.o.EscapeControl {
		fmt.Fprint(&c, ` parser.escapeControlCharactersOnReceive="off"`)
	}
	if r.o.MaxMessageSize != "" {
		fmt.Fprintf(&c, " maxMessageSize=%q", r.o.MaxMessageSize)
	}
	if r.isTLS() && !r.isRelp() {
		cert, key := r.o.Cert.Files(tb, r.dir, "server")
		fmt.Fprintf(&c, " defaultNetstreamDriverCAFile=%q defaultNetstreamDriverCertFile=%q defaultNetstreamDriverKeyFile=%q",
			r.o.CA.File(tb, r.dir, "ca"), cert, key)
	}
	fmt.Fprintln(&c, ")")
	queue := ""
	if r.o.Direct {
		queue = ` queue.type="direct"`
	}
	// One worker: several would write messages out of order.
	fmt.Fprintf(&c, "main_queue(queue.workerThreads=\"1\"%s)\n", queue)
	if r.isRelp() {
		fmt.Fprint(&c, r.relpInput(tb))
	} else if r.o.Protocol == "udp" {
		fmt.Fprintf(&c, "module(load=\"imudp\")\ninput(type=\"imudp\" address=\"127.0.0.1\" port=\"%d\" %s)\n", r.port, r.o.Input)
	} else {
		fmt.Fprintf(&c, "module(load=\"imtcp\"%s)\ninput(type=\"imtcp\" address=\"127.0.0.1\" port=\"%d\" %s)\n", r.driver(), r.port, r.o.Input)
	}
	fmt.Fprint(&c, `template(name="all" type="list") {`+"\n")
	for i, f := range rsyslogFields {
		before := ","
		if i == 0 {
			before = "{"
		}
		fmt.Fprintf(&c, "constant(value=%q) property(name=%q outname=%q format=\"jsonf\"%s)\n", before, f.property, f.name, f.more)
	}
	fmt.Fprint(&c, `constant(value="}\n") }`+"\n")
	fmt.Fprintf(&c, "if $inputname == \"imtcp\" or $inputname == \"imudp\" or $inputname == \"imrelp\" then action(type=\"omfile\" file=%q template=\"all\")\n", r.file())
	fmt.Fprintf(&c, "else action(type=\"omfile\" file=%q)\n", filepath.Join(r.dir, "own.log"))
	return c.String()
}

func (r *Rsyslog) isTLS() bool {
	switch r.o.Protocol {
	case "gtls", "ossl", "relp-tls", "relp-ossl":
		return true
	}
	return false
}

func (r *Rsyslog) isRelp() bool { return strings.HasPrefix(r.o.Protocol, "relp") }

// relpInput is imrelp's part of the configuration.
func (r *Rsyslog) relpInput(tb TB) string {
	tb.Helper()
	if !r.isTLS() {
		return fmt.Sprintf("module(load=\"imrelp\")\ninput(type=\"imrelp\" address=\"127.0.0.1\" port=\"%d\" %s)\n", r.port, r.o.Input)
	}
	library := "gnutls"
	if r.o.Protocol == "relp-ossl" {
		library = "openssl"
	}
	mode := r.o.AuthMode
	if mode == "" && len(r.o.PermittedPeers) > 0 {
		mode = "name"
	} else if mode == "" {
		mode = "certvalid"
	}
	cert, key := r.o.Cert.Files(tb, r.dir, "server")
	text := fmt.Sprintf("module(load=\"imrelp\" tls.tlslib=%q)\ninput(type=\"imrelp\" address=\"127.0.0.1\" port=\"%d\" tls=\"on\" tls.authMode=%q tls.caCert=%q tls.myCert=%q tls.myPrivKey=%q",
		library, r.port, mode, r.o.CA.File(tb, r.dir, "ca"), cert, key)
	if len(r.o.PermittedPeers) > 0 {
		text += ` tls.permittedPeer=["` + strings.Join(r.o.PermittedPeers, `","`) + `"]`
	}
	return text + " " + r.o.Input + ")\n"
}

func (r *Rsyslog) driver() string {
	if !r.isTLS() {
		return ""
	}
	mode := r.o.AuthMode
	if mode == "" && len(r.o.PermittedPeers) > 0 {
		mode = "x509/name"
	} else if mode == "" {
		mode = "anon"
	}
	text := fmt.Sprintf(" streamDriver.name=%q streamDriver.mode=\"1\" streamDriver.authMode=%q", r.o.Protocol, mode)
	if len(r.o.PermittedPeers) > 0 {
		text += ` permittedPeer=["` + strings.Join(r.o.PermittedPeers, `","`) + `"]`
	}
	return text
}

func (r *Rsyslog) file() string { return filepath.Join(r.dir, "messages.json") }

// PID returns its process id.
func (r *Rsyslog) PID() int { return r.cmd.Process.Pid }

// Stop ends it with SIGTERM: it writes what it has queued first.
func (r *Rsyslog) Stop() { r.end(syscall.SIGTERM) }

// Kill ends it with SIGKILL.
func (r *Rsyslog) Kill() { r.end(syscall.SIGKILL) }

func (r *Rsyslog) end(signal syscall.Signal) {
	if r.cmd == nil || r.cmd.Process == nil {
		return
	}
	r.cmd.Process.Signal(signal)
	r.cmd.Process.Signal(syscall.SIGCONT)
	select {
	case <-r.dead:
	case <-time.After(20 * time.Second):
		r.cmd.Process.Kill()
		<-r.dead
	}
}

// Pause stops it from running (SIGSTOP); its kernel still takes connections
// and data until the buffers are full.
func (r *Rsyslog) Pause() { r.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume undoes Pause.
func (r *Rsyslog) Resume() { r.cmd.Process.Signal(syscall.SIGCONT) }

// Log returns what it said about itself.
func (r *Rsyslog) Log() string {
	own, _ := os.ReadFile(filepath.Join(r.dir, "own.log"))
	return string(own)
}

// Count returns how many messages it has written, of all its lives.
func (r *Rsyslog) Count(tb TB) int {
	tb.Helper()
	f, err := os.Open(r.file())
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil {
		tb.Fatalf("reading rsyslog's messages: %v", err)
	}
	defer f.Close()
	n, buf := 0, make([]byte, 256<<10)
	for {
		k, err := f.Read(buf)
		n += bytes.Count(buf[:k], []byte("\n"))
		if err != nil {
			return n
		}
	}
}

// Messages returns everything it has written, of all its lives.
func (r *Rsyslog) Messages(tb TB) []RsyslogMessage {
	tb.Helper()
	var all []RsyslogMessage
	r.Each(tb, func(m *RsyslogMessage) { all = append(all, *m) })
	return all
}

// Each hands out what it has written, of all its lives, one after the other:
// where there is too much of it for memory.
func (r *Rsyslog) Each(tb TB, do func(*RsyslogMessage)) {
	tb.Helper()
	f, err := os.Open(r.file())
	if os.IsNotExist(err) {
		return
	}
	if err != nil {
		tb.Fatalf("reading rsyslog's messages: %v", err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 256<<10)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return // a line without an end was cut off by a kill
		}
		m, err := parseRsyslogMessage(line)
		if at := bytes.LastIndex(line, []byte(rsyslogStart)); err != nil && at > 0 {
			m, err = parseRsyslogMessage(line[at:]) // what lies before it was cut off by a kill
		}
		if err != nil {
			tb.Fatalf("rsyslog's message %q: %v", line, err)
		}
		do(&m)
	}
}

// Wait waits until it has written at least n messages and returns all.
func (r *Rsyslog) Wait(tb TB, n int) []RsyslogMessage {
	tb.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		got := r.Count(tb)
		if got >= n {
			return r.Messages(tb)
		}
		if time.Now().After(deadline) {
			tb.Fatalf("rsyslog has %d messages, want %d; it says: %s", got, n, r.Log())
		}
		time.Sleep(5 * time.Millisecond)
	}
}
