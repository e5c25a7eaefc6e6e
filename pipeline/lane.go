package pipeline

import (
	"context"
	"sync"

	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
)

// A lane is the way of one input's records to one target: which position is
// queued, and which is answered. It belongs to its target and outlives the
// feeds that fill it: a source that is read anew goes on where its lanes are.
// One feed at a time fills a lane.
type lane struct {
	key    positions.Key
	target *target
	store  *positions.Store

	mu       sync.Mutex
	next     record.Position // up to here it is queued: where a feed opens
	tracker  tracker
	finished bool // the input yields nothing more
}

// position is where the next feed for this lane is to read on.
func (l *lane) position() record.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// state returns the position, and whether the input is at its very end.
func (l *lane) state() (record.Position, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next, l.finished
}

// hasFinished reports whether the input is at its very end.
func (l *lane) hasFinished() bool {
	_, finished := l.state()
	return finished
}

// rebase makes the lane go on elsewhere: its position turned out to be stale.
func (l *lane) rebase(p record.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = p
}

// enqueue queues b, taking over one of its references. It waits for space
// while ctx lives; with a nil ctx it does not wait and reports false.
func (l *lane) enqueue(ctx context.Context, b *record.Batch) bool {
	l.mu.Lock()
	seq := l.tracker.add(b.After)
	l.mu.Unlock()
	if !l.target.offer(ctx, item{batch: b, lane: l, seq: seq}) {
		l.mu.Lock()
		l.tracker.undo()
		l.mu.Unlock()
		return false
	}
	l.mu.Lock()
	l.next = b.After
	l.mu.Unlock()
	return true
}

// skip moves over a part of the input that holds nothing for the target.
func (l *lane) skip(after record.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if after == l.next {
		return
	}
	l.next = after
	if low, moved := l.tracker.skip(after); moved {
		l.store.Set(l.key, low)
	}
}

// ack is called by the target's sender once the target has answered for a batch.
func (l *lane) ack(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if low, moved := l.tracker.ack(seq); moved {
		l.store.Set(l.key, low)
	}
}

// finish says that the input will never yield more.
func (l *lane) finish() { l.setFinished(true) }

// revive says that the input is read anew and may yield more all the same.
func (l *lane) revive() { l.setFinished(false) }

func (l *lane) setFinished(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished = on
}

// answered reports whether the target has had all of the input, which will
// never yield more, and has answered for it.
func (l *lane) answered() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.finished && l.tracker.idle()
}
