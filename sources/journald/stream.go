package journald

import (
	"errors"
	"io/fs"
	"math"
	"time"
)

const (
	// bulkMin is how many unread entries make it worth to walk the matching
	// data objects' entry arrays instead of looking at every entry.
	bulkMin = 128
	// A damaged object in a file that is being written may be one that is just
	// being written: it is looked at again for this long before it is given up,
	// and no more often than patience times per file.
	tornFor  = time.Second
	patience = 3
	// What the kernel fails to read is tried again for this long.
	failedFor = 10 * time.Second
	// Behind what it cannot read the search for objects goes on at the next page.
	pageBytes = 4 << 10
)

// stream is the state of reading one file's matching entries in order.
type stream struct {
	head    entry // the entry to be given next, if has
	off     uint64
	has     bool
	limit   uint64 // entries published at the last refresh
	match   *fileMatch
	bulk    bool
	bulkEnd uint64 // bulk walking holds for entries before this offset
	bulkIdx uint64 // index of the entry at bulkEnd
	noBulk  bool

	seen  location // last entry looked at, whether it matched or not
	given bool     // something was looked at

	tornAt    uint64 // damaged object that is looked at again
	tornSince time.Time
	stalls    int
	stalled   bool // waiting for a damaged object; nothing is given until then
	drained   bool // nothing published is left
}

// damage is told about what could not be read.
type damage func(f *file, off uint64, reason string, err error)

// reader-wide things that walking a file needs.
type walkDeps struct {
	z       *inflater
	damaged damage
	now     func() time.Time

	vacuumed   func(f *file, taken uint64)
	unreadable func(f *file, err error) // it will be tried again
	skipped    int                      // entries that could not be read and were left out
}

// publish takes over what refresh has read from the header: how many entries
// may be given now.
func (f *file) publish(d *walkDeps) {
	s := &f.stream
	f.stream.stalled = false
	if f.hdr.entries > s.limit {
		s.limit = f.hdr.entries
	}
	if s.match == nil {
		return
	}
	s.match.resolve(f, d.z)
	if s.bulk || s.noBulk || f.hashBroken || f.scan.scanning || s.limit-min(s.limit, f.scan.idx) < bulkMin {
		return
	}
	// The entry published last may not be linked to its data objects yet; all
	// before it are.
	refs := f.chain(f.hdr.entryArray, s.limit)
	end, err := f.itemAt(refs, s.limit-1)
	if err != nil || s.match.startBulk(f) != nil {
		s.noBulk = true
		return
	}
	s.bulk, s.bulkEnd, s.bulkIdx = true, end, s.limit-1
}

// advance moves on to the file's next matching entry.
func (f *file) advance(d *walkDeps) {
	s := &f.stream
	s.has = false
	for !f.broken && !s.stalled {
		off, err := f.candidate()
		if err != nil {
			f.lostArrays(d, err)
			continue
		}
		if off == 0 {
			s.drained = true
			return
		}
		s.drained = false
		if f.take(d, off) {
			return
		}
	}
}

// candidate returns the offset of the next entry to look at, or 0.
func (f *file) candidate() (uint64, error) {
	s := &f.stream
	if !s.bulk {
		return f.nextOffset(&f.scan, s.limit)
	}
	off, err := s.match.next(f, &s.match.m.root, f.scan.last+1)
	if err == nil && off < s.bulkEnd {
		return off, nil
	}
	if errors.Is(err, errCorrupt) && f.vanished() {
		return 0, err
	}
	if err != nil {
		f.leaveBulk()
	} else {
		s.bulk = false
		s.match.endBulk()
		f.seekIndex(&f.scan, s.bulkIdx)
	}
	return f.nextOffset(&f.scan, s.limit)
}

// leaveBulk gives the data objects' arrays up: every entry behind the last one
// is looked at instead.
func (f *file) leaveBulk() {
	s := &f.stream
	s.bulk, s.noBulk = false, true
	s.match.endBulk()
	last := f.scan.last
	f.seekIndex(&f.scan, f.searchEntries(s.limit, func(off uint64, _ *location) bool { return off > last }))
}

