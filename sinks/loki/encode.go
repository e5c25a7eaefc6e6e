package loki

import (
	"math/bits"
	"unicode/utf8"

	"github.com/lbshipd/lbshipd/record"
)

// The wire format is logproto.PushRequest of github.com/grafana/loki/pkg/push
// (push.proto), in protobuf (https://protobuf.dev/programming-guides/encoding):
//
//	PushRequest        { 1: repeated Stream }
//	Stream             { 1: labels  2: repeated Entry  3: hash (0, left out) }
//	Entry              { 1: Timestamp  2: line  3: repeated LabelPair }
//	Timestamp          { 1: int64 seconds  2: int32 nanos }
//	LabelPair          { 1: name  2: value }
//
// Every field with its zero value is left out but Entry's timestamp, exactly
// as push's own Marshal does it.
const (
	tagStreams   = 1<<3 | 2
	tagLabels    = 1<<3 | 2
	tagEntries   = 2<<3 | 2
	tagTimestamp = 1<<3 | 2
	tagLine      = 2<<3 | 2
	tagMetadata  = 3<<3 | 2
	tagSeconds   = 1 << 3
	tagNanos     = 2 << 3
	tagName      = 1<<3 | 2
	tagValue     = 2<<3 | 2
)

// ref is one record of a stream, with what encoding it needs to know.
type ref struct {
	rec    *record.Record
	origin *record.Origin
	size   uint32 // of its Entry message
	bad    bool   // the line is not valid UTF-8
}

// varintLen is how many bytes appendVarint writes.
func varintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func appendVarint(buf []byte, v uint64) []byte {
	for v >= 0x80 {
		buf = append(buf, byte(v)|0x80)
		v >>= 7
	}
	return append(buf, byte(v))
}

// splitTime gives the seconds and nanoseconds of a Timestamp: nanoseconds
// count upwards, also before 1970.
func splitTime(ns int64) (seconds int64, nanos uint32) {
	seconds, rest := ns/1e9, ns%1e9
	if rest < 0 {
		seconds, rest = seconds-1, rest+1e9
	}
	return seconds, uint32(rest)
}

func timestampLen(ns int64) int {
	seconds, nanos := splitTime(ns)
	n := 0
	if seconds != 0 {
		n += 1 + varintLen(uint64(seconds))
	}
	if nanos != 0 {
		n += 1 + varintLen(uint64(nanos))
	}
	return n
}

// bytesFieldLen is the length of a field of n bytes with its tag, 0 if empty.
func bytesFieldLen(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + varintLen(uint64(n)) + n
}

// newRef measures a record. It looks at every byte of the line once, to see
// whether it is valid UTF-8.
func (m metadata) newRef(o *record.Origin, r *record.Record) ref {
	line, bad := len(r.Line), false
	if !utf8.Valid(r.Line) {
		line, bad = validLen(r.Line), true
	}
	n := 2 + timestampLen(r.Time) + bytesFieldLen(line)
	for i := range m {
		if p := m[i].pairLen(o, r); p > 0 {
			n += 1 + varintLen(uint64(p)) + p
		}
	}
	return ref{rec: r, origin: o, size: uint32(n), bad: bad}
}

// appendEntry appends the Entry message of one record, without its own tag
// and length; it is exactly f.size bytes long.
func (m metadata) appendEntry(buf []byte, f *ref) []byte {
	r := f.rec
	seconds, nanos := splitTime(r.Time)
	buf = append(buf, tagTimestamp, byte(timestampLen(r.Time)))
	if seconds != 0 {
		buf = appendVarint(append(buf, tagSeconds), uint64(seconds))
	}
	if nanos != 0 {
		buf = appendVarint(append(buf, tagNanos), uint64(nanos))
	}
	if f.bad {
		buf = appendVarint(append(buf, tagLine), uint64(validLen(r.Line)))
		buf = appendValid(buf, r.Line)
	} else if len(r.Line) > 0 {
		buf = appendVarint(append(buf, tagLine), uint64(len(r.Line)))
		buf = append(buf, r.Line...)
	}
	for i := range m {
		buf = m[i].appendPair(buf, f.origin, r)
	}
	return buf
}

// part is a run of one stream's records that is sent in one request.
type part struct {
	st       *stream
	from, to int
	bytes    int // of its entries as they are encoded, with tags and lengths
}

func (p *part) records() int { return p.to - p.from }

// entryLen is the length of an entry of that size within its Stream message.
func entryLen(size uint32) int { return 1 + varintLen(uint64(size)) + int(size) }

// appendPush appends a PushRequest of the given parts.
func (m metadata) appendPush(buf []byte, parts []part) []byte {
	for i := range parts {
		p := &parts[i]
		buf = append(buf, tagStreams)
		buf = appendVarint(buf, uint64(bytesFieldLen(len(p.st.labels))+p.bytes))
		buf = appendVarint(append(buf, tagLabels), uint64(len(p.st.labels)))
		buf = append(buf, p.st.labels...)
		for j := p.from; j < p.to; j++ {
			f := &p.st.refs[j]
			buf = appendVarint(append(buf, tagEntries), uint64(f.size))
			buf = m.appendEntry(buf, f)
		}
	}
	return buf
}

const replacement = "\uFFFD"

// validLen is the length of what appendValid appends.
func validLen(p []byte) int {
	n, inRun := 0, false
	for i := 0; i < len(p); {
		if c := p[i]; c < utf8.RuneSelf {
			n, inRun = n+1, false
			i++
			continue
		}
		_, size := utf8.DecodeRune(p[i:])
		if size == 1 {
			if !inRun {
				n += len(replacement)
			}
			inRun = true
			i++
			continue
		}
		n, inRun = n+size, false
		i += size
	}
	return n
}

// appendValid appends p with each run of bytes that are not UTF-8 replaced by
// one U+FFFD, as strings.ToValidUTF8 does it: the same bytes give the same
// text whenever they are read again.
func appendValid(buf, p []byte) []byte {
	inRun := false
	for i := 0; i < len(p); {
		if c := p[i]; c < utf8.RuneSelf {
			buf, inRun = append(buf, c), false
			i++
			continue
		}
		_, size := utf8.DecodeRune(p[i:])
		if size == 1 {
			if !inRun {
				buf = append(buf, replacement...)
			}
			inRun = true
			i++
			continue
		}
		buf, inRun = append(buf, p[i:i+size]...), false
		i += size
	}
	return buf
}
