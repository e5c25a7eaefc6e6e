package spool

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/lbshipd/lbshipd/record"
)

// maxOrigins bounds the origins that a decoder remembers.
const maxOrigins = 4096

var errPayload = errors.New("the payload is not what its checksum promises")

// decoder makes batches of payloads. Batches of one origin share it, so that
// sinks that remember what they worked out for an origin go on doing so. It is used by
// one goroutine.
type decoder struct {
	origins map[string]*record.Origin
	added   string // the key of the last payload's origin; "" if that was known
}

// frameInfo is what a payload says of itself beside the batch.
type frameInfo struct {
	appended int64  // Unix ns
	notes    []byte // subslice of the payload
}

// decode fills b, which is fresh, from p, which must live as long as b.
func (d *decoder) decode(b *record.Batch, p []byte) (frameInfo, error) {
	r := &cutter{rest: p}
	info, err := d.head(b, r)
	if err != nil {
		return info, err
	}
	count := r.count(9)
	if r.bad {
		return info, fmt.Errorf("number of records: %w", errPayload)
	}
	var time, offset int64
	var header *record.Header
	for range count {
		rec := b.Add()
		time += r.int()
		offset += r.int()
		rec.Time, rec.Offset = time, offset
		rec.Level, rec.Facility = record.Level(r.byte()), r.byte()
		rec.Flags = record.Flags(r.uint())
		rec.Line = r.bytes()
		rec.Message = r.part(rec.Line)
		header = r.header(b, rec, header)
		fields := r.count(2)
		for range fields {
			name := r.part(rec.Line)
			b.AddField(rec, name, r.part(rec.Line))
		}
		if r.bad {
			return info, fmt.Errorf("record %d of %d: %w", len(b.Records), count, errPayload)
		}
	}
	if len(r.rest) > 0 {
		return info, fmt.Errorf("%d bytes behind the last record: %w", len(r.rest), errPayload)
	}
	return info, nil
}

// head reads what stands in front of the records.
func (d *decoder) head(b *record.Batch, r *cutter) (info frameInfo, err error) {
	if v := r.byte(); v != payloadVersion {
		return info, fmt.Errorf("version %d of the payload is not known", v)
	}
	info.appended = int64(r.fixed64())
	origin := r.bytes()
	b.Before, b.After = record.Position(r.bytes()), record.Position(r.bytes())
	b.Read, b.ReadBytes, b.Filtered = int(r.uint()), int64(r.uint()), int(r.uint())
	info.notes = r.bytes()
	if r.bad {
		return info, fmt.Errorf("head of the batch: %w", errPayload)
	}
	b.Origin, err = d.origin(origin)
	return info, err
}

func (d *decoder) origin(p []byte) (*record.Origin, error) {
	d.added = ""
	if o := d.origins[string(p)]; o != nil {
		return o, nil
	}
	r := &cutter{rest: p}
	o := &record.Origin{Source: r.text(), Kind: r.text(), Input: r.text(), Path: r.text(), Host: r.text()}
	for range r.count(2) {
		o.Labels = append(o.Labels, record.Label{Name: r.text(), Value: r.text()})
	}
	if r.bad || len(r.rest) > 0 {
		return nil, fmt.Errorf("origin of the batch: %w", errPayload)
	}
	if d.origins == nil || len(d.origins) >= maxOrigins {
		d.origins = map[string]*record.Origin{}
	}
	d.added = string(p)
	d.origins[d.added] = o
	return o, nil
}

// cutter cuts values from the front of a payload. Once something is not there
// it is bad, and yields zeros.
type cutter struct {
	rest []byte
	bad  bool
}

func (r *cutter) fail() { r.bad, r.rest = true, nil }

func (r *cutter) byte() byte {
	if len(r.rest) == 0 {
		r.fail()
		return 0
	}
	c := r.rest[0]
	r.rest = r.rest[1:]
	return c
}

func (r *cutter) fixed64() uint64 {
	if len(r.rest) < 8 {
		r.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(r.rest)
	r.rest = r.rest[8:]
	return v
}

func (r *cutter) uint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *cutter) int() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// count reads a number of things that take at least least bytes each.
func (r *cutter) count(least uint64) int {
	n := r.uint()
	if n > uint64(len(r.rest))/least {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *cutter) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	p := r.rest[:n:n]
	r.rest = r.rest[n:]
	return p
}

func (r *cutter) bytes() []byte { return r.take(r.uint()) }
func (r *cutter) text() string  { return string(r.bytes()) }

func (r *cutter) part(line []byte) []byte {
	n := r.uint()
	if n&1 == 0 {
		return r.take(n >> 1)
	}
	n >>= 1
	at := r.uint()
	if at > uint64(len(line)) || n > uint64(len(line))-at {
		r.fail()
		return nil
	}
	return line[at : at+n : at+n]
}

// header gives rec its header and returns the one that the next may share.
func (r *cutter) header(b *record.Batch, rec *record.Record, before *record.Header) *record.Header {
	switch r.byte() {
	case headerNone:
		return before
	case headerSame:
		if before == nil {
			r.fail()
			return nil
		}
		rec.Header = before
		return before
	case headerOwn:
		h := b.NewHeader()
		h.Host, h.Identifier, h.PID = r.part(rec.Line), r.part(rec.Line), r.part(rec.Line)
		h.MsgID, h.Unit = r.part(rec.Line), r.part(rec.Line)
		rec.Header = h
		return h
	}
	r.fail()
	return before
}
