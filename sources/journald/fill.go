package journald

import (
	"errors"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// fill takes entries into b and reports whether there were any.
func (r *Reader) fill(b *record.Batch) bool {
	r.full = false
	refreshed := false
	if r.behind != nil {
		r.j.gaps, r.behind = append(r.j.gaps, r.behind), nil
	}
	defer r.countSkipped(b)
	for b.Read < batchEntries && len(b.Records) < batchRecords && r.bytes < batchBytes {
		f := r.j.next()
		if f == nil {
			if refreshed {
				r.overdue(b)
				return b.Read > 0
			}
			r.j.refresh()
			refreshed = true
			continue
		}
		if f != r.j.lastFile || r.j.seam != nil {
			if gap := r.j.crossing(f); gap != nil && b.Read > 0 {
				r.behind = gap
				break
			} else if gap != nil {
				r.j.gaps = append(r.j.gaps, gap)
			}
		}
		if !r.take(b, f) {
			if r.j.torn {
				return b.Read > 0
			}
			r.j.pop()
			continue
		}
		r.j.given(f)
		r.j.pop()
	}
	r.full = true
	return b.Read > 0
}

// overdue tells of a gap behind which nothing has come.
func (r *Reader) overdue(b *record.Batch) {
	if gap := r.j.overdue(); gap != nil && b.Read > 0 {
		r.behind, r.full = gap, true
	} else if gap != nil {
		r.j.gaps = append(r.j.gaps, gap)
	}
}

// countSkipped adds entries that could not be read to those that were: they are
// lost. Whether they matched is not known.
func (r *Reader) countSkipped(b *record.Batch) {
	if r.j.matcher == nil {
		b.Read += r.j.skipped
	}
	r.j.skipped = 0
}

// failedEntry is an entry of which a part could not be read.
type failedEntry struct {
	loc   location
	since time.Time
	err   error  // of the record at hand
	off   uint64 // of the data object
}

// take makes a record of the head of f. It reports false if that is gone, or
// cannot be read for now (j.torn).
func (r *Reader) take(b *record.Batch, f *file) bool {
	e := &f.stream.head
	b.Read++
	if r.minLevel != record.LevelUnknown {
		f.prio.resolve(f, r.cache.z)
		if !f.prio.level(e.items).Passes(r.minLevel) {
			b.Filtered++
			return true
		}
	}
	if r.j.use(f) != nil {
		b.Read--
		return false
	}
	rec := b.Add()
	rec.Time = int64(e.loc.realtime) * 1000
	r.decode(b, rec, f, e)
	if r.failed.err != nil && !r.bearable(f, e) {
		b.Records = b.Records[:len(b.Records)-1]
		b.Read--
		return false
	}
	if r.minLevel != record.LevelUnknown && !rec.Level.Passes(r.minLevel) {
		// A damaged hash table hid the level until now.
		b.Records = b.Records[:len(b.Records)-1]
		b.Filtered++
		return true
	}
	r.marks = append(r.marks, mark{f, e.loc.boot, e.loc.seqnum, e.loc.realtime, e.loc.monotonic, e.loc.xor})
	b.ReadBytes += int64(len(rec.Line))
	r.bytes += len(rec.Line) + 64
	return true
}

// bearable decides on a record of which something could not be read: it is
// lost if journald has vacuumed the file just now, tried again for a while if the
// kernel failed to read it, and else shipped without what is damaged.
func (r *Reader) bearable(f *file, e *entry) bool {
	err := r.failed.err
	r.failed.err = nil
	if !isReadError(err) {
		if f.vanished() {
			r.j.vacuumed(f, 1)
			return false
		}
		return true
	}
	now, s := r.j.now(), &f.stream
	if r.failed.loc != e.loc && s.stalls < patience {
		s.stalls++
		r.failed.loc, r.failed.since = e.loc, now
	}
	if r.failed.loc != e.loc || now.Sub(r.failed.since) > failedFor {
		r.j.damaged(f, r.failed.off, "read-error", err)
		return true
	}
	r.j.unreadable(f, err)
	r.j.torn = true
	return false
}

// badData notes that a data object cannot be read.
func (r *Reader) badData(f *file, off uint64, err error) {
	if r.failed.err == nil || isReadError(err) {
		r.failed.err, r.failed.off = err, off
	}
	reason := "corrupt-data"
	switch {
	case isReadError(err):
		return // told if it stays so
	case errors.Is(err, errTooLarge):
		reason = "too-large"
	case f.vanished():
		return
	}
	r.j.damaged(f, off, reason, err)
}
