package spool

import (
	"os"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// headBytes is how much of a payload is read at first to learn what its batch is.
const headBytes = 1 << 10

// Head is what a frame says of its batch without the records.
type Head struct {
	Frame
	Origin   *record.Origin
	Before   record.Position
	After    record.Position
	Records  int
	Appended time.Time
	Notes    []byte // valid during the call
	// Whole verifies the payload, which costs a read of all of it. Until then all that is not in
	// the header (Frame, Records) and not the Origin may be damaged. Valid during the call.
	Whole func() bool
}

// Each calls visit for each frame that is not answered and whose header
// verifies, in order. It costs one or two small reads for each, and is to be called before Next.
// A frame with an Origin of its own is verified, and left out if it is damaged: nobody may have such an origin.
func (s *Spool) Each(visit func(Head)) { s.each(false, visit) }

// EachTaken is Each for the frames that are answered and that Answered was not told of.
func (s *Spool) EachTaken(visit func(Head)) { s.each(true, visit) }

func (s *Spool) each(taken bool, visit func(Head)) {
	s.mu.Lock()
	segments, from, last := append([]*segment(nil), s.segments...), s.at.answered+1, s.at.nextFrame-1
	if taken {
		from, last = s.at.saved()+1, s.at.answered
	}
	s.mu.Unlock()
	if from > last {
		return
	}
	for i, seg := range segments {
		stop := uint64(0)
		if i+1 < len(segments) {
			stop = segments[i+1].id.frame
		}
		if stop > 0 && stop <= from {
			continue
		}
		f, err := s.fs.OpenFile(seg.path, os.O_RDONLY)
		if err != nil {
			continue // Next tells
		}
		s.eachIn(f, &scanner{f: f, id: seg.id, end: seg.size, stop: stop}, func(h Head) {
			if h.Number >= from && h.Number <= last {
				from = h.Number + 1
				visit(h)
			}
		})
		f.Close()
	}
}

// eachIn visits the frames of one segment.
func (s *Spool) eachIn(f File, scan *scanner, visit func(Head)) {
	var buf []byte
	for at := int64(segmentHeader); at < scan.end; {
		h, ok, err := scan.head(at)
		if err != nil {
			return // Next tells
		}
		if !ok {
			at = scan.resync(at + 1)
			continue
		}
		for want := min(int(h.size), headBytes); ; want = int(h.size) {
			buf = append(buf[:0], make([]byte, want)...)
			if n, err := f.ReadAt(buf, at+frameHeader); n < want && err != nil {
				break
			}
			b := record.NewBatch()
			info, err := s.dec.head(b, &cutter{rest: buf})
			whole := func() bool {
				ok, err := scan.payload(at, &h)
				return ok || err != nil // Next tells
			}
			switch {
			case err == nil && s.dec.added != "" && !whole():
				delete(s.dec.origins, s.dec.added)
			case err == nil:
				visit(Head{Frame: Frame{h.frame, h.next()}, Origin: b.Origin, Before: b.Before, After: b.After,
					Records: int(h.records), Appended: time.Unix(0, info.appended), Notes: info.notes, Whole: whole})
			}
			b.Release()
			if err == nil || want == int(h.size) {
				break
			}
		}
		at += frameHeader + int64(h.size)
	}
}
