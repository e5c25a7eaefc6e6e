package journald

import (
	"fmt"

	"github.com/lbshipd/lbshipd/sources"
)

// verify looks whether the entry of a position is still there and says what
// is missing behind it. It decides how the position is compared from then on.
//
//   - The entry is there: nothing is missing.
//   - Its sequence number is below all there are: the journal was vacuumed past
//     it. A GapError counts the numbers in between; reading goes on behind them.
//   - Its number belongs to another entry now, or was not given out yet: after a
//     power failure journald numbers anew what it had not yet synced. Time decides.
//   - Nothing is left of that journal: reading goes on at the next entry by time,
//     with a GapError of reason "rewritten". If there is no such entry although
//     the journal holds some, the position belongs to another journal: ErrStale.
func (j *journal) verify(from *location) (*sources.GapError, error) {
	var low, high uint64
	for _, f := range j.order {
		if f.hdr.seqnumID != from.seqnumID || f.hdr.entries == 0 || j.use(f) != nil {
			continue
		}
		head, tail := f.hdr.headSeqnum, f.hdr.tailSeqnum
		if low == 0 || head < low {
			low = head
		}
		high = max(high, tail)
		if from.seqnum < head || from.seqnum > tail {
			continue
		}
		e, ok := f.findSeqnum(from.seqnum)
		if !ok || e.loc.seqnum != from.seqnum {
			continue // in another file, or damaged
		}
		if e.loc.sameEntry(from) {
			return nil, nil
		}
		from.noSeqnum = true
	}
	switch {
	case high == 0:
		return j.verifyByTime(from, "rewritten")
	case from.noSeqnum || from.seqnum > high:
		from.noSeqnum = true
		return j.verifyByTime(from, "")
	case low > from.seqnum+1:
		n := int64(low - from.seqnum - 1)
		gap := &sources.GapError{Reason: "vacuumed", Records: n, Detail: fmt.Sprintf(
			"the journal's oldest entry has number %d, the last one read had %d, at %s", low, from.seqnum, microTime(from.realtime))}
		if j.matcher != nil {
			gap.Records = 0 // how many of them matched is not known
			gap.Detail += fmt.Sprintf("; %d entries in between, matching or not", n)
		}
		return gap, nil
	}
	return nil, nil
}

// verifyByTime looks for the entry, or else a later one, by boot and time.
func (j *journal) verifyByTime(from *location, reason string) (*sources.GapError, error) {
	any, behind := false, false
	for _, f := range j.order {
		if f.hdr.entries == 0 || j.use(f) != nil {
			continue
		}
		any = true
		idx := f.searchEntries(f.hdr.entries, func(_ uint64, l *location) bool { return l.compare(from) >= 0 })
		refs := f.chain(f.hdr.entryArray, f.hdr.entries)
		off, err := f.itemAt(refs, idx)
		var e entry
		if idx >= f.hdr.entries || err != nil || f.readEntry(off, &e) != nil {
			continue
		}
		if e.loc.sameEntry(from) {
			return nil, nil
		}
		behind = true
	}
	if reason == "" || !any {
		return nil, nil
	}
	if !behind {
		return nil, fmt.Errorf("journal position %s: no entry of that journal is left, and all others are older: %w",
			from.position(), sources.ErrStale)
	}
	return &sources.GapError{Reason: reason, Detail: fmt.Sprintf(
		"the journal that was read up to %s is gone; another one is read on from that time", microTime(from.realtime))}, nil
}
