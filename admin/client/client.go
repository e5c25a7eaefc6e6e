// Package client asks a daemon's REST API (/api/v2/logs): what the command line
// is made of. Its errors say what can be done about them.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// Limits of one request.
const (
	DefaultTimeout = 10 * time.Second
	maxAnswer      = 64 << 20 // bytes
	maxErrorBody   = 1 << 20  // bytes
	root           = "/api/v2/logs"
)

// Options say which daemon to ask, and as whom.
type Options struct {
	// Endpoint is unix:/path/admin.sock, http://HOST:PORT or https://HOST:PORT.
	Endpoint string
	// Token is a JWT; empty for none. It is never part of an error.
	Token string
	// CAFile is a PEM file with the authorities that sign the server's
	// certificate. Default: the system's. CertFile and KeyFile are what is shown to the server.
	CAFile, CertFile, KeyFile string
	// Timeout bounds each request; 0 stands for DefaultTimeout.
	Timeout time.Duration
	// Agent is sent as User-Agent.
	Agent string
}

// Client asks one daemon. It may be used by several goroutines. It needs no closing.
type Client struct {
	o      Options
	base   string
	socket string // path, if it is one
	http   *http.Client
}

// New makes a Client; nothing is connected to yet.
func New(o Options) (*Client, error) {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	c := &Client{o: o}
	// No proxy lies between us and the daemon, and a token is not carried elsewhere by a redirect.
	transport := &http.Transport{ForceAttemptHTTP2: true}
	c.http = &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if path, ok := strings.CutPrefix(o.Endpoint, "unix:"); ok {
		if strings.HasPrefix(path, "//") {
			path = path[2:] // unix:///run/... is the same
		}
		if path == "" {
			return nil, fmt.Errorf("endpoint %q: want unix:/PATH, http://HOST:PORT or https://HOST:PORT", o.Endpoint)
		}
		if o.CAFile != "" || o.CertFile != "" || o.KeyFile != "" {
			return nil, fmt.Errorf("endpoint %q is a socket: certificates are for https:// only", o.Endpoint)
		}
		c.socket, c.base = filepath.Clean(path), "http://localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.socket)
		}
		return c, nil
	}
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("endpoint %q: want unix:/PATH, http://HOST:PORT or https://HOST:PORT", redactURL(o.Endpoint))
	}
	c.base = u.Scheme + "://" + u.Host + strings.TrimSuffix(strings.TrimRight(u.Path, "/"), root)
	transport.TLSClientConfig, err = tlsConfig(&o)
	if err == nil && u.Scheme == "http" && transport.TLSClientConfig.Certificates != nil {
		err = fmt.Errorf("endpoint %q is without TLS: certificates are for https:// only", o.Endpoint)
	}
	return c, err
}

// redactURL leaves out what may be a password.
func redactURL(text string) string {
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		return "..." + text[i:]
	}
	return text
}

func tlsConfig(o *Options) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		text, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading the CA certificates: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate (PEM)", o.CAFile)
		}
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return nil, errors.New("a client certificate takes both, its certificate and its key")
	}
	if o.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("reading the client certificate: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// Endpoint returns what is asked, as people write it.
func (c *Client) Endpoint() string {
	if c.socket != "" {
		return "unix:" + c.socket
	}
	return c.base
}

// call is one request.
type call struct {
	method, path string // below root, unless bare
	bare         bool
	query        url.Values
	body         []byte
	ifMatch      string // etag
	ifNoneMatch  string
}

// writes reports whether the daemon is asked to change something.
func (r *call) writes() bool {
	return r.method != http.MethodGet && r.query.Get("dryRun") != "true" && !strings.HasSuffix(r.path, "/test")
}

// url is what is asked, without the query.
func (r *call) url() string {
	if r.bare {
		return r.path
	}
	return root + r.path
}

// answer is what came back, of 2xx or 304.
type answer struct {
	status   int
	etag     string
	warnings []string
	body     []byte
}

// send makes one request. Its error is an *Error (the daemon said no), or an *UnreachableError.
func (c *Client) send(ctx context.Context, r call) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	target := c.base + r.url()
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, bytes.NewReader(r.body))
	if err != nil {
		return answer{}, fmt.Errorf("asking %s: %w", c.Endpoint(), err)
	}
	c.header(req, &r)
	var sent atomic.Bool
	req = req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }}))
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, c.unclear(&r, sent.Load(), c.unreachable(err))
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, etag: resp.Header.Get("ETag"), warnings: warnings(resp.Header)}
	if a.status == http.StatusNotModified {
		return a, nil
	}
	if a.status/100 != 2 {
		// What cannot be read of an error leaves its status.
		a.body, _ = io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		return a, c.refused(&r, resp, a.body)
	}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1)); err != nil {
		return a, c.unclear(&r, true, c.unreachable(fmt.Errorf("reading the answer: %w", err)))
	}
	if len(a.body) > maxAnswer {
		return a, fmt.Errorf("the answer of %s is longer than %d bytes", c.Endpoint(), maxAnswer)
	}
	return a, nil
}

func (c *Client) header(req *http.Request, r *call) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.o.Agent)
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.o.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.o.Token)
	}
	if r.ifMatch != "" {
		req.Header.Set("If-Match", r.ifMatch)
	}
	if r.ifNoneMatch != "" {
		req.Header.Set("If-None-Match", r.ifNoneMatch)
	}
}

// ask sends a request and decodes the answer into v.
func (c *Client) ask(ctx context.Context, r call, v any) (answer, error) {
	a, err := c.send(ctx, r)
	if err != nil || a.status == http.StatusNotModified {
		return a, err
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		return a, fmt.Errorf("the answer of %s to %s %s cannot be read (is that lbshipd's admin port?): %w", c.Endpoint(), r.method, r.url(), err)
	}
	return a, nil
}

// warnings reads the Warning headers: 299 lbshipd "TEXT".
func warnings(h http.Header) (list []string) {
	for _, value := range h.Values("Warning") {
		if _, quoted, ok := strings.Cut(value, `"`); ok {
			text := strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(strings.TrimSuffix(quoted, `"`))
			list = append(list, text)
		}
	}
	return list
}
