// Package ratelog is a slog handler that lets one cause speak once per
// interval, and then says how often it was silenced.
package ratelog

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// maxCauses bounds the causes remembered; beyond it everything passes.
const maxCauses = 4096

// Handler passes the first record of a cause at once, silences it for
// Interval, and adds the attribute "silenced" with the count to the next one
// that passes. A cause is the level, the message, and the attributes source,
// target, class, reason and path. Info and below is never silenced.
type Handler struct {
	next  slog.Handler
	state *state
	bound string // attributes of the cause that With has bound
}

type state struct {
	interval time.Duration
	mu       sync.Mutex
	causes   map[string]*cause
}

type cause struct {
	last     time.Time
	silenced int
}

// New wraps next.
func New(next slog.Handler, interval time.Duration) *Handler {
	return &Handler{next: next, state: &state{interval: interval, causes: map[string]*cause{}}}
}

// Enabled reports whether next takes the level.
func (h *Handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

func isCause(key string) bool {
	switch key {
	case "source", "target", "class", "reason", "path":
		return true
	}
	return false
}

// Handle passes r on, or counts it.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return h.next.Handle(ctx, r)
	}
	key := r.Level.String() + r.Message + h.bound
	r.Attrs(func(a slog.Attr) bool {
		if isCause(a.Key) {
			key += "\x00" + a.Key + "=" + a.Value.String()
		}
		return true
	})
	pass, silenced := h.state.pass(key, r.Time)
	if !pass {
		return nil
	}
	if silenced > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("silenced", silenced))
	}
	return h.next.Handle(ctx, r)
}

func (s *state) pass(key string, now time.Time) (bool, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.causes[key]
	if c == nil {
		if len(s.causes) >= maxCauses {
			s.forget(now)
		}
		s.causes[key] = &cause{last: now}
		return true, 0
	}
	if now.Sub(c.last) < s.interval {
		c.silenced++
		return false, 0
	}
	n := c.silenced
	c.last, c.silenced = now, 0
	return true, n
}

// forget drops the causes that are free to speak again. s.mu is held.
func (s *state) forget(now time.Time) {
	for key, c := range s.causes {
		if now.Sub(c.last) >= s.interval || len(s.causes) >= maxCauses {
			delete(s.causes, key)
		}
	}
}

// WithAttrs binds attributes.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	bound := h.bound
	for _, a := range attrs {
		if isCause(a.Key) {
			bound += "\x00" + a.Key + "=" + a.Value.String()
		}
	}
	return &Handler{next: h.next.WithAttrs(attrs), state: h.state, bound: bound}
}

// WithGroup opens a group.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{next: h.next.WithGroup(name), state: h.state, bound: h.bound + "\x00" + name}
}
