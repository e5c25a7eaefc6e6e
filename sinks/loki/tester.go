package loki

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lbshipd/lbshipd/internal/tlsbundle"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
	"github.com/lbshipd/lbshipd/sinks/probe"
)

var _ sinks.Tester = (*Sink)(nil)

// Test implements sinks.Tester: the name, a connection to each of its
// addresses, TLS, an empty push, and a push of one record in the stream
// {source="lbshipd-test", host="..."} (and the target's own labels). Behind a proxy, the name and the
// connections are the proxy's.
func (s *Sink) Test(ctx context.Context, by string) []sinks.Step {
	return s.test(ctx, func(ctx context.Context, p *probe.Steps) { s.testRecord(ctx, p, by) })
}

// Probe implements sinks.Tester: Test up to the empty push.
func (s *Sink) Probe(ctx context.Context) []sinks.Step {
	return s.test(ctx, func(context.Context, *probe.Steps) {})
}

// test takes the steps up to the empty push, and then what is left to do.
func (s *Sink) test(ctx context.Context, then func(context.Context, *probe.Steps)) []sinks.Step {
	c := s.client
	p := probe.New("", c.timeout)
	p.Hide = c.secrets()
	transport := c.http.Transport.(*http.Transport).Clone()
	peer, through := c.url, ""
	proxy, err := transport.Proxy(&http.Request{URL: c.url})
	switch {
	case err != nil:
		p.Add(sinks.StepConfig, "", fmt.Errorf("the proxy of the environment (HTTPS_PROXY, HTTP_PROXY): %w", err), 0)
		return p.List()
	case proxy != nil:
		peer, through = proxy, " through the proxy "+proxy.Redacted()
		p.Hide = append(p.Hide, urlSecrets(proxy)...)
	}
	addresses, ok := p.Resolve(ctx, peer.Hostname())
	if !ok {
		return p.List()
	}
	conn, ok := p.Connect(ctx, addresses, portOf(peer))
	if !ok {
		return p.List()
	}
	defer conn.Close()
	var h handshake
	transport.TLSClientConfig = tlsbundle.Watch(transport.TLSClientConfig, &h.watched)
	transport.DialContext = once(conn)
	c.http = &http.Client{Transport: transport, CheckRedirect: c.http.CheckRedirect}
	defer c.http.CloseIdleConnections()
	ctx = httptrace.WithClientTrace(ctx, h.trace())
	if s.testHTTP(ctx, p, &h, through) {
		then(ctx, p)
	}
	return p.List()
}

// once returns the connection that is there, and after that new ones to where
// it leads.
func once(conn *net.TCPConn) func(context.Context, string, string) (net.Conn, error) {
	var used atomic.Bool
	to := conn.RemoteAddr().String()
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		if used.CompareAndSwap(false, true) {
			return conn, nil
		}
		return new(net.Dialer).DialContext(ctx, "tcp", to)
	}
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	case strings.HasPrefix(u.Scheme, "socks5"):
		return "1080"
	}
	return "80"
}

var errNoHandshake = errors.New("no answer to the TLS handshake: does the server speak TLS on that port?")

// handshake is what the last TLS handshake of the transport was like.
type handshake struct {
	watched tlsbundle.Shown // written while a handshake runs

	mu    sync.Mutex
	done  bool
	began time.Time
	took  time.Duration
	state tls.ConnectionState
	shown tlsbundle.Shown
	err   error
}

func (h *handshake) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		TLSHandshakeStart: func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.began = time.Now()
		},
		TLSHandshakeDone: func(state tls.ConnectionState, err error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.done, h.took, h.state, h.shown, h.err = true, time.Since(h.began), state, h.watched, err
		},
	}
}

// isKeptBack reports whether an error may be the server's refusal of our
// certificate in the words of net/http's HTTP/2, which keeps to itself what TLS
// has said after the handshake.
func (h *handshake) isKeptBack(err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.done && h.shown.Asked && h.state.NegotiatedProtocol == "h2" && isBroken(err)
}

// isBroken reports whether a request has failed because its connection ended.
func isBroken(err error) bool {
	var failed *sinks.Error
	return errors.As(err, &failed) && failed.Class == sinks.ClassBroken
}

