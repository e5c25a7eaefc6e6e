package journald

import (
	"fmt"
	"os"
	"strings"

	"github.com/lbshipd/lbshipd/sources"
)

// verify looks whether the entry of a position is still there and says what
// is missing behind it. It decides how the position is compared from then on.
//
//   - The entry is there: nothing is missing.
//   - Its sequence number is below all there are: the journal was vacuumed past
//     it. The numbers in between are counted; reading goes on behind them.
//   - Its number belongs to another entry now, or was not given out yet: after a
//     power failure journald numbers anew what it had not yet synced. Time decides.
//   - Nothing is left of that journal: reading goes on at the next entry by time,
//     with a GapError of reason "rewritten". If there is no such entry although
//     the journal holds some, the position belongs to another journal: ErrStale.
//     (But for a machine that was started anew, see anew.)
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
		return j.verifyByTime(from, true)
	case from.noSeqnum || from.seqnum > high:
		from.noSeqnum = true
		return j.verifyByTime(from, false)
	case low > from.seqnum+1:
		j.last, j.hasLast = *from, true
		j.vacuumedBehind(from, low)
	}
	return nil, nil
}

// anew returns what is missing if all there is was written since this machine was
// started, and the position before: a journal in memory, behind a reboot. All of it is
// to be read then, whatever its times are: a machine without a clock of its own starts
// in the past, until somebody sets it. Else it returns nil.
func (j *journal) anew(from *location) *sources.GapError {
	running, err := runningBoot()
	if err != nil || from.boot == running {
		return nil
	}
	var first *location
	for _, f := range j.order {
		if f.hdr.entries == 0 {
			continue
		}
		if f.hdr.seqnumID == from.seqnumID || j.use(f) != nil {
			return nil
		}
		head, ok := f.entryFrom(0)
		tail, more := f.lastEntry()
		if !ok || !more || head.loc.boot != running || tail.boot != running {
			return nil
		}
		if first == nil || head.loc.monotonic < first.monotonic {
			first = &head.loc
		}
	}
	if first == nil {
		return nil
	}
	return rewritten(from, first.realtime)
}

// runningBoot is the identifier of this boot.
func runningBoot() (id id128, err error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err == nil {
		err = parseID(&id, strings.ReplaceAll(strings.TrimSpace(string(text)), "-", ""))
	}
	return id, err
}

// rewritten says that nothing is left of the journal of a position.
func rewritten(from *location, until uint64) *sources.GapError {
	return &sources.GapError{Reason: "rewritten", Detail: fmt.Sprintf(
		"between %s and %s: the journal that was read is gone and another one is in its place, how much is not known",
		microTime(from.realtime), microTime(until))}
}

// vacuumedBehind notes what is missing between a position and the oldest number
// that is left of its journal. Numbers in between may be those of users' entries that are
// still there. Without a matcher what is given next tells exactly.
func (j *journal) vacuumedBehind(from *location, low uint64) {
	fam, until := (*family)(nil), uint64(0)
	for _, f := range j.order {
		if f.hdr.seqnumID == from.seqnumID && f.hdr.headSeqnum == low {
			fam, until = f.family, f.hdr.headRealtime
		}
	}
	switch {
	case j.hidden || fam == nil:
		j.tear("vacuumed", "journal vacuumed, how much is not known", 0, until)
	case j.matcher != nil:
		if n := int64(low-from.seqnum-1) - j.present(fam, from.seqnum, low); n > 0 {
			j.tear("vacuumed", "journal vacuumed", n, until)
		}
	}
}

// verifyByTime looks for the entry, or else a later one, by boot and time.
func (j *journal) verifyByTime(from *location, gone bool) (*sources.GapError, error) {
	any, behind, until := false, false, uint64(0)
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
		if !behind || e.loc.realtime < until {
			until = e.loc.realtime
		}
		behind = true
	}
	if !gone || !any {
		return nil, nil
	}
	if !behind {
		return nil, fmt.Errorf("journal position %s: no entry of that journal is left, and all others are older: %w",
			from.position(), sources.ErrStale)
	}
	return rewritten(from, until), nil
}
