package e2e

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// slowHeaders begins a request that never gets on; what it returns waits until it has been hung up on.
func (f *fortress) slowHeaders() (wait func()) {
	f.t.Helper()
	c, began := f.dial(), time.Now()
	over := make(chan time.Duration, 1)
	go func() {
		for _, b := range []byte("GET /api/v2/logs/sources HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: y\r\n", 100)) {
			if _, err := c.Write([]byte{b}); err != nil {
				break
			}
			<-time.After(200 * time.Millisecond) // slowly is the point
		}
	}()
	go func() {
		io.Copy(io.Discard, c)
		over <- time.Since(began)
		c.Close()
	}()
	return func() {
		f.t.Helper()
		if took := <-over; took > 20*time.Second {
			f.t.Errorf("a slow sender of headers was hung up on after %v", took)
		} else {
			f.t.Logf("figure: a slow sender of headers is hung up on after %d ms", took.Milliseconds())
		}
	}
}

// connections are attacks below HTTP, or on how it is framed.
func (f *fortress) connections() {
	t, viewer := f.t, f.token("viewer")
	head := "GET /api/v2/logs/sources HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + viewer + "\r\n"
	for name, c := range map[string]struct {
		text   string
		status int
	}{
		"large headers":          {head + "X: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", 431},
		"two lengths":            {strings.Replace(head, "GET", "POST", 1) + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400},
		"no HTTP":                {"\x16\x03\x01hello\r\n\r\n", 400},
		"no host":                {"GET /api/v2/logs/sources HTTP/1.1\r\n\r\n", 400},
		"a header in two lines":  {head + " folded\r\nBad Header: x\r\n\r\n", 400},
		"unknown transfer":       {strings.Replace(head, "GET", "POST", 1) + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
		"announced, never comes": {strings.Replace(head, "GET", "POST", 1) + "Content-Type: application/json\r\nContent-Length: 1000000000000\r\n\r\n", 413},
		"TRACE":                  {strings.Replace(head, "GET", "TRACE", 1) + "\r\n", 405},
		"CONNECT":                {"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n", 401},
	} {
		if status, body := f.raw(c.text); status != c.status {
			t.Errorf("%s: %d %.300s, want %d", name, status, body, c.status)
		}
	}
	if resp, err := http.Get("http://" + f.admin + "/api/v2/logs/sources"); err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("without TLS: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	old := f.http.Transport.(*http.Transport).TLSClientConfig.Clone()
	old.MaxVersion, old.MinVersion = tls.VersionTLS11, tls.VersionTLS10
	if c, err := tls.Dial("tcp", f.admin, old); err == nil {
		c.Close()
		t.Error("TLS 1.1 is taken")
	}
	// One address that guesses tokens is told to wait, others are not.
	guess := func() int {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: f.http.Transport.(*http.Transport).TLSClientConfig,
			DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 77, 0, 1)}}).DialContext}}
		defer c.CloseIdleConnections()
		resp, err := c.Get(f.url + "/api/v2/logs/sources")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	last := 0
	for range 200 {
		if last = guess(); last == http.StatusTooManyRequests {
			break
		}
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("who guesses tokens gets %d at last", last)
	}
	if status, body := f.send(&attack{token: viewer, method: "GET", path: "/sources"}); status != 200 {
		t.Errorf("another one, meanwhile: %d %s", status, body)
	}
}
