package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lbshipd/lbshipd/sinks"
)

// nameServer answers each question with code, or not at all if that is below 0.
func nameServer(t *testing.T, code int) {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for buf := make([]byte, 1<<10); ; {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if code >= 0 && n > 12 {
				buf[2], buf[3] = 0x81, 0x80|byte(code) // an answer (RFC 1035 section 4.1.1)
				buf[10], buf[11] = 0, 0                // without what EDNS adds to the question
				c.WriteTo(buf[:n], from)
			}
		}
	}()
	was := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", c.LocalAddr().String())
	}}
	t.Cleanup(func() { net.DefaultResolver = was; c.Close() })
}

func TestNamesThatDoNotResolve(t *testing.T) {
	for what, c := range map[string]struct {
		code int
		says string
	}{
		"no such name": {3, `there is no address for the name "logs.test"`},
		"broken":       {2, "looking up logs.test"},
		"silent":       {-1, "no name server answers"},
	} {
		t.Run(what, func(t *testing.T) {
			nameServer(t, c.code)
			s := New("", 500*time.Millisecond)
			list, ok := s.Resolve(t.Context(), "logs.test")
			step := s.List()[0]
			if ok || len(list) > 0 || step.OK || step.Name != sinks.StepDNS || !strings.Contains(step.Message, c.says) || step.Seconds > 10 {
				t.Errorf("%v %v %+v, want %q", list, ok, step, c.says)
			}
		})
	}
	s := New("", time.Second)
	for _, literal := range []string{"127.0.0.1", "::1", "fe80::1%lo"} {
		if list, ok := s.Resolve(t.Context(), literal); !ok || len(list) != 1 || list[0].String() != literal {
			t.Errorf("%s: %v", literal, list)
		}
	}
}

// Each address is connected to; the first that takes a connection is used.
func TestConnectTriesEach(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.3:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	list := []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("255.255.255.255")}
	s := New("logs.test:1", 5*time.Second)
	c, ok := s.Connect(t.Context(), list, port)
	if !ok {
		t.Fatalf("%+v", s.List())
	}
	defer c.Close()
	if got := c.RemoteAddr().String(); got != l.Addr().String() {
		t.Errorf("connected to %s", got)
	}
	said := s.List()[0].Message
	for _, want := range []string{"logs.test:1: 127.0.0.2:" + port + ": connection refused", "127.0.0.3:" + port + ": connected", "255.255.255.255:" + port + ": this machine has no way there"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in %s", want, said)
		}
	}
	if c, ok := s.Connect(t.Context(), list[:1], port); ok || c != nil || s.List()[1].OK {
		t.Errorf("%+v", s.List())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok := s.Connect(ctx, list[1:2], port); ok || !strings.Contains(s.List()[2].Message, "the test was ended") {
		t.Errorf("%+v", s.List())
	}
}

func TestMessagesAreOneLineWithoutSecrets(t *testing.T) {
	s := New("a:1", time.Second)
	s.Hide = []string{"geheim", "", "ab"}
	s.Add("tls", "", errors.New("a\x1b[2J\nb \xff geheim "+strings.Repeat("é", 4000)), 0)
	s.Add("tls", "went well", nil, time.Second)
	s.Fail("tls", errors.New("refused later: geheim"))
	list := s.List()
	if m := list[0].Message; !strings.HasPrefix(m, "a:1: a [2J b ? (hidden) é") || !strings.HasSuffix(m, "...") || len(m) > maxMessage || !utf8.ValidString(m) {
		t.Errorf("%q", m)
	}
	if want := (sinks.Step{Name: "tls", Message: "a:1: refused later: (hidden); before that: went well", Seconds: 1}); list[1] != want {
		t.Errorf("%+v", list[1])
	}
	if sinks.NewTestReport(list).OK || sinks.NewTestReport(nil).OK || !sinks.NewTestReport([]sinks.Step{{OK: true}}).OK {
		t.Error("OK is not what all steps are")
	}
	if Line("h\n1", "t", "") != "lbshipd test record: somebody has the target t tested from h 1. Nothing has happened; this line may be ignored." {
		t.Errorf("%q", Line("h\n1", "t", ""))
	}
}
