package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// arrivals are the numbered lines of a load that one receiver was sent, by the
// machine that sent them.
type arrivals struct {
	mu    sync.Mutex
	count map[string]map[int]int
	first map[string]map[int]time.Time
}

func newArrivals() *arrivals {
	return &arrivals{count: map[string]map[int]int{}, first: map[string]map[int]time.Time{}}
}

func (a *arrivals) take(host string, n int, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count[host] == nil {
		a.count[host], a.first[host] = map[int]int{}, map[int]time.Time{}
	}
	if a.count[host][n]++; a.count[host][n] == 1 {
		a.first[host][n] = at
	}
}

// since returns when the first line came from a machine after a time, of those that are
// debug (odd) or any.
func (a *arrivals) since(host string, t time.Time, debug bool) (at time.Time, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n, came := range a.first[host] {
		if came.After(t) && (!debug || n%2 == 1) && (!ok || came.Before(at)) {
			at, ok = came, true
		}
	}
	return at, ok
}

// last returns when the last new line came from any machine.
func (a *arrivals) last() (at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, of := range a.first {
		for _, came := range of {
			if came.After(at) {
				at = came
			}
		}
	}
	return at
}

// different is how many different lines came from a machine.
func (a *arrivals) different(host string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.count[host])
}

// doubled is how many lines of a machine came again.
func (a *arrivals) doubled(host string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, count := range a.count[host] {
		n += count - 1
	}
	return n
}

// missingInfo is how many of the lines of info below total never came, from the
// first on that did.
func (a *arrivals) missingInfo(host string, total int) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	begun := false
	for i := 0; i < total; i += 2 {
		if a.count[host][i] > 0 {
			begun = true
		} else if begun {
			n++
		}
	}
	return n
}

// wrong says what is not as it should be of the lines below total: those of info came
// once, those of debug once from some one on and never before.
func (a *arrivals) wrong(host string, total int) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	count := a.count[host]
	begun, lost, doubled, first := false, 0, 0, -1
	for n := range total {
		switch {
		case n%2 == 1 && !begun && count[n] == 0:
			continue
		case n%2 == 1:
			begun = true
		}
		if count[n] == 1 {
			continue
		}
		if first < 0 {
			first = n
		}
		if count[n] == 0 {
			lost++
		} else {
			doubled++
		}
	}
	if lost+doubled == 0 {
		return ""
	}
	return fmt.Sprintf("%d lines are missing, %d came more than once, the first of them %d", lost, doubled, first)
}

// fakeLoki takes every push and remembers what came when, and which connections there were.
type fakeLoki struct {
	*arrivals
	url string

	mu             sync.Mutex
	opened, closed int
}

// pushed finds a stream's host, and behind it the numbers of its lines.
var pushed = regexp.MustCompile(`host="([^"]*)"|"n":(\d+)}`)

func startFakeLoki(t *testing.T) *fakeLoki {
	t.Helper()
	f := &fakeLoki{arrivals: newArrivals()}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		text, err := snappy.Decode(nil, body)
		if err != nil {
			t.Errorf("a push that cannot be read: %v", err)
		}
		host, now := "", time.Now()
		for _, m := range pushed.FindAllSubmatch(text, -1) {
			if len(m[1]) > 0 {
				host = string(m[1])
				continue
			}
			n, _ := strconv.Atoi(string(m[2]))
			f.take(host, n, now)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		f.mu.Lock()
		defer f.mu.Unlock()
		switch s {
		case http.StateNew:
			f.opened++
		case http.StateClosed, http.StateHijacked:
			f.closed++
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func (f *fakeLoki) conns() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprintf("%d opened, %d closed", f.opened, f.closed)
}

// front is a TCP proxy that counts connections, and whose new ones can be led to another server.
type front struct {
	address string

	mu             sync.Mutex
	to             string // "": nowhere
	opened, closed int
	open           map[*net.TCPConn]bool
}

func startFront(t *testing.T, to string) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f := &front{address: l.Addr().String(), to: to, open: map[*net.TCPConn]bool{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.opened++
			f.open[c.(*net.TCPConn)] = true
			to := f.to
			f.mu.Unlock()
			go f.serve(c.(*net.TCPConn), to)
		}
	}()
	return f
}

func (f *front) serve(c *net.TCPConn, to string) {
	defer func() {
		c.Close()
		f.mu.Lock()
		f.closed++
		delete(f.open, c)
		f.mu.Unlock()
	}()
	if to == "" {
		return
	}
	dialed, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	s := dialed.(*net.TCPConn)
	defer s.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(c, s)
		c.CloseWrite()
	}()
	io.Copy(s, c)
	s.CloseWrite()
	<-done
}

// lead leads the connections from now on to another server.
func (f *front) lead(to string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.to = to
}

// cut breaks all connections, and those to come until lead is called.
func (f *front) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.to = ""
	for c := range f.open {
		c.SetLinger(0)
		c.Close()
	}
}

func (f *front) conns() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprintf("%d opened, %d closed", f.opened, f.closed)
}

// authority is a CA, and a rsyslog that takes only its clients.
type authority struct {
	ca     *testbed.CA
	siem   *testbed.Rsyslog
	bundle map[string]any // as the API takes it
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	ca := testbed.NewCA(t, name)
	cert := ca.Client(t, name+".test")
	return &authority{ca: ca, siem: testbed.StartRsyslog(t, testbed.RsyslogOptions{Protocol: "gtls", CA: ca, Cert: ca.Server(t, "siem.test"),
		PermittedPeers: []string{name + ".test"}, MaxMessageSize: "64k"}),
		bundle: map[string]any{"name": "siem", "caPem": ca.PEM, "certPem": cert.CertPEM, "keyPem": cert.KeyPEM}}
}

var numbered = regexp.MustCompile(`"n":(\d+)}`)

// collect adds what rsyslog has from its message number from on, as of now, and
// returns how many it has.
func (a *arrivals) collect(t *testing.T, siem *testbed.Rsyslog, from int) int {
	t.Helper()
	if siem.Count(t) <= from {
		return from
	}
	now, all := time.Now(), siem.Messages(t)
	for _, m := range all[from:] {
		k := numbered.FindStringSubmatch(m.Msg)
		if k == nil {
			t.Errorf("rsyslog was sent %q", m.Raw)
			continue
		}
		n, _ := strconv.Atoi(k[1])
		a.take(m.Host, n, now)
	}
	return len(all)
}
