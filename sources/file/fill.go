package file

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/record"
)

// rereadBytes is how much of an unfinished line is simply read again when the
// file has grown; of a longer one only what is new is searched for a newline.
const rereadBytes = 16 << 10

// nulBytesPerRead bounds how much of a run of NULs one Read passes over.
const nulBytesPerRead = 8 << 20

var scratchPool = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// fill reads and splits what lies between the offset and limit. With tear, an
// unfinished line that ends at limit is a record too.
func (r *reader) fill(b *record.Batch, limit int64, st stat, now time.Time, tear bool) error {
	for {
		if r.nuls > r.at.offset {
			return r.passNULs(limit, st, now, tear)
		}
		want, err := r.plan(limit, tear)
		if err != nil {
			return r.in.pathError("read", err)
		}
		if want == 0 {
			r.drained(st, now, true)
			return nil
		}
		from := r.at.offset
		got, err := r.load(b, want, limit, now, tear)
		switch {
		case err == errFull:
			r.more = true
			return nil
		case err == errRewritten:
			return r.lose(b, "rewritten", st.size)
		case err != nil && r.at.offset == from:
			return r.in.pathError("read", err)
		case got < want || from+want == limit:
			// Shorter than it was a moment ago: the next stat will say so.
			r.drained(st, now, r.at.offset < limit)
			if r.at.offset < limit && !r.at.skip {
				r.scanned = from + got
			}
			r.fresh = r.fresh || got < want
			r.more = err != nil
			return nil
		case r.at.offset > from:
			r.more = true
			return nil
		case r.nuls > r.at.offset:
		default:
			r.scanned = from + got
		}
	}
}

// plan returns how many bytes from the offset on have to be read to get
// anywhere: those of a window, or more if a line is longer. It is 0 if the
// line at the offset has no end yet.
func (r *reader) plan(limit int64, tear bool) (int64, error) {
	rest := limit - r.at.offset
	window := min(rest, r.src.window)
	if r.at.skip || r.scanned-r.at.offset < min(rereadBytes, r.src.window) {
		return window, nil
	}
	longest := int64(r.src.maxLine + cutSlack)
	if tear && rest <= longest {
		return rest, nil
	}
	end, err := r.findNewline(r.scanned, min(limit, r.at.offset+longest))
	switch {
	case err != nil:
		return 0, err
	case end > 0:
		return max(min(end+1, limit)-r.at.offset, window), nil // the newline may be two bytes
	case rest >= longest:
		return max(longest, window), nil
	}
	r.scanned = limit
	return 0, nil
}

// findNewline returns the offset behind the first newline byte in [from, to),
// or 0.
func (r *reader) findNewline(from, to int64) (int64, error) {
	buf := scratchPool.Get().(*[32 << 10]byte)
	defer scratchPool.Put(buf)
	for from < to {
		n, err := r.pread(buf[:min(to-from, int64(len(buf)))], from)
		if err != nil || n == 0 {
			return 0, err
		}
		if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
			return from + int64(i) + 1, nil
		}
		from += int64(n)
	}
	return 0, nil
}

// What load says of itself.
var (
	errRewritten = errors.New("content before the offset changed")
	errFull      = errors.New("batch holds enough records")
)

// load reads want bytes at the offset into the batch, together with what the
// fingerprint before the offset covers, checks that, splits the rest into
// records, and moves the offset. got is how many of the bytes the file had.
func (r *reader) load(b *record.Batch, want, limit int64, now time.Time, tear bool) (got int64, err error) {
	lead := int(min(r.at.offset, fingerprintSpan))
	s := splitter{r: r, b: b, base: r.at.offset - int64(lead), now: now.UnixNano(), pos: lead}
	buf := b.Alloc(lead + int(want))
	have := 0
	for have < len(buf) {
		var n int
		n, err = r.pread(buf[have:min(len(buf), have+r.src.step)], s.base+int64(have))
		if err != nil || n == 0 {
			break
		}
		checked := have > lead
		have += n
		if have <= lead {
			continue
		}
		if !checked {
			if xxhash.Sum64(buf[:lead]) != r.at.tail {
				b.Shrink(len(buf), 0)
				return 0, errRewritten
			}
			s.sniff(buf[:have])
		}
		s.split(buf[:have])
		if len(b.Records) > maxRecords/2 && have < len(buf) {
			// Short lines: what is not split now would be read once more.
			r.settle(b, buf[:have], s.base, s.pos)
			return 0, errFull
		}
	}
	if len(b.Records) == maxRecords && s.pos < have {
		r.settle(b, buf[:have], s.base, s.pos)
		return 0, errFull
	}
	if have <= lead {
		b.Shrink(len(buf), 0)
		return 0, err
	}
	if tear && s.base+int64(have) == limit {
		s.tear(buf[:have])
	}
	r.nuls = s.nuls
	r.settle(b, buf[:have], s.base, s.pos)
	return int64(have - lead), err
}

