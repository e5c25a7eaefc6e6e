package client_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
)

// serve starts a server of one handler and returns a client of it.
func serve(t *testing.T, h http.HandlerFunc) *client.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := client.New(client.Options{Endpoint: s.URL, Token: "the-token", Agent: "lbshipd/test", Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What is asked is asked as the API has it.
func TestRequests(t *testing.T) {
	var got, body string
	var header http.Header
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body, header = r.Method+" "+r.URL.RequestURI(), string(b), r.Header
		w.Header().Set("ETag", `"7"`)
		w.Header().Add("Warning", `299 lbshipd "say \"hi\" \\ there"`)
		io.WriteString(w, `{"name":"a"}`)
	})
	ctx := t.Context()
	bundle := config.KindTLSBundle
	for _, x := range []struct {
		want, body, ifMatch string
		do                  func() error
	}{
		{"GET /api/v2/logs/tls-bundles/a", "", "", func() error { _, err := c.Get(ctx, bundle, "a", client.WithDefaults); return err }},
		{"GET /api/v2/logs/tls-bundles/a%20b%2Fc?defaults=false", "", "", func() error { _, err := c.Get(ctx, bundle, "a b/c", client.AsGiven); return err }},
		{"POST /api/v2/logs/tls-bundles?dryRun=true&reason=a%26b", "{}", "", func() error {
			_, err := c.Create(ctx, bundle, "a", []byte("{}"), client.Write{DryRun: true, Reason: "a&b"})
			return err
		}},
		{"PUT /api/v2/logs/tls-bundles/a", "{}", `"7"`, func() error {
			_, err := c.Replace(ctx, bundle, "a", []byte("{}"), client.Write{IfMatch: `"7"`})
			return err
		}},
		{"DELETE /api/v2/logs/tls-bundles/a", "", "", func() error { _, err := c.Delete(ctx, bundle, "a", client.Write{}); return err }},
		{"POST /api/v2/logs/apply?dryRun=true&prune=true", "{}", "", func() error { _, err := c.Apply(ctx, []byte("{}"), true, client.Write{DryRun: true}); return err }},
		{"POST /api/v2/logs/history/5/rollback", "", "", func() error { _, err := c.Rollback(ctx, 5, client.Write{}); return err }},
		{"POST /api/v2/logs/targets/a/test", "", "", func() error { _, _, err := c.TestTarget(ctx, "a"); return err }},
		{"DELETE /api/v2/logs/collectors/n", "", "", func() error { return c.Forget(ctx, "n") }},
		{"GET /api/v2/logs/whoami", "", "", func() error { _, err := c.WhoAmI(ctx); return err }},
	} {
		if err := x.do(); err != nil || got != x.want || body != x.body || header.Get("If-Match") != x.ifMatch || header.Get("Authorization") != "Bearer the-token" ||
			header.Get("User-Agent") != "lbshipd/test" || (header.Get("Content-Type") == "application/json") != (x.body != "") {
			t.Errorf("%s %s %v (%v), want %s %s", got, body, header, err, x.want, x.body)
		}
	}
	o, err := c.Get(ctx, bundle, "a", client.WithDefaults)
	if err != nil || o.Etag != `"7"` || string(o.JSON) != `{"name":"a"}` || !slices.Equal(o.Warnings, []string{`say "hi" \ there`}) {
		t.Errorf("%+v %v", o, err)
	}
}

func TestListsArePaged(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("pageToken") {
		case "":
			io.WriteString(w, `{"services":[{"name":"a"},{"name":"b"}],"nextPageToken":"2","rejected":[{"kind":"service","name":"x","reason":"odd"}]}`)
		case "2":
			io.WriteString(w, `{"services":[],"nextPageToken":"3"}`)
		case "3":
			io.WriteString(w, `{"services":[{"name":"c"}]}`)
		}
	})
	l, err := c.List(t.Context(), config.KindService, client.WithDefaults)
	var names []string
	for _, o := range l.Objects {
		names = append(names, o.Name)
	}
	if err != nil || !slices.Equal(names, []string{"a", "b", "c"}) || l.Etag != "" || len(l.Rejected) != 1 {
		t.Errorf("%v %v", l, err)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, x := range map[string]struct{ body, says string }{
		"a page for ever":  {`{"services":[],"nextPageToken":"again"}`, "does not end"},
		"HTML":             {"<html>", "cannot be read (is that lbshipd's admin port?)"},
		"another type":     {`{"services":"none"}`, "list of services"},
		"objects of texts": {`{"services":["none"]}`, "list of services"},
		"too long":         {`{"services":[]` + strings.Repeat(" ", 65<<20) + "}", "longer than"},
		"cut off":          {`{"services":[`, "cannot be read"},
	} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, x.body) })
		if _, err := c.List(t.Context(), config.KindService, client.WithDefaults); err == nil || !strings.Contains(err.Error(), x.says) || len(err.Error()) > 500 {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A list that never repeats a token ends as well.
	n := 0
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n++
		fmt.Fprintf(w, `{"services":[],"nextPageToken":"%d"}`, n)
	})
	if _, err := c.List(t.Context(), config.KindService, client.WithDefaults); err == nil || !strings.Contains(err.Error(), "does not end") {
		t.Errorf("%d pages: %v", n, err)
	}
}

