package loki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grafana/loki/pkg/push"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/sinks"
)

// test makes a sink of its own and tests its target.
func test(t *testing.T, l config.LokiTarget, bundle *config.TLSBundle) sinks.TestReport {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return sinks.NewTestReport(newRig(t, l, bundle).Test(ctx, "alice"))
}

// show writes the steps as a reader sees them.
func show(r sinks.TestReport) string {
	var b strings.Builder
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "%s %v %.3fs: %s\n", s.Name, s.OK, s.Seconds, s.Message)
	}
	return b.String()
}

// wantSteps holds a report against the names of its steps: the last one has
// failed if it begins with "!".
func wantSteps(t *testing.T, r sinks.TestReport, steps string, says ...string) {
	t.Helper()
	var got []string
	last := ""
	for _, s := range r.Steps {
		name := s.Name
		if !s.OK {
			name = "!" + name
		}
		got, last = append(got, name), s.Message
		if s.Message == "" || strings.ContainsAny(s.Message, "\n\r\x1b") || s.Seconds < 0 || s.Seconds > 30 {
			t.Errorf("step %+v", s)
		}
	}
	if strings.Join(got, " ") != steps || r.OK == strings.Contains(steps, "!") {
		t.Errorf("steps %v (ok: %v), want %s:\n%s", got, r.OK, steps, show(r))
	}
	for _, word := range says {
		if !strings.Contains(last, word) {
			t.Errorf("%q is not in: %s", word, last)
		}
	}
}

func TestTestOfALokiThatWorks(t *testing.T) {
	f := newFake(t)
	streams := make(chan []push.Stream, 3)
	f.decide(func(_ http.ResponseWriter, _ *http.Request, req *push.PushRequest) bool {
		streams <- req.Streams
		return true
	})
	r := test(t, config.LokiTarget{URL: f.URL, Labels: map[string]string{"cluster": "prod", "host": "no"}, StreamLabels: []string{"level"}}, nil)
	wantSteps(t, r, "dns tcp http record", "HTTP 204", `{cluster="prod", host="node1", level="info", source="lbshipd-test"}`)
	if len(f.lines) != 1 || !strings.HasPrefix(f.lines[0], "lbshipd test record: alice has the target t tested from node1") {
		t.Errorf("sent %q", f.lines)
	}
	if empty := <-streams; len(empty) != 0 {
		t.Errorf("the first push had %v", empty)
	}
	if sent := <-streams; len(sent) != 1 || sent[0].Labels != `{cluster="prod", host="node1", level="info", source="lbshipd-test"}` || time.Since(sent[0].Entries[0].Timestamp).Abs() > time.Minute {
		t.Errorf("sent %v", sent)
	}
	if !strings.Contains(r.Steps[2].Message, "it is Loki") {
		t.Error(show(r))
	}
	// A name with several addresses of which one answers does.
	_, port, _ := net.SplitHostPort(f.Listener.Addr().String())
	r = test(t, config.LokiTarget{URL: "http://localhost:" + port}, nil)
	wantSteps(t, r, "dns tcp http record")
	if !strings.Contains(r.Steps[0].Message, "localhost has ") || !strings.Contains(r.Steps[1].Message, "127.0.0.1:"+port+": connected") {
		t.Error(show(r))
	}
}

// A probe is a test that leaves nothing behind, and says of what kind a failure is.
func TestProbe(t *testing.T) {
	ca := testbed.NewCA(t, "ours")
	trusts := &config.TLSBundle{Name: "b", CAPem: ca.PEM}
	status := func(code int) string {
		f := newFake(t)
		f.decide(func(w http.ResponseWriter, _ *http.Request, req *push.PushRequest) bool {
			if len(req.Streams) > 0 {
				t.Error("a record was sent")
			}
			w.WriteHeader(code)
			return false
		})
		return f.URL
	}
	good := newFake(t)
	gone := newFake(t)
	gone.Close()
	for name, c := range map[string]struct {
		url, steps, cause string
		bundle            *config.TLSBundle
	}{
		"works":   {good.URL, "dns tcp http", "", nil},
		"name":    {"http://loki.invalid", "!dns", sinks.CauseName, nil},
		"refused": {gone.URL, "dns !tcp", sinks.CauseRefused, nil},
		"expired": {serveTLS(t, ca.Expired(t, "127.0.0.1"), nil), "dns tcp !tls", sinks.CauseExpired, trusts},
		"CA":      {serveTLS(t, ca.Server(t, "127.0.0.1"), nil), "dns tcp !tls", sinks.CauseAuthority, nil},
		"host":    {serveTLS(t, ca.Server(t, "loki.test"), nil), "dns tcp !tls", sinks.CauseServerName, trusts},
		"no cert": {serveTLS(t, ca.Server(t, "127.0.0.1"), ca), "dns tcp !tls", sinks.CauseHandshake, trusts},
		"401":     {status(401), "dns tcp !http", sinks.CauseAuth, nil},
		"429":     {status(429), "dns tcp !http", sinks.CauseLimited, nil},
		"404":     {status(404), "dns tcp !http", sinks.CauseNotLoki, nil},
		"500":     {status(500), "dns tcp !http", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			r := sinks.NewTestReport(newRig(t, config.LokiTarget{URL: c.url}, c.bundle).Probe(ctx))
			wantSteps(t, r, c.steps)
			if got := r.Steps[len(r.Steps)-1].Cause; got != c.cause {
				t.Errorf("cause %q, want %q:\n%s", got, c.cause, show(r))
			}
		})
	}
	if len(good.lines) > 0 {
		t.Errorf("sent %q", good.lines)
	}
}

