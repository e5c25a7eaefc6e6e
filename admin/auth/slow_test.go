package auth

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// slowly sends pieces until the server has had enough, and returns what it answered and how
// long it took.
func slowly(t *testing.T, address, begin string, piece func(i int) string) (string, time.Duration) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	start := time.Now()
	c.SetDeadline(start.Add(time.Minute))
	gone := make(chan struct{})
	var answer []byte
	go func() {
		defer close(gone)
		answer, _ = io.ReadAll(c)
	}()
	_, err = io.WriteString(c, begin)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 0; err == nil; i++ {
		select {
		case <-gone:
			return string(answer), time.Since(start)
		case <-tick.C:
			_, err = io.WriteString(c, piece(i))
		}
	}
	<-gone
	return string(answer), time.Since(start)
}

func TestSlowClientsAreCutOff(t *testing.T) {
	if readHeaderTimeout > 10*time.Second || readTimeout > time.Minute {
		t.Fatal("the daemon's own times are too long")
	}
	// Where there is an answer to expect, the headers have all the time that a busy machine takes for them.
	serve := func(headers time.Duration) string {
		l := served(t, ListenOptions{Address: "127.0.0.1:0"}, func(s *http.Server) {
			if s.ReadHeaderTimeout != readHeaderTimeout || s.ReadTimeout != readTimeout {
				t.Errorf("the server's times are %s and %s", s.ReadHeaderTimeout, s.ReadTimeout)
			}
			s.ReadHeaderTimeout, s.ReadTimeout, s.IdleTimeout = headers, 600*time.Millisecond, 300*time.Millisecond
		})
		return strings.TrimPrefix(l.URL(), "http://")
	}
	short, long := serve(300*time.Millisecond), serve(time.Minute)
	token := mint(t, testKeys().ed, "ed", nil)
	for _, c := range []struct {
		name, begin string
		piece       func(int) string
		want        string
	}{
		{"headers that never end", "GET /api/x HTTP/1.1\r\nHost: x\r\n", func(i int) string { return fmt.Sprintf("X-%d: y\r\n", i) }, ""},
		{"a header, byte by byte", "GET /version HTTP/1.1\r\nHost: x\r\nX: ", func(int) string { return "x" }, ""},
		{"a request line, byte by byte", "GET /", func(int) string { return "x" }, ""},
		{"a body, byte by byte", "POST /api/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nAuthorization: Bearer " + token + "\r\n\r\n", func(int) string { return "x" }, "HTTP/1.1 400"},
		{"a body in chunks", "POST /api/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nAuthorization: Bearer " + token + "\r\n\r\n", func(int) string { return "1\r\nx\r\n" }, "HTTP/1.1 400"},
		{"a body of nobody", "POST /api/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", func(int) string { return "x" }, "HTTP/1.1 401"},
		{"nothing", "", func(int) string { return "" }, ""},
		{"nothing more", "GET /version HTTP/1.1\r\nHost: x\r\n\r\n", func(int) string { return "" }, "HTTP/1.1 200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			address := short
			if c.want != "" {
				address = long
			}
			answer, took := slowly(t, address, c.begin, c.piece)
			if !strings.HasPrefix(answer, c.want) || c.want == "" && strings.HasPrefix(answer, "HTTP/1.1 2") {
				t.Errorf("answered: %q", answer)
			}
			if took > 30*time.Second { // slowly goes on for a minute
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestHeaderBombs(t *testing.T) {
	l := served(t, ListenOptions{Address: "127.0.0.1:0"}, nil)
	address := strings.TrimPrefix(l.URL(), "http://")
	ask := func(text string) string {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		go io.WriteString(c, text)
		line, _ := bufio.NewReader(c).ReadString('\n')
		return strings.TrimSpace(line)
	}
	for _, c := range []struct{ name, text, want string }{
		{"one long header", "GET /version HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", "HTTP/1.1 431"},
		{"many headers", "GET /version HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: y\r\n", 100_000) + "\r\n", "HTTP/1.1 431"},
		{"a long request line", "GET /" + strings.Repeat("x", 1<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 431"},
		{"a token of just too many bytes", "GET /api/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + strings.Repeat("x", maxToken+1) + "\r\n\r\n", "HTTP/1.1 401"},
		{"two lengths", "POST /api/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 400"},
		{"a negative length", "POST /api/x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 400"},
		{"two hosts", "GET /version HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "HTTP/1.1 400"},
		{"HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 401"},
		{"a path that leaves the API", "GET /api/../../metrics/../api/x HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 401"},
		{"CONNECT", "CONNECT /-/../api/x HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 401"},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", ""},
		{"a whole URL", "GET http://x/api/x HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 401"},
	} {
		if got := ask(c.text); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %s", c.name, got, c.want)
		}
	}
	if got := ask("GET /version HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", maxToken) + "\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("headers that are large, but not too large: %q", got)
	}
}

// A handler that panics is an error in our log; what strangers do wrong is not.
func TestPanicsAreLogged(t *testing.T) {
	log := &logged{}
	l, err := Listen(ListenOptions{Address: "127.0.0.1:0", Log: log.Log()})
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oh") }), log.Log())
	go s.Serve(l.All()[0])
	defer l.Close()
	defer s.Close()
	if answer, err := http.Get(l.URL()); err == nil {
		answer.Body.Close()
		t.Errorf("answered %s", answer.Status)
	}
	eventually(t, "it is logged", func() bool {
		return strings.Contains(log.String(), "level=ERROR") && strings.Contains(log.String(), "panic serving")
	})
	before := strings.Count(log.String(), "level=ERROR")
	s.ErrorLog.Print("http: TLS handshake error from 192.0.2.1:1: EOF")
	if strings.Count(log.String(), "level=ERROR") != before || strings.Contains(log.String(), "level=WARN") {
		t.Errorf("%s", log)
	}
}

// Whoever opens connections without end does not keep others out.
func TestConnectionsAreBounded(t *testing.T) {
	counter := &connCounter{byHost: map[string]int{}}
	for i := range maxConnsByHost {
		if !counter.enter("a") {
			t.Fatalf("connection %d is refused", i)
		}
	}
	if counter.enter("a") {
		t.Error("one address has more than its share")
	}
	for i := 0; counter.all < maxConns; i++ {
		if !counter.enter(fmt.Sprint(i)) {
			t.Fatalf("connection %d is refused", counter.all)
		}
	}
	if counter.enter("b") {
		t.Error("there are more than all")
	}
	for i := range maxConnsByHost {
		if !counter.enter(unixHost) {
			t.Fatalf("connection %d to the Unix socket is refused while the network has all others", i)
		}
	}
	if counter.enter(unixHost) {
		t.Error("the Unix socket has no bound")
	}
	counter.leave(unixHost)
	if counter.enter("b") {
		t.Error("one less on the Unix socket is one more for the network")
	}
	counter.leave("a")
	if !counter.enter("b") || counter.enter("a") {
		t.Error("a place that is free is not given to the next")
	}
	for range maxConnsByHost - 1 {
		counter.leave("a")
	}
	if _, ok := counter.byHost["a"]; ok {
		t.Error("an address without connections is remembered")
	}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	full := &connCounter{byHost: map[string]int{"127.0.0.1": maxConnsByHost - 1}}
	l := &countingListener{Listener: ln, counter: full}
	defer l.Close()
	accepted := make(chan net.Conn, 3)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetReadDeadline(time.Now().Add(time.Minute))
		return c
	}
	dial()
	first := <-accepted
	if _, err := dial().Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one too many is not closed: %v", err)
	}
	first.Close()
	first.Close() // counts once
	dial()
	<-accepted
	if full.byHost["127.0.0.1"] != maxConnsByHost {
		t.Errorf("%d are counted", full.byHost["127.0.0.1"])
	}
}
