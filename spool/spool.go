package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrFull is what Append returns if not even one batch fits.
var ErrFull = errors.New("the spool is full")

// ErrTooLarge is what Append returns for a batch that no frame can hold.
var ErrTooLarge = errors.New("the batch is larger than a frame may be")

// Options say how a spool is kept.
type Options struct {
	// MaxBytes bounds the sizes of all segments together. 0: nothing may be appended.
	MaxBytes int64
	// SegmentBytes is the size at which a segment is ended. Default: a 16th of
	// MaxBytes, at least 1 MiB and at most 64 MiB.
	SegmentBytes int64
	// Event is told what happened that somebody should know. May be nil. It
	// must not call back.
	Event func(Event)
	// FS is the file system; the real one if nil.
	FS FS
	// Now is the clock; time.Now if nil.
	Now func() time.Time
}

// Event is something that happened to a spool's files.
type Event struct {
	Op     string // one of the Op constants: a metric label value
	File   string
	Detail string
	Bytes  int64 // concerned, if known
	Err    error // nil if there is none
}

// What an Event is about.
const (
	OpTorn   = "torn"   // an end that was never promised was cut off
	OpAside  = "aside"  // a file that cannot be used was set aside
	OpCursor = "cursor" // the cursor cannot be read or written
	OpDelete = "delete" // an answered segment cannot be deleted
	OpAppend = "append" // an append failed
	OpRead   = "read"   // a read failed
)

// LossError says that frames were appended and cannot be read again.
type LossError struct {
	Records int64
	Bytes   int64 // of the files, that were passed over
	Detail  string
}

func (e *LossError) Error() string {
	return fmt.Sprintf("%d records lost in the spool: %s", e.Records, e.Detail)
}

// segment is one file.
type segment struct {
	id   segmentID
	path string
	size int64 // what of it counts
}

// Spool is a queue of batches on disk. Append is called by one goroutine at a
// time, and Next by one; all else is safe for concurrent use.
//
// Life: Open reads what is there; Close ends it. One process at a time has a
// directory open: the caller sees to that.
type Spool struct {
	dir  string
	o    Options
	fs   FS
	enc  []byte // used by Append
	dec  decoder
	read reader // used by Next
	cur  File   // the cursor's file; nil if it cannot be written

	mu        sync.Mutex
	segments  []*segment // oldest first
	active    File       // of the last segment, open for appending; nil if none is
	appending bool       // the active segment must not be deleted
	at        cursor
	bytes     int64 // of all segments
	passed    uint64
	oldest    time.Time // when the first unanswered frame was appended, as far as known
	curErr    error
	closed    bool
}

// Open reads a spool's directory, which is made if it is missing. Damage is no
// error: it is told as events, and by Next as losses. An error means that the directory
// cannot be used.
func Open(dir string, o Options) (*Spool, error) {
	s := &Spool{dir: dir, o: o, fs: o.FS}
	if s.fs == nil {
		s.fs = OS{}
	}
	if s.o.Now == nil {
		s.o.Now = time.Now
	}
	if s.o.SegmentBytes <= 0 {
		s.o.SegmentBytes = min(max(o.MaxBytes/16, 1<<20), 64<<20)
	}
	if err := s.fs.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("making the spool's directory: %w", err)
	}
	if err := s.load(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Spool) event(e Event) {
	if s.o.Event != nil {
		s.o.Event(e)
	}
}

// Dir is the spool's directory.
func (s *Spool) Dir() string { return s.dir }

// Exists reports whether there is a spool at dir that may hold records.
func Exists(dir string) bool {
	files, err := (OS{}).List(dir)
	return err != nil && !errors.Is(err, os.ErrNotExist) || len(files) > 0
}

// Changed is when any file of the spool at dir was changed last.
func Changed(dir string) time.Time {
	files, _ := (OS{}).List(dir)
	var last time.Time
	for _, f := range files {
		if f.Changed.After(last) {
			last = f.Changed
		}
	}
	return last
}

// Stats is what a spool holds.
type Stats struct {
	Bytes    int64     // of its files
	Segments int       //
	Records  int64     // not answered
	Frames   int64     // not answered
	Last     uint64    // number of the newest frame
	Oldest   time.Time // when the oldest of them was appended, as far as known; zero if there is none
}

// Stats returns what the spool holds now.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Bytes: s.bytes, Segments: len(s.segments), Records: int64(s.at.nextRecord - s.at.record),
		Frames: int64(s.at.nextFrame - s.at.answered - 1)}
	if st.Frames > 0 {
		st.Oldest = s.oldest
	}
	st.Last = s.at.nextFrame - 1
	return st
}

