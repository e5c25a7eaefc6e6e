package spool

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
)

// scanChunk is how much is read at a time while verifying or looking for the
// next frame.
const scanChunk = 64 << 10

// scanner walks over the frames of one segment.
type scanner struct {
	f    io.ReaderAt
	id   segmentID
	end  int64 // nothing is read from here on
	buf  []byte
	stop uint64 // frames from this number on are void; 0: none is
}

// head reads the frame header at offset at. ok is false if there is none that
// verifies; err is an error of the disk.
func (s *scanner) head(at int64) (h head, ok bool, err error) {
	if at+frameHeader > s.end {
		return h, false, nil
	}
	var p [frameHeader]byte
	if _, err := s.f.ReadAt(p[:], at); err != nil && !errors.Is(err, io.EOF) {
		return h, false, err
	}
	if !h.parse(p[:], s.id.salt) || at+frameHeader+int64(h.size) > s.end || h.frame < s.id.frame || h.record < s.id.record {
		return h, false, nil
	}
	return h, s.stop == 0 || h.frame < s.stop, nil
}

// payload verifies the payload behind a header.
func (s *scanner) payload(at int64, h *head) (bool, error) {
	at += frameHeader
	sum := s.id.salt
	for left := int64(h.size); left > 0; {
		p := s.chunk(min(left, scanChunk))
		n, err := s.f.ReadAt(p, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if n < len(p) {
			return false, nil // it became shorter under us
		}
		sum = crc32.Update(sum, castagnoli, p)
		at, left = at+int64(n), left-int64(n)
	}
	return sum == h.crc, nil
}

func (s *scanner) chunk(n int64) []byte {
	if s.buf == nil {
		s.buf = make([]byte, scanChunk)
	}
	return s.buf[:n]
}

// resync returns the offset of the first frame at or behind at that verifies;
// s.end if there is none. What cannot be read is passed over.
func (s *scanner) resync(at int64) int64 {
	window := make([]byte, scanChunk)
	for at < s.end {
		p := window[:min(int64(len(window)), s.end-at)]
		n, err := s.f.ReadAt(p, at)
		p = p[:n]
		if n == 0 && (err == nil || errors.Is(err, io.EOF)) {
			return s.end
		}
		if n == 0 {
			at += 4 << 10 // a block that the disk cannot read
			continue
		}
		for off := 0; ; off++ {
			i := bytes.Index(p[off:], []byte(frameMagic))
			if i < 0 {
				break
			}
			off += i
			if s.whole(at + int64(off)) {
				return at + int64(off)
			}
		}
		at += int64(max(1, n-len(frameMagic)+1))
	}
	return s.end
}

// whole reports whether a frame stands at offset at, with its payload.
func (s *scanner) whole(at int64) bool {
	h, ok, err := s.head(at)
	if !ok || err != nil {
		return false
	}
	ok, err = s.payload(at, &h)
	return ok && err == nil
}

// found is one stretch of a segment: a frame, or what is none.
type found struct {
	at, end int64
	head    head // zero if it is damage
	damaged bool
}

// walk calls visit for each frame and each damaged stretch, until visit
// returns false. The last stretch of the segment is given even if it is damaged.
func (s *scanner) walk(visit func(found) bool) error {
	for at := int64(segmentHeader); at < s.end; {
		h, ok, err := s.head(at)
		if ok && err == nil {
			ok, err = s.payload(at, &h)
		}
		if err != nil {
			return err
		}
		f := found{at: at, end: at + frameHeader + int64(h.size), head: h}
		if !ok {
			f = found{at: at, end: s.resync(at + 1), damaged: true}
		}
		if !visit(f) {
			return nil
		}
		at = f.end
	}
	return nil
}
