// Package rest is the API under /api/v2/logs, by which sources, targets, TLS bundles, formats and services
// are read and changed while the daemon runs, and by which the nodes' reports are read.
package rest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/lbshipd/lbshipd/admin/auth"
	"github.com/lbshipd/lbshipd/config"
)

// Prefix is the path below which everything is.
const Prefix = "/api/v2/logs"

// Bounds of what one request may take.
const (
	// storeTimeout is for all that the Store is asked for in a request: less than
	// clients wait (client.DefaultTimeout, 10 s), so that it is we who say what became of it.
	storeTimeout = 8 * time.Second
	// testTimeout is for the test of a target: less than the admin port's time to
	// write an answer (60 s) and than the command waits (30 s).
	testTimeout = 25 * time.Second
)

// Options is what the API works on.
type Options struct {
	// Store keeps the objects. Without one, what needs it is answered with 409
	// and what to start the daemon with.
	Store config.Store
	// Collectors holds the nodes' reports; nil as for Store.
	Collectors config.Collectors
	// Test connects to a target and sends it one marked record. What it returns is the
	// answer, as JSON: a sinks.TestReport. No secret may be in it. It ends when ctx does, in which
	// auth.From says who asks. The bundle is the one that the target names, nil if none;
	// the files that either names are not read yet. Nil: targets cannot be tested.
	Test func(ctx context.Context, t *config.Target, b *config.TLSBundle) any
	// Log takes one line for each write, and what went wrong inside. Nil: slog.Default.
	Log *slog.Logger
	// Version is the daemon's.
	Version string
}

// api is the handler. It is immutable.
type api struct {
	Options
	openapi []byte
}

// New returns the handler of everything below Prefix. The identity of who asks
// must be in each request's context (auth.With); without one the answer is 401.
func New(o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &api{Options: o, openapi: document(o.Version)}
}

// call is one request on its way.
type call struct {
	*api
	r     *http.Request
	w     http.ResponseWriter // for the limit of the body only: replies are returned
	id    string              // of the request, in the log and in answers of 500
	who   auth.Identity
	kind  config.Kind // of the path; empty if it has none
	arg   string      // what stands for {name} or {id} in the path
	query query
	audit audit
	// toStore is what the Store is asked with; nil until it is asked first.
	toStore context.Context
	cancel  context.CancelFunc // of toStore
	// told is set once the Store was told to write: its errors then say what became of it.
	told bool
}

// reply is an answer to be written.
type reply struct {
	status   int // 0: 200
	etag     string
	modified time.Time
	warnings config.Problems
	body     any // JSON is made of it; nil for 304
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	ctx, cancel := context.WithTimeout(r.Context(), testTimeout)
	defer cancel()
	c := &call{api: a, r: r.WithContext(ctx), w: w, id: requestID()}
	defer c.done()
	out, err := c.answer(h)
	if err != nil {
		f := c.failure(err)
		c.record(f)
		f.write(w)
		return
	}
	c.record(nil)
	out.write(w, a.Log)
}

// answer does what is asked for. Headers that only an error has are set at once.
func (c *call) answer(h http.Header) (out reply, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = c.panicked(p)
		}
	}()
	who, ok := auth.From(c.r.Context())
	if !ok {
		h.Set("WWW-Authenticate", "Bearer")
		return out, &failure{status: http.StatusUnauthorized, Code: CodeUnauthenticated, Message: "nobody has said who is asking: send a token (Authorization: Bearer ...)"}
	}
	c.who = who
	e, allow, err := c.route()
	if allow != "" {
		h.Set("Allow", allow)
	}
	if err != nil {
		return out, err
	}
	c.audit.action = e.Action
	if who.Role < e.Role {
		return out, forbidden(who, e.Role)
	}
	if c.query, err = e.parseQuery(c.r.URL.RawQuery); err != nil {
		return out, err
	}
	return e.handle(c)
}

// within is the context in which the Store is asked: all of a request's questions together
// have storeTimeout from the first one on, when the body has been read.
func (c *call) within() context.Context {
	if c.toStore == nil {
		c.toStore, c.cancel = context.WithTimeout(c.r.Context(), storeTimeout)
	}
	return c.toStore
}

// done gives up what within has taken.
func (c *call) done() {
	if c.cancel != nil {
		c.cancel()
	}
}

// panicked makes an error of a panic. What it was given is only logged if it
// is the run time's own, which quotes no values that might be secrets.
func (c *call) panicked(p any) error {
	text := fmt.Sprintf("%T", p)
	if e, ok := p.(runtime.Error); ok {
		text = e.Error()
	}
	c.Log.Error("a request to the API made the daemon panic; please report it", "request", c.id, "panic", text, "stack", string(debug.Stack()))
	return errPanicked
}

// requestID returns a name for a request by which its log lines are found.
func requestID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func forbidden(who auth.Identity, need auth.Role) error {
	return &failure{status: http.StatusForbidden, Code: CodePermissionDenied,
		Message: fmt.Sprintf("this needs the role %v, and %q has the role %v", need, who.Name, who.Role)}
}
