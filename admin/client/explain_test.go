package client

import (
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
)

// What root cannot run into in a test.
func TestSocketThatIsForOthers(t *testing.T) {
	c, err := New(Options{Endpoint: "unix:///run//lbshipd/admin.sock"})
	if err != nil || c.Endpoint() != "unix:/run/lbshipd/admin.sock" {
		t.Fatalf("%v %v", c, err)
	}
	refused := &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EACCES)}
	err = c.unreachable(&url.Error{Op: "Get", URL: "http://localhost/api", Err: refused})
	if e, ok := err.(*UnreachableError); !ok || !strings.Contains(e.Hint(), "sudo") || strings.Contains(e.Error(), "http://localhost") {
		t.Errorf("%v", err)
	}
}

// A daemon that hangs on this machine is not behind a firewall.
func TestSocketOfADaemonThatHangs(t *testing.T) {
	c, err := New(Options{Endpoint: "unix:/run/lbshipd/admin.sock"})
	if err != nil {
		t.Fatal(err)
	}
	err = c.unreachable(&url.Error{Op: "Get", URL: "http://localhost/status", Err: os.ErrDeadlineExceeded})
	if e, ok := err.(*UnreachableError); !ok || !strings.Contains(e.Hint(), "support-bundle") || strings.Contains(e.Hint(), "firewall") {
		t.Errorf("%v", err)
	}
}