// settle moves the offset to base+pos, and lets the batch tell its positions.
func (r *reader) settle(b *record.Batch, buf []byte, base int64, pos int) {
	head := r.at.head
	if base == 0 && len(buf) >= fingerprintSpan {
		head = xxhash.Sum64(buf[:fingerprintSpan])
	}
	path := r.at.path
	if len(b.Records) > 0 {
		b.PositionAt = func(rec *record.Record) record.Position {
			p := placeIn(buf, base, rec.Offset, head, path)
			return p.text()
		}
	}
	if base+int64(pos) == r.at.offset {
		return
	}
	skip := r.at.skip
	r.at = placeIn(buf, base, base+int64(pos), head, path)
	r.at.skip = skip
	r.pos = r.at.text()
}

// placeIn returns the place at offset, given the bytes of the file from base
// on, which go back far enough for its fingerprint.
func placeIn(buf []byte, base, offset int64, head uint64, path string) place {
	end := offset - base
	tail := xxhash.Sum64(buf[max(0, end-fingerprintSpan):end])
	if offset <= fingerprintSpan {
		head = tail
	}
	return place{offset: offset, head: head, tail: tail, path: path}
}

// passNULs moves the offset to the first byte that is not NUL, if it is found
// before limit; holes are not read.
func (r *reader) passNULs(limit int64, st stat, now time.Time, tear bool) error {
	buf := scratchPool.Get().(*[32 << 10]byte)
	defer scratchPool.Put(buf)
	if r.arc != nil {
		// A hole, if it was one, is only NULs there.
	} else if data, err := unix.Seek(r.in.fd, r.nuls, unix.SEEK_DATA); err == nil && data > r.nuls {
		r.nuls = min(data&^1, limit) // even: UTF-16 stays in step
	} else if err == unix.ENXIO {
		r.nuls = limit
	}
	for budget := nulBytesPerRead; r.nuls < limit && budget > 0; budget -= len(buf) {
		n, err := r.pread(buf[:min(limit-r.nuls, int64(len(buf)))], r.nuls)
		if err != nil {
			return r.in.pathError("read", err)
		}
		if n == 0 {
			break
		}
		k := plain.nuls(buf[:n])
		r.nuls += int64(k)
		if k < n {
			return r.jump(r.nuls &^ int64(r.enc.unitBytes()-1))
		}
	}
	if r.nuls >= limit && tear {
		return r.jump(limit)
	}
	r.drained(st, now, true)
	r.more = r.nuls < limit
	return nil
}

// jump moves the offset over bytes that are no record.
func (r *reader) jump(offset int64) error {
	if ok, err := r.same(); err != nil {
		return err
	} else if !ok {
		r.seen = stat{} // the next Read will find it rewritten
		r.more, r.nuls = true, 0
		return nil
	}
	head, tail, err := r.fingerprint(offset)
	if err != nil {
		return r.in.pathError("read", err)
	}
	r.at = place{offset: offset, head: head, tail: tail, path: r.at.path}
	r.pos, r.more, r.nuls = r.at.text(), true, 0
	return nil
}

// pread reads the content that the reader is in.
func (r *reader) pread(p []byte, at int64) (int, error) {
	if r.arc != nil {
		return r.arc.pread(p, at), nil
	}
	return pread(r.in.fd, p, at)
}

// fingerprint hashes what lies at the head of the content and before offset.
func (r *reader) fingerprint(offset int64) (head, tail uint64, err error) {
	if r.arc == nil {
		return r.in.fingerprint(offset)
	}
	var buf [fingerprintSpan]byte
	n := min(offset, fingerprintSpan)
	head = xxhash.Sum64(r.arc.head[:min(n, int64(len(r.arc.head)))])
	if int64(r.arc.pread(buf[:n], offset-n)) < n {
		return 0, 0, fmt.Errorf("%s ends before offset %d", r.arc.path, offset)
	}
	return head, xxhash.Sum64(buf[:n]), nil
}

func gapDetail(path, reason string, offset, size, lost int64) string {
	switch {
	case reason == "rewritten":
		return fmt.Sprintf("%s was rewritten: what was read up to offset %d is no longer there", path, offset)
	case lost > 0:
		return fmt.Sprintf("%s was truncated to %d bytes with at least %d bytes behind offset %d unread", path, size, lost, offset)
	}
	return fmt.Sprintf("%s was truncated to %d bytes after it was read up to offset %d; what was written just before is lost", path, size, offset)
}

func pread(fd int, p []byte, at int64) (int, error) {
	for {
		n, err := syscall.Pread(fd, p, at)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