// take looks at the entry at off and reports whether it is the next to be given.
func (f *file) take(d *walkDeps, off uint64) bool {
	s, w := &f.stream, &f.scan
	err := errCorrupt
	if off > w.last {
		err = f.readEntry(off, &s.head)
	}
	if err != nil {
		f.badEntry(d, off, err)
		return false
	}
	w.last, w.seqnum = off, s.head.loc.seqnum
	s.seen, s.given = s.head.loc, true
	if s.match != nil && !s.bulk {
		if f.hashBroken {
			if !s.match.matchesContent(f, d.z, s.head.items) {
				return false
			}
		} else if !s.match.matches(&s.match.m.root, s.head.items) {
			return false
		}
	}
	s.off, s.has = off, true
	return true
}

// badEntry handles an entry that cannot be read: a file that is being written
// is given some time, otherwise the entry is skipped and told.
func (f *file) badEntry(d *walkDeps, off uint64, err error) {
	if errors.Is(err, errCorrupt) && f.vanished() {
		d.vacuumed(f, 1)
		return
	}
	if f.stream.bulk {
		f.leaveBulk() // and tell when it is met again
		return
	}
	if f.wait(d, off, err) {
		f.unread()
		return
	}
	reason := "corrupt-entry"
	switch {
	case errors.Is(err, errTooLarge):
		reason = "too-large"
	case !errors.Is(err, errCorrupt):
		reason = "read-error"
	}
	d.skipped++
	d.damaged(f, off, reason, err)
}

// unread makes the entry that was looked at last be looked at again.
func (f *file) unread() {
	w := &f.scan
	f.win.buf, f.far.buf = f.win.buf[:0], f.far.buf[:0]
	if w.scanning {
		w.at = min(w.at, f.stream.tornAt)
	} else {
		f.seekIndex(w, w.idx-1)
	}
}

// wait reports whether a damaged object is to be looked at once more later. The
// kernel's own errors (EIO, EBADMSG) may pass, whatever the state of the file.
func (f *file) wait(d *walkDeps, off uint64, err error) bool {
	s := &f.stream
	failed, long := isReadError(err), tornFor
	if f.fd == nil || errors.Is(err, fs.ErrClosed) || f.hdr.state != stateOnline && !failed {
		return false
	}
	if failed {
		long = failedFor
	}
	now := d.now()
	switch {
	case s.tornAt != off:
		if s.stalls >= patience {
			return false
		}
		s.stalls++
		s.tornAt, s.tornSince = off, now
	case now.Sub(s.tornSince) > long:
		return false
	}
	if failed {
		d.unreadable(f, err)
	}
	s.stalled = true
	return true
}

// isReadError reports whether the kernel could not read, as opposed to an
// object that makes no sense.
func isReadError(err error) bool {
	return err != nil && !errors.Is(err, errCorrupt) && !errors.Is(err, errTooLarge)
}

// lostArrays handles entry arrays that cannot be walked on: the rest of the
// file is searched for entries object by object.
func (f *file) lostArrays(d *walkDeps, err error) {
	w := &f.scan
	if errors.Is(err, errCorrupt) && f.vanished() {
		d.vacuumed(f, 0)
		return
	}
	if !w.scanning && f.wait(d, math.MaxUint64, err) {
		return
	}
	switch {
	case !w.scanning:
		d.damaged(f, w.arr.off, "corrupt-array", err)
		f.startScan(w)
	case f.fd == nil || w.at >= f.size:
		f.broken = true
		d.damaged(f, w.at, "read-error", err)
	default:
		d.damaged(f, w.at, "read-error", err)
		w.at = (w.at + pageBytes) &^ (pageBytes - 1)
	}
}

// seekAfter makes the first entry behind loc the next one.
func (f *file) seekAfter(loc *location) {
	idx := f.searchEntries(f.hdr.entries, func(_ uint64, l *location) bool { return l.compare(loc) > 0 })
	f.seekIndex(&f.scan, idx)
	f.scan.last, f.scan.seqnum = 0, 0
	if idx == 0 {
		return
	}
	// Bulk walking goes on behind the entry before it.
	if off, err := f.itemAt(f.chain(f.hdr.entryArray, idx), idx-1); err == nil {
		f.scan.last = off
	}
}

// findSeqnum returns the entry of that sequence number, or the first behind it.
func (f *file) findSeqnum(seqnum uint64) (e entry, ok bool) {
	return f.entryFrom(f.searchEntries(f.hdr.entries, func(_ uint64, l *location) bool { return l.seqnum >= seqnum }))
}

// lastEntry returns the location of the last readable published entry.
func (f *file) lastEntry() (location, bool) { return f.entryBefore(f.hdr.entries) }
