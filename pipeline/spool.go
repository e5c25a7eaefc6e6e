package pipeline

import (
	"context"
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

// spoolTick is how often the queue of a target with a spool is looked at, if it
// is not full: what bounds the number of small writes.
const spoolTick = 200 * time.Millisecond

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
	wake  chan struct{} // capacity 1: the queue is full

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

// hurry says that the queue is full.
func (o *overflow) hurry() {
	if o == nil {
		return
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// spoolDir is where the spool of a target is.
func (s *Supervisor) spoolDir(target string) string { return filepath.Join(s.dataDir, "spool", target) }

// openSpool opens the spool of a target that is about to run, if it is to have
// one, or has one that still holds records.
func (s *Supervisor) openSpool(t *target) {
	o := &overflow{after: s.patience + t.batching.Wait, wake: make(chan struct{}, 1), wait: backoff.Backoff{Min: time.Second, Max: 30 * time.Second}}
	if t.cfg.Spool != nil {
		o.limit = int64(t.cfg.Spool.MaxBytes)
	}
	dir := s.spoolDir(t.name)
	t.metrics.spoolLimit.Set(float64(o.limit))
	if s.dataDir == "" || o.limit == 0 && !spool.Exists(dir) {
		return
	}
	t.reopen, t.reopenEvery = func() { s.openSpool(t) }, 30*s.patience
	var err error
	o.spool, err = spool.Open(dir, spool.Options{MaxBytes: o.limit, Event: t.spoolEvent})
	if err != nil {
		t.metrics.spoolError("open")
		t.log.Error("the spool cannot be opened: the target goes on without one, and it is tried again", "error", err)
		t.mu.Lock()
		t.spoolErr = err
		t.mu.Unlock()
		return
	}
	st := o.spool.Stats()
	o.tail, o.given = st.Last, st.Last-uint64(st.Frames)
	s.takeOver(t, o)
	t.mu.Lock()
	t.over, t.spoolErr = o, nil
	t.mu.Unlock()
	t.signal()
	if st.Records > 0 {
		t.log.Info("the spool holds records that the target has not answered for: they come first", "records", st.Records, "bytes", st.Bytes)
	}
}

// takeOver brings the positions and the book up to what the spool holds.
func (s *Supervisor) takeOver(t *target, o *overflow) {
	since, restarted := s.savedBefore()
	tails := map[positions.Key]tail{}
	var known int64
	b := &t.book
	b.mu.Lock()
	s.takeOverTaken(t, o, tails, func(at time.Time) bool { return restarted && !at.Before(since) })
	o.spool.Each(func(h spool.Head) {
		e := entryOf(&h)
		row := b.row(h.Origin.Source, t.name)
		row.read += e.counts.Read
		row.spool(e, 1)
		if restarted && !h.Appended.Before(since) && h.Whole() {
			tails[positions.Key{Source: h.Origin.Source, Target: t.name, Input: h.Origin.Input}] = tailOf(h)
		}
	})
	for _, row := range b.rows {
		known += row.spooled.records
	}
	o.unknown = max(o.spool.Stats().Records-known, 0)
	b.mu.Unlock()
	for k, p := range tails {
		// It was on disk in the spool before the positions were saved.
		if have, _ := s.store.Get(k); p.kind != "file" || !fileSaysMore(have, p.after) {
			s.store.Set(k, p.after)
		}
	}
}

// tail is where the newest frame of an input ends.
type tail struct {
	kind  string // of the source
	after record.Position
}

func tailOf(h spool.Head) tail { return tail{h.Origin.Kind, h.After} }

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

// closeDrained removes a spool that is not configured any more once it is
// empty, and reports whether it has.
func (t *target) closeDrained() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.over
	if o == nil || o.limit > 0 || o.backlog() || o.spool.Stats().Frames > 0 || o.loaded > 0 || o.telling > 0 {
		return false
	}
	if _, unsaved := o.spool.LastTaken(); unsaved {
		return false
	}
	t.over = nil
	if err := o.spool.Close(); err != nil {
		t.log.Warn("the spool was not closed cleanly", "error", err)
	}
	t.log.Info("the spool is empty, and is not configured any more", "removed", spool.RemoveEmpty(o.spool.Dir()))
	return true
}
