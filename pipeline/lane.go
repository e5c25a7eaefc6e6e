package pipeline

import (
	"context"

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
	book   *book // of the target; its mu guards what follows
	row    *bookRow

	next     record.Position // up to here it is queued: where a feed opens
	join     *joinState      // parts of lines that are held back there; nil if none
	answered record.Position // up to here it is answered: what is stored
	tracker  tracker
	due      positions.Counts // goes into the ledger with the next batch
	finished bool             // the input yields nothing more
}

// parcel is one read on its way to the lanes.
type parcel struct {
	batch *record.Batch   // After is what may be stored once it is answered
	end   record.Position // where the reader stands behind it: more than After while parts are held back
	join  *joinState      // the parts that are held back there; nil if none
	own   int             // records in the batch that lbshipd itself has added
	entry entry
}

// place is where a feed goes on: lanes at the same place can share one.
type place struct {
	next record.Position
	join *joinState
}

func (p place) same(q place) bool { return p.next == q.next && p.join.same(q.join) }

// place returns where the next feed for this lane is to go on.
func (l *lane) place() place {
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	return place{l.next, l.join}
}

// position is where somebody who holds nothing back would have to read on to
// be given all that comes behind what is queued.
func (l *lane) position() record.Position {
	p := l.place()
	if p.join != nil {
		return p.join.before()
	}
	return p.next
}

// hasFinished reports whether the input is at its very end.
func (l *lane) hasFinished() bool {
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	return l.finished
}

// rebase makes the lane go on elsewhere: its position turned out to be stale.
func (l *lane) rebase(p record.Position, lost positions.Lost) {
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	l.next, l.join = p, nil
	l.due.AddLost(lost)
}

// unjoin makes the lane read again what is held back: the format has changed,
// and nobody will put it together.
func (l *lane) unjoin() {
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	if l.join != nil {
		l.next, l.join = l.join.before(), nil
	}
}

// enqueue queues the parcel, taking over one of its batch's references. It waits for space
// while ctx lives; with a nil ctx it does not wait and reports false.
func (l *lane) enqueue(ctx context.Context, p *parcel) bool {
	l.book.mu.Lock()
	e := l.withDue(p.entry)
	seq := l.tracker.add(p.batch.After, e)
	l.row.read += e.counts.Read
	l.book.mu.Unlock()
	ok := l.target.offer(ctx, item{batch: p.batch, lane: l, seq: seq, own: p.own})
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	if !ok {
		l.tracker.undo()
		l.row.read -= e.counts.Read
		return false
	}
	l.next, l.join, l.due = p.end, p.join, positions.Counts{}
	return true
}

// heldBack is where a lane has ended that was answered for all but the parts
// of lines that were held back for it.
type heldBack struct {
	answered record.Position
	at       place
}

func (l *lane) handOver() (heldBack, bool) {
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	return heldBack{l.answered, place{l.next, l.join}}, l.join != nil && l.tracker.idle()
}

// inherit makes a new lane go on with what was held back. The book is locked.
func (l *lane) inherit(h heldBack) {
	if h.at.join != nil && h.answered == l.next {
		l.next, l.join = h.at.next, h.at.join
	}
}

// withDue adds what is due to e. The book is locked.
func (l *lane) withDue(e entry) entry {
	if !l.due.IsZero() {
		e = e.own()
		e.counts.Add(&l.due)
	}
	return e
}

// skip moves over a part of the input that holds nothing for the target.
func (l *lane) skip(p *parcel) {
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	if p.end == l.next && p.join == l.join && p.entry.counts.IsZero() {
		return
	}
	e := l.withDue(p.entry)
	l.next, l.join, l.due = p.end, p.join, positions.Counts{}
	l.row.read += e.counts.Read
	if mark, moved := l.tracker.skip(p.batch.After, e); moved {
		l.answered = mark.position
		l.book.store.Settle([]positions.Move{{Key: l.key, Position: mark.position, Counts: mark.counts}})
	}
}

// finish says that the input will never yield more.
func (l *lane) finish() { l.setFinished(true) }

// revive says that the input is read anew and may yield more all the same.
func (l *lane) revive() { l.setFinished(false) }

func (l *lane) setFinished(on bool) {
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	l.finished = on
}

// idle reports whether all that was queued is answered.
func (l *lane) idle() bool {
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	return l.tracker.idle()
}

// settled reports whether the target has had all of the input, which will
// never yield more, and has answered for it.
func (l *lane) settled() bool {
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	return l.finished && l.tracker.idle()
}
