package loki

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/filetext"
	"github.com/lbshipd/lbshipd/internal/tlsbundle"
	"github.com/lbshipd/lbshipd/sinks"
)

// pushPath is added to a URL without a path.
const pushPath = "/loki/api/v1/push"

// client is the HTTP side of a sink.
type client struct {
	http    *http.Client
	url     *url.URL
	shown   string // the URL without its password, for messages
	timeout time.Duration
	tenant  string

	username     string
	password     string
	passwordFile *filetext.File
	token        string
	tokenFile    *filetext.File
}

func newClient(t *config.Target, d *sinks.Deps) (*client, error) {
	l := t.Loki
	u, err := url.Parse(l.URL)
	if err != nil {
		// The parser's error repeats the URL, which may hold a password.
		return nil, errors.New("url: is not a URL")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("url: %s: want http://HOST[:PORT] or https://HOST[:PORT]", u.Redacted())
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = pushPath
	}
	c := &client{url: u, shown: u.Redacted(), tenant: l.TenantID, timeout: time.Duration(l.Timeout), token: l.BearerToken.Reveal()}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	if l.BearerTokenFile != "" {
		c.tokenFile = filetext.New(l.BearerTokenFile)
	}
	if a := l.BasicAuth; a != nil {
		c.username, c.password = a.Username, a.Password.Reveal()
		if a.PasswordFile != "" {
			c.passwordFile = filetext.New(a.PasswordFile)
		}
	}
	tc, err := tlsConfig(l.ServerName, d.Bundle)
	if err != nil {
		return nil, err
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: c.timeout, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:       tc,
			TLSHandshakeTimeout:   c.timeout,
			ForceAttemptHTTP2:     true,
			DisableCompression:    true,
			MaxIdleConnsPerHost:   2,
			IdleConnTimeout:       90 * time.Second,
			ExpectContinueTimeout: time.Second,
			WriteBufferSize:       64 << 10,
		},
		// A push that is led elsewhere would be sent as a GET, or with its
		// credentials to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// tlsConfig takes the bundle's certificates; its files were read before.
func tlsConfig(serverName string, b *config.TLSBundle) (*tls.Config, error) {
	o := tlsbundle.Options{ServerName: serverName}
	if b != nil {
		o.CAPem, o.CertPem, o.KeyPem = b.CAPem, b.CertPem, b.KeyPem.Reveal()
	}
	c, err := tlsbundle.Client(o)
	if err != nil {
		return nil, fmt.Errorf("TLS bundle %q: %w", b.Name, err)
	}
	return c, nil
}

// body is a request's body that says when the transport is done with it: a
// request may return, with an error or an early answer, while it is still being
// written (net/http, RoundTripper).
type body struct {
	bytes.Reader
	open *atomic.Int32
}

func (b *body) Close() error { b.open.Add(-1); return nil }

// do posts one request. reusable says that nothing reads data any more.
func (c *client) do(ctx context.Context, data []byte) (a *answer, reusable bool, failed *sinks.Error) {
	header, err := c.header()
	if err != nil {
		return nil, true, &sinks.Error{Class: sinks.ClassLocal, Err: err}
	}
	timed, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	open := new(atomic.Int32)
	newBody := func() (io.ReadCloser, error) {
		b := &body{open: open}
		b.Reset(data)
		open.Add(1)
		return b, nil
	}
	first, _ := newBody()
	req := (&http.Request{
		Method: http.MethodPost, URL: c.url, Host: c.url.Host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: first, GetBody: newBody, ContentLength: int64(len(data)),
	}).WithContext(timed)
	res, err := c.http.Do(req)
	if err == nil {
		a, err = readAnswer(res)
	}
	if err == nil {
		a.sent = header.Get("Authorization")
	}
	reusable = open.Load() == 0
	if err != nil {
		return nil, reusable, c.failure(ctx, err)
	}
	return a, reusable, nil
}

// readAnswer reads a bounded part of the answer. The words of a success do not
// matter, nor whether they are complete.
func readAnswer(res *http.Response) (*answer, error) {
	defer res.Body.Close()
	var text []byte
	body, err := plainBody(res)
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(body, maxBody+1))
	}
	a := &answer{status: res.StatusCode, header: res.Header, body: string(text), whole: len(text) <= maxBody}
	if err != nil && !a.ok() {
		return nil, fmt.Errorf("reading the answer (HTTP %d): %w", res.StatusCode, err)
	}
	return a, nil
}

// plainBody undoes gzip, with which a proxy may send an answer whether it was
// asked for or not (RFC 9110 section 12.5.3).
func plainBody(res *http.Response) (io.Reader, error) {
	if !strings.EqualFold(res.Header.Get("Content-Encoding"), "gzip") {
		return res.Body, nil
	}
	return gzip.NewReader(res.Body)
}

// header makes the headers of one request; secrets in files are as they are
// now.
func (c *client) header() (http.Header, error) {
	h := http.Header{
		"Content-Type": {"application/x-protobuf"},
		"User-Agent":   {"lbshipd/" + Version},
		// A key without a value is not sent; it tells net/http that a push may
		// be repeated on a new connection if the server closed an idle one.
		"Idempotency-Key": nil,
	}
	if c.tenant != "" {
		h["X-Scope-Orgid"] = []string{c.tenant}
	}
	token, password := c.token, c.password
	var err error
	if c.tokenFile != nil {
		if token, err = c.tokenFile.Text(); err != nil {
			return nil, fmt.Errorf("bearerTokenFile: %w", err)
		}
	}
	if c.passwordFile != nil {
		if password, err = c.passwordFile.Text(); err != nil {
			return nil, fmt.Errorf("basicAuth.passwordFile: %w", err)
		}
	}
	switch {
	case token != "":
		h["Authorization"] = []string{"Bearer " + token}
	case c.username != "" || password != "":
		h["Authorization"] = []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(c.username+":"+password))}
	}
	return h, nil
}

// forgetSecrets makes secrets in files be read again: they were refused.
func (c *client) forgetSecrets() {
	if c.tokenFile != nil {
		c.tokenFile.Forget()
	}
	if c.passwordFile != nil {
		c.passwordFile.Forget()
	}
}

// failure gives an error of net/http its class. ctx is the caller's.
func (c *client) failure(ctx context.Context, err error) *sinks.Error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // without the URL, which we say ourselves
	}
	class := errorClass(err)
	if ctx.Err() != nil {
		class, err = sinks.ClassShutdown, context.Cause(ctx)
	}
	return &sinks.Error{Class: class, Err: fmt.Errorf("pushing to %s: %w", c.shown, err)}
}

func errorClass(err error) string {
	var (
		dns     *net.DNSError
		op      *net.OpError
		alert   tls.AlertError
		rec     tls.RecordHeaderError
		cert    *tls.CertificateVerificationError
		timeout interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &dns):
		return sinks.ClassResolve
	case errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error"): // TLS alerts
		return sinks.ClassTLS
	case errors.As(err, &alert), errors.As(err, &rec), errors.As(err, &cert),
		errors.As(err, new(x509.UnknownAuthorityError)), errors.As(err, new(x509.HostnameError)),
		errors.As(err, new(x509.CertificateInvalidError)),
		errors.Is(err, http.ErrSchemeMismatch):
		return sinks.ClassTLS
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return sinks.ClassTimeout
	case errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect"):
		return sinks.ClassConnect
	}
	return sinks.ClassBroken
}
