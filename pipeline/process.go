package pipeline

import (
	"time"

	"github.com/lbshipd/lbshipd/parse"
	"github.com/lbshipd/lbshipd/record"
)

// processor takes the records of one feed apart and drops what is below the
// minimum level. It is used by one goroutine.
type processor struct {
	format   parse.Format // nil: lines are not taken apart
	inner    parse.Format // for the content of an envelope (cri); nil if the format is none
	min      record.Level
	ownTime  bool // the input's own time is kept (journald), not the line's
	options  parse.Options
	join     *joiner // nil unless the format marks parts
	metrics  *sourceMetrics
	maxBytes int // of a joined line
	times    times
}

// process works on b in place: what is filtered leaves b.Records, and what was
// held back for too long, or all of it if last, is added.
func (p *processor) process(b *record.Batch, last bool) tally {
	p.options.Now = time.Now()
	p.times.begin(b, &p.options)
	var n tally
	kept := b.Records[:0]
	for i := range b.Records {
		r := &b.Records[i]
		if !p.take(b, r, &n) || !p.finish(b, r, &n) {
			continue
		}
		if len(kept) != i {
			kept = append(kept, *r)
		} else {
			kept = b.Records[:i+1]
		}
	}
	clear(b.Records[len(kept):])
	b.Records = kept
	if p.join != nil {
		p.release(b, last, &n)
	}
	p.times.end(b, &p.options)
	b.Filtered += n.filtered
	p.metrics.read.Add(float64(b.Read))
	if b.Read > 0 {
		p.metrics.lastRead.Set(float64(p.options.Now.Unix()))
	}
	p.metrics.flow.total.Add(int64(b.Read))
	p.metrics.readBytes.Add(float64(b.ReadBytes))
	p.metrics.filtered.Add(float64(b.Filtered))
	p.metrics.unparsed.Add(float64(n.unparsed))
	p.metrics.unknown.Add(float64(n.unknown))
	p.metrics.truncated.Add(float64(n.truncated))
	return n
}

// tally counts what happened to the records of one batch.
type tally struct {
	filtered, unparsed, unknown, truncated int

	parts int // of lines, that were taken away to be joined
	torn  int // lines that were made of parts without an end
}

// take takes the line apart; false if it is filtered, or held back.
func (p *processor) take(b *record.Batch, r *record.Record, n *tally) bool {
	if p.format != nil {
		if !p.levelPasses(r) {
			n.filtered++
			return false
		}
		if !p.parse(b, r) {
			n.unparsed++
		}
	}
	if p.join != nil && !p.join.add(b, r) {
		n.parts++
		return false
	}
	return true
}

// finish decides on a record that is whole.
func (p *processor) finish(b *record.Batch, r *record.Record, n *tally) bool {
	if p.inner != nil {
		p.parseInner(b, r)
	}
	if !r.Level.Passes(p.min) {
		n.filtered++
		return false
	}
	if r.Flags&record.TimeAssigned != 0 && b.TimeAt != nil {
		r.Time = p.times.at(b, r.Offset)
	}
	if r.Level == record.LevelUnknown {
		n.unknown++
	}
	if r.Flags&record.Truncated != 0 {
		n.truncated++
	}
	return true
}

// release adds what the joiner gives up waiting for.
func (p *processor) release(b *record.Batch, last bool, n *tally) {
	for i := range p.join.streams {
		s := &p.join.streams[i]
		if !s.pending() || !last && p.options.Now.Sub(s.since) < joinWithin {
			continue
		}
		p.join.lent = nil
		s.torn(b, b.Add())
		n.torn++
		if !p.finish(b, &b.Records[len(b.Records)-1], n) {
			b.Records = b.Records[:len(b.Records)-1]
		}
	}
}

// levelPasses looks at the level alone, before anything else of the line.
func (p *processor) levelPasses(r *record.Record) bool {
	if p.min == record.LevelUnknown || p.inner != nil {
		return true
	}
	l := p.format.Level(r.Line)
	if l == record.LevelUnknown {
		l = r.Level
	}
	return l.Passes(p.min)
}

func (p *processor) parse(b *record.Batch, r *record.Record) bool {
	read := r.Time
	p.times.offset = r.Offset
	if !p.format.Parse(b, r, &p.options) {
		r.Flags |= record.Unparsed
		return false
	}
	switch {
	case p.ownTime:
		r.Time = read
	case r.Time != read:
		r.Flags &^= record.TimeAssigned
	}
	return true
}

// parseInner finds the level and message in the content of an envelope, whose
// own time stays.
func (p *processor) parseInner(b *record.Batch, r *record.Record) {
	t, line, flags, first := r.Time, r.Line, r.Flags, p.options.FirstRead
	p.options.FirstRead = nil // nobody is to remember what is not used
	if p.inner.Parse(b, r, &p.options) {
		r.Time, r.Line, r.Flags = t, line, flags
	}
	p.options.FirstRead = first
}