func TestErrors(t *testing.T) {
	for _, x := range []struct {
		status int
		body   string
		text   string
		hint   string
	}{
		{400, `{"code":3,"message":"target \"x\": loki.url: is missing","details":[{"object":"target \"x\"","field":"loki.url","message":"is missing"}]}`, `target "x": loki.url: is missing`, ""},
		{400, `{"code":3,"message":"a: b (and 1 more, see details)","details":[{"field":"a","message":"b"},{"message":"c"}]}`, "2 things are wrong:\n  a: b\n  c", ""},
		{409, `{"code":9,"message":"is still referenced","details":[{"object":"target \"x\"","message":"names it"}]}`, "is still referenced\n  target \"x\": names it", ""},
		{401, `{"code":16,"message":"expired","details":[]}`, "expired", "Get a new one"},
		{403, `{"code":7,"message":"this needs the role admin","details":[]}`, "this needs the role admin", "lbshipd whoami"},
		{412, `{"code":10,"message":"changed","details":[]}`, "changed", "Get it again"},
		{429, `{"code":8,"message":"too many","details":[]}`, "too many", "in a moment"},
		{503, `{"code":14,"message":"etcd cannot be reached","details":[]}`, "etcd cannot be reached", "go on shipping"},
		{502, "<html>\x1b[2Jproxy</html>", "answers GET /api/v2/logs/services/x with 502 Bad Gateway", ""},
		{404, "404 page not found", "404 Not Found", "Is that the admin port"},
	} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(x.status)
			io.WriteString(w, x.body)
		})
		_, err := c.Get(t.Context(), config.KindService, "x", client.WithDefaults)
		var e *client.Error
		if !errors.As(err, &e) || e.Status != x.status || !strings.Contains(err.Error(), x.text) || x.hint == "" && e.Hint() != "" || !strings.Contains(e.Hint(), x.hint) {
			t.Errorf("%d: %v; %+v", x.status, err, e)
		}
		if client.Stale(err) != (x.status == 412) || client.NotFound(err) != (x.status == 404) || client.Invalid(err) != (x.status == 400) {
			t.Errorf("%d is taken for another", x.status)
		}
		if strings.ContainsAny(err.Error(), "\x1b<") {
			t.Errorf("quotes what is not the daemon's: %q", err)
		}
	}
}

// Of a change that was sent and not answered it is said that it may have been made, and how to find out.
func TestUnansweredChanges(t *testing.T) {
	release := make(chan bool)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("reason") == "hang up" {
			panic(http.ErrAbortHandler)
		}
		<-release
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(release) })
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	open := func(url string) *client.Client {
		c, err := client.New(client.Options{Endpoint: url, Timeout: 3 * time.Second}) // in which a busy machine has sent it
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	kind, body := config.KindService, []byte("{}")
	for _, x := range []struct {
		name string
		do   func(c *client.Client) error
		url  string
		want bool
	}{
		{"create", func(c *client.Client) error {
			_, err := c.Create(context.Background(), kind, "a", body, client.Write{})
			return err
		}, s.URL, true},
		{"delete", func(c *client.Client) error {
			_, err := c.Delete(context.Background(), kind, "a", client.Write{})
			return err
		}, s.URL, true},
		{"apply", func(c *client.Client) error {
			_, err := c.Apply(context.Background(), body, false, client.Write{})
			return err
		}, s.URL, true},
		{"the daemon dies", func(c *client.Client) error {
			_, err := c.Replace(context.Background(), kind, "a", body, client.Write{Reason: "hang up"})
			return err
		}, s.URL, true},
		{"a dry run", func(c *client.Client) error {
			_, err := c.Apply(context.Background(), body, false, client.Write{DryRun: true})
			return err
		}, s.URL, false},
		{"get", func(c *client.Client) error {
			_, err := c.Get(context.Background(), kind, "a", client.AsGiven)
			return err
		}, s.URL, false},
		{"test", func(c *client.Client) error { _, _, err := c.TestTarget(context.Background(), "a"); return err }, s.URL, false},
		{"nothing was sent", func(c *client.Client) error {
			_, err := c.Create(context.Background(), kind, "a", body, client.Write{})
			return err
		}, gone.URL, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			err := x.do(open(x.url))
			var u *client.UnreachableError
			if !errors.As(err, &u) || strings.Contains(err.Error(), "may have been made") != x.want || strings.Contains(u.Hint(), "lbshipd history") != x.want {
				t.Errorf("%v; %+v", err, u)
			}
		})
	}
}

