package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// readTries is how often in a row one place may fail to be read before it
// counts as damaged.
const readTries = 8

// reader is where Next is.
type reader struct {
	frame  uint64 // the next one wanted
	record uint64 // its first record
	left   uint64 // first frame of the segment that was left last; 0: none

	seg    *segment // nil: to be found
	f      File     // nil: to be opened
	offset int64
	tries  int
}

func (r *reader) close() {
	if r.f != nil {
		r.f.Close()
	}
	r.seg, r.f, r.offset, r.tries = nil, nil, 0, 0
}

// Given is what Next gives beside the batch.
type Given struct {
	Frame
	Notes    []byte    // lives as long as the batch
	Appended time.Time // when Append wrote it
}

// place is what Next has to know of the spool at one moment.
type place struct {
	seg       *segment
	size      int64  // what of seg counts
	stop      uint64 // frames of seg from this number on are void; 0: none is
	end       uint64 // the frame that is to be appended next
	endRecord uint64
	passed    uint64
}

// Next fills b, which is fresh, with the next batch. io.EOF says that all was
// given, up to the frame that it comes with. A *LossError, with a batch that lies behind the loss or without one, says what cannot
// be read any more; it is told once. Any other error is the disk's: calling
// again tries again.
func (s *Spool) Next(b *record.Batch) (Given, error) {
	var loss LossError
	for {
		p, err := s.place()
		if err != nil {
			return Given{}, err
		}
		r := &s.read
		if r.frame >= p.end {
			return Given{Frame: Frame{p.end - 1, p.endRecord}}, loss.or(io.EOF)
		}
		if p.seg == nil {
			// Nothing follows, and still there was more.
			loss.add(int64(p.endRecord-r.record), fmt.Sprintf("%s: frames %d to %d are missing", s.dir, r.frame, p.end-1))
			r.frame, r.record, r.left = p.end, p.endRecord, 0
			continue
		}
		h, what, err := s.head(&p)
		if err != nil {
			return Given{}, fmt.Errorf("reading the spool's segment %s: %w", p.seg.path, err)
		}
		switch what {
		case atEnd:
			r.close()
			r.left = p.seg.id.frame
			continue
		case atDamage:
			s.skipDamage(&p, &loss)
			continue
		}
		if h.frame < r.frame {
			r.offset += frameHeader + int64(h.size)
			continue // read before, or answered
		}
		given, ok, err := s.take(b, &h, &p, &loss)
		if err != nil {
			return Given{}, fmt.Errorf("reading the spool's segment %s: %w", p.seg.path, err)
		}
		if ok {
			return given, loss.or(nil)
		}
	}
}

// place looks where the reader stands.
func (s *Spool) place() (place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := place{end: s.at.nextFrame, endRecord: s.at.nextRecord, passed: s.passed}
	if s.closed {
		return p, errors.New("reading the spool: it is closed")
	}
	r := &s.read
	if r.frame <= s.at.answered {
		r.frame, r.record = s.at.answered+1, s.at.record
	}
	if r.seg != nil && !slices.Contains(s.segments, r.seg) {
		r.close() // it was answered, and deleted
	}
	for i, seg := range s.segments {
		p.stop = 0
		if i+1 < len(s.segments) {
			p.stop = s.segments[i+1].id.frame
		}
		if seg == r.seg || r.seg == nil && seg.id.frame > r.left && (p.stop == 0 || p.stop > r.frame) {
			r.seg = seg
			p.seg, p.size = seg, seg.size
			break
		}
	}
	return p, nil
}

// What the reader stands at.
type standing int

const (
	atFrame standing = iota
	atDamage
	atEnd
)

