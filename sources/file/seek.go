package file

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

var (
	_ sources.Seeker   = (*input)(nil)
	_ sources.Newcomer = (*input)(nil)
)

// Appeared implements sources.Newcomer.
func (in *input) Appeared() bool { return in.appeared }

// How much is read, in bytes.
const (
	seekProbe = 1 << 20   // of a half, for one line with a time
	seekLine  = 64 << 10  // so much is searched from line to line, and no longer by halves
	seekBack  = 256 << 10 // writers are out of step by no more than that
	seekAhead = 64 << 20  // in all that holds no time
)

// coarsest is by how much the time of a file's last change may lie before that of the
// write: a tick of the kernel's clock, or what the file system can store.
const coarsest = 2 * time.Second

// Seek implements sources.Seeker. The lines' own times decide, which are taken to rise:
// a line that is late by no more than seekBack bytes is found all the same. Lines
// without a time, or with a broken one, are passed over. A file that was not written to
// since t has nothing of it; of one without any time that was written to since, all is taken.
func (in *input) Seek(t time.Time, timeOf func(line []byte) (time.Time, bool)) (record.Position, error) {
	pos, err := in.seek(t, timeOf)
	if err != nil {
		return "", fmt.Errorf("looking in %s for %s: %w", in.origin.Path, t.UTC().Format(time.RFC3339Nano), err)
	}
	return pos, nil
}

func (in *input) seek(t time.Time, timeOf func(line []byte) (time.Time, bool)) (record.Position, error) {
	if t.IsZero() {
		return in.positionAt(0)
	}
	st, _, _, err := fstat(in.fd)
	if err != nil {
		return "", err
	}
	if t.Year() > 2200 || st.mtime+int64(coarsest) < t.UnixNano() { // beyond what fits in nanoseconds
		return in.seekEnd()
	}
	enc, err := in.sniff()
	if err != nil {
		return "", err
	}
	s := seeker{in: in, enc: enc, size: st.size, t: t, timeOf: timeOf, most: int64(in.src.maxLine)}
	at, found, err := s.search()
	switch {
	case err != nil:
		return "", err
	case found:
		return in.positionAt(at)
	case s.timed:
		return in.seekEnd()
	}
	return in.positionAt(0)
}

// seekEnd returns the position behind the last line.
func (in *input) seekEnd() (record.Position, error) {
	pos, err := in.endPosition(int64(in.src.maxLine))
	if err != nil || pos != "" {
		return pos, err
	}
	return in.positionAt(0)
}

// positionAt returns the position at the beginning of the line at offset.
func (in *input) positionAt(offset int64) (record.Position, error) {
	p := place{offset: offset, path: in.path}
	var err error
	p.head, p.tail, err = in.fingerprint(offset)
	return p.text(), err
}

// seeker searches a file for the first line that is not older than t.
type seeker struct {
	in     *input
	enc    encoding
	size   int64 // when the search began
	most   int64 // bytes of a line that are looked at
	t      time.Time
	timeOf func(line []byte) (time.Time, bool)
	timed  bool // a line with a time was seen
	text   []byte
}

// search returns where the first line begins that is not older than t.
func (s *seeker) search() (at int64, found bool, err error) {
	lo, hi := int64(0), s.size // all lines with a time in front of lo are older
	for hi-lo > seekLine {
		mid := lo + (hi-lo)/2&^1
		end, older, err := s.probe(mid, min(hi, mid+seekProbe))
		if err != nil {
			return 0, false, err
		}
		if older {
			lo = end
		} else {
			hi = mid
		}
	}
	return s.forward(max(0, lo-seekBack))
}

// probe reports whether the first lines with a time that begin in [from, to) are
// older, and where the first of them ends. One line that is out of step does not
// mislead it.
func (s *seeker) probe(from, to int64) (end int64, older bool, err error) {
	n := 0
	err = s.lines(from, to, func(_, next int64, line []byte) bool {
		when, has := s.timeOf(line)
		if !has {
			return true
		}
		if n++; n == 1 {
			end = next
		}
		s.timed = true
		older = when.Before(s.t)
		return older && n < 3
	})
	return end, older, err
}

