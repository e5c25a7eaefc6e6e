package file

import (
	"errors"
	"io/fs"
	"sync"
	"time"
)

// watching is up to when a source has seen what came and went, for who asks while it runs.
type watching struct {
	mu       sync.Mutex
	at       time.Time // before all was looked at for the first time; later the last look without inotify, if there is one
	notifier *notifier // nil: there is none, or all was not yet looked at
	polls    bool
}

// Watched implements sources.Watcher. It is exact: events that wait, be it for this process
// or in it, and inputs that are found and not announced, hold it back.
func (s *source) Watched() time.Time {
	w := &s.watching
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.notifier == nil {
		return w.at
	}
	at := w.notifier.settled()
	if w.polls && w.at.Before(at) {
		return w.at
	}
	return at
}

// settle notes what is done with: all that was found is announced.
func (d *discovery) settle() {
	if len(d.held) > 0 {
		return
	}
	w := &d.src.watching
	w.mu.Lock()
	if w.notifier, w.polls = d.notifier, !d.polledTo.IsZero(); w.polls {
		w.at = d.polledTo
	}
	w.mu.Unlock()
	if d.notifier != nil && d.notifier.done() {
		d.moves.expire(time.Now()) // while events wait, nothing is: they may be of it
	}
}

// lookedAt notes when all was looked at that inotify does not cover.
func (d *discovery) lookedAt(at time.Time) {
	if d.polledTo = at; !d.polls() {
		d.polledTo = time.Time{}
	}
}

func maxTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// listen takes part in the process's inotify instance. An error says that there is none to be had.
func (d *discovery) listen() error {
	if d.src.noInotify || d.notifier != nil {
		return nil
	}
	n, err := newNotifier(d.src.inotify)
	if err == nil {
		d.notifier = n
	}
	return err
}

// listenAgain watches what could not be watched before: other programs may have
// given back what they had used up.
func (d *discovery) listenAgain() {
	before := d.src.trouble.setDeaf(nil)
	if before == nil {
		return
	}
	if err := d.listen(); err != nil {
		d.src.trouble.setDeaf(err)
		return
	}
	for _, dir := range d.dirs {
		if dir.watch >= 0 || remote(dir.path) {
			continue
		}
		watch, err := d.notifier.add(dir.path)
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			d.src.trouble.setDeaf(err)
			return
		}
		d.watches(dir, watch)
		dir.polled = false
	}
	d.src.deps.Log.Info("inotify can be had again: directories are watched")
}

// deaf notes that inotify cannot be had, and says it when it is news.
func (d *discovery) deaf(err error) {
	if d.src.trouble.setDeaf(err) == nil {
		d.src.deps.Log.Warn("directories are looked at in intervals, for inotify cannot be had", "error", err, "interval", d.src.dirPoll)
	}
}
