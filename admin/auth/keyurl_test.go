package auth

import (
	"crypto"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// jwksServer is a JWKS endpoint that can be told to misbehave.
type jwksServer struct {
	*httptest.Server
	fetched atomic.Int64
	serve   atomic.Pointer[http.HandlerFunc]
	ca      string // its authority's file
}

func newJWKSServer(t *testing.T) *jwksServer {
	s := &jwksServer{ca: filepath.Join(t.TempDir(), "ca.pem")}
	ca := testbed.NewCA(t, "jwks")
	cert := ca.Issue(t, testbed.CertOptions{Names: []string{"127.0.0.1"}})
	pair, err := tls.X509KeyPair([]byte(cert.CertPEM), []byte(cert.KeyPEM))
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.ca, []byte(ca.PEM))
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fetched.Add(1)
		(*s.serve.Load())(w, r)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.answer("")
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *jwksServer) do(h http.HandlerFunc) { s.serve.Store(&h) }
func (s *jwksServer) answer(text string) {
	s.do(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
}

// open fetches every so often; the least time between two fetches is as given.
func (s *jwksServer) open(t *testing.T, log *logged, every time.Duration) *Verifier {
	t.Helper()
	k, err := OpenKeyring(KeyOptions{Places: []string{s.URL}, URLRefresh: every, URLCAFile: s.ca, Log: log.Log()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return NewVerifier(VerifierOptions{Keys: k})
}

func TestJWKSServerThatGoesAwayLiesAndComesBack(t *testing.T) {
	k := testKeys()
	s := newJWKSServer(t)
	s.answer(jwksOf(t, map[string]crypto.Signer{"a": k.ed}))
	log := &logged{}
	v := s.open(t, log, 20*time.Millisecond)
	token := mint(t, k.ed, "a", nil)
	eventually(t, "the token is taken", func() bool { return takes(v, token) })

	huge := strings.Repeat(" ", maxKeyFile) + jwksOf(t, map[string]crypto.Signer{"evil": k.rsa})
	for _, c := range []struct {
		name string
		do   http.HandlerFunc
		why  string
	}{
		{"500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "answered 500"},
		{"500 with keys", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			io.WriteString(w, jwksOf(t, map[string]crypto.Signer{"evil": k.rsa}))
		}, "answered 500"},
		{"a page", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>login</html>") }, "no JWKS"},
		{"no keys", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"keys":[]}`) }, "it has none"},
		{"huge", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, huge) }, "larger than"},
		{"cut short", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5000")
			io.WriteString(w, `{"keys":[`)
		}, "reading the answer"},
		{"sends us on to plain HTTP", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://192.0.2.1/jwks", 302) }, "want https"},
		{"sends us round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", 302) }, "redirected more than"},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		s.do(c.do)
		n := s.fetched.Load()
		eventually(t, c.name+": it is noticed", func() bool {
			v.o.Keys.mu.Lock()
			defer v.o.Keys.mu.Unlock()
			return s.fetched.Load() > n+1 && strings.Contains(v.o.Keys.places[0].problem, c.why)
		})
		eventually(t, c.name+": it is said", func() bool { return strings.Contains(log.String(), c.why) })
		if !takes(v, token) {
			t.Fatalf("%s: the old key is forgotten", c.name)
		}
	}
	s.answer(jwksOf(t, map[string]crypto.Signer{"b": k.p256}))
	eventually(t, "the new key is used", func() bool { return takes(v, mint(t, k.p256, "b", nil)) })
	if takes(v, token) {
		t.Error("the old key is still used")
	}
}

// A server that says nothing neither holds up tokens whose key is known, nor
// others for long.
func TestJWKSServerThatHangs(t *testing.T) {
	k := testKeys()
	s := newJWKSServer(t)
	s.answer(jwksOf(t, map[string]crypto.Signer{"a": k.ed}))
	v := s.open(t, &logged{}, 20*time.Millisecond)
	token := mint(t, k.ed, "a", nil)
	eventually(t, "the token is taken", func() bool { return takes(v, token) })
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	hanging := make(chan struct{}, 100)
	s.do(func(http.ResponseWriter, *http.Request) { hanging <- struct{}{}; <-hang })
	<-hanging
	var busy sync.WaitGroup
	defer busy.Wait()
	waiting := v.o.Keys.waiting
	var made atomic.Int64
	madeUp := func() {
		if refused(t, v, mint(t, k.ed2, fmt.Sprint("made-up", made.Add(1)), nil)).Status != 401 {
			t.Error("not 401")
		}
	}
	// As many are waited for as may be, for 3 s. While they still are, one that nobody knows and one
	// that is known are through: they would be the last ones if they waited themselves.
	quickly := func(what string, do func()) {
		t.Helper()
		for range 2 { // more would last until fetchTimeout, when nobody waits any more
			for len(waiting) < maxWaiters {
				before := len(waiting)
				busy.Go(madeUp)
				eventually(t, "it is waited for", func() bool { return len(waiting) != before })
			}
			if do(); len(waiting) >= maxWaiters {
				return
			}
		}
		t.Errorf("%s is waited for", what)
	}
	quickly("a made-up token", madeUp)
	for range 100 {
		if !takes(v, token) {
			t.Fatal("the known key is forgotten")
		}
	}
	quickly("a token with a known key", func() { takes(v, token) })
}

// An unknown kid makes the URL be fetched, but not as often as a stranger likes.
func TestUnknownKidFetchesTheURLOnceInAWhile(t *testing.T) {
	k := testKeys()
	s := newJWKSServer(t)
	s.answer(jwksOf(t, map[string]crypto.Signer{"a": k.ed}))
	began := time.Now()
	v := s.open(t, &logged{}, time.Hour)
	// Before anything was fetched, a token waits for it: for 3 s, which may not do on a machine that stands still.
	eventually(t, "the first token is taken", func() bool { return takes(v, mint(t, k.ed, "a", nil)) })
	s.answer(jwksOf(t, map[string]crypto.Signer{"b": k.p256}))
	var busy sync.WaitGroup
	for range 20 {
		busy.Go(func() { takes(v, mint(t, k.ed2, "made-up", nil)) })
	}
	busy.Wait()
	fetched := s.fetched.Load()
	if took := time.Since(began); fetched != 1 && took < soonestURL {
		t.Errorf("it was fetched %d times within %s", fetched, took)
	}
	w := v.o.Keys.places[0]
	w.mu.Lock()
	w.last = w.last.Add(-soonestURL) // as if that time had passed
	w.mu.Unlock()
	again := time.Now()
	eventually(t, "the rotated key is fetched", func() bool { return takes(v, mint(t, k.p256, "b", nil)) })
	if n, took := s.fetched.Load()-fetched, time.Since(again); n > 1 && took < soonestURL {
		t.Errorf("it was fetched %d times within %s", n, took)
	}
}

func TestJWKSThatWasNeverFetchedIsNotTheTokensFault(t *testing.T) {
	s := newJWKSServer(t)
	s.do(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	v := s.open(t, &logged{}, time.Hour)
	eventually(t, "it was tried", func() bool { return s.fetched.Load() > 0 })
	r := refused(t, v, mint(t, testKeys().ed, "a", nil))
	if r.Status != 503 || r.Code != 14 || r.RetryAfter == 0 || !strings.Contains(r.Message, "could not be fetched yet") && !strings.Contains(r.Message, "fetched") {
		t.Errorf("%d, code %d, after %s: %s", r.Status, r.Code, r.RetryAfter, r.Message)
	}
}

func TestJWKSServerThatIsSomebodyElse(t *testing.T) {
	s := newJWKSServer(t)
	s.answer(jwksOf(t, map[string]crypto.Signer{"a": testKeys().ed}))
	write(t, s.ca, []byte(testbed.NewCA(t, "jwks").PEM))
	log := &logged{}
	v := s.open(t, log, 20*time.Millisecond)
	eventually(t, "it is said", func() bool { return strings.Contains(log.String(), "certificate") })
	if takes(v, mint(t, testKeys().ed, "a", nil)) {
		t.Error("its keys are used")
	}
}
