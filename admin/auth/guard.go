package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// Limits of requests.
const (
	maxBody = 2 << 20 // bytes

	// Each remote address may fail so often at once, and so often a second.
	failures, failuresPerSecond = 20, 2
	// Each identity may ask so often at once, and so often a second.
	requests, requestsPerSecond = 500, 100
	// Addresses and identities that are remembered, twice at most.
	maxRemembered = 4096
	// Requests at a time: of the API, and of what is open, which the API must not starve.
	maxAPI, maxOpen = 64, 32
)

// GuardOptions say who gets where.
type GuardOptions struct {
	Verifier *Verifier
	// Open are the paths that need nobody's name: exactly those, and what is
	// below those that end in a slash.
	Open []string
	Log  *slog.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Guard lets in who may. What it lets in has an identity in its context (From),
// unless the path is open. It does not look at roles: what the role may do is
// up to the handler.
type Guard struct {
	o        GuardOptions
	trusted  map[int]string
	failures *limiters
	requests *limiters
	api      chan struct{}
	open     chan struct{}
}

// NewGuard returns a guard for one server.
func NewGuard(o GuardOptions) *Guard {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Guard{o: o, trusted: trusted(),
		failures: newLimiters(rate.Limit(failuresPerSecond), failures, maxRemembered),
		requests: newLimiters(rate.Limit(requestsPerSecond), requests, maxRemembered),
		api:      make(chan struct{}, maxAPI), open: make(chan struct{}, maxOpen)}
}

// Wrap puts the guard in front of next.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open := g.isOpen(r.URL.Path)
		slots := g.api
		if open {
			slots = g.open
		}
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			g.refuse(w, r, unavailable("too many requests at a time: try again", time.Second))
			return
		}
		if r.ContentLength > maxBody {
			g.refuse(w, r, &Refusal{Status: http.StatusRequestEntityTooLarge, Code: codeTooMany,
				Message: "the body is larger than 2 MiB"})
			return
		}
		if r.Body != nil {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		}
		if !open {
			id, refusal := g.admit(r)
			if refusal != nil {
				g.refuse(w, r, refusal)
				return
			}
			r = r.WithContext(With(r.Context(), id))
		}
		next.ServeHTTP(w, r)
	})
}

// isOpen takes no path that could mean another one once it is cleaned.
func (g *Guard) isOpen(p string) bool {
	return slices.ContainsFunc(g.o.Open, func(open string) bool {
		if !strings.HasSuffix(open, "/") {
			return p == open
		}
		return strings.HasPrefix(p, open) && path.Clean(p) == strings.TrimSuffix(p, "/")
	})
}

// admit finds out who asks, and whether he has asked too often.
func (g *Guard) admit(r *http.Request) (Identity, *Refusal) {
	now := g.o.Now()
	id, ok := g.onSocket(r.Context())
	if !ok {
		remote := remoteOf(r)
		if after, ok := g.failures.left(remote, now); !ok {
			return Identity{}, tooMany("too many requests from here were refused for their token: wait", after)
		}
		var refusal *Refusal
		if id, refusal = g.byToken(r); refusal != nil {
			g.failures.take(remote, now)
			return Identity{}, refusal
		}
	}
	if after, ok := g.requests.take(id.Via+" "+id.Name, now); !ok {
		return Identity{}, tooMany("too many requests by "+id.Name+": wait", after)
	}
	return id, nil
}

func (g *Guard) onSocket(ctx context.Context) (Identity, bool) {
	p, ok := ctx.Value(peerKey{}).(peer)
	if !ok {
		return Identity{}, false
	}
	name, ok := g.trusted[p.uid]
	return Identity{Name: name, Via: "socket", Role: Admin}, ok
}

const howTo = ": send one as \"Authorization: Bearer TOKEN\", or use the Unix socket as root"

func (g *Guard) byToken(r *http.Request) (Identity, *Refusal) {
	token, refusal := bearer(r.Header)
	if refusal == nil || g.o.Verifier.o.Keys == nil {
		id, err := g.o.Verifier.Verify(r.Context(), token)
		if err != nil {
			errors.As(err, &refusal)
		}
		return id, refusal
	}
	return Identity{}, refusal
}

// bearer takes the token out of the one Authorization header (RFC 6750 section
// 2.1). The other ways, in the body and in the URL, are not taken.
func bearer(h http.Header) (string, *Refusal) {
	values := h.Values("Authorization")
	switch {
	case len(values) == 0:
		return "", unauthenticated("a token is needed" + howTo)
	case len(values) > 1:
		return "", unauthenticated("there is more than one Authorization header" + howTo)
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimLeft(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" || strings.ContainsAny(token, " \t") {
		return "", unauthenticated("the Authorization header holds no bearer token" + howTo)
	}
	return token, nil
}

// refuse answers, and says so in our own log.
func (g *Guard) refuse(w http.ResponseWriter, r *http.Request, refusal *Refusal) {
	// What strangers choose must not make it another cause of trouble: that
	// would drown the log.
	g.o.Log.Warn("a request to the admin port is refused", "class", strconv.Itoa(refusal.Status), "remote", remoteOf(r),
		"method", printable(r.Method), "url", printable(r.URL.Path), "why", refusal.Message)
	refusal.answer(w)
}

// remoteOf names the other end: its user on the Unix socket, else its address.
func remoteOf(r *http.Request) string {
	if p, ok := r.Context().Value(peerKey{}).(peer); ok {
		return fmt.Sprintf("uid %d", p.uid)
	}
	return remoteKey(r.RemoteAddr)
}

// printable shortens what a stranger has sent.
func printable(text string) string {
	const most = 200
	if len(text) > most {
		text = text[:most] + "..."
	}
	return describable(text)
}
