// Package e2e runs the built binary against real journald, rsyslog and Loki.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the lbshipd under test.
func binary(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("LBSHIPD_BIN")
	if bin == "" {
		bin = filepath.Join("..", "bin", "lbshipd")
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("the binary is not built (make build): %v", err)
	}
	return bin
}

// output is a buffer that a process writes and a test reads.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// daemon is one running lbshipd.
type daemon struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout output
	stderr output
	admin  string // host:port
	url    string // http://host:port, or https
	client *http.Client
	ended  chan struct{}
	err    error
}

// launch is how a daemon is started.
type launch struct {
	env  []string
	args []string
	host string       // the name of the machine that it finds itself on; "": ours
	http *http.Client // that asks its admin port; nil: the usual one
}

// start runs lbshipd run with args and waits until it is ready.
func start(t *testing.T, env []string, args ...string) *daemon {
	t.Helper()
	d := run(t, launch{env: env, args: args})
	await(t, "readiness", func() bool { code, _ := d.get("/-/ready"); return code == http.StatusOK })
	return d
}

// run runs lbshipd run and waits until it has an admin port.
func run(t *testing.T, l launch) *daemon {
	t.Helper()
	d := &daemon{t: t, ended: make(chan struct{}), client: http.DefaultClient}
	if l.http != nil {
		d.client = l.http
	}
	d.cmd = exec.Command(binary(t), append([]string{"run", "--listen", "127.0.0.1:0"}, l.args...)...)
	d.cmd.Stdout, d.cmd.Stderr = &d.stdout, &d.stderr
	d.cmd.Env = append(os.Environ(), l.env...)
	if err := startOn(l.host, d.cmd); err != nil {
		if l.host != "" && errors.Is(err, syscall.EPERM) {
			t.Skip("needs root: the daemon's machine is to have a name of its own")
		}
		t.Fatal(err)
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.ended)
	}()
	t.Cleanup(func() {
		d.cmd.Process.Kill()
		<-d.ended
		if strings.Contains(d.stderr.String(), "DATA RACE") || strings.Contains(d.stderr.String(), "panic:") {
			t.Error("the daemon raced or panicked")
		}
		if t.Failed() {
			t.Logf("lbshipd said:\n%s", &d.stderr)
		}
	})
	address := regexp.MustCompile(`(https?://([0-9.:]+))/metrics`)
	await(t, "the admin address", func() bool {
		if d.hasEnded() {
			t.Fatalf("lbshipd ended: %v\n%s", d.err, &d.stderr)
		}
		if m := address.FindStringSubmatch(d.stderr.String()); m != nil {
			d.url, d.admin = m[1], m[2]
		}
		return d.admin != ""
	})
	return d
}

// startOn starts a process on a machine of that name: in a UTS namespace of its own.
func startOn(host string, cmd *exec.Cmd) error {
	if host == "" {
		return cmd.Start()
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := syscall.Unshare(syscall.CLONE_NEWUTS)
		if err == nil {
			err = syscall.Sethostname([]byte(host))
		}
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		select {} // with the thread would end what it has started and asked to be killed then (Pdeathsig)
	}()
	return <-started
}

func (d *daemon) hasEnded() bool {
	select {
	case <-d.ended:
		return true
	default:
		return false
	}
}

func (d *daemon) get(path string) (int, string) {
	resp, err := d.client.Get(d.url + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// metric returns the value of one series, as text; "" if there is none.
func (d *daemon) metric(series string) string {
	_, body := d.get("/metrics")
	for line := range strings.SplitSeq(body, "\n") {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return value
		}
	}
	return ""
}

// stop asks it to stop and returns its exit code.
func (d *daemon) stop() int {
	d.t.Helper()
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.ended:
	case <-time.After(60 * time.Second):
		d.t.Fatal("lbshipd does not stop")
	}
	return d.cmd.ProcessState.ExitCode()
}

func (d *daemon) kill() {
	d.cmd.Process.Kill()
	<-d.ended
}

// lbshipd runs a command to its end and returns its exit code and output.
func lbshipd(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(t), args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errOut.String()
}

// await waits until cond holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute) // a busy machine is not a fault
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func appendTo(t *testing.T, path, format string, args ...any) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(f, format, args...); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
