package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/spool"
)

// overflowing writes to the spool what has waited for too long, until ctx ends.
func (t *target) overflowing(ctx context.Context) {
	o := t.awaitSpool(ctx)
	if o == nil {
		return
	}
	tick := time.NewTicker(min(spoolTick, o.after))
	defer tick.Stop()
	saved := time.Time{}
	for {
		select {
		case <-tick.C:
		case <-o.wake:
		case <-ctx.Done():
			return
		}
		for t.late(time.Now()) && ctx.Err() == nil && t.spill() {
		}
		if now := time.Now(); now.Sub(saved) > takenTick {
			saved = now
			t.saveTaken()
		}
		if t.closeDrained() {
			return
		}
	}
}

// awaitSpool returns the target's spool once it is open; nil if there is to be none.
func (t *target) awaitSpool(ctx context.Context) *overflow {
	for {
		t.mu.Lock()
		o, failed := t.over, t.spoolErr != nil
		t.mu.Unlock()
		if !failed || !sleep(ctx, t.reopenEvery) {
			return o
		}
		t.reopen()
	}
}

// late reports whether something in the queue is to be written to the spool.
func (t *target) late(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.over
	if o == nil || o.limit == 0 || now.Before(o.next) {
		return false
	}
	if _, bytes := t.waiting(); bytes < t.limit/4 {
		o.busy = time.Time{}
	} else if o.busy.IsZero() {
		o.busy = now
	}
	i := t.firstInMemory()
	if i == len(t.items) {
		// Nothing is kept out of the spool any more. Whether it could be written shows when it is needed.
		o.full, o.err = false, nil
		return false
	}
	if now.Sub(t.items[i].queued) > o.after {
		return true
	}
	behind := o.backlog() || t.failure.Class != "" || now.Sub(o.busy) > o.after
	return !o.busy.IsZero() && behind
}

// firstInMemory is the index of the first item that is not in the spool. t.mu is held.
func (t *target) firstInMemory() int {
	for i := range t.items {
		if t.items[i].frame == (spool.Frame{}) {
			return i
		}
	}
	return len(t.items)
}

// spill writes what waits in the queue to the spool; false if that did not
// succeed and is to be tried later.
func (t *target) spill() bool {
	items := t.spillable()
	defer func() {
		for i := range items {
			items[i].batch.Release()
		}
	}()
	entries := t.entries(items)
	if len(entries) == 0 {
		return false
	}
	frames, err := t.over.spool.Append(entries)
	t.mu.Lock()
	o := t.over
	was := o.err
	o.full, o.err = errors.Is(err, spool.ErrFull), nil
	if err != nil && !o.full {
		o.err = err
		o.next = time.Now().Add(o.wait.Next())
	} else {
		o.wait.Reset()
	}
	t.mu.Unlock()
	if err != nil {
		return false
	}
	if was != nil {
		t.log.Info("the spool can be written again")
	}
	t.spilled(items[len(items)-len(entries):][:len(frames)], frames)
	return true
}

// spillable takes the items that are to be written, with a reference to each batch.
func (t *target) spillable() []item {
	t.mu.Lock()
	defer t.mu.Unlock()
	var items []item
	size := 0
	for _, it := range t.items[t.firstInMemory():] {
		if size += it.batch.Size(); size > spillBytes && len(items) > 0 {
			break
		}
		it.batch.Retain(1)
		items = append(items, it)
	}
	return items
}

// entries gives each item what the ledger is to hold of it. Leading items that were
// answered meanwhile are left out.
func (t *target) entries(items []item) []spool.Entry {
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	var list []spool.Entry
	for i := range items {
		if e, ok := items[i].lane.tracker.entryOf(items[i].seq); ok {
			list = append(list, spool.Entry{Batch: items[i].batch, Notes: encodeEntry(e)})
		} else {
			list = list[:0]
		}
	}
	return list
}

// spilled notes that items are on disk: their positions move. Those that the
// sender has stay in the queue until they are answered, the others leave it.
func (t *target) spilled(items []item, frames []spool.Frame) {
	b, o := &t.book, t.over
	var release []*record.Batch
	b.mu.Lock()
	t.mu.Lock()
	at, kept, answered := 0, spool.Frame{}, spool.Frame{}
	for i := range items {
		l := items[i].lane
		at = t.find(items[i].id)
		if at < 0 { // the target has answered
			kept, answered = frames[i], frames[i]
			continue
		}
		e, _ := l.tracker.entryOf(items[i].seq)
		l.row.spool(e, 1)
		if mark, moved := l.tracker.spooled(items[i].seq); moved {
			l.answered = mark.position
			b.moves = append(b.moves, positions.Move{Key: l.key, Position: mark.position, Counts: mark.counts})
		}
		if it := &t.items[at]; at < t.inFlight {
			it.frame, it.entry = frames[i], e
			kept = frames[i]
		} else {
			release = append(release, it.batch)
			t.take(at)
		}
	}
	o.tail = max(o.tail, frames[len(frames)-1].Number)
	o.given = max(o.given, kept.Number)
	o.loaded = t.firstInMemory() // what is read from the spool comes behind those that were kept
	o.spool.Passed(o.given)
	if len(release) > 0 {
		t.freed()
	}
	t.mu.Unlock()
	b.settle()
	b.mu.Unlock()
	if answered.Number > 0 {
		t.saveTaken() // the ledger has it by another way than the notes of the frame
		o.spool.Answered(answered)
	}
	for _, batch := range release {
		batch.Release()
	}
	t.metrics.spooled.Add(float64(recordsOf(items)))
	t.signal()
}

func recordsOf(items []item) (n int) {
	for i := range items {
		n += len(items[i].batch.Records)
	}
	return n
}

// find returns the index of an item, -1 if it is not in the queue. t.mu is held.
func (t *target) find(id uint64) int {
	for i := range t.items {
		if t.items[i].id == id {
			return i
		}
	}
	return -1
}

// take takes item i out of the queue. t.mu is held.
func (t *target) take(i int) {
	t.bytes -= int64(t.items[i].batch.Size())
	t.records -= int64(len(t.items[i].batch.Records))
	rest := copy(t.items[i:], t.items[i+1:])
	clear(t.items[i+rest:])
	t.items = t.items[:i+rest]
}
