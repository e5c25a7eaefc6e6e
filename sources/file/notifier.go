package file

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// queueMost bounds the events that wait for one source; beyond it they count as lost. The
// kernel has a bound of its own (fs.inotify.max_queued_events, 16384).
const queueMost = 1 << 15

// notifier is one source's part of the inotify instance: the watches that it wants, and
// its events. However long one source takes, the others are told.
//
// Life: made by newNotifier; the caller must call close.
type notifier struct {
	at    *instance
	ready chan struct{} // capacity 1: there are events

	// Guarded by the instance.
	queue  []event
	before time.Time // what came before the first of queue is handled or being handled
	busy   bool      // events were taken, and what follows from them is not done yet
	since  time.Time // while busy: what came before is done
	end    time.Time // the answer of settled once it is closed
}

// newNotifier returns a part of an instance, and makes that if there is none.
func newNotifier(at *instance) (*notifier, error) {
	n := &notifier{at: at, ready: make(chan struct{}, 1)}
	if err := at.join(n); err != nil {
		return nil, err
	}
	return n, nil
}

// put adds an event; all that came before drained was handed on. The instance is locked.
func (n *notifier) put(e event, drained time.Time) {
	if len(n.queue) == 0 {
		n.before = drained
	}
	if len(n.queue) >= queueMost {
		clear(n.queue)
		n.queue, e = n.queue[:0], event{watch: -1, mask: unix.IN_Q_OVERFLOW}
	}
	n.queue = append(n.queue, e)
	select {
	case n.ready <- struct{}{}:
	default:
	}
}

// take returns the events that have come. When all that follows from them is done, the
// caller calls done.
func (n *notifier) take() []event {
	n.at.mu.Lock()
	defer n.at.mu.Unlock()
	if len(n.queue) == 0 {
		return nil
	}
	if !n.busy {
		n.busy, n.since = true, n.before
	}
	events := n.queue
	n.queue = nil
	return events
}

// done says that all that was taken is done with, and reports whether no event waits.
func (n *notifier) done() (quiet bool) {
	n.at.mu.Lock()
	defer n.at.mu.Unlock()
	n.busy = false
	return len(n.queue) == 0 && n.at.quiet()
}

// handled reports whether all that came before at, by the kernel's clock, was taken. What was
// taken last counts as that: the caller has handled it.
func (n *notifier) handled(at time.Time) bool {
	n.at.mu.Lock()
	defer n.at.mu.Unlock()
	if len(n.queue) > 0 {
		return n.before.After(at)
	}
	return n.at.quiet() || n.at.drained.After(at)
}

// settled returns up to when all that came was taken and done with, by the kernel's clock.
func (n *notifier) settled() time.Time {
	n.at.mu.Lock()
	defer n.at.mu.Unlock()
	if !n.end.IsZero() {
		return n.end
	}
	return n.caughtUp()
}

// caughtUp is settled with the instance locked.
func (n *notifier) caughtUp() time.Time {
	switch {
	case n.busy:
		return n.since
	case len(n.queue) > 0:
		return n.before
	}
	n.at.quiet()
	return n.at.drained
}

// add watches a directory from now on: also where others watch it, n is not told of what came
// before, which is nothing to whoever has yet to look for the first time. Two paths of one directory get the same watch.
func (n *notifier) add(dir string) (int32, error) {
	n.at.mu.Lock()
	defer n.at.mu.Unlock()
	watch, err := unix.InotifyAddWatch(n.at.fd, dir, watchMask)
	if err != nil {
		return -1, &os.PathError{Op: "inotify_add_watch", Path: dir, Err: err}
	}
	of := n.at.watches[int32(watch)]
	if of == nil {
		of = map[*notifier]bool{}
		n.at.watches[int32(watch)] = of
	}
	if len(of) > 0 && !of[n] {
		n.at.drain() // what came before now is for the others alone
	}
	of[n] = true
	return int32(watch), nil
}

// drain has all that has come until now in the queue.
func (n *notifier) drain() {
	n.at.mu.Lock()
	defer n.at.mu.Unlock()
	n.at.drain()
}

func (n *notifier) remove(watch int32) {
	n.at.mu.Lock()
	defer n.at.mu.Unlock()
	n.at.remove(n, watch)
}

func (n *notifier) close() { n.at.part(n) }
