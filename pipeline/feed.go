package pipeline

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/lbshipd/lbshipd/internal/backoff"
	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// holdUp is how long, within holdUpPer, one target's full queue may hold up the
// others of its feed before it is read for on its own.
const (
	holdUp    = 250 * time.Millisecond
	holdUpPer = 10 * time.Second
)

// A feed reads one input from a position for the lanes that are there, and
// offers each batch to all of them.
//
// Life: inputRun starts it in a goroutine of its own; it ends when its context
// does, when the input is at its end, or when it has reached until. done is
// closed once nothing of it is at work any more.
type feed struct {
	run    *inputRun
	lanes  []*lane // changed by the feed's goroutine alone, with run.mu held
	from   record.Position
	until  record.Position // "": no end
	proc   *processor
	cancel context.CancelFunc
	done   chan struct{}
	admits bool        // its lanes may have what it reads; the feed's goroutine alone uses it
	eof    bool        // set before done is closed: the input yields nothing more
	atEnd  atomic.Bool // the reader had to wait since this was last cleared

	looker  atomic.Value // the reader's sources.Looker, if it is one
	waiting atomic.Int64 // since when the reader waits, a moment; 0: it does not
	waits   atomic.Int64 // times in a row that the reader had to wait
	failing atomic.Int64 // since when every try to open or read fails, a moment; 0: it does not

	trouble atomic.Pointer[error] // why the last try to open or read failed; nil: it did not

	heldUp    time.Duration // by full queues, since heldSince
	heldSince time.Time
}

func (f *feed) loop(ctx context.Context) {
	reader := f.open(ctx)
	if reader == nil {
		return
	}
	defer reader.Close()
	if l, ok := reader.(sources.Looker); ok {
		f.looker.Store(l)
	}
	if f.until != "" {
		reader.Until(f.until)
	}
	retry := backoff.Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second}
	for {
		if !f.wait(ctx, reader) {
			return
		}
		b := record.NewBatch()
		b.Origin = f.run.input.Origin()
		err := reader.Read(b)
		after := b.After
		if !f.admits && err == nil && len(b.Records) > 0 && !f.admitted() {
			b.Release()
			return
		}
		if !f.pass(ctx, b, err) || errors.Is(err, io.EOF) {
			return
		}
		if f.until != "" && after == f.until {
			return
		}
		var gap *sources.GapError
		switch {
		case err != nil && !errors.As(err, &gap):
			f.failed(err)
			if !sleep(ctx, retry.Next()) {
				return
			}
		default:
			f.failing.Store(0)
			f.trouble.Store(nil)
			retry.Reset()
		}
	}
}

// failed notes that the input could not be opened or read.
func (f *feed) failed(err error) {
	f.failing.CompareAndSwap(0, moment())
	f.trouble.Store(&err)
	f.run.src.readFailed(f.run.input, err)
}

// wait waits for the reader; a part that is held back for too long wakes it.
func (f *feed) wait(ctx context.Context, reader sources.Reader) bool {
	limited := ctx
	if f.proc.join != nil {
		if _, held := f.proc.join.held(); held {
			var cancel context.CancelFunc
			limited, cancel = context.WithTimeout(ctx, joinWithin)
			defer cancel()
		}
	}
	start := time.Now()
	f.waiting.Store(moment())
	err := reader.Wait(limited)
	f.waiting.Store(0)
	if time.Since(start) > time.Millisecond {
		f.atEnd.Store(true)
		f.waits.Add(1)
	} else {
		f.waits.Store(0)
	}
	// If only the limit has passed, Read finds out what there is.
	return err == nil || limited != ctx && ctx.Err() == nil
}

// lookedSince reports whether the reader has looked, since a time, and found
// nothing new; true for readers that cannot say so, which says tells.
func (f *feed) lookedSince(t time.Time) (looked, says bool) {
	l, says := f.looker.Load().(sources.Looker)
	return !says || l.Looked().After(t), says
}

// open opens the input where the lanes are; it tries until it can or ctx ends.
func (f *feed) open(ctx context.Context) sources.Reader {
	retry := backoff.Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second}
	for ctx.Err() == nil {
		reader, err := f.run.input.Open(f.from)
		if err == nil {
			f.trouble.Store(nil)
			return reader
		}
		if errors.Is(err, sources.ErrStale) {
			f.stale(err)
			continue
		}
		f.failed(err)
		sleep(ctx, retry.Next())
	}
	return nil
}