// forward looks at line after line from an offset on. Where there is no time
// for too long it gives up there: rather too much than too little.
func (s *seeker) forward(from int64) (at int64, found bool, err error) {
	last := from
	err = s.lines(from, s.size, func(begin, next int64, line []byte) bool {
		when, has := s.timeOf(line)
		s.timed = s.timed || has
		switch {
		case has && !when.Before(s.t):
			at, found = begin, true
			return false
		case has:
			last = next
		case begin-last > seekAhead:
			at, found = last, true
			return false
		}
		return true
	})
	if found && !s.timed {
		return 0, false, err
	}
	return at, found, err
}

// lines calls each for the lines that begin in [from, to), the first one behind
// a newline or at the beginning of the file, until that returns false. Of a line that is
// longer than maxLineBytes the beginning is given; next is where the next one begins.
// The unfinished line at the end is not given.
func (s *seeker) lines(from, to int64, each func(at, next int64, line []byte) bool) error {
	r := &lineReader{s: s, at: from}
	if from > 0 {
		r.at -= int64(s.enc.unitBytes())
		if _, _, err := r.next(); err != nil { // the rest of the line before
			return endOf(err)
		}
	}
	for r.at < to {
		at := r.at
		line, next, err := r.next()
		if err != nil {
			return endOf(err)
		}
		if !each(at, next, s.decode(at, line)) {
			return nil
		}
	}
	return nil
}

func endOf(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// decode returns the text of a line, as a reader would give it.
func (s *seeker) decode(at int64, line []byte) []byte {
	if at == 0 {
		_, bom := sniffEncoding(line)
		line = line[bom:]
	}
	line = s.enc.trimReturn(line[s.enc.nuls(line):])
	if s.enc == plain {
		return line
	}
	s.text = s.enc.appendUTF8(s.text[:0], line)
	return s.text
}

// lineReader reads a file line by line up to where it ended when the search began.
type lineReader struct {
	s    *seeker
	at   int64 // where the next line begins
	buf  []byte
	base int64 // offset of buf in the file
}

// next returns the line at r.at and where the next one begins; io.EOF if it has
// no end. The line is valid until the next call, and its beginning only if it is too long.
func (r *lineReader) next() (line []byte, next int64, err error) {
	var head []byte
	for at := r.at; ; {
		part, err := r.fill(at)
		if err != nil {
			return nil, 0, err
		}
		n, end, ok := r.s.enc.newline(part)
		if ok {
			line = part[:n]
			if head != nil {
				line = r.keep(head, line)
			}
			r.at = at + int64(n+end)
			return line, r.at, nil
		}
		whole := len(part) - len(part)%r.s.enc.unitBytes()
		if whole == 0 {
			return nil, 0, io.EOF
		}
		head = r.keep(head, part[:whole])
		at += int64(whole)
	}
}

// keep appends to the beginning of a line what may be looked at.
func (r *lineReader) keep(head, more []byte) []byte {
	room := max(0, int(r.s.most)-len(head))
	return append(head, more[:min(room, len(more))]...)
}

// fill returns what is there from at on, some of it.
func (r *lineReader) fill(at int64) ([]byte, error) {
	if at >= r.base && at < r.base+int64(len(r.buf)) {
		// Enough for a line, or all there is.
		if rest := r.buf[at-r.base:]; len(rest) >= 4<<10 || r.base+int64(len(r.buf)) >= r.s.size {
			return rest, nil
		}
	}
	if at >= r.s.size {
		return nil, io.EOF
	}
	if r.buf == nil {
		r.buf = make([]byte, 64<<10)
	}
	r.buf = r.buf[:min(int64(cap(r.buf)), r.s.size-at)]
	n, err := r.s.in.file.ReadAt(r.buf, at)
	r.buf, r.base = r.buf[:n], at
	if n == 0 && err == nil {
		err = io.EOF
	}
	if n > 0 {
		err = nil
	}
	return r.buf, err
}