func TestTestSaysWhatLokiRefuses(t *testing.T) {
	const secret = "geheimnis"
	echo := func(status int, body string) func(http.ResponseWriter, *http.Request, *push.PushRequest) bool {
		return func(w http.ResponseWriter, r *http.Request, _ *push.PushRequest) bool {
			http.Error(w, body+" You sent "+r.Header.Get("Authorization"), status)
			return false
		}
	}
	full := func(w http.ResponseWriter, _ *http.Request, req *push.PushRequest) bool {
		if len(req.Streams) == 0 {
			return true
		}
		http.Error(w, "Maximum active stream limit exceeded\x1b[2J", 429)
		return false
	}
	basic := config.LokiTarget{BasicAuth: &config.BasicAuth{Username: "bob", Password: secret}, TenantID: "storage"}
	token := t.TempDir() + "/token"
	if err := os.WriteFile(token, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request, *push.PushRequest) bool
		target config.LokiTarget
		path   string
		steps  string
		says   []string
	}{
		"401, basic":          {echo(401, "who?"), basic, "", "dns tcp !http", []string{"HTTP 401 Unauthorized", "who?", `basic authentication as "bob", the tenant "storage"`}},
		"403, token":          {echo(403, "no"), config.LokiTarget{BearerToken: secret}, "", "dns tcp !http", []string{"HTTP 403", "a bearer token, no tenant"}},
		"401, token of file":  {echo(401, "no"), config.LokiTarget{BearerTokenFile: token}, "", "dns tcp !http", []string{"the bearer token of bearerTokenFile"}},
		"token of no file":    {nil, config.LokiTarget{BearerTokenFile: token + "x"}, "", "dns tcp !http", []string{"bearerTokenFile", token + "x"}},
		"401, nothing sent":   {echo(401, "no org id"), config.LokiTarget{}, "", "dns tcp !http", []string{"no org id", "what was sent: no credentials, no tenant (tenantId)"}},
		"401, URL":            {echo(401, "no"), config.LokiTarget{URL: "http://bob:" + secret + "@"}, "", "dns tcp !http", []string{`as "bob", out of the URL`}},
		"404":                 {echo(404, "page not found"), config.LokiTarget{}, "", "dns tcp !http", []string{"HTTP 404", "is that URL right?"}},
		"a page":              {always(400, "Content-Type", "text/html", "<html>nginx</html>"), config.LokiTarget{}, "", "dns tcp !http", []string{"not Loki's push API"}},
		"elsewhere":           {always(302, "Location", "https://login.test/", ""), config.LokiTarget{}, "", "dns tcp !http", []string{"redirects to https://login.test/"}},
		"500":                 {echo(500, "empty ring"), config.LokiTarget{}, "", "dns tcp !http", []string{"HTTP 500", "empty ring"}},
		"another path":        {nil, config.LokiTarget{}, "/push", "dns tcp http !record", []string{"HTTP 400", "/push"}},
		"the record":          {full, config.LokiTarget{}, "", "dns tcp http !record", []string{"HTTP 429", "Maximum active stream limit exceeded [2J", "the tenant's limits"}},
		"half a secret":       {echo(401, strings.Repeat("x", 700)), config.LokiTarget{BearerToken: config.Secret(strings.Repeat(secret, 40))}, "", "dns tcp !http", nil},
		"takes an empty push": {always(204, "", "", ""), config.LokiTarget{}, "", "dns tcp http record", nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.decide(c.answer)
			at := f.URL + c.path
			if c.target.URL != "" {
				at = c.target.URL + strings.TrimPrefix(at, "http://")
			}
			c.target.URL = at
			r := test(t, c.target, nil)
			wantSteps(t, r, c.steps, c.says...)
			if text := show(r); strings.Contains(text, secret) || strings.Contains(text, "Ym9i") {
				t.Errorf("a secret is told:\n%s", text)
			}
		})
	}
}

