package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// appendBytes bounds what one Append writes, if it is more than one batch.
const appendLimit = 4 << 20

// keptBuffer bounds what stays allocated between appends.
const keptBuffer = 8 << 20

// Entry is what is to be appended: a batch, and notes of the caller that come
// back with it.
type Entry struct {
	Batch *record.Batch
	Notes []byte
}

// Append writes leading entries, as many as fit and as are good to write at
// once, and returns their frames once they are on disk. Next gives them from
// then on. On an error nothing was appended: ErrFull and ErrTooLarge (wrapped) say that the
// first entry does not fit, anything else is an error of the disk.
func (s *Spool) Append(entries []Entry) ([]Frame, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, errors.New("appending to a spool: it is closed")
	}
	s.appending = true
	at, used := s.at, s.bytes
	s.mu.Unlock()
	frames, err := s.append(entries, at, used)
	s.mu.Lock()
	s.appending = false
	s.trim()
	s.mu.Unlock()
	if cap(s.enc) > keptBuffer {
		s.enc = nil
	}
	if err != nil && !errors.Is(err, ErrFull) {
		err = fmt.Errorf("appending to the spool: %w", err)
		s.event(Event{Op: OpAppend, File: s.dir, Err: err, Detail: "records stay in memory and at their source"})
	}
	return frames, err
}

func (s *Spool) append(entries []Entry, at cursor, used int64) ([]Frame, error) {
	salt, fresh := s.salt()
	buf := s.enc[:0]
	now := s.o.Now()
	frames := make([]Frame, 0, len(entries))
	limit := s.o.MaxBytes - used
	if fresh {
		limit -= segmentHeader
	}
	for i := range entries {
		start := len(buf)
		buf = appendFrame(buf, &entries[i], &at, salt, now.UnixNano())
		if size := len(buf) - start - frameHeader; size > maxPayload {
			if i == 0 {
				return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, size)
			}
			buf = buf[:start]
			break
		}
		if int64(len(buf)) > limit {
			if i == 0 {
				return nil, ErrFull
			}
			buf = buf[:start]
			break
		}
		at.nextFrame++
		at.nextRecord += uint64(len(entries[i].Batch.Records))
		frames = append(frames, Frame{at.nextFrame - 1, at.nextRecord})
		if len(buf) >= appendLimit {
			break
		}
	}
	s.enc = buf
	seg, f, err := s.target(salt, fresh, now)
	if err != nil {
		return nil, err
	}
	if err := write(f, buf, seg.size); err != nil {
		s.rewind(seg, f)
		return nil, err
	}
	s.published(seg, f, int64(len(buf)), at, now)
	return frames, nil
}

// salt returns that of the segment to be written, and whether that is a new one.
func (s *Spool) salt() (uint32, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.segments); s.active != nil && s.segments[n-1].size < s.o.SegmentBytes {
		return s.segments[n-1].id.salt, false
	}
	return newSalt(), true
}

// appendFrame encodes one entry as the frame at.nextFrame.
func appendFrame(buf []byte, e *Entry, at *cursor, salt uint32, now int64) []byte {
	start := len(buf)
	var room [frameHeader]byte
	buf = append(buf, room[:]...)
	buf = appendPayload(buf, e.Batch, e.Notes, now)
	payload := buf[start+frameHeader:]
	h := head{frame: at.nextFrame, record: at.nextRecord, records: uint32(len(e.Batch.Records)), size: uint32(len(payload)),
		crc: crc32.Update(salt, castagnoli, payload)}
	h.put(buf[start:start+frameHeader], salt)
	return buf
}

func write(f File, p []byte, at int64) error {
	if _, err := f.WriteAt(p, at); err != nil {
		return err
	}
	return f.Sync()
}

// target returns the segment to write to, a new one if need be.
func (s *Spool) target(salt uint32, fresh bool, now time.Time) (*segment, File, error) {
	s.mu.Lock()
	active, at := s.active, s.at
	if !fresh {
		defer s.mu.Unlock()
		return s.segments[len(s.segments)-1], active, nil
	}
	s.active = nil
	s.mu.Unlock()
	if active != nil {
		active.Close() // all of it is synced
	}
	id := segmentID{at.nextFrame, at.nextRecord, salt}
	seg := &segment{id: id, path: filepath.Join(s.dir, id.name()), size: segmentHeader}
	f, err := s.fs.OpenFile(seg.path, os.O_CREATE|os.O_EXCL|os.O_RDWR)
	if err != nil {
		return nil, nil, err
	}
	if _, err = f.WriteAt(id.header(now.UnixNano()), 0); err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil {
		f.Close()
		s.fs.Remove(seg.path)
		return nil, nil, err
	}
	return seg, f, nil
}

// rewind takes back what a failed append may have written. After that the
// segment is not written to any more: what a failed fsync left is not known.
func (s *Spool) rewind(seg *segment, f File) {
	f.Truncate(seg.size) // if that fails, what is there is void as soon as another segment follows
	f.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active = nil
	if n := len(s.segments); n == 0 || s.segments[n-1] != seg {
		s.fs.Remove(seg.path) // it was begun for this append
	}
}

// published makes what was written part of the spool.
func (s *Spool) published(seg *segment, f File, written int64, at cursor, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.segments); n == 0 || s.segments[n-1] != seg {
		s.segments = append(s.segments, seg)
		s.bytes += seg.size
		s.active = f
	}
	if s.at.answered+1 == s.at.nextFrame {
		s.oldest = now
	}
	seg.size += written
	s.bytes += written
	s.at.nextFrame, s.at.nextRecord = at.nextFrame, at.nextRecord
	s.writeCursor()
}
