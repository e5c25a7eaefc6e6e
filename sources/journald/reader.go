package journald

import (
	"encoding/binary"
	"strconv"
	"time"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

const (
	// A batch is full at this many records or bytes of lines and fields, or
	// when this many entries were taken for it.
	batchRecords = 1000
	batchBytes   = 256 << 10
	batchEntries = 20000

	// idleMove is how often a reader whose matches find nothing moves its
	// position to the journal's end, so that it is not vacuumed away.
	idleMove = 10 * time.Second
)

// Reader reads a journal's entries in journalctl's order.
type Reader struct {
	j          *journal
	cache      *cache
	origin     *record.Origin
	pos        record.Position
	minLevel   record.Level
	maxMessage int

	until    record.Position
	untilLoc location
	passed   bool // until lies before where the reader stood when it was told: it is never reached
	full     bool // the last batch ended for want of room
	checked  time.Time
	moved    time.Time // when the position moved last
	gave     time.Time // when there was an entry last
	poll     time.Duration

	behind  *sources.GapError // lies between the last batch and the next
	failed  failedEntry
	headers headerCache
	marks   []mark // of the records in the batch being filled
	bytes   int
}

// mark is where a record of the batch being filled lies, for PositionAt.
type mark struct {
	file                             *file
	boot                             id128
	seqnum, realtime, monotonic, xor uint64
}

// Until implements sources.Reader.
func (r *Reader) Until(pos record.Position) {
	r.until, r.j.until, r.passed = "", nil, false
	if pos == "" {
		return
	}
	loc, err := parseCursor(string(pos))
	if err != nil {
		return
	}
	if at, err := parseCursor(string(r.pos)); err == nil {
		r.passed = at.compare(&loc) > 0
	}
	r.until, r.untilLoc, r.j.until = pos, loc, &r.untilLoc
	r.full = true // look at once
}

// Close implements sources.Reader.
func (r *Reader) Close() error {
	r.j.close()
	return nil
}

// Lag returns the bytes of journal files between what was read and their end.
func (r *Reader) Lag() int64 {
	var lag int64
	for _, f := range r.j.order {
		if f.stream.drained && f.stream.limit == f.hdr.entries {
			continue
		}
		end := min(f.hdr.tailObject, f.size)
		if end > f.scan.last {
			lag += int64(end - f.scan.last)
		}
	}
	return lag
}

// Read implements sources.Reader.
func (r *Reader) Read(b *record.Batch) error {
	b.Origin, b.Before, b.After = r.origin, r.pos, r.pos
	r.bytes, r.marks = 0, r.marks[:0]
	r.headers.reset()
	given := r.fill(b)
	r.checked = r.j.now()
	switch {
	case given:
		r.pos, r.moved, r.gave = r.j.last.position(), r.checked, r.checked
	case !r.full:
		r.moveIdle()
	}
	if r.reachedUntil() {
		r.pos = r.until
	}
	b.After = r.pos
	r.setPositionAt(b)
	if len(r.j.gaps) > 0 {
		gap := r.j.gaps[0]
		r.j.gaps = r.j.gaps[1:]
		return gap
	}
	if b.Read == 0 {
		return r.j.ioErr
	}
	return nil
}

// decode fetches the entry's data objects.
func (r *Reader) decode(b *record.Batch, rec *record.Record, f *file, e *entry) {
	key := headerKey{file: f}
	message := false
	for _, off := range e.items {
		d, err := r.cache.get(f, off)
		if err != nil {
			r.badData(f, off, err)
			continue
		}
		switch d.field {
		case fieldOther:
		case fieldMessage:
			if !message {
				message = true
				r.setMessage(b, rec, d)
				continue
			}
		case fieldPriority:
			rec.Level = max(rec.Level, record.Level(d.num))
		case fieldFacility:
			rec.Facility = d.num
		default:
			if slot := &key.offs[d.field-fieldHost]; *slot == 0 {
				*slot = off
			}
		}
		if d.extra {
			value := d.value
			if len(value) > r.maxMessage || d.cut {
				value = value[:min(len(value), r.maxMessage)]
				rec.Flags |= record.Truncated
			}
			b.AddField(rec, d.name, b.Copy(value))
			r.bytes += len(value) + 48
		}
	}
	rec.Header = r.headers.get(b, &key, r.cache)
	if !message {
		r.withoutMessage(b, rec, f, e)
	}
	if cap(f.big) > 1<<20 {
		f.big = nil
	}
}

func (r *Reader) setMessage(b *record.Batch, rec *record.Record, d *datum) {
	value := d.value
	if len(value) > r.maxMessage || d.cut {
		value = value[:min(len(value), r.maxMessage)]
		rec.Flags |= record.Truncated
	}
	rec.Line = b.Copy(value)
	rec.Message = rec.Line
}

// withoutMessage makes the line of an entry that has no MESSAGE.
func (r *Reader) withoutMessage(b *record.Batch, rec *record.Record, f *file, e *entry) {
	var line []byte
	for _, off := range e.items {
		var h dataHeader
		p, _, err := f.payload(off, r.cache.z, &h)
		if err != nil || len(p) == 0 || p[0] == '_' || len(line)+len(p) > r.maxMessage {
			continue
		}
		if len(line) > 0 {
			line = append(line, ' ')
		}
		line = appendPair(line, p)
	}
	rec.Line = b.Copy(line)
	rec.Message = rec.Line
}

// appendPair appends "FIELD=value", the value quoted if it is not one word.
func appendPair(line, p []byte) []byte {
	eq := 0
	for eq < len(p) && p[eq] != '=' {
		eq++
	}
	if eq == len(p) {
		return line
	}
	line = append(line, p[:eq+1]...)
	value := p[eq+1:]
	for _, c := range value {
		if c <= ' ' || c == '"' || c == '=' || c >= 0x7f {
			return strconv.AppendQuote(line, string(value))
		}
	}
	return append(line, value...)
}

// reachedUntil reports whether all that lies at or before Until was given.
func (r *Reader) reachedUntil() bool {
	if r.until == "" || r.pos == r.until || r.full || r.passed {
		return false
	}
	if len(r.j.heap) > 0 {
		return r.j.heap[0].stream.head.loc.compare(&r.untilLoc) > 0 && !r.j.torn
	}
	loc, ok := r.j.examined()
	return ok && loc.compare(&r.untilLoc) >= 0
}

// moveIdle moves the position of a reader that found nothing for a while.
func (r *Reader) moveIdle() {
	if r.j.matcher == nil || r.until != "" || r.checked.Sub(r.moved) < idleMove || len(r.j.heap) > 0 || r.j.torn {
		return
	}
	r.moved = r.checked
	if loc, ok := r.j.examined(); ok && (!r.j.hasLast || loc.compare(&r.j.last) > 0) {
		r.pos = loc.position()
	}
}

const markBytes = 16 + 16 + 4*8

// setPositionAt keeps the marks in the batch's memory.
func (r *Reader) setPositionAt(b *record.Batch) {
	n := len(r.marks)
	if n == 0 {
		return
	}
	mem := b.Alloc(n * markBytes)
	for i := range r.marks {
		m, p := &r.marks[i], mem[i*markBytes:]
		copy(p, m.file.hdr.seqnumID[:])
		copy(p[16:], m.boot[:])
		binary.LittleEndian.PutUint64(p[32:], m.seqnum)
		binary.LittleEndian.PutUint64(p[40:], m.realtime)
		binary.LittleEndian.PutUint64(p[48:], m.monotonic)
		binary.LittleEndian.PutUint64(p[56:], m.xor)
	}
	b.PositionAt = func(rec *record.Record) record.Position {
		for i := range b.Records {
			if &b.Records[i] != rec {
				continue
			}
			if i == 0 {
				return b.Before
			}
			if i > n {
				break
			}
			return markPosition(mem[(i-1)*markBytes:])
		}
		return b.Before
	}
}

func markPosition(p []byte) record.Position {
	var l location
	copy(l.seqnumID[:], p)
	copy(l.boot[:], p[16:])
	l.seqnum = binary.LittleEndian.Uint64(p[32:])
	l.realtime = binary.LittleEndian.Uint64(p[40:])
	l.monotonic = binary.LittleEndian.Uint64(p[48:])
	l.xor = binary.LittleEndian.Uint64(p[56:])
	return l.position()
}
