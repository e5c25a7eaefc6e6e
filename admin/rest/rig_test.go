package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/lbshipd/lbshipd/admin/auth"
	"github.com/lbshipd/lbshipd/admin/rest"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/sinks"
)

// rig is an API over HTTP on loopback. Every answer that it gives to send is held
// against the OpenAPI document, and so is every request that succeeds.
type rig struct {
	t      testing.TB
	store  *memory
	url    string
	log    *logBuffer
	router routers.Router
	seen   map[string]bool // IDs of operations that have succeeded

	unusable bool // what is stored cannot be used, and need not be as the document says
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.text.String()
	b.text.Reset()
	return s
}

// roleHeader says in tests who asks; admin/auth does that by tokens.
const roleHeader = "Test-Role"

// newRig starts an API on a memory. change may change the options.
func newRig(t testing.TB, change func(*rest.Options)) *rig { // change may be nil
	t.Helper()
	r := &rig{t: t, store: &memory{}, log: &logBuffer{}, seen: map[string]bool{}}
	o := rest.Options{Store: r.store, Collectors: r.store, Version: "1.2.3",
		Log: slog.New(slog.NewJSONHandler(r.log, nil)),
		Test: func(_ context.Context, target *config.Target, b *config.TLSBundle) any {
			return sinks.TestReport{OK: true, Steps: []sinks.Step{{Name: sinks.StepRecord, OK: true, Message: fmt.Sprintf("%s, bundle %v", target.Name, b != nil)}}}
		}}
	if change != nil {
		change(&o)
	}
	srv := httptest.NewServer(as(rest.New(o)))
	t.Cleanup(srv.Close)
	r.url = srv.URL
	r.router = loadRouter(t)
	return r
}

// as puts the identity of the test's header into the context.
func as(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Header.Get(roleHeader)
		if name == "" && r.Header.Get("Authorization") == "Bearer lab" {
			name = "admin" // for curl
		}
		if role, err := auth.ParseRole(name); err == nil {
			r = r.WithContext(auth.With(r.Context(), auth.Identity{Name: "ada", Via: "token", Role: role}))
		}
		h.ServeHTTP(w, r)
	})
}

var openapiOnce = sync.OnceValues(func() (routers.Router, error) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, rest.Prefix+"/openapi.json", nil)
	r.Header.Set(roleHeader, "viewer")
	as(rest.New(rest.Options{Version: "1.2.3"})).ServeHTTP(w, r)
	doc, err := openapi3.NewLoader().LoadFromData(w.Body.Bytes())
	if err != nil {
		return nil, err
	}
	doc.Servers = nil // of any host: the router would want the server's path twice
	return legacy.NewRouter(doc)
})

// loadRouter loads the served document and validates it as OpenAPI 3.1.
func loadRouter(t testing.TB) routers.Router {
	t.Helper()
	router, err := openapiOnce()
	if err != nil {
		t.Fatalf("the OpenAPI document: %v", err)
	}
	return router
}