// serveTLS is a fake Loki over TLS.
func serveTLS(t *testing.T, cert *testbed.Cert, clients *testbed.CA) string {
	t.Helper()
	f := &fake{}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	f.EnableHTTP2 = true
	f.Config.ErrorLog = discard
	f.TLS = &tls.Config{Certificates: []tls.Certificate{cert.TLS(t)}}
	if clients != nil {
		f.TLS.ClientAuth, f.TLS.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		f.TLS.ClientCAs.AddCert(clients.Cert)
	}
	f.StartTLS()
	t.Cleanup(f.Close)
	return f.URL
}

func TestTestSaysWhatTLSDoesNotLike(t *testing.T) {
	ca, foreign := testbed.NewCA(t, "ours"), testbed.NewCA(t, "theirs")
	cert, client := ca.Server(t, "127.0.0.1", "loki.test"), ca.Client(t, "node.test")
	plain := newFake(t)
	with := func(trusted *testbed.CA, c *testbed.Cert) *config.TLSBundle {
		b := &config.TLSBundle{Name: "b"}
		if trusted != nil {
			b.CAPem = trusted.PEM
		}
		if c != nil {
			b.CertPem, b.KeyPem = c.CertPEM, config.Secret(c.KeyPEM)
		}
		return b
	}
	for name, c := range map[string]struct {
		url    string
		bundle *config.TLSBundle
		server string // serverName
		steps  string
		says   []string // of the last step
	}{
		"works":             {url: serveTLS(t, cert, nil), bundle: with(ca, nil), steps: "dns tcp tls http record"},
		"works, both":       {url: serveTLS(t, cert, ca), bundle: with(ca, client), steps: "dns tcp tls http record"},
		"unknown authority": {url: serveTLS(t, cert, nil), bundle: with(foreign, nil), steps: "dns tcp !tls", says: []string{"unknown authority (CN=ours)", "valid from", "fingerprint sha-256:"}},
		"no bundle":         {url: serveTLS(t, cert, nil), steps: "dns tcp !tls", says: []string{"unknown authority (CN=ours)"}},
		"wrong name":        {url: serveTLS(t, cert, nil), bundle: with(ca, nil), server: "other.test", steps: "dns tcp !tls", says: []string{`is for loki.test, 127.0.0.1, not for "other.test"`}},
		"expired":           {url: serveTLS(t, ca.Expired(t, "127.0.0.1"), nil), bundle: with(ca, nil), steps: "dns tcp !tls", says: []string{"expired on 20", "which is past"}},
		"wants a certificate": {url: serveTLS(t, cert, ca), bundle: with(ca, nil), steps: "dns tcp !tls",
			says: []string{"asked for a client certificate and none was shown"}},
		// The server closes with our request unread, and its reset may overtake its alert:
		// then what is told is "most likely". That the alert is told, internal/tlsbundle tests.
		"refuses ours": {url: serveTLS(t, cert, ca), bundle: with(ca, foreign.Client(t, "node.test")), steps: "dns tcp !tls", says: []string{"refuse", "(CN=node.test, issued by CN=theirs)"}},
		"closes without a word": {url: closesAfterHandshake(t, cert), bundle: with(ca, client), steps: "dns tcp !tls",
			says: []string{"asked for a client certificate; most likely it refuses ours (CN=node.test"}},
		"does not speak": {url: strings.Replace(plain.URL, "http:", "https:", 1), bundle: with(ca, nil), steps: "dns tcp !tls", says: []string{"does not speak TLS"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := test(t, config.LokiTarget{URL: c.url, ServerName: c.server}, c.bundle)
			wantSteps(t, r, c.steps, c.says...)
			if text := show(r); strings.Contains(text, "PRIVATE") {
				t.Error(text)
			}
			if !r.OK {
				return
			}
			said := r.Steps[2].Message
			for _, word := range []string{"TLS 1.3", "CN=127.0.0.1, for loki.test, 127.0.0.1, issued by CN=ours, valid from 20", "hours left"} {
				if !strings.Contains(said, word) {
					t.Errorf("%q is not in %s", word, said)
				}
			}
			if asked := strings.Contains(said, "was shown CN=node.test"); asked != (c.bundle.CertPem != "") {
				t.Error(said)
			}
		})
	}
}

// A server that wants TLS says so, if its answer is not lost with the connection.
func TestTestWithoutTLSOfAServerThatWantsIt(t *testing.T) {
	at := serveTLS(t, testbed.NewCA(t, "ours").Server(t, "127.0.0.1"), nil)
	r := test(t, config.LokiTarget{URL: strings.Replace(at, "https:", "http:", 1)}, nil)
	if last := r.Steps[len(r.Steps)-1]; r.OK || len(r.Steps) < 3 || !strings.Contains(last.Message, "HTTP 400") && !strings.Contains(last.Message, "reset") {
		t.Error(show(r))
	}
}

