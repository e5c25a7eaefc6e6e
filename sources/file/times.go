package file

import (
	"errors"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// stamps are the times of lines that carry none, for one Reader.
//
// Whether the content of the file is still the one that times were given for
// is seen by its fingerprint when a Reader is opened, and later by the Reader
// itself, which then begins a new era.
type stamps struct {
	times sources.Times // nil: they are not remembered
	era   uint32
	at    func(offset int64) (int64, int64) // for batches; nil if times is
}

// foreign is no input's era: the times given in it are not remembered.
const foreign = ^uint32(0)

// openTimes gives a new reader the times of its input, if they are of the
// content that it reads.
func (r *reader) openTimes() {
	if r.src.deps.Times == nil {
		return
	}
	t := r.src.deps.Times(r.in.origin.Input, positionOffset)
	era, end, tail := t.State()
	switch {
	case r.in.file == nil: // what is left of it is elsewhere, and nothing replaces it
	case !r.in.holds(r.at.offset, r.at.tail):
		// It reads a copy of what was here. The times are that content's as
		// long as they are not of the one that is here now.
		if end == 0 || r.in.holds(end, tail) {
			era = foreign
		}
	case !r.in.holds(end, tail):
		era = t.Restart(era)
	}
	r.stamps = stamps{times: t, era: era, at: r.timeAt}
}

// holds reports whether the file still has the fingerprint before offset; also
// if that cannot be read, for that says nothing of its content.
func (in *input) holds(offset int64, tail uint64) bool {
	if offset == 0 {
		return true
	}
	var buf [fingerprintSpan]byte
	n := min(offset, fingerprintSpan)
	have, err := in.hash(buf[:n], offset-n)
	return err != nil && !errors.Is(err, sources.ErrStale) || err == nil && have == tail
}

// timeAt returns the time of the line at offset, which the last Read has read.
func (r *reader) timeAt(offset int64) (t, until int64) {
	return r.stamps.times.At(r.stamps.era, offset, r.at.offset, r.at.tail)
}

// restart says that the file's content was replaced.
func (s *stamps) restart() {
	if s.times != nil {
		s.era = s.times.Restart(s.era)
	}
}

func (s *stamps) close() {
	if s.times != nil {
		s.times.Close()
	}
}

// positionOffset returns the offset of a stored position.
func positionOffset(pos record.Position) (int64, bool) {
	p, err := parsePosition(pos)
	return p.offset, err == nil
}
