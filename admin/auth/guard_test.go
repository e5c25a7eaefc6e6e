package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// echo answers with who was let in; it reads the body.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	id, ok := From(r.Context())
	fmt.Fprintf(w, "%v %s %s %s", ok, id.Name, id.Via, id.Role)
})

var openPaths = []string{"/metrics", "/-/ready", "/-/healthy", "/version", "/status", "/ui/"}

func guarded(t *testing.T, log *logged) (*Guard, http.Handler) {
	if log == nil {
		log = &logged{}
	}
	g := NewGuard(GuardOptions{Verifier: NewVerifier(VerifierOptions{Keys: ring(t, nil, keyDir(t))}), Open: openPaths, Log: log.Log()})
	return g, g.Wrap(echo)
}

func request(method, path, token string, body io.Reader) *http.Request {
	r := httptest.NewRequest(method, path, body)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

func do(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// isRefusal checks status, code and the shape of the body.
func isRefusal(t *testing.T, w *httptest.ResponseRecorder, status, code int) string {
	t.Helper()
	var body struct {
		Code    *int              `json:"code"`
		Message string            `json:"message"`
		Details []json.RawMessage `json:"details"`
	}
	d := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil || body.Code == nil || body.Details == nil || body.Message == "" {
		t.Fatalf("the body is %q (%v)", w.Body, err)
	}
	if w.Code != status || *body.Code != code || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%d, code %d, %s: %s; want %d, code %d", w.Code, *body.Code, w.Header().Get("Content-Type"), body.Message, status, code)
	}
	return body.Message
}

func TestWhoIsLetIn(t *testing.T) {
	_, h := guarded(t, nil)
	k := testKeys()
	token := mint(t, k.ed, "ed", nil)
	if w := do(h, request("GET", "/api/v2/logs/sources", token, nil)); w.Code != 200 || w.Body.String() != "true alice token admin" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, scheme := range []string{"bearer ", "BEARER  ", "Bearer "} {
		r := request("GET", "/api/x", "", nil)
		r.Header.Set("Authorization", scheme+token)
		if w := do(h, r); w.Code != 200 {
			t.Errorf("%q: %d %s", scheme, w.Code, w.Body)
		}
	}
	for name, change := range map[string]func(r *http.Request){
		"nothing":          func(*http.Request) {},
		"basic":            func(r *http.Request) { r.SetBasicAuth("admin", "admin") },
		"no scheme":        func(r *http.Request) { r.Header.Set("Authorization", token) },
		"empty":            func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") },
		"two tokens":       func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token+" "+token) },
		"two headers":      func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer " + token, "Bearer " + token} },
		"in a cookie":      func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "access_token", Value: token}) },
		"in the URL":       func(r *http.Request) { r.URL.RawQuery = "access_token=" + token },
		"as another's":     func(r *http.Request) { r.Header.Set("X-Forwarded-User", "root") },
		"as the proxy's":   func(r *http.Request) { r.Header.Set("Proxy-Authorization", "Bearer "+token) },
		"bearer with tabs": func(r *http.Request) { r.Header.Set("Authorization", "Bearer\t"+token) },
	} {
		r := request("GET", "/api/v2/logs/sources", "", nil)
		r.RemoteAddr = "192.0.2." + strconv.Itoa(len(name)) + ":1"
		change(r)
		w := do(h, r)
		if message := isRefusal(t, w, 401, 16); strings.Contains(message, token) || !strings.Contains(message, "Authorization") {
			t.Errorf("%s: %s", name, message)
		}
		if got := w.Header().Get("WWW-Authenticate"); got != `Bearer realm="lbshipd"` {
			t.Errorf("%s: WWW-Authenticate: %s", name, got)
		}
	}
}