// request is what a test sends.
type request struct {
	method, path string // path below rest.Prefix, with the query
	role         string // "" stands for admin, "-" for nobody
	body         string
	contentType  string // "" stands for JSON if there is a body, "-" for none
	header       map[string]string
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// send sends a request and checks what holds for every answer.
func (g *rig) send(q request) answer {
	g.t.Helper()
	req := g.request(q)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		g.t.Fatalf("%s %s: %v", q.method, q.path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	a := answer{resp.StatusCode, resp.Header, string(text)}
	g.always(q, a)
	g.validate(q, a)
	return a
}

func (g *rig) request(q request) *http.Request {
	g.t.Helper()
	var body io.Reader
	if q.body != "" {
		body = strings.NewReader(q.body)
	}
	req, err := http.NewRequest(q.method, g.url+rest.Prefix+q.path, body)
	if err != nil {
		g.t.Fatal(err)
	}
	switch q.role {
	case "":
		req.Header.Set(roleHeader, "admin")
	case "-":
	default:
		req.Header.Set(roleHeader, q.role)
	}
	if q.contentType == "" && q.body != "" {
		q.contentType = "application/json"
	}
	if q.contentType != "" && q.contentType != "-" {
		req.Header.Set("Content-Type", q.contentType)
	}
	if len(q.body) > 1<<20 {
		req.Header.Set("Expect", "100-continue") // or what is not read may reset the connection before its answer is
	}
	for k, v := range q.header {
		req.Header.Set(k, v)
	}
	return req
}

// always checks what every answer must be.
func (g *rig) always(q request, a answer) {
	g.t.Helper()
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		g.t.Errorf("%s %s: headers %v", q.method, q.path, a.header)
	}
	if a.status == http.StatusNotModified || q.method == http.MethodHead {
		return
	}
	if !json.Valid([]byte(a.body)) || a.header.Get("Content-Type") != "application/json" {
		g.t.Errorf("%s %s answers %d with what is not JSON: %s", q.method, q.path, a.status, a.body)
	}
	if a.status < 300 {
		return
	}
	var e struct {
		Code    int
		Message string
		Details []rest.Detail
	}
	d := json.NewDecoder(strings.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil || e.Code == 0 || e.Message == "" || e.Details == nil {
		g.t.Errorf("%s %s answers %d with a badly formed error (%v): %s", q.method, q.path, a.status, err, a.body)
	}
}

// noSuchPath is what paths are answered with that are none.
const noSuchPath = "there is no such path"

// validate holds request and answer against the OpenAPI document. kin-openapi
// v0.152 validates the schemas of 3.1 documents with a full validator of JSON Schema 2020-12.
// It takes no notice of the headers of 304.
func (g *rig) validate(q request, a answer) {
	g.t.Helper()
	if q.method == http.MethodHead || a.status == http.StatusMethodNotAllowed || strings.Contains(a.body, noSuchPath) {
		return // of no operation
	}
	req := g.request(q)
	route, params, err := g.router.FindRoute(req)
	if err != nil {
		if a.status < 400 {
			g.t.Errorf("%s %s is answered with %d and not in the OpenAPI document: %v", q.method, q.path, a.status, err)
		}
		return
	}
	in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: &openapi3filter.Options{
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true,
		SkipSettingDefaults: true, ExcludeReadOnlyValidations: true, // answers may be sent back
	}}
	ctx := context.Background()
	if a.status < 300 {
		if err := openapi3filter.ValidateRequest(ctx, in); err != nil {
			g.t.Errorf("%s %s was taken (%d), and the OpenAPI document says: %v", q.method, q.path, a.status, err)
		}
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: a.status, Header: a.header, Options: in.Options}
	out.SetBodyBytes([]byte(a.body))
	if err := openapi3filter.ValidateResponse(ctx, out); err != nil && !g.unusable {
		g.t.Errorf("%s %s: the answer %d is not what the OpenAPI document says: %v\n%s", q.method, q.path, a.status, err, a.body)
	}
	if a.status < 300 {
		g.seen[route.Operation.OperationID] = true
	}
}

// must sends and checks the status.
func (g *rig) must(status int, q request) answer {
	g.t.Helper()
	a := g.send(q)
	if a.status != status {
		g.t.Fatalf("%s %s: %d, want %d: %s", q.method, q.path, a.status, status, a.body)
	}
	return a
}

func (g *rig) get(path string) answer {
	g.t.Helper()
	return g.must(200, request{method: "GET", path: path})
}
func (g *rig) post(path, body string) answer {
	g.t.Helper()
	return g.must(200, request{method: "POST", path: path, body: body})
}

// field returns a field of an object in JSON, as JSON.
func field(t testing.TB, text string, names ...string) string {
	t.Helper()
	raw := json.RawMessage(text)
	for _, name := range names {
		var o map[string]json.RawMessage
		if err := json.Unmarshal(raw, &o); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		raw = o[name]
	}
	return string(raw)
}