// stale goes on at the beginning of an input that does not know our position:
// rather twice than never.
func (f *feed) stale(err error) {
	f.run.src.log.Warn("the input is not what it was: it is read from its beginning",
		"path", f.run.input.Origin().Path, "position", string(f.from), "error", err)
	f.run.src.metrics.lost("stale_position", 0, 0)
	f.from = ""
	for _, l := range f.lanes {
		l.rebase("", positions.Lost{Reason: "stale_position", Gaps: 1, Unsized: 1})
	}
	if f.proc.join != nil {
		*f.proc.join = joiner{max: f.proc.join.max}
	}
}

// pass hands one read on, taking over b; false ends the feed.
func (f *feed) pass(ctx context.Context, b *record.Batch, err error) bool {
	var gap *sources.GapError
	if errors.As(err, &gap) {
		f.run.src.gap(f.run.input, gap)
		for _, l := range f.lanes {
			l.target.metrics.lost(gap.Reason, gap.Records)
		}
	}
	eof := errors.Is(err, io.EOF)
	p := f.parcel(b, gap, eof)
	if len(b.Records) == 0 {
		if p.end != "" {
			for _, l := range f.lanes {
				l.skip(p)
			}
		}
		b.Release()
	} else if !f.offer(ctx, p) {
		return false
	}
	if eof {
		f.eof = true
	}
	return true
}

// parcel takes the batch apart and counts what it brings to the ledger.
func (f *feed) parcel(b *record.Batch, gap *sources.GapError, eof bool) *parcel {
	unread := b.Read - len(b.Records) - b.Filtered // could not be read and were left out
	n := f.proc.process(b, eof)
	p := &parcel{batch: b, end: b.After, join: f.proc.join.state()}
	c := &p.entry.counts
	p.entry.records = int64(len(b.Records))
	c.Filtered = int64(b.Filtered)
	// The parts of a line are one record, which is read when it is whole.
	c.Read = int64(b.Read - n.parts + n.torn)
	if unread > 0 {
		c.AddLost(positions.Lost{Reason: "unreadable", Records: int64(unread)})
	}
	if gap != nil {
		announce(b, gap)
		p.own = 1
		c.Read += gap.Records
		c.AddLost(lostIn(gap))
	}
	if p.join != nil {
		b.After = p.join.before()
	}
	return p
}

// lostIn is the gap as the ledger counts it.
func lostIn(gap *sources.GapError) positions.Lost {
	l := positions.Lost{Reason: gap.Reason, Records: gap.Records, Bytes: gap.Bytes, Gaps: 1}
	if gap.Records == 0 && gap.Bytes == 0 {
		l.Unsized = 1
	}
	return l
}

// offer queues p for every lane, taking it over. A lane whose queue stays full
// leaves the feed and goes on by itself, unless it is the only one.
func (f *feed) offer(ctx context.Context, p *parcel) bool {
	b := p.batch
	defer b.Release()
	var full []*lane
	for _, l := range f.lanes {
		b.Retain(1)
		if !l.enqueue(nil, p) {
			b.Release()
			full = append(full, l)
		}
	}
	for _, l := range full {
		b.Retain(1)
		if !f.enqueueOrDetach(ctx, l, p) {
			b.Release()
			if ctx.Err() != nil {
				return false
			}
		}
	}
	return true
}

// enqueueOrDetach waits for the lane's queue. A lane alone in its feed holds
// nobody up and waits for as long as it takes.
func (f *feed) enqueueOrDetach(ctx context.Context, l *lane, p *parcel) bool {
	if len(f.lanes) == 1 {
		return l.enqueue(ctx, p)
	}
	start := time.Now()
	if start.Sub(f.heldSince) > holdUpPer {
		f.heldSince, f.heldUp = start, 0
	}
	if budget := holdUp - f.heldUp; budget > 0 {
		limited, cancel := context.WithTimeout(ctx, budget)
		ok := l.enqueue(limited, p)
		cancel()
		f.heldUp += time.Since(start)
		if ok || ctx.Err() != nil {
			return ok
		}
	}
	f.detach(l)
	return false
}

// detach gives a lane a feed of its own, which starts where its queue ends.
func (f *feed) detach(l *lane) { f.run.startAlone(f, l) }