func TestChallengesAreThoseOfRFC6750(t *testing.T) {
	log := &logged{}
	_, h := guarded(t, log)
	k := testKeys()
	w := do(h, request("GET", "/api/x", mint(t, k.ed, "\"quo\\ted\"\u00e9", nil), nil))
	isRefusal(t, w, 401, 16)
	if got := w.Header().Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer realm="lbshipd", error="invalid_token", error_description="the token is refused: no key`) ||
		strings.Count(got, `"`) != 6 || strings.Contains(got, `\`) || strings.ContainsFunc(got, func(c rune) bool { return c < 0x20 || c > 0x7e }) {
		t.Errorf("WWW-Authenticate: %s", got)
	}
	token := mint(t, k.ed, "ed", func(o *MintOptions) { o.RolesClaim = "groups" })
	w = do(h, request("GET", "/api/x", token, nil))
	isRefusal(t, w, 403, 7)
	if got := w.Header().Get("WWW-Authenticate"); !strings.Contains(got, `error="insufficient_scope"`) || !strings.Contains(got, "no claim roles") {
		t.Errorf("WWW-Authenticate: %s", got)
	}
	if strings.Contains(log.String(), token) || !strings.Contains(log.String(), "no claim roles") {
		t.Errorf("the log: %s", log)
	}
}

func TestOnlyOpenPathsAreOpen(t *testing.T) {
	_, h := guarded(t, nil)
	for path, want := range map[string]int{
		"/metrics": 200, "/-/ready": 200, "/-/healthy": 200, "/version": 200, "/status": 200, "/ui/": 200, "/ui/app.js": 200, "/ui/a/": 200,
		"/api/v2/logs/sources": 401, "/": 401, "/-/": 401, "/-/reload": 401, "/metrics/": 401, "/metricsx": 401, "//metrics": 401, "/./metrics": 401,
		"/metrics/../api/v2/logs/sources": 401, "/-/ready/../../api/x": 401, "/ui/../api/x": 401, "/ui//../api/x": 401, "/ui/./a": 401, "/ui//a": 401,
		"/metrics%2f..%2fapi/x": 401, "/ui/%2e%2e/api/x": 401, "/API/x": 401, "/api": 401, "/METRICS": 401, "/metrics%00": 401, "/ui/..%2fapi": 401, "/ui/a//": 401,
	} {
		r := request("GET", path, "", nil)
		r.RemoteAddr = fmt.Sprintf("[2001:db8:%x::1]:1", len(path)*100+strings.Count(path, "."))
		if w := do(h, r); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
	// What is open gives nobody a name, whatever he shows.
	if w := do(h, request("GET", "/status", mint(t, testKeys().ed, "ed", nil), nil)); w.Body.String() != "false   none" {
		t.Errorf("%s", w.Body)
	}
}

func TestFailedTokensAreLimitedByAddress(t *testing.T) {
	g, h := guarded(t, nil)
	now := time.Now()
	g.o.Now = func() time.Time { return now }
	bad := func(remote string) *httptest.ResponseRecorder {
		r := request("GET", "/api/x", "a.b.c", nil)
		r.RemoteAddr = remote
		return do(h, r)
	}
	for i := range failures {
		if w := bad("192.0.2.1:" + strconv.Itoa(i+1)); w.Code != 401 {
			t.Fatalf("try %d: %d", i, w.Code)
		}
	}
	w := bad("192.0.2.1:99")
	isRefusal(t, w, 429, 8)
	if w.Header().Get("Retry-After") != "1" {
		t.Errorf("Retry-After: %q", w.Header().Get("Retry-After"))
	}
	// Another address, and what is open, are not meant.
	if w := bad("192.0.2.2:1"); w.Code != 401 {
		t.Errorf("another address: %d", w.Code)
	}
	r := request("GET", "/metrics", "", nil)
	r.RemoteAddr = "192.0.2.1:5"
	if w := do(h, r); w.Code != 200 {
		t.Errorf("/metrics: %d", w.Code)
	}
	now = now.Add(time.Second)
	if w := bad("192.0.2.1:1"); w.Code != 401 {
		t.Errorf("a second later: %d", w.Code)
	}
	// Good tokens use nothing up.
	token := mint(t, testKeys().ed, "ed", nil)
	for range 2 * failures {
		r := request("GET", "/api/x", token, nil)
		r.RemoteAddr = "192.0.2.3:1"
		if w := do(h, r); w.Code != 200 {
			t.Fatalf("a good token: %d %s", w.Code, w.Body)
		}
	}
	// All of an IPv6 network is one address.
	for i := range failures {
		bad(fmt.Sprintf("[2001:db8::%x]:1", i+1))
	}
	if w := bad("[2001:db8::ffff]:1"); w.Code != 429 {
		t.Errorf("another address of the same network: %d", w.Code)
	}
}

func TestRequestsAreLimitedByIdentity(t *testing.T) {
	g, h := guarded(t, nil)
	now := time.Now()
	g.o.Now = func() time.Time { return now }
	k := testKeys()
	as := func(name string) int {
		return do(h, request("GET", "/api/x", mint(t, k.ed, "ed", func(o *MintOptions) { o.Subject = name }), nil)).Code
	}
	for i := range requests {
		if got := as("alice"); got != 200 {
			t.Fatalf("request %d: %d", i, got)
		}
	}
	if got := as("alice"); got != 429 {
		t.Errorf("one too many: %d", got)
	}
	if got := as("bob"); got != 200 {
		t.Errorf("another one: %d", got)
	}
	now = now.Add(time.Second)
	if got := as("alice"); got != 200 {
		t.Errorf("a second later: %d", got)
	}
}

// However many addresses there are, the table is bounded, and whoever is
// refused now is not forgotten at once.
func TestLimitersAreBounded(t *testing.T) {
	l := newLimiters(1, 2, 100)
	now := time.Now()
	for range 3 {
		l.take("mallory", now)
	}
	for i := range 10_000 {
		l.take(strconv.Itoa(i), now)
		if _, ok := l.take("mallory", now); ok {
			t.Fatalf("forgotten after %d others", i)
		}
	}
	if n := len(l.young) + len(l.old); n > 200 {
		t.Errorf("%d are remembered", n)
	}
}

func TestLargeBodies(t *testing.T) {
	_, h := guarded(t, nil)
	token := mint(t, testKeys().ed, "ed", nil)
	isRefusal(t, do(h, request("POST", "/api/x", token, bytes.NewReader(make([]byte, maxBody+1)))), 413, 8)
	isRefusal(t, do(h, request("POST", "/metrics", "", bytes.NewReader(make([]byte, maxBody+1)))), 413, 8)
	// Of unknown length: the handler's reading ends there.
	r := request("POST", "/api/x", token, io.LimitReader(bytes.NewReader(make([]byte, maxBody+1)), maxBody+1))
	if r.ContentLength != -1 {
		t.Fatalf("the length is known: %d", r.ContentLength)
	}
	if w := do(h, r); w.Code != 413 {
		t.Errorf("chunked: %d", w.Code)
	}
	if w := do(h, request("POST", "/api/x", token, bytes.NewReader(make([]byte, maxBody)))); w.Code != 200 {
		t.Errorf("just as much as is allowed: %d", w.Code)
	}
}

// The API's requests at a time are bounded, and do not starve what is open.
func TestRequestsAtATimeAreBounded(t *testing.T) {
	g, _ := guarded(t, nil)
	inside, leave := make(chan struct{}, maxAPI), make(chan struct{})
	h := g.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/wait" {
			inside <- struct{}{}
			<-leave
		}
	}))
	token := mint(t, testKeys().ed, "ed", nil)
	var busy sync.WaitGroup
	for range maxAPI {
		busy.Go(func() { do(h, request("GET", "/api/wait", token, nil)) })
	}
	for range maxAPI {
		<-inside
	}
	w := do(h, request("GET", "/api/x", token, nil))
	isRefusal(t, w, 503, 14)
	if w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if w := do(h, request("GET", "/metrics", "", nil)); w.Code != 200 {
		t.Errorf("/metrics: %d", w.Code)
	}
	close(leave)
	busy.Wait()
	if w := do(h, request("GET", "/api/x", token, nil)); w.Code != 200 {
		t.Errorf("afterwards: %d", w.Code)
	}
}

// What strangers send does not forge lines of our log, nor makes each of their requests another
// cause of trouble.
func TestTheLogOfRefusals(t *testing.T) {
	log := &logged{}
	_, h := guarded(t, log)
	r := request("GET", "/x", "", nil)
	r.URL.Path = "/api/\nlevel=ERROR msg=forged\x1b[2J" + strings.Repeat("x", 5000)
	r.Method = "GET\nx"
	do(h, r)
	text := log.String()
	if strings.Count(text, "\n") != 1 || strings.ContainsRune(text, 0x1b) || len(text) > 1000 {
		t.Errorf("%q", text)
	}
	for _, name := range []string{" path=", " reason=", " source=", " target="} {
		if strings.Contains(text, name) {
			t.Errorf("%s makes a cause of what a stranger chose", name)
		}
	}
}

func TestOnTheSocketRootNeedsNoToken(t *testing.T) {
	g, h := guarded(t, nil)
	g.trusted = map[int]string{0: "root", 998: "lbshipd"}
	as := func(uid int, token string) *httptest.ResponseRecorder {
		r := request("GET", "/api/x", token, nil)
		return do(h, r.WithContext(context.WithValue(r.Context(), peerKey{}, peer{uid})))
	}
	for uid, want := range map[int]string{0: "true root socket admin", 998: "true lbshipd socket admin"} {
		if w := as(uid, ""); w.Code != 200 || w.Body.String() != want {
			t.Errorf("uid %d: %d %s", uid, w.Code, w.Body)
		}
	}
	isRefusal(t, as(1000, ""), 401, 16)
	token := mint(t, testKeys().ed, "ed", func(o *MintOptions) { o.Role = Viewer })
	if w := as(1000, token); w.Code != 200 || w.Body.String() != "true alice token viewer" {
		t.Errorf("uid 1000 with a token: %d %s", w.Code, w.Body)
	}
	// One user's failures are not another's.
	for range 2 * failures {
		as(1001, "a.b.c")
	}
	if as(1001, "").Code != 429 || as(1000, "").Code != 401 || as(0, "").Code != 200 {
		t.Error("failures are not counted for each user")
	}
}
