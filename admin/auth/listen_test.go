package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
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

// A Unix socket that somebody else has opened is known by its path, and stays when we end.
func TestInheritedUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false) // as net.FileListener's
	l := served(t, ListenOptions{Inherited: []net.Listener{ln}}, nil)
	if l.SocketPath() != path || l.URL() != "" {
		t.Errorf("the socket is %q, the URL %q", l.SocketPath(), l.URL())
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
	answer, err := c.Get("http://unix/api/x")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 200 {
		t.Errorf("its owner is answered %s", answer.Status)
	}
	l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
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
		return &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: !keepalive}}
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
		client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
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
