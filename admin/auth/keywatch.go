package auth

import (
	"context"
	"slices"
	"sync"
	"time"
)

// How often keys are looked at.
const (
	pollFiles = 2 * time.Second
	// soonestFiles is the least time between two readings of files because of
	// tokens that no key fits.
	soonestFiles = 200 * time.Millisecond
	// soonestURL is the same for URLs.
	soonestURL = 10 * time.Second
)

// watched is one place that keys are read from, by one goroutine.
type watched struct {
	ring           *Keyring
	at             string
	remote         bool
	every, soonest time.Duration
	// load returns the keys that are there now. What cannot be read is an
	// error; keys beside it that are not nil count nevertheless.
	load func(ctx context.Context) (keys []key, warnings []string, err error)

	// Guarded by ring.mu.
	held    []key
	loaded  bool // at least once
	problem string

	warnings []string      // of the last reading; the goroutine's own
	wanted   chan struct{} // wakes the goroutine

	mu      sync.Mutex
	next    chan struct{} // closed when the reading that comes next is done; nil if nobody waits
	current chan struct{} // closed when the one under way is done; nil if there is none
	last    time.Time     // when the last one began
}

// ask wants a reading that begins after now, or for a URL one that is under
// way; the channel is closed when it is done. nil: the last one was just now.
func (w *watched) ask() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.remote && w.current != nil {
		return w.current
	}
	if w.remote && w.next == nil && !w.last.IsZero() && time.Since(w.last) < w.soonest {
		return nil
	}
	if w.next == nil {
		w.next = make(chan struct{})
	}
	select {
	case w.wanted <- struct{}{}:
	default:
	}
	return w.next
}

func (w *watched) run(ctx context.Context) {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-w.wanted:
			if !w.pause(ctx) {
				return
			}
		}
		w.round(ctx)
	}
}

// pause waits until the last reading is not too near; false if ctx ends.
func (w *watched) pause(ctx context.Context) bool {
	w.mu.Lock()
	left := w.soonest - time.Since(w.last)
	w.mu.Unlock()
	if left <= 0 {
		return true
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(left):
		return true
	}
}

func (w *watched) round(ctx context.Context) {
	w.mu.Lock()
	done := w.next
	if done == nil {
		done = make(chan struct{})
	}
	w.next, w.current, w.last = nil, done, time.Now()
	w.mu.Unlock()
	w.reread(ctx)
	w.mu.Lock()
	w.current = nil
	w.mu.Unlock()
	close(done)
}

// reread reads, and says what has changed for better or worse.
func (w *watched) reread(ctx context.Context) {
	before := w.problem // only we write it
	err := w.read(ctx)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		err = w.ring.merge()
	} else if more := w.ring.merge(); more != nil {
		err = more
	}
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	w.ring.mu.Lock()
	w.problem = problem
	w.ring.mu.Unlock()
	switch log := w.ring.log; {
	case problem != "" && problem != before:
		log.Error("token keys cannot be read, the ones read before go on", "path", w.at, "reason", problem)
	case problem == "" && before != "":
		log.Info("token keys can be read again", "path", w.at)
	}
}

// read takes what is there now, and says what is odd about it.
func (w *watched) read(ctx context.Context) error {
	keys, warnings, err := w.load(ctx)
	if err == nil || keys != nil {
		w.ring.mu.Lock()
		w.held, w.loaded = keys, true
		w.ring.mu.Unlock()
	}
	if !slices.Equal(warnings, w.warnings) {
		for _, text := range warnings {
			w.ring.log.Warn("token keys", "path", w.at, "reason", text)
		}
		w.warnings = warnings
	}
	return err
}