// http1 returns a transport that is t without HTTP/2.
func http1(t *http.Transport, h *handshake) *http.Transport {
	t.CloseIdleConnections()
	t = t.Clone()
	t.ForceAttemptHTTP2, t.TLSNextProto, t.Protocols = false, nil, new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.TLSClientConfig = tlsbundle.Watch(t.TLSClientConfig, &h.watched)
	t.TLSClientConfig.NextProtos = nil
	return t
}

// explain says what an error means that came after, or instead of, the
// handshake, and whether it is the handshake's.
func (h *handshake) explain(err error) (error, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var timeout interface{ Timeout() bool }
	switch {
	case !h.done:
		return err, false
	case errors.Is(h.err, context.DeadlineExceeded), errors.As(h.err, &timeout) && timeout.Timeout():
		return errNoHandshake, true
	case h.err != nil, tlsbundle.IsAlert(err), h.shown.Asked && isBroken(err):
		cause := h.err
		if cause == nil {
			cause = err
		}
		if h.err == nil && !tlsbundle.IsAlert(err) && !tlsbundle.IsClosed(err) {
			cause = fmt.Errorf("%w: %w", syscall.ECONNRESET, err) // net/http has words of its own for it
		}
		said := tlsbundle.Explain(cause, h.shown)
		if cert := tlsbundle.Presented(cause); cert != nil {
			said = fmt.Errorf("%w; the certificate is %s", said, tlsbundle.DescribeServer(cert))
		}
		return said, true
	}
	return err, false
}

// tell adds the step of the handshake, if there was one. failed is what came
// after it, or instead; it reports whether that is told with it.
func (h *handshake) tell(p *probe.Steps, failed error) bool {
	var said error
	var its bool
	if failed != nil {
		said, its = h.explain(failed)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.done && (failed == nil || h.began.IsZero()):
		return false
	case !h.done: // it goes on, and nobody waits for it any more
		p.Add(sinks.StepTLS, "", errNoHandshake, time.Since(h.began))
		return true
	case its:
		p.Add(sinks.StepTLS, "", said, h.took)
		return true
	}
	p.Add(sinks.StepTLS, tlsbundle.Describe(h.state, h.shown), nil, h.took)
	return false
}

// testHTTP pushes nothing, which Loki answers in its own words.
func (s *Sink) testHTTP(ctx context.Context, p *probe.Steps, h *handshake, through string) bool {
	start := time.Now()
	a, err := s.testPost(ctx, p, nil)
	if err != nil && h.isKeptBack(err) {
		s.client.http.Transport = http1(s.client.http.Transport.(*http.Transport), h)
		if _, again := s.testPost(ctx, p, nil); again != nil {
			err = again
		}
	}
	if h.tell(p, err) {
		return false
	}
	if err != nil {
		return p.Add(sinks.StepHTTP, "", s.failedTest(ctx, err), time.Since(start))
	}
	took := time.Since(start)
	words := fmt.Sprintf("HTTP %d from %s%s", a.status, s.client.shown, through)
	switch {
	case a.ok():
		return p.Add(sinks.StepHTTP, words+" to an empty push", nil, took)
	case a.status == http.StatusUnprocessableEntity && knownEmpty(a.body):
		return p.Add(sinks.StepHTTP, words+": it is Loki, and says of an empty push what it should: "+cutDetail(a.body), nil, took)
	case (a.status == http.StatusBadRequest || a.status == http.StatusUnprocessableEntity) && !a.isPage():
		return p.Add(sinks.StepHTTP, words+" to an empty push: "+cutDetail(a.body), nil, took)
	}
	return p.Add(sinks.StepHTTP, "", s.refusedTest(a), took)
}

