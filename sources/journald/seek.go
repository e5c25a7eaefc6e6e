package journald

import (
	"fmt"
	"time"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

var _ sources.Seeker = (*Source)(nil)

// Seek implements sources.Seeker. An entry's time is __REALTIME_TIMESTAMP, as
// for journalctl --since. It costs some preads for each journal file.
func (s *Source) Seek(t time.Time, _ func([]byte) (time.Time, bool)) (record.Position, error) {
	if t.IsZero() {
		return "", nil
	}
	j := s.journal(nil)
	defer j.close()
	j.rescan(true)
	for _, err := range j.dirs.failed {
		return "", fmt.Errorf("looking for the journal's entries of %s: %w", t.UTC().Format(time.RFC3339Nano), err)
	}
	loc, ok := j.before(microsOf(t))
	if !ok {
		return "", nil
	}
	return loc.position(), nil
}

// microsOf returns t in µs since 1970, rounded up: no earlier entry is of t or later.
func microsOf(t time.Time) uint64 {
	us := t.UnixMicro()
	if t.After(time.UnixMicro(us)) {
		us++
	}
	return uint64(max(0, us))
}

// before returns the entry in front of the first one, in the order of all, that
// is not older than us; false if there is none in front of it.
func (j *journal) before(us uint64) (loc location, ok bool) {
	first, found := j.firstSince(us)
	for _, f := range j.order {
		if f.hdr.entries == 0 || j.use(f) != nil {
			continue
		}
		n := f.hdr.entries
		if found {
			n = f.searchEntries(n, func(_ uint64, l *location) bool { return l.compare(&first) >= 0 })
		}
		if l, has := f.entryBefore(n); has && (!ok || l.compare(&loc) > 0) {
			loc, ok = l, true
		}
	}
	return loc, ok
}

// firstSince returns the first entry, in the order of all, that is not older than us.
func (j *journal) firstSince(us uint64) (first location, found bool) {
	for _, f := range j.order {
		n := f.hdr.entries
		if n == 0 || j.use(f) != nil {
			continue
		}
		idx := f.searchEntries(n, func(_ uint64, l *location) bool { return l.realtime >= us })
		if e, ok := f.entryFrom(idx); ok && e.loc.realtime >= us && (!found || e.loc.compare(&first) < 0) {
			first, found = e.loc, true
		}
	}
	return first, found
}

// entryFrom returns the first readable entry of index i or more.
func (f *file) entryFrom(i uint64) (e entry, ok bool) {
	n := f.hdr.entries
	refs := f.chain(f.hdr.entryArray, n)
	for ; i < n; i++ {
		off, err := f.itemAt(refs, i)
		if err != nil {
			return e, false
		}
		if f.readEntry(off, &e) == nil {
			return e, true
		}
	}
	return e, false
}

// entryBefore returns the last readable entry of the first n.
func (f *file) entryBefore(n uint64) (loc location, ok bool) {
	refs := f.chain(f.hdr.entryArray, n)
	var e entry
	for tries := 0; n > 0 && tries < 64; n, tries = n-1, tries+1 {
		off, err := f.itemAt(refs, n-1)
		if err == nil && f.readEntry(off, &e) == nil {
			return e.loc, true
		}
	}
	return loc, false
}