// head looks at the frame that the reader stands at.
func (s *Spool) head(p *place) (h head, what standing, err error) {
	r := &s.read
	if r.f == nil {
		if r.f, err = s.fs.OpenFile(p.seg.path, os.O_RDONLY); err != nil {
			r.f = nil
			if s.triedEnough(p.seg, err) {
				return h, atEnd, nil
			}
			return h, atEnd, err
		}
		r.offset = segmentHeader
	}
	if r.offset >= p.size {
		return h, atEnd, nil
	}
	scan := scanner{f: r.f, id: p.seg.id, end: p.size, stop: p.stop}
	h, ok, err := scan.head(r.offset)
	switch {
	case err != nil && !s.triedEnough(p.seg, err):
		return h, atDamage, err
	case err == nil && ok:
		return h, atFrame, nil
	case err == nil && p.stop > 0 && h.frame >= p.stop:
		return h, atEnd, nil // void from here on
	}
	return h, atDamage, nil
}

// skipDamage moves the reader to the next frame that verifies.
func (s *Spool) skipDamage(p *place, loss *LossError) {
	r := &s.read
	scan := scanner{f: r.f, id: p.seg.id, end: p.size, stop: p.stop}
	next := scan.resync(r.offset + 1)
	loss.Bytes += next - r.offset
	s.event(Event{Op: OpRead, File: p.seg.path, Bytes: next - r.offset, Err: errDamaged,
		Detail: fmt.Sprintf("bytes %d to %d of a segment are damaged and are passed over", r.offset, next-1)})
	r.offset, r.tries = next, 0
}

var errDamaged = errors.New("no frame that verifies")

// take reads the frame behind a header into b. ok is false if it is not to be
// given, or is damaged.
func (s *Spool) take(b *record.Batch, h *head, p *place, loss *LossError) (given Given, ok bool, err error) {
	r := &s.read
	given = Given{Frame: Frame{h.frame, h.next()}}
	end := r.offset + frameHeader + int64(h.size)
	if h.frame <= p.passed {
		s.reach(h, loss, p)
		r.offset = end
		return given, false, nil
	}
	payload := b.Alloc(int(h.size))
	n, err := r.f.ReadAt(payload, r.offset+frameHeader)
	if err != nil && !errors.Is(err, io.EOF) {
		b.Shrink(len(payload), 0)
		if !s.triedEnough(p.seg, err) {
			return given, false, err
		}
		n = 0
	}
	if n < len(payload) || crc32.Update(p.seg.id.salt, castagnoli, payload) != h.crc {
		s.skipDamage(p, loss)
		return given, false, nil
	}
	r.tries = 0
	s.reach(h, loss, p)
	r.offset = end
	info, err := s.dec.decode(b, payload)
	given.Notes, given.Appended = info.notes, time.Unix(0, info.appended)
	if err == nil {
		return given, true, nil
	}
	// Its checksum is good and it makes no sense: of another version, or a mistake of ours.
	b.Records = b.Records[:0]
	loss.Bytes += int64(h.size)
	loss.add(int64(h.records), fmt.Sprintf("%s: frame %d: %v", p.seg.path, h.frame, err))
	return given, false, nil
}

// reach notes that the reader has come to a frame, and what is missing before it.
func (s *Spool) reach(h *head, loss *LossError, p *place) {
	r := &s.read
	if h.record > r.record {
		loss.add(int64(h.record-r.record), fmt.Sprintf("%s: frames %d to %d are missing or damaged", p.seg.path, r.frame, h.frame-1))
	}
	r.frame, r.record = h.frame+1, h.next()
}

// triedEnough counts failures at one place, and tells when it is to be given up.
func (s *Spool) triedEnough(seg *segment, err error) bool {
	r := &s.read
	r.tries++
	s.event(Event{Op: OpRead, File: seg.path, Err: err, Detail: "a segment cannot be read"})
	if r.tries < readTries && !errors.Is(err, os.ErrNotExist) {
		return false
	}
	r.tries = 0
	return true
}

// or returns the loss if there is one, else err.
func (e *LossError) or(err error) error {
	if e.Detail == "" {
		return err
	}
	return e
}

func (e *LossError) add(records int64, detail string) {
	if records <= 0 {
		return
	}
	if e.Detail == "" {
		e.Detail = detail
	}
	e.Records += records
}