// closesAfterHandshake asks for a client certificate and closes when it has it.
func closesAfterHandshake(t *testing.T, cert *testbed.Cert) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert.TLS(t)}, ClientAuth: tls.RequestClientCert})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.(*tls.Conn).Handshake()
			c.Close()
		}
	}()
	return "https://" + l.Addr().String()
}

// All of a test goes over the connection that was seen to be there.
func TestTestUsesOneConnection(t *testing.T) {
	f := &fake{}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	var connections atomic.Int32
	f.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	f.Start()
	defer f.Close()
	wantSteps(t, test(t, config.LokiTarget{URL: f.URL}, nil), "dns tcp http record")
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// hold accepts connections and says nothing.
func hold(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			go io.Copy(io.Discard, c)
		}
	}()
	return l.Addr().String()
}

func TestTestOfAPeerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	// Long enough for a connection on a busy machine: each step has it.
	short := config.Duration(3 * time.Second)
	gone := newFake(t)
	gone.Close()
	wantSteps(t, test(t, config.LokiTarget{URL: gone.URL}, nil), "dns !tcp", "connection refused", "nobody listens")
	silent := hold(t)
	began := time.Now()
	wantSteps(t, test(t, config.LokiTarget{URL: "http://" + silent, Timeout: short}, nil), "dns tcp !http", "no answer from http://"+silent, "within 3s")
	wantSteps(t, test(t, config.LokiTarget{URL: "https://" + silent, Timeout: short}, nil), "dns tcp !tls", "no answer to the TLS handshake")
	wantSteps(t, test(t, config.LokiTarget{URL: "http://nosuch.invalid", Timeout: short}, nil), "!dns", "nosuch.invalid")
	if took := time.Since(began); took > 3*time.Duration(defaultTimeout)/2 { // two of them run into their limit, one may
		t.Errorf("that took %v", took)
	}

	// A test that nobody waits for any more ends.
	ctx, cancel := context.WithCancel(t.Context())
	r := newRig(t, config.LokiTarget{URL: "https://" + silent, Timeout: config.Duration(time.Minute)}, nil)
	time.AfterFunc(50*time.Millisecond, cancel)
	began = time.Now()
	if steps := r.Test(ctx, ""); steps[len(steps)-1].OK || time.Since(began) > 20*time.Second {
		t.Errorf("%+v after %v", steps, time.Since(began))
	}
}

// Behind a proxy the connection is the proxy's, and TLS is Loki's.
func TestTestThroughAProxy(t *testing.T) {
	ca := testbed.NewCA(t, "ours")
	loki := serveTLS(t, ca.Server(t, "127.0.0.1"), nil)
	refuse := false
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || refuse {
			http.Error(w, "not through here", http.StatusForbidden)
			return
		}
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { io.Copy(to, c); to.Close() }()
		io.Copy(c, to)
		c.Close()
	}))
	defer proxy.Close()
	at, _ := url.Parse(strings.Replace(proxy.URL, "http://", "http://carol:geheimnis@", 1))
	through := func() sinks.TestReport {
		r := newRig(t, config.LokiTarget{URL: loki}, &config.TLSBundle{CAPem: ca.PEM})
		r.client.http.Transport.(*http.Transport).Proxy = http.ProxyURL(at)
		return sinks.NewTestReport(r.Test(t.Context(), ""))
	}
	r := through()
	wantSteps(t, r, "dns tcp tls http record")
	if text := show(r); !strings.Contains(text, "through the proxy http://carol:xxxxx@"+at.Host) || strings.Contains(text, "geheimnis") || !strings.Contains(r.Steps[1].Message, at.Host+": connected") {
		t.Error(text)
	}
	refuse = true
	wantSteps(t, through(), "dns tcp !http", "Forbidden")
}

// LBSHIPD_E2E=1: the real one.
func TestRealTest(t *testing.T) {
	l := testbed.StartLoki(t, testbed.LokiOptions{Tenants: true})
	wantSteps(t, test(t, config.LokiTarget{URL: l.URL}, nil), "dns tcp !http", "HTTP 401", "no org id", "no tenant (tenantId)")
	r := test(t, config.LokiTarget{URL: l.URL, TenantID: "storage", Labels: map[string]string{"cluster": "prod"}}, nil)
	wantSteps(t, r, "dns tcp http record", "HTTP 204")
	got := l.Query(t, testbed.LokiQuery{Query: `{source="lbshipd-test"}`, Tenant: "storage"})
	if len(got) != 1 || got[0].Labels["host"] != "node1" || !strings.Contains(got[0].Line, "alice") {
		t.Errorf("Loki holds %+v", got)
	}
	wantSteps(t, test(t, config.LokiTarget{URL: l.URL + "/loki/api/v1/pish", TenantID: "storage"}, nil), "dns tcp !http", "HTTP 404")
}

var discard = log.New(io.Discard, "", 0)
