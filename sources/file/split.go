package file

import (
	"github.com/lbshipd/lbshipd/record"
)

// cutSlack is how much more than maxLineBytes must be there, without a
// newline, before a line is cut: a "\r" and what proves that no newline
// follows it, in UTF-16.
const cutSlack = 4

// maxRecords bounds the records of one batch; it is what a recycled batch
// keeps the slots for.
const maxRecords = 4096

// splitter cuts what was read into lines. It is fed the same buffer again and
// again as that fills, and goes on at pos.
type splitter struct {
	r    *reader
	b    *record.Batch
	base int64 // offset of the buffer's first byte in the file
	now  int64 // Unix nanoseconds
	pos  int   // what is before it is done with
	nuls int64 // offset of the buffer's end, if there are only NULs between pos and it
}

// sniff finds the encoding out if data begins with the file.
func (s *splitter) sniff(data []byte) {
	if s.base > 0 {
		return
	}
	enc, bom := sniffEncoding(data)
	s.r.enc = enc
	if s.pos == 0 {
		s.pos = bom
	}
}

// split takes the complete lines from data, and the beginning of one that is
// too long.
func (s *splitter) split(data []byte) {
	r, enc, most := s.r, s.r.enc, s.r.src.maxLine
	s.nuls = 0
	for s.pos < len(data) && len(s.b.Records) < maxRecords {
		if r.at.skip {
			if !s.skip(data) {
				return
			}
			continue
		}
		if data[s.pos] == 0 || enc == utf16be {
			n := enc.nuls(data[s.pos:])
			if len(data)-s.pos-n < enc.unitBytes() {
				if n > 0 {
					s.nuls = s.base + int64(s.pos+n)
				}
				return
			}
			s.pos += n
		}
		n, end, ok := enc.newline(data[s.pos:])
		if ok {
			s.add(enc.trimReturn(data[s.pos:s.pos+n:s.pos+n]), 0)
			s.pos += n + end
			continue
		}
		if len(data)-s.pos < most+cutSlack {
			return
		}
		s.add(data[s.pos:s.pos+most+1], 0)
		s.pos += most - most%enc.unitBytes()
		r.at.skip = true
	}
}

// skip passes over the rest of a line that was cut; false if its end is not in data.
func (s *splitter) skip(data []byte) bool {
	enc := s.r.enc
	n, end, ok := enc.newline(data[s.pos:])
	if ok {
		s.pos += n + end
		s.r.at.skip = false
		return true
	}
	rest := len(data) - s.pos
	s.pos += rest - rest%enc.unitBytes()
	return false
}

// tear takes what is left as a line of its own.
func (s *splitter) tear(data []byte) {
	if s.pos == len(data) || s.r.at.skip { // half a character may be left of a line that was cut
		s.pos = len(data)
		return
	}
	rest := data[s.pos+s.r.enc.nuls(data[s.pos:]):]
	if len(rest) < s.r.enc.unitBytes() && plain.nuls(rest) == len(rest) { // half a NUL is no text either
		s.pos, s.nuls = len(data), 0
		return
	}
	s.pos = len(data) - len(rest)
	s.add(s.r.enc.trimReturn(rest), record.Torn)
	s.pos, s.nuls = len(data), 0
}

// add adds one line, which begins at pos, unless it is empty.
func (s *splitter) add(line []byte, flags record.Flags) {
	most := s.r.src.maxLine
	if len(line) > most {
		flags |= record.Truncated
		if s.r.enc == plain {
			line = line[:cutText(line, most)]
		} else {
			line = line[:most&^1]
		}
	}
	if len(line) == 0 {
		return
	}
	if s.r.enc != plain {
		line = s.decode(line, &flags)
	}
	if flags&record.Truncated != 0 {
		s.r.src.skipped("truncated_line", 1)
	}
	s.room()
	rec := s.b.Add()
	// Each line a nanosecond behind the one before it: Loki drops lines of the
	// same stream, time and text as repeats.
	rec.Time = s.now + int64(len(s.b.Records))
	rec.Offset = s.base + int64(s.pos)
	rec.Line = line[:len(line):len(line)]
	rec.Message = rec.Line
	rec.Flags = flags | record.TimeAssigned
}

// room makes sure that there is a slot for another record, in slabs of sizes
// that a recycled batch keeps.
func (s *splitter) room() {
	n := len(s.b.Records)
	if n < cap(s.b.Records) {
		return
	}
	slab := make([]record.Record, n, min(max(2*cap(s.b.Records), 16), max(maxRecords, n+1)))
	copy(slab, s.b.Records)
	s.b.Records = slab
}

// decode returns a UTF-16 line as UTF-8 in the batch's memory.
func (s *splitter) decode(line []byte, flags *record.Flags) []byte {
	size := len(line)/2*3 + 3
	dst := s.b.Alloc(size)
	text := s.r.enc.appendUTF8(dst[:0], line)
	if most := s.r.src.maxLine; len(text) > most {
		*flags |= record.Truncated
		text = text[:cutText(text, most)]
	}
	s.b.Shrink(size, len(text))
	return text
}