// TLS: the daemon's certificate is verified, and a client's is shown.
func TestTLS(t *testing.T) {
	dir, ca, other := t.TempDir(), testbed.NewCA(t, "CA"), testbed.NewCA(t, "Other CA")
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(ca.PEM))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"name":%q}`, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Server(t, "127.0.0.1").TLS(t)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted}
	s.Config.ErrorLog = nil
	s.StartTLS()
	defer s.Close()
	cert, key := ca.Client(t, "operator").Files(t, dir, "operator")
	o := client.Options{Endpoint: s.URL, CAFile: ca.File(t, dir, "ca"), CertFile: cert, KeyFile: key}
	ask := func(o client.Options) (client.Identity, error) {
		c, err := client.New(o)
		if err != nil {
			t.Fatal(err)
		}
		return c.WhoAmI(t.Context())
	}
	if id, err := ask(o); err != nil || id.Name != "operator" {
		t.Errorf("%+v %v", id, err)
	}
	wrong := o
	wrong.CAFile = other.File(t, dir, "other")
	var unreachable *client.UnreachableError
	if _, err := ask(wrong); !errors.As(err, &unreachable) || !strings.Contains(unreachable.Hint(), "--ca-file") {
		t.Errorf("%v", err)
	}
	name := o
	name.Endpoint = strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	if _, err := ask(name); !errors.As(err, &unreachable) || !strings.Contains(unreachable.Hint(), "a name that the daemon's certificate carries") {
		t.Errorf("%v", err)
	}
	bare := o
	bare.CertFile, bare.KeyFile = "", ""
	if _, err := ask(bare); !errors.As(err, &unreachable) {
		t.Errorf("%v", err)
	}
	// With TLS 1.3 the server refuses when the request is on its way, and the reset of its close with
	// a request unread may overtake the alert that says why. This one reads the request.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		tls.Server(c, s.TLS).Handshake()
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, c)
	}()
	bare.Endpoint = "https://" + l.Addr().String()
	if _, err := ask(bare); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v", err)
	}
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []client.Options{{Endpoint: s.URL, CAFile: empty}, {Endpoint: s.URL, CertFile: cert, KeyFile: empty}, {Endpoint: "http://h", CertFile: cert, KeyFile: key}} {
		if _, err := client.New(bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// Whoever interrupts is not told that the daemon is unreachable.
func TestInterrupted(t *testing.T) {
	hangs, asked := make(chan bool), make(chan bool)
	c := serve(t, func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-hangs
	})
	defer close(hangs)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	_, err := c.WhoAmI(ctx)
	if !errors.Is(err, context.Canceled) || errors.As(err, new(*client.UnreachableError)) {
		t.Errorf("%v", err)
	}
}

// No answer makes the client panic or hang.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{`{"services":[{"name":"a"}]}`, `{"collectors":[{"id":"n","exporterQueueSize":"5"}]}`, `{"revisions":[{"id":"1","changes":[]}]}`,
		`{"code":3,"message":"m","details":["x",{"field":"f"}]}`, `{"changes":[{"kind":"source"}],"warnings":["w"]}`, `[]`, `null`, `{"details":[null]}`} {
		f.Add([]byte(seed), 200)
		f.Add([]byte(seed), 400)
	}
	var body []byte
	var status int
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("pageToken") {
			io.WriteString(w, "{}")
			return
		}
		w.WriteHeader(status)
		w.Write(body)
	}))
	f.Cleanup(s.Close)
	c, err := client.New(client.Options{Endpoint: s.URL})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte, code int) {
		body, status = bytes.Clone(text), 200
		if code%2 != 0 || code >= 400 {
			status = 400 + (code%200+200)%200
		}
		ctx := t.Context()
		_, listErr := c.List(ctx, config.KindService, client.AsGiven)
		_, nodesErr := c.Collectors(ctx)
		_, historyErr := c.History(ctx)
		_, applyErr := c.Apply(ctx, nil, false, client.Write{})
		for _, err := range []error{listErr, nodesErr, historyErr, applyErr} {
			if err == nil && status != 200 {
				t.Errorf("status %d is no error", status)
			}
			if err != nil && err.Error() == "" {
				t.Errorf("an error without a word: %#v", err)
			}
		}
	})
}
