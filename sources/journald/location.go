package journald

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/lbshipd/lbshipd/record"
)

// location is one entry's place in the order of all entries: what systemd's
// cursor holds.
type location struct {
	seqnumID  id128
	boot      id128
	seqnum    uint64
	realtime  uint64 // µs since 1970
	monotonic uint64 // µs since boot
	xor       uint64
	// noSeqnum: the sequence number must not be compared, because the journal
	// has given it out twice.
	noSeqnum bool
}

// compare orders two entries as sd-journal of systemd 252 does: by sequence
// number if they come from one source of them, by monotonic time if from one
// boot, by wall clock, by content.
func (a *location) compare(b *location) int {
	if a.seqnumID == b.seqnumID && !a.noSeqnum && !b.noSeqnum {
		if a.seqnum != b.seqnum {
			return cmp.Compare(a.seqnum, b.seqnum)
		}
	}
	if a.boot == b.boot && a.monotonic != b.monotonic {
		return cmp.Compare(a.monotonic, b.monotonic)
	}
	if a.realtime != b.realtime {
		return cmp.Compare(a.realtime, b.realtime)
	}
	return cmp.Compare(a.xor, b.xor)
}

// sameEntry reports whether both describe the very same entry.
func (a *location) sameEntry(b *location) bool {
	return a.boot == b.boot && a.monotonic == b.monotonic && a.realtime == b.realtime && a.xor == b.xor
}

// appendCursor appends systemd's cursor of the entry.
func (a *location) appendCursor(dst []byte) []byte {
	dst = append(dst, "s="...)
	dst = hex.AppendEncode(dst, a.seqnumID[:])
	dst = append(dst, ";i="...)
	dst = strconv.AppendUint(dst, a.seqnum, 16)
	dst = append(dst, ";b="...)
	dst = hex.AppendEncode(dst, a.boot[:])
	dst = append(dst, ";m="...)
	dst = strconv.AppendUint(dst, a.monotonic, 16)
	dst = append(dst, ";t="...)
	dst = strconv.AppendUint(dst, a.realtime, 16)
	dst = append(dst, ";x="...)
	return strconv.AppendUint(dst, a.xor, 16)
}

func (a *location) position() record.Position {
	var buf [160]byte
	return record.Position(a.appendCursor(buf[:0]))
}

// parseCursor reads a cursor that names an entry fully, as systemd and we
// write it: s, i, b, m, t and x in any order.
func parseCursor(s string) (location, error) {
	var l location
	seen := 0
	for _, part := range strings.Split(s, ";") {
		name, value, ok := strings.Cut(part, "=")
		if !ok || len(name) != 1 || len(value) > 32 {
			return l, fmt.Errorf("journal cursor %.200q: part %.40q is not of the form name=value", s, part)
		}
		var err error
		bit := strings.Index("sibmtx", name)
		switch name {
		case "s":
			err = parseID(&l.seqnumID, value)
		case "b":
			err = parseID(&l.boot, value)
		case "i":
			l.seqnum, err = strconv.ParseUint(value, 16, 64)
		case "m":
			l.monotonic, err = strconv.ParseUint(value, 16, 64)
		case "t":
			l.realtime, err = strconv.ParseUint(value, 16, 64)
		case "x":
			l.xor, err = strconv.ParseUint(value, 16, 64)
		default:
			err = fmt.Errorf("unknown part %q", name)
		}
		if err != nil {
			return l, fmt.Errorf("journal cursor %.200q: %w", s, err)
		}
		if seen&(1<<bit) != 0 {
			return l, fmt.Errorf("journal cursor %.200q: %s is given twice", s, name)
		}
		seen |= 1 << bit
	}
	if seen != 1<<6-1 {
		return l, fmt.Errorf("journal cursor %.200q lacks some of s, i, b, m, t and x", s)
	}
	return l, nil
}

func parseID(id *id128, s string) error {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return fmt.Errorf("%q is no 128-bit identifier", s)
	}
	copy(id[:], b)
	return nil
}

func (id id128) String() string { return hex.EncodeToString(id[:]) }
