package spool

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// load finds out what is in the directory.
func (s *Spool) load() error {
	files, err := s.fs.List(s.dir)
	if err != nil {
		return fmt.Errorf("listing the spool's directory: %w", err)
	}
	for i := range files {
		s.adopt(&files[i])
	}
	s.order()
	known := s.loadCursor()
	if n := len(s.segments); n > 0 {
		last := s.segments[n-1]
		end := s.cutTail(last)
		if end.Number >= s.at.nextFrame {
			s.at.nextFrame, s.at.nextRecord = end.Number+1, end.Next
		}
		if first := s.segments[0].id; !known {
			s.at.answered, s.at.record = first.frame-1, first.record
		}
	}
	s.read.frame, s.read.record = s.at.answered+1, s.at.record
	s.firstAppended()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeCursor()
	s.writeCursor() // both slots get their place on the disk now, so that a full one is no hindrance later
	s.trim()
	return nil
}

// adopt takes one file in, or sets it aside.
func (s *Spool) adopt(f *FileInfo) {
	path := filepath.Join(s.dir, f.Name)
	if !strings.HasSuffix(f.Name, suffix) {
		return
	}
	id, ok := parseName(f.Name)
	if !ok {
		s.aside(path, f.Size, errors.New("this is no name of a segment"))
		return
	}
	seg := &segment{id: id, path: path, size: f.Size}
	file, err := s.fs.OpenFile(path, os.O_RDONLY)
	if err != nil {
		s.event(Event{Op: OpRead, File: path, Err: err, Detail: "a segment cannot be opened"})
		s.add(seg) // perhaps it can later
		return
	}
	defer file.Close()
	err = id.checkHeader(file)
	switch {
	case errors.Is(err, errFormat):
		s.aside(path, f.Size, err)
		return
	case f.Size <= segmentHeader:
		// It was begun and nothing was promised of it.
		s.fs.Remove(path)
		return
	case err != nil:
		scan := scanner{f: file, id: id, end: f.Size}
		if scan.resync(segmentHeader) == f.Size {
			s.aside(path, f.Size, fmt.Errorf("%w, and no frame verifies", err))
			return
		}
		s.event(Event{Op: OpRead, File: path, Err: err, Detail: "the header of a segment is damaged; its frames are read by what its name says"})
	}
	s.add(seg)
}

func (s *Spool) add(seg *segment) {
	s.segments = append(s.segments, seg)
	s.bytes += seg.size
}

func (s *Spool) aside(path string, size int64, cause error) {
	kept := fmt.Sprintf("%s.aside-%d", path, s.o.Now().Unix())
	if err := s.fs.Rename(path, kept); err != nil {
		kept = "(it cannot be renamed: " + err.Error() + ")"
	}
	s.event(Event{Op: OpAside, File: path, Bytes: size, Err: cause, Detail: "a file of the spool cannot be used; it is kept as " + kept})
}

// order sorts the segments. Of two that begin with the same frame only the one
// that was begun last counts: the other is what a failed append left.
func (s *Spool) order() {
	begun := map[*segment]int64{}
	for _, seg := range s.segments {
		begun[seg] = s.begun(seg)
	}
	slices.SortFunc(s.segments, func(a, b *segment) int {
		return cmp.Or(cmp.Compare(a.id.frame, b.id.frame), cmp.Compare(begun[a], begun[b]))
	})
	kept := s.segments[:0]
	for i, seg := range s.segments {
		if i+1 < len(s.segments) && s.segments[i+1].id.frame == seg.id.frame {
			s.aside(seg.path, seg.size, errors.New("another segment begins with the same frame"))
			s.bytes -= seg.size
			continue
		}
		kept = append(kept, seg)
	}
	s.segments = kept
}

// begun is when a segment says that it was begun, 0 if that cannot be read.
func (s *Spool) begun(seg *segment) int64 {
	f, err := s.fs.OpenFile(seg.path, os.O_RDONLY)
	if err != nil {
		return 0
	}
	defer f.Close()
	var p [8]byte
	if _, err := f.ReadAt(p[:], 24); err != nil {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(p[:]))
}

// loadCursor reads the cursor; false if there is none.
func (s *Spool) loadCursor() bool {
	s.at = cursor{nextFrame: 1, record: 1, nextRecord: 1}
	c, err := readCursor(s.fs, filepath.Join(s.dir, cursorName))
	if err == nil {
		s.at = c
		return true
	}
	if !errors.Is(err, os.ErrNotExist) || len(s.segments) > 0 {
		s.event(Event{Op: OpCursor, File: filepath.Join(s.dir, cursorName), Err: err,
			Detail: "how far the target has answered is not known: all that is there is sent, again if need be"})
	}
	return false
}

// cutTail verifies the newest segment, cuts off what does not, and returns its last frame.
func (s *Spool) cutTail(seg *segment) Frame {
	end := Frame{seg.id.frame - 1, seg.id.record}
	f, err := s.fs.OpenFile(seg.path, os.O_RDWR)
	if err != nil {
		f, err = s.fs.OpenFile(seg.path, os.O_RDONLY)
	}
	if err != nil {
		s.event(Event{Op: OpRead, File: seg.path, Err: err, Detail: "the newest segment cannot be opened"})
		return end
	}
	defer f.Close()
	good := int64(segmentHeader)
	scan := scanner{f: f, id: seg.id, end: seg.size}
	err = scan.walk(func(v found) bool {
		if !v.damaged && v.head.frame > end.Number {
			end, good = Frame{v.head.frame, v.head.next()}, v.end
		}
		return true
	})
	if err != nil {
		s.event(Event{Op: OpRead, File: seg.path, Err: err, Detail: "the newest segment cannot be read to its end"})
		return end
	}
	if torn := seg.size - good; torn > 0 {
		err := f.Truncate(good)
		s.event(Event{Op: OpTorn, File: seg.path, Bytes: torn, Err: err, Detail: "the end of the newest segment is torn and is cut off: what was there had not been promised"})
		s.bytes -= torn
		seg.size = good
	}
	return end
}

// firstAppended finds out how old the oldest unanswered frame is.
func (s *Spool) firstAppended() {
	if len(s.segments) > 0 {
		if ns := s.begun(s.segments[0]); ns > 0 {
			s.oldest = time.Unix(0, ns)
		}
	}
}