// testRecord pushes one marked record.
func (s *Sink) testRecord(ctx context.Context, p *probe.Steps, by string) bool {
	b := record.NewBatch()
	defer b.Release()
	b.Origin = &record.Origin{Source: probe.Source, Kind: "test", Host: s.deps.Host,
		Labels: []record.Label{{Name: "host", Value: s.deps.Host}, {Name: "source", Value: probe.Source}}}
	r := b.Add()
	r.Time, r.Level = s.now().UnixNano(), record.LevelInfo
	r.Line = b.Copy([]byte(probe.Line(s.deps.Host, s.name, by)))
	r.Message = r.Line
	s.fill([]*record.Batch{b})
	defer s.group.forget()
	st := s.group.streams[0]
	return p.Do(ctx, sinks.StepRecord, func(ctx context.Context) (string, error) {
		a, err := s.testPost(ctx, p, []part{st.cut(0, s.cap())})
		switch {
		case err != nil:
			return "", s.failedTest(ctx, err)
		case !a.ok():
			return "", s.refusedTest(a)
		}
		return fmt.Sprintf("HTTP %d: one record is in the stream %s", a.status, st.labels), nil
	})
}

// testPost sends one request; what is answered has no secret in it.
func (s *Sink) testPost(ctx context.Context, p *probe.Steps, parts []part) (*answer, error) {
	a, err := s.post(ctx, parts)
	if err == nil {
		a.body = p.Without(a.body)
	}
	return a, err
}

// failedTest says what a request without an answer means.
func (s *Sink) failedTest(ctx context.Context, err error) error {
	var failed *sinks.Error
	if !errors.As(err, &failed) {
		return err
	}
	switch {
	case failed.Class == sinks.ClassTimeout || failed.Class == sinks.ClassShutdown && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no answer from %s within %s", s.client.shown, s.client.timeout)
	case failed.Class == sinks.ClassShutdown:
		return errors.New("the test was ended")
	case failed.Class == sinks.ClassTLS && errors.Is(failed.Err, http.ErrSchemeMismatch):
		return errors.New("the server does not speak TLS: is its URL one with http://?")
	}
	return failed.Err
}

// refusedTest says what an answer means that is not a yes.
func (s *Sink) refusedTest(a *answer) error {
	said := fmt.Sprintf("HTTP %d %s from %s", a.status, http.StatusText(a.status), s.client.shown)
	if words := cutDetail(a.body); words != "" {
		said += ": " + words
	}
	switch {
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		return probe.Because(sinks.CauseAuth, fmt.Errorf("%s; what was sent: %s", said, s.client.sent()))
	case a.header.Get("Location") != "":
		return fmt.Errorf("%s; it redirects to %s, where no push follows: give the URL that it leads to", said, cutDetail(a.header.Get("Location")))
	case a.status == http.StatusNotFound, a.status == http.StatusMethodNotAllowed, a.isPage():
		return probe.Because(sinks.CauseNotLoki, fmt.Errorf("%s; this is not Loki's push API: is that URL right?", said))
	case a.status == http.StatusTooManyRequests:
		return probe.Because(sinks.CauseLimited, fmt.Errorf("%s; the tenant's limits are reached, records are sent again until they pass", said))
	}
	return errors.New(said)
}

// sent says which credentials a request carries, without the secrets.
func (c *client) sent() string {
	said := "no credentials"
	h, _ := c.header()
	authorization := h.Get("Authorization")
	switch {
	case strings.HasPrefix(authorization, "Bearer ") && c.tokenFile != nil:
		said = "the bearer token of bearerTokenFile"
	case strings.HasPrefix(authorization, "Bearer "):
		said = "a bearer token"
	case authorization != "":
		said = fmt.Sprintf("basic authentication as %q", c.username)
	case c.url.User != nil:
		said = fmt.Sprintf("basic authentication as %q, out of the URL", c.url.User.Username())
	}
	if c.tenant == "" {
		return said + ", no tenant (tenantId)"
	}
	return fmt.Sprintf("%s, the tenant %q", said, c.tenant)
}

// secrets lists what no message may repeat.
func (c *client) secrets() []string {
	list := []string{c.token, c.password}
	if h, err := c.header(); err == nil {
		_, value, _ := strings.Cut(h.Get("Authorization"), " ")
		list = append(list, value)
	}
	if c.passwordFile != nil {
		if text, err := c.passwordFile.Text(); err == nil {
			list = append(list, text)
		}
	}
	return append(list, urlSecrets(c.url)...)
}

func urlSecrets(u *url.URL) []string {
	password, ok := u.User.Password()
	if !ok {
		return nil
	}
	return []string{password, base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))}
}
