package main

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/admin/auth"
)

// inheritEnv makes the test binary, run again, a daemon whose admin port
// systemd has opened; its value is the directory of its own socket.
const inheritEnv = "LBSHIPD_TEST_INHERIT"

// TestServeInherited is no test by itself: it is the child of the next one.
func TestServeInherited(t *testing.T) {
	dir := os.Getenv(inheritEnv)
	if dir == "" {
		t.Skip("runs as the child of TestAdminPortIsInherited only")
	}
	o := &runOptions{dataDir: dir, listen: "127.0.0.1:0", auth: auth.Flags{KeysRefresh: 1 << 40, RolesClaim: "roles"}}
	a, _, err := openAdmin(o, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	a.serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, a.describe()) }), slog.Default())
	io.Copy(io.Discard, os.Stdin) // until the parent has done
}

// systemd hands over sockets from descriptor 3 on, and says for which process.
func TestAdminPortIsInherited(t *testing.T) {
	dir, err := os.MkdirTemp("", "lbshipd") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	other, err := os.Open(dir) // no socket at all: it is said and passed over
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	socket, err := held.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()

	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run '^TestServeInherited$'`, os.Args[0])
	cmd.Env = append(os.Environ(), inheritEnv+"="+dir, "LISTEN_FDS=2", "LISTEN_FDNAMES=admin:other")
	cmd.ExtraFiles = []*os.File{socket, other}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// What comes before the daemon has begun waits in the socket.
	answer, err := http.Get("http://" + held.Addr().String())
	var text []byte
	if err == nil {
		text, err = io.ReadAll(answer.Body)
		answer.Body.Close()
	}
	in.Close()
	if failed := cmd.Wait(); err != nil || failed != nil {
		t.Fatalf("%v, %v: %s", err, failed, said.String())
	}
	if want := "http://" + held.Addr().String() + "/metrics"; !strings.HasPrefix(string(text), want) || strings.Count(string(text), "http://") != 1 {
		t.Errorf("the admin port is %q, want %s and no other", text, want)
	}
	if want := "unix:" + filepath.Join(dir, "admin.sock"); !strings.Contains(string(text), want) {
		t.Errorf("the admin port is %q, want %s beside it", text, want)
	}
	if !strings.Contains(said.String(), "not a listening socket") {
		t.Errorf("the other descriptor is not spoken of: %s", said.String())
	}
	// Our end leaves systemd's socket as it is.
	if c, err := net.Dial("tcp", held.Addr().String()); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}

// A request that comes in just after the end has begun, on a connection that
// was taken before it, is answered.
func TestAdminPortAnswersWhatItHasTaken(t *testing.T) {
	dir, err := os.MkdirTemp("", "lbshipd")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	o := &runOptions{dataDir: dir, listen: "127.0.0.1:0", auth: auth.Flags{KeysRefresh: 1 << 40, RolesClaim: "roles"}}
	a, _, err := openAdmin(o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	a.serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "yes") }), slog.Default())
	address := strings.TrimPrefix(a.listeners.URL(), "http://")
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// Connections are taken in order: once this is answered, that one was.
	later, err := http.Get(a.listeners.URL())
	if err != nil {
		t.Fatal(err)
	}
	later.Body.Close()
	closed := make(chan struct{})
	go func() { a.close(); close(closed) }()
	for { // until nobody listens any more
		more, err := net.Dial("unix", filepath.Join(dir, "admin.sock"))
		if err != nil {
			break
		}
		more.Close()
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 OK\r\n") {
		t.Errorf("it is answered %q, %v", answer, err)
	}
	<-closed
}
