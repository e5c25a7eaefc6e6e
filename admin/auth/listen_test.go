package auth

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// served serves a guarded echo on what o opens; header, body and idle time are as given, if any.
func served(t *testing.T, o ListenOptions, change func(*http.Server)) *Listeners {
	t.Helper()
	if o.Log == nil {
		o.Log = (&logged{}).Log()
	}
	l, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	_, h := guarded(t, nil)
	s := NewServer(h, o.Log)
	if change != nil {
		change(s)
	}
	var serving sync.WaitGroup
	for _, ln := range l.All() {
		serving.Go(func() { s.Serve(ln) })
	}
	t.Cleanup(func() {
		s.Close()
		l.Close()
		serving.Wait()
	})
	return l
}

func TestPlaintextOnlyForThisMachine(t *testing.T) {
	ca := testbed.NewCA(t, "ca")
	cert, key := certFiles(t, t.TempDir(), ca.Server(t, "127.0.0.1"))
	inherited := func(address string) []net.Listener {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		return []net.Listener{ln}
	}
	for _, c := range []struct {
		name string
		o    ListenOptions
		ok   bool
		url  string
	}{
		{"loopback", ListenOptions{Address: "127.0.0.1:0"}, true, "http://127.0.0.1:"},
		{"loopback of IPv6", ListenOptions{Address: "[::1]:0"}, true, "http://[::1]:"},
		{"another loopback", ListenOptions{Address: "127.9.9.9:0"}, true, "http://127.9.9.9:"},
		{"loopback mapped into IPv6", ListenOptions{Address: "[::ffff:127.0.0.1]:0"}, true, "http://127.0.0.1:"},
		{"localhost", ListenOptions{Address: "localhost:0"}, true, "http://"},
		{"all", ListenOptions{Address: ":0"}, false, ""},
		{"all of IPv4", ListenOptions{Address: "0.0.0.0:0"}, false, ""},
		{"all of IPv6", ListenOptions{Address: "[::]:0"}, false, ""},
		{"all, inherited", ListenOptions{Inherited: inherited("0.0.0.0:0")}, false, ""},
		{"loopback, inherited", ListenOptions{Inherited: inherited("127.0.0.1:0")}, true, "http://127.0.0.1:"},
		{"all with TLS", ListenOptions{Address: "0.0.0.0:0", CertFile: cert, KeyFile: key}, true, "https://"},
		{"all, insecure", ListenOptions{Address: "0.0.0.0:0", AllowPlaintext: true}, true, "http://"},
		{"none", ListenOptions{Address: "off", SocketPath: "off"}, true, ""},
	} {
		c.o.Log = (&logged{}).Log()
		l, err := Listen(c.o)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil {
			if !errors.Is(err, ErrPlaintext) || !strings.Contains(err.Error(), "--tls-cert") || !strings.Contains(err.Error(), "--insecure-plaintext") {
				t.Errorf("%s: %v", c.name, err)
			}
			for _, ln := range c.o.Inherited {
				if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s: still open: %v", c.name, err)
				}
			}
			continue
		}
		if !strings.HasPrefix(l.URL(), c.url) || (c.url == "") != (l.URL() == "") {
			t.Errorf("%s: %q", c.name, l.URL())
		}
		l.Close()
	}
}

func TestBadTLSFilesAreRefusedAtTheStart(t *testing.T) {
	dir := t.TempDir()
	ca := testbed.NewCA(t, "ca")
	cert, key := certFiles(t, dir, ca.Server(t, "127.0.0.1"))
	_, other := certFiles(t, t.TempDir(), ca.Server(t, "127.0.0.1"))
	for _, c := range []struct{ cert, key, ca, why string }{
		{cert, "", "", "--tls-key"},
		{"", key, "", "--tls-cert"},
		{"", "", cert, "--tls-cert"},
		{filepath.Join(dir, "none"), key, "", "no such file"},
		{cert, other, "", "does not match"},
		{key, cert, "", "--tls-cert"},
		{cert, key, key, "--tls-client-ca"},
		{cert, key, dir, "not a regular file"},
	} {
		l, err := Listen(ListenOptions{Address: "127.0.0.1:0", CertFile: c.cert, KeyFile: c.key, ClientCAFile: c.ca, Log: (&logged{}).Log()})
		if err == nil {
			l.Close()
			t.Errorf("%+v was taken", c)
		} else if !strings.Contains(err.Error(), c.why) {
			t.Errorf("%v: want %q", err, c.why)
		}
	}
}

func certFiles(t *testing.T, dir string, c *testbed.Cert) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	write(t, cert, []byte(c.CertPEM))
	write(t, key, []byte(c.KeyPEM))
	return cert, key
}

