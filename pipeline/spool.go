package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/lbshipd/lbshipd/internal/backoff"
	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/spool"
)

// spoolAfter is how long a target may take to answer, beside the time for which
// its sink gathers, before what it is given is kept on disk as well.
const spoolAfter = time.Second

// spoolTick is how often the queue of a target with a spool is looked at.
const spoolTick = 100 * time.Millisecond

// spillBytes bounds what is written to a spool at once.
const spillBytes = 4 << 20

// overflow is the spool of one target at work. Records go the way they go
// without it, from the queue to the sender; what has waited in the queue for too long is
// written to the spool, in order, and then its positions move as if it were
// answered. The sender gives the target what is in the spool before what is behind it in
// the queue. The target's mu guards all but spool, which has its own.
type overflow struct {
	spool *spool.Spool
	limit int64 // maxBytes; 0: what is there is sent, and no more comes in
	after time.Duration

	tail    uint64    // newest frame
	unknown int64     // records of which Open has found no trace but their numbers; the book's mu guards it
	given   uint64    // newest frame that is in the queue, or answered
	loaded  int       // items at the head of the queue that were read from the spool
	telling int       // answers that the spool is being told of: it must stay open
	busy    time.Time // since when the queue is more than half full; zero: it is not
	full    bool
	err     error // why the last append failed; nil if it did not
	next    time.Time
	wait    backoff.Backoff
}

// backlog reports whether the spool holds what is not in the queue.
func (o *overflow) backlog() bool { return o != nil && o.given < o.tail }

// spoolDir is where the spool of a target is.
func (s *Supervisor) spoolDir(target string) string { return filepath.Join(s.dataDir, "spool", target) }

// openSpool opens the spool of a target that is about to run, if it is to have
// one, or has one that still holds records.
func (s *Supervisor) openSpool(t *target) {
	o := &overflow{after: s.patience + t.batching.Wait, wait: backoff.Backoff{Min: time.Second, Max: 30 * time.Second}}
	if t.cfg.Spool != nil {
		o.limit = int64(t.cfg.Spool.MaxBytes)
	}
	dir := s.spoolDir(t.name)
	t.metrics.spoolLimit.Set(float64(o.limit))
	if s.dataDir == "" || o.limit == 0 && !spool.Exists(dir) {
		return
	}
	var err error
	o.spool, err = spool.Open(dir, spool.Options{MaxBytes: o.limit, Event: t.spoolEvent})
	if err != nil {
		t.metrics.spoolError("open")
		t.log.Error("the spool cannot be opened: the target goes on without one until it is configured anew", "error", err)
		o.err = err
		if o.limit > 0 {
			t.spoolErr = err
		}
		return
	}
	st := o.spool.Stats()
	o.tail, o.given = st.Last, st.Last-uint64(st.Frames)
	s.takeOver(t, o)
	t.over = o
	if st.Records > 0 {
		t.log.Info("the spool holds records that the target has not answered for: they come first", "records", st.Records, "bytes", st.Bytes)
	}
}

// takeOver brings the positions and the book up to what the spool holds.
func (s *Supervisor) takeOver(t *target, o *overflow) {
	since, restarted := s.savedBefore()
	tails := map[positions.Key]record.Position{}
	var known int64
	b := &t.book
	b.mu.Lock()
	s.takeOverTaken(t, o, tails, func(at time.Time) bool { return restarted && !at.Before(since) })
	o.spool.Each(func(h spool.Head) {
		e, err := decodeEntry(h.Notes)
		if err != nil {
			t.log.Warn("what the ledger is to hold of a batch in the spool cannot be read: its records are counted as they are", "error", err)
			e = entry{records: int64(h.Records), counts: positions.Counts{Read: int64(h.Records)}}
		}
		row := b.row(h.Origin.Source, t.name)
		row.read += e.counts.Read
		row.spool(e, 1)
		if restarted && !h.Appended.Before(since) {
			tails[positions.Key{Source: h.Origin.Source, Target: t.name, Input: h.Origin.Input}] = h.After
		}
	})
	for _, row := range b.rows {
		known += row.spooled.records
	}
	o.unknown = max(o.spool.Stats().Records-known, 0)
	b.mu.Unlock()
	for k, p := range tails {
		// It was on disk in the spool before the positions were saved.
		s.store.Set(k, p)
	}
}

// savedBefore tells from when on something may be in a spool that the positions
// do not know of, and whether that can be.
func (s *Supervisor) savedBefore() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	saved := s.store.SavedAt()
	if !saved.IsZero() {
		saved = saved.Add(-savedSlack)
	}
	return saved, s.applied.IsZero()
}

// savedSlack is how much earlier than the time of the positions file its
// contents may be.
const savedSlack = 200 * time.Millisecond

// spoolEvent is told what happened to the files of the spool.
func (t *target) spoolEvent(e spool.Event) {
	t.metrics.spoolError(e.Op)
	level := slog.LevelError
	if e.Op == spool.OpTorn && e.Err == nil {
		level = slog.LevelWarn
	}
	t.log.Log(context.Background(), level, "spool: "+e.Detail, "reason", e.Op, "path", e.File, "bytes", e.Bytes, "error", e.Err)
}

// overflowing writes to the spool what has waited for too long, until ctx ends.
func (t *target) overflowing(ctx context.Context) {
	tick := spoolTick
	if t.over != nil {
		tick = min(tick, t.over.after)
	}
	saved := time.Time{}
	for sleep(ctx, tick) {
		for t.late(time.Now()) && ctx.Err() == nil && t.spill() {
		}
		if now := time.Now(); now.Sub(saved) > takenTick {
			saved = now
			t.saveTaken()
		}
		t.closeDrained()
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

// onDisk counts the records that are in the spool and not in the queue. t.mu is held.
func (t *target) onDisk() int64 {
	if t.over == nil {
		return 0
	}
	n := t.over.spool.Stats().Records
	for i := range t.items {
		if t.items[i].spooled() {
			n -= int64(len(t.items[i].batch.Records) - t.items[i].own)
		}
	}
	return max(n, 0)
}

// leavesToSpool reports whether a target that is to end need not wait for an
// answer, because the spool takes what it has.
func (t *target) leavesToSpool() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closing && t.over != nil && t.over.limit > 0 && t.over.err == nil && !t.over.full
}

// spillAll writes to the spool what the target has not answered for at its end,
// and closes it. The sender has ended.
func (t *target) spillAll() {
	o := t.over
	if o == nil {
		return
	}
	t.mu.Lock()
	t.inFlight, o.next = 0, time.Time{}
	t.mu.Unlock()
	for o.limit > 0 && t.firstInMemory() < len(t.items) && t.spill() {
	}
	t.saveTaken()
	if st := o.spool.Stats(); st.Records > 0 {
		t.log.Info("the spool keeps what the target has not answered for", "records", st.Records, "bytes", st.Bytes)
	}
	if err := o.spool.Close(); err != nil {
		t.log.Warn("the spool was not closed cleanly", "error", err)
	}
}

// closeDrained removes a spool that is not configured any more once it is empty.
func (t *target) closeDrained() {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.over
	if o == nil || o.limit > 0 || o.backlog() || o.spool.Stats().Frames > 0 || o.loaded > 0 || o.telling > 0 {
		return
	}
	if _, unsaved := o.spool.LastTaken(); unsaved {
		return
	}
	t.over = nil
	if err := o.spool.Close(); err != nil {
		t.log.Warn("the spool was not closed cleanly", "error", err)
	}
	t.log.Info("the spool is empty, and is not configured any more", "removed", spool.RemoveEmpty(o.spool.Dir()))
}
