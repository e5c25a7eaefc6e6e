// Package filestore is the configuration store of a node by itself: one YAML
// file. It keeps an eye on it and on the files that it names, hands out each new
// configuration, and edits the file without touching more of it than is to be changed.
package filestore

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/lbshipd/lbshipd/config"
)

// How soon a change is noticed.
const (
	// quiet is how long nothing must happen before the file is read.
	quiet = 50 * time.Millisecond
	// settle is how long a change is waited for at most; and how long what is
	// broken is given to become whole, for it may be half written.
	settle = 200 * time.Millisecond
	// poll is how often the files are looked at where inotify says nothing:
	// network file systems, exhausted limits, renamed parent folders.
	poll = time.Second
)

// Event is what the file holds now. Either Config or Err is set.
type Event = config.Event

// Store watches one configuration file. Changes are told by contents, however
// they come about: written in place, renamed over, deleted and made again, or a
// symbolic link anywhere on the way that now points elsewhere, as Kubernetes
// does it with a ConfigMap. The files that the configuration names (caFile and
// the like) are watched in the same way.
type Store struct {
	path   string
	log    *slog.Logger
	reload chan struct{}
	fresh  chan struct{} // a Write was made

	mu      sync.Mutex // held by who reads the file to change it, or changes the history
	dataDir string     // where the history is kept; empty: in memory
	history *history   // nil: not read yet

	// Tests set these, to see that inotify and polling each do by themselves.
	pollOnly bool
	poll     time.Duration
	between  func() // called by Write just before it looks whether the file is still the same
}

// Open makes a Store for the file at path, which need not be there yet. It
// reads nothing.
func Open(path string, log *slog.Logger) (*Store, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("finding the configuration %s: %w", path, err)
	}
	return &Store{path: absolute, log: log, reload: make(chan struct{}, 1), fresh: make(chan struct{}, 1), poll: poll}, nil
}

// KeepHistory makes what is written be remembered in a file in dir, the data directory.
// Without it history and Etags last as long as the process. It is called before anything
// else is.
func (s *Store) KeepHistory(dir string) { s.dataDir = dir }

// written wakes Watch up: there is something new.
func (s *Store) written() {
	select {
	case s.fresh <- struct{}{}:
	default: // it will look anyway
	}
}

// Path returns the absolute path of the file.
func (s *Store) Path() string { return s.path }

// Reload makes the file be read at once, and an Event be sent in any case
// (SIGHUP). It does not wait.
func (s *Store) Reload() {
	select {
	case s.reload <- struct{}{}:
	default: // one is under way already
	}
}

// Watch reads the file and sends what it holds, then an Event for every change
// of what it holds. What is broken is sent once until it changes. If the
// receiver is slow, an Event that it has not taken is replaced by a newer one.
// The channel is closed when ctx ends. Watch is called once.
func (s *Store) Watch(ctx context.Context) <-chan Event {
	out := make(chan Event)
	l := loop{store: s, notify: &notifier{done: make(chan struct{})}, timer: time.NewTimer(0)}
	if !s.pollOnly {
		l.notify = newNotifier(s.log)
	}
	go func() {
		defer close(out)
		defer l.notify.close()
		defer l.timer.Stop()
		l.run(ctx, out)
	}()
	return out
}

// loop is the state of one Watch. Only its goroutine uses it.
type loop struct {
	store   *Store
	notify  *notifier
	timer   *time.Timer // when the files are read next; not armed if first is zero
	seen    snapshot    // what was last read
	sent    string      // revision of what was last sent
	had     bool        // a Config was sent
	first   time.Time   // the first change that is not dealt with yet; zero: none
	pending *Event      // what the receiver has not taken yet
	answer  bool        // a Reload waits for its Event
}

func (l *loop) run(ctx context.Context, out chan<- Event) {
	ticker := time.NewTicker(l.store.poll)
	defer ticker.Stop()
	l.notify.watch([]string{l.store.path})
	l.timer.Stop()
	l.look(true)
	for {
		var offer chan<- Event
		var event Event
		if l.pending != nil {
			offer, event = out, *l.pending
		}
		select {
		case <-ctx.Done():
			return
		case offer <- event:
			l.pending = nil
		case <-l.store.reload:
			l.answer = true
			l.look(true)
		case <-l.store.fresh:
			l.look(true)
		case name := <-l.notify.events():
			if l.notify.interesting(name) {
				l.changed()
			}
		case <-ticker.C:
			if l.notify.watch(l.seen.paths()) || l.seen.changed() {
				l.changed()
			}
		case <-l.timer.C:
			l.look(false)
		}
	}
}

// changed notes that something happened, and sets the time for a look at it.
func (l *loop) changed() {
	now := time.Now()
	if l.first.IsZero() {
		l.first = now
	}
	l.timer.Reset(due(l.first, now))
}

// due returns how long to wait for more after a change at now, if the first
// one that is not dealt with was at first. A file that is never quiet is read
// all the same.
func due(first, now time.Time) time.Duration {
	return max(0, min(quiet, first.Add(settle).Sub(now)))
}

// look reads the files and says so if they hold something new. What is broken
// is looked at again before it is said, unless it is certain.
func (l *loop) look(certain bool) {
	l.seen = read(l.store.path)
	if l.notify.watch(l.seen.paths()) && l.seen.changed() {
		// A file changed before it was watched.
		l.changed()
		return
	}
	rest := l.first.Add(settle).Sub(time.Now())
	if l.seen.err != nil && !certain && rest > 0 && l.seen.revision != l.sent {
		l.timer.Reset(rest)
		return
	}
	l.first = time.Time{}
	l.timer.Stop()
	if l.seen.revision != l.sent || l.answer {
		l.send()
	}
}

// send makes what was seen the Event that is offered.
func (l *loop) send() {
	event := Event{Config: l.seen.config, Err: l.seen.err, Gone: l.seen.gone, Reloaded: l.answer}
	if event.Config != nil {
		event.Hash = l.store.noticed(l.seen.text)
	}
	if event.Gone && l.had {
		event.Err = fmt.Errorf("the configuration file is gone, what runs goes on: %w", event.Err)
	}
	l.had = l.had || event.Config != nil
	if l.pending != nil {
		event.Reloaded = event.Reloaded || l.pending.Reloaded
	}
	l.pending, l.sent, l.answer = &event, l.seen.revision, false
}
