package pipeline

import (
	"bytes"
	"slices"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// joinWithin is how long a part waits for the rest of its line.
const joinWithin = 5 * time.Second

// joiner puts the parts of lines together that a container runtime has split
// (CRI: tag P, then F). Parts of stdout and stderr interleave. What it
// holds back holds the stored position back: a restart reads it again, and with
// it the other stream's lines in between. Memory is bounded by maxLineBytes for each of the two streams.
type joiner struct {
	max     int
	streams [2]partial
	lent    *joinState // what the streams are, if it was asked for since they have changed
}

// partial is the line of one stream so far.
type partial struct {
	line  []byte
	first record.Record   // time, offset, level and flags of the first part; none of its bytes
	pos   record.Position // before the first part
	since time.Time       // zero: nothing is held back
	lent  bool            // line is part of a joinState and must not be written to
}

func (p *partial) pending() bool { return !p.since.IsZero() }

// stream tells stdout from stderr, by the field of that name.
func stream(r *record.Record) int {
	if bytes.Equal(r.Field("stream"), []byte("stderr")) {
		return 1
	}
	return 0
}

// add takes a part away and reports false, or completes r in place.
func (j *joiner) add(b *record.Batch, r *record.Record) bool {
	p := &j.streams[stream(r)]
	if r.Flags&record.Partial != 0 && r.Flags&record.Unparsed == 0 {
		j.lent = nil
		if !p.pending() {
			p.first = record.Record{Time: r.Time, Offset: r.Offset, Level: r.Level, Flags: r.Flags}
			p.since = time.Now()
			p.pos = b.Before
			if b.PositionAt != nil {
				p.pos = b.PositionAt(r)
			}
		}
		p.extend(r.Line, j.max)
		return false
	}
	if !p.pending() || r.Flags&record.Unparsed != 0 {
		return true
	}
	j.lent = nil
	p.extend(r.Line, j.max)
	r.Time, r.Offset = p.first.Time, p.first.Offset
	r.Flags |= p.first.Flags &^ record.Partial
	r.Line = b.Copy(p.line)
	r.Message = r.Line
	p.reset()
	return true
}

func (p *partial) extend(part []byte, limit int) {
	room := limit - len(p.line)
	if len(part) > room {
		part = part[:max(room, 0)]
		p.first.Flags |= record.Truncated
	}
	if p.lent && len(part) > 0 {
		p.line, p.lent = slices.Clip(p.line), false // append makes a copy
	}
	p.line = append(p.line, part...)
}

func (p *partial) reset() {
	if p.lent {
		p.line = nil
	}
	*p = partial{line: p.line[:0]}
}

// held returns the position before the oldest part that is held back, and
// whether there is one.
func (j *joiner) held() (record.Position, bool) {
	a, b := &j.streams[0], &j.streams[1]
	if !a.pending() || (b.pending() && b.first.Offset < a.first.Offset) {
		a = b
	}
	return a.pos, a.pending()
}

// torn makes r of the parts that there are.
func (p *partial) torn(b *record.Batch, r *record.Record) {
	r.Time, r.Offset, r.Level = p.first.Time, p.first.Offset, p.first.Level
	r.Flags = p.first.Flags&^record.Partial | record.Torn
	r.Line = b.Copy(p.line)
	r.Message = r.Line
	p.reset()
}