// Taken says that the target has answered for all frames up to f. They are not
// given again; their segments stay until Answered.
func (s *Spool) Taken(f Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || f.Number <= s.at.answered || f.Number >= s.at.nextFrame {
		return
	}
	s.at.taken += uint32(f.Number - s.at.answered)
	s.at.answered, s.at.record = f.Number, f.Next
	s.writeCursor()
}

// LastTaken returns the frame up to which all are answered, and whether Answered has
// not been told so yet.
func (s *Spool) LastTaken() (Frame, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Frame{s.at.answered, s.at.record}, s.at.taken > 0
}

// Answered says that the target has answered for all frames up to f, and that
// nobody needs to count them any more. Segments of which that is true of all frames are deleted.
func (s *Spool) Answered(f Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || f.Number <= s.at.saved() || f.Number >= s.at.nextFrame {
		return
	}
	s.at.taken = uint32(max(s.at.answered, f.Number) - f.Number)
	if f.Number > s.at.answered {
		s.at.answered, s.at.record = f.Number, f.Next
	}
	s.writeCursor()
	s.trim()
}

// Passed says that frames up to number are at the target without having come
// from Next: Next leaves them out.
func (s *Spool) Passed(number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passed = max(s.passed, number)
}

// trim deletes the segments that are answered. s.mu is held.
func (s *Spool) trim() {
	n := 0
	for n < len(s.segments) {
		end := s.at.nextFrame
		if n+1 < len(s.segments) {
			end = s.segments[n+1].id.frame
		} else if s.appending {
			break
		}
		if end > s.at.saved()+1 {
			break
		}
		n++
	}
	if n == 0 {
		return
	}
	// First the cursor, so that what is gone is known to be answered. On a full
	// disk the space counts for more.
	if s.cur != nil && s.curErr == nil {
		if err := s.cur.Sync(); err != nil {
			s.cursorFailed(err)
		}
	}
	if s.curErr != nil && !errors.Is(s.curErr, unix.ENOSPC) {
		return // the next answer tries again
	}
	if n == len(s.segments) && s.active != nil {
		s.active.Close()
		s.active = nil
	}
	kept := 0
	for i := range n {
		seg := s.segments[i]
		if err := s.fs.Remove(seg.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.event(Event{Op: OpDelete, File: seg.path, Bytes: seg.size, Err: err, Detail: "an answered segment cannot be deleted; it is tried again"})
			s.segments[kept] = seg
			kept++
			continue
		}
		s.bytes -= seg.size
	}
	s.segments = append(s.segments[:kept], s.segments[n:]...)
}

// writeCursor writes the cursor in place. s.mu is held.
func (s *Spool) writeCursor() {
	s.at.count++
	s.at.written = s.o.Now().UnixNano()
	if s.cur == nil {
		f, err := s.fs.OpenFile(filepath.Join(s.dir, cursorName), os.O_CREATE|os.O_RDWR)
		if err != nil {
			s.cursorFailed(err)
			return
		}
		s.cur = f
	}
	if _, err := s.cur.WriteAt(s.at.encode(), int64(s.at.count%2)*slotSize); err != nil {
		s.cursorFailed(err)
		return
	}
	s.curErr = nil
}

func (s *Spool) cursorFailed(err error) {
	if s.curErr == nil || s.curErr.Error() != err.Error() {
		s.event(Event{Op: OpCursor, File: filepath.Join(s.dir, cursorName), Err: err,
			Detail: "the spool's cursor cannot be written; a restart would send again what is answered from now on"})
	}
	s.curErr = err
}

// Close closes the files. What is there stays.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	if s.cur != nil {
		errs = append(errs, s.cur.Sync(), s.cur.Close())
	}
	if s.active != nil {
		errs = append(errs, s.active.Close())
	}
	s.read.close()
	return errors.Join(errs...)
}

// RemoveEmpty deletes the directory of a closed spool that holds no segment; it
// reports whether it is gone.
func RemoveEmpty(dir string) bool {
	if names, err := (OS{}).List(dir); err != nil || len(names) > 1 || len(names) == 1 && names[0].Name != cursorName {
		return false
	}
	os.Remove(filepath.Join(dir, cursorName))
	return os.Remove(dir) == nil
}

func newSalt() uint32 { return rand.Uint32() }