// The certificate is changed again and again while requests run; none fails,
// and the new ones are shown.
func TestTLSIsReloadedUnderLoad(t *testing.T) {
	ca := testbed.NewCA(t, "ca")
	dir := t.TempDir()
	first := ca.Server(t, "127.0.0.1")
	cert, key := certFiles(t, dir, first)
	log := &logged{}
	l := served(t, ListenOptions{Address: "127.0.0.1:0", CertFile: cert, KeyFile: key, Log: log.Log()}, nil)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	client := func(keepalive bool) *http.Client {
		return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: !keepalive}}
	}
	shown := func(c *http.Client) string {
		answer, err := c.Get(l.URL() + "/version")
		if err != nil {
			t.Errorf("a request failed: %v", err)
			return ""
		}
		defer answer.Body.Close()
		io.Copy(io.Discard, answer.Body)
		if answer.StatusCode != 200 || answer.ProtoMajor != 1 {
			t.Errorf("%s %s", answer.Proto, answer.Status)
		}
		return answer.TLS.PeerCertificates[0].SerialNumber.String()
	}
	stop := make(chan struct{})
	var busy sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); busy.Wait() })
	defer end()
	var done atomic.Int64
	for i := range 4 {
		busy.Go(func() {
			c := client(i%2 == 0)
			defer c.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
					shown(c)
					done.Add(1)
				}
			}
		})
	}
	c := client(false)
	if shown(c) != first.Cert.SerialNumber.String() {
		t.Error("not the first certificate")
	}
	second := ca.Server(t, "127.0.0.1")
	certFiles(t, dir, second)
	eventually(t, "the second is shown", func() bool { return shown(c) == second.Cert.SerialNumber.String() })
	// A pair that does not fit, as between the writing of two files.
	write(t, key, []byte(first.KeyPEM))
	eventually(t, "the broken pair is said", func() bool { return strings.Contains(log.String(), "does not match") })
	if shown(c) != second.Cert.SerialNumber.String() {
		t.Error("not the second certificate")
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	eventually(t, "that it is gone is said", func() bool { return strings.Contains(log.String(), "no such file") })
	third := ca.Server(t, "127.0.0.1")
	certFiles(t, dir, third)
	eventually(t, "the third is shown", func() bool { return shown(c) == third.Cert.SerialNumber.String() })
	end()
	if done.Load() < 100 {
		t.Errorf("there were only %d requests", done.Load())
	}
	if strings.Contains(log.String(), "PRIVATE") {
		t.Error("the log holds a key")
	}
}

func TestClientCertificates(t *testing.T) {
	ca, other := testbed.NewCA(t, "ca"), testbed.NewCA(t, "ca")
	dir := t.TempDir()
	cert, key := certFiles(t, dir, ca.Server(t, "127.0.0.1"))
	clientCA := filepath.Join(dir, "clients.pem")
	write(t, clientCA, []byte(ca.PEM))
	l := served(t, ListenOptions{Address: "127.0.0.1:0", CertFile: cert, KeyFile: key, ClientCAFile: clientCA}, nil)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	ask := func(c *testbed.Cert, path string) (int, error) {
		config := &tls.Config{RootCAs: pool}
		if c != nil {
			pair, err := tls.X509KeyPair([]byte(c.CertPEM), []byte(c.KeyPEM))
			if err != nil {
				t.Fatal(err)
			}
			config.Certificates = []tls.Certificate{pair}
		}
		client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
		answer, err := client.Get(l.URL() + path)
		if err != nil {
			return 0, err
		}
		answer.Body.Close()
		return answer.StatusCode, nil
	}
	mine, others := ca.Client(t, "me"), other.Client(t, "me")
	if code, err := ask(mine, "/version"); err != nil || code != 200 {
		t.Errorf("with a certificate: %d %v", code, err)
	}
	if code, err := ask(mine, "/api/x"); err != nil || code != 401 {
		t.Errorf("a certificate alone: %d %v", code, err)
	}
	if _, err := ask(nil, "/version"); err == nil {
		t.Error("without a certificate it is let in")
	}
	if _, err := ask(others, "/version"); err == nil {
		t.Error("with another authority's certificate it is let in")
	}
	// Another authority, from now on.
	write(t, clientCA, []byte(other.PEM))
	eventually(t, "the other authority counts", func() bool { code, err := ask(others, "/version"); return err == nil && code == 200 })
	if _, err := ask(mine, "/version"); err == nil {
		t.Error("the former authority still counts")
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	ca := testbed.NewCA(t, "ca")
	cert, key := certFiles(t, t.TempDir(), ca.Server(t, "127.0.0.1"))
	l := served(t, ListenOptions{Address: "127.0.0.1:0", CertFile: cert, KeyFile: key}, nil)
	for version, ok := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		c, err := tls.Dial("tcp", strings.TrimPrefix(l.URL(), "https://"), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: version})
		if (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			c.Close()
		}
	}
}

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
	c.SetDeadline(start.Add(20 * time.Second))
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
	l := served(t, ListenOptions{Address: "127.0.0.1:0"}, func(s *http.Server) {
		if s.ReadHeaderTimeout != readHeaderTimeout || s.ReadTimeout != readTimeout {
			t.Errorf("the server's times are %s and %s", s.ReadHeaderTimeout, s.ReadTimeout)
		}
		s.ReadHeaderTimeout, s.ReadTimeout, s.IdleTimeout = 300*time.Millisecond, 600*time.Millisecond, 300*time.Millisecond
	})
	address := strings.TrimPrefix(l.URL(), "http://")
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
			answer, took := slowly(t, address, c.begin, c.piece)
			if !strings.HasPrefix(answer, c.want) || c.want == "" && strings.HasPrefix(answer, "HTTP/1.1 2") {
				t.Errorf("answered: %q", answer)
			}
			if took > 10*time.Second {
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
		c.SetDeadline(time.Now().Add(20 * time.Second))
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
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
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
