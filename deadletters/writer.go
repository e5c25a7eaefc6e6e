package deadletters

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/record"
)

// Sizes in bytes.
const (
	maxBuffer  = 1 << 20 // gathered before it is written
	minSegment = 16 << 10
	maxSegment = 16 << 20
	segments   = 16 // a directory is about that many files
)

// listEvery is how often the directory is looked at for Bytes: a replay in
// another process makes it smaller.
const listEvery = 10 * time.Second

// Events are told to whoever counts. Each is called with how many letters it
// is about, by the goroutine that calls the Writer.
type Events struct {
	Dropped func(n int) // to make room, or for being larger than the whole
	Failed  func(n int) // could not be written
}

// Writer appends the letters of one target. Add, Flush and Close are for one
// goroutine; the other methods are safe for concurrent use.
//
// Life: NewWriter touches nothing; Open may be called early, or Flush does it;
// Flush makes all that was added durable; Close flushes. What cannot be written
// is counted and forgotten: shipping goes on.
type Writer struct {
	dir, target string
	max         int64
	segment     int64
	log         *slog.Logger
	events      Events
	now         func() time.Time

	lock    *os.File
	current *os.File // nil: to be opened
	size    int64    // of current
	dirty   bool     // written and not synced
	total   int64    // of all files, as far as this process knows
	opened  bool

	buf     []byte
	letters int // in buf

	mu     sync.Mutex
	err    error // of the last write; nil if it was good
	bytes  int64
	listed time.Time
}

// NewWriter makes the writer of a target whose letters may weigh maxBytes in all.
func NewWriter(dataDir, target string, maxBytes int64, log *slog.Logger, events Events) *Writer {
	return &Writer{
		dir: Dir(dataDir, target), target: target, max: maxBytes, segment: min(max(maxBytes/segments, minSegment), maxSegment),
		log: log, events: events, now: time.Now,
	}
}

// Open makes the directory and repairs what a crash has left. An error is
// remembered, and Flush tries again.
func (w *Writer) Open() error {
	err := w.prepare()
	if err == nil {
		err = w.locked(func() error { return w.openCurrent(false) })
	}
	w.note(err)
	return err
}

// Add keeps record i of b, with the words of the target.
func (w *Writer) Add(b *record.Batch, i int, reason, detail string) {
	before := len(w.buf)
	buf, err := New(b, i, w.target, reason, detail, w.now()).AppendTo(w.buf)
	if err != nil {
		w.failed(1, err)
		return
	}
	if n := int64(len(buf) - before); n > min(w.max, MaxLetter) {
		w.events.Dropped(1)
		w.log.Warn("a dead letter is larger than all of them may be and is dropped", "bytes", n, "limit", min(w.max, MaxLetter))
		w.buf = buf[:before]
		return
	}
	w.buf, w.letters = buf, w.letters+1
	if int64(len(w.buf)) >= min(maxBuffer, w.segment) {
		w.write()
	}
}

// Flush writes what was added and makes it durable. If that fails it is
// counted, and Err says why.
func (w *Writer) Flush() {
	w.write()
	if !w.dirty {
		return
	}
	w.dirty = false
	if err := w.current.Sync(); err != nil {
		w.note(fmt.Errorf("syncing dead letters: %w", err))
		w.log.Error("dead letters may be lost if this machine fails now", "error", err)
	}
}

// Close flushes and lets go of the files.
func (w *Writer) Close() {
	w.Flush()
	if w.current != nil {
		w.current.Close()
	}
	if w.lock != nil {
		w.lock.Close()
	}
	w.current, w.lock, w.opened = nil, nil, false
}

// Err returns why the last write failed; nil if it did not.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Bytes is what all letters of the target weigh.
func (w *Writer) Bytes() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := w.now(); now.Sub(w.listed) > listEvery {
		w.listed = now
		if l, err := list(w.dir); err == nil {
			w.bytes = l.bytes
		}
	}
	return w.bytes
}

func (w *Writer) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err, w.listed = err, time.Time{} // Bytes looks again
}

func (w *Writer) failed(n int, err error) {
	w.note(err)
	w.events.Failed(n)
	w.log.Error("refused records cannot be kept as dead letters; shipping goes on", "error", err)
}

// write appends the buffer.
func (w *Writer) write() {
	if len(w.buf) == 0 {
		return
	}
	err := w.prepare()
	if err == nil {
		err = w.locked(w.append)
	}
	if err != nil {
		w.failed(w.letters, err)
	} else {
		w.note(nil)
	}
	w.letters = 0
	if w.buf = w.buf[:0]; cap(w.buf) > 2*maxBuffer {
		w.buf = nil
	}
}

// prepare makes the directory and opens its lock.
func (w *Writer) prepare() error {
	if w.lock != nil {
		// The directory may have been taken away under us.
		if same(w.lock, filepath.Join(w.dir, lockName)) {
			return nil
		}
		w.letGo()
	}
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return fmt.Errorf("making the directory of dead letters: %w", err)
	}
	var err error
	w.lock, err = openLock(w.dir, lockName, true)
	return err
}

// letGo closes files that are no longer where they were.
func (w *Writer) letGo() {
	w.lock.Close()
	if w.current != nil {
		w.current.Close()
	}
	w.lock, w.current, w.opened, w.dirty = nil, nil, false, false
}

// locked calls f with the directory's lock held.
func (w *Writer) locked(f func() error) error {
	if err := lock(w.lock, unix.LOCK_EX); err != nil {
		return err
	}
	defer unlock(w.lock)
	return f()
}

// same reports whether f is the file at path.
func same(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

// openCurrent makes w.current the file to append to. A replay may have closed
// the one that was open: then there is none at its place, or another one.
func (w *Writer) openCurrent(create bool) error {
	path := filepath.Join(w.dir, currentName)
	if w.current != nil && !same(w.current, path) {
		w.current.Sync() // its last letters, if any are not yet
		w.current.Close()
		w.current, w.dirty = nil, false
	}
	if w.current != nil {
		return nil
	}
	if !w.opened {
		l, err := list(w.dir)
		if err != nil {
			return err
		}
		w.total, w.opened = l.bytes, true
		removeLeftovers(w.dir)
	}
	flags := os.O_RDWR | os.O_APPEND | unix.O_CLOEXEC | unix.O_NOFOLLOW
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, os.ErrNotExist) && !create {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening dead letters: %w", err)
	}
	if err := w.adopt(f); err != nil {
		f.Close()
		return err
	}
	return nil
}

// adopt repairs f and makes it the current file.
func (w *Writer) adopt(f *os.File) error {
	before, err := f.Stat()
	if err != nil {
		return fmt.Errorf("looking at dead letters: %w", err)
	}
	if before.Size() > 0 {
		torn, err := repair(f)
		if err != nil {
			return err
		}
		if torn > 0 {
			w.log.Warn("the last dead letter was torn by a crash and is taken out; its record is sent again", "path", f.Name())
		}
	} else if err := syncDir(w.dir); err != nil {
		return fmt.Errorf("syncing the directory of dead letters: %w", err)
	}
	after, err := f.Stat()
	if err != nil {
		return fmt.Errorf("looking at dead letters: %w", err)
	}
	w.total += after.Size() - before.Size()
	w.current, w.size = f, after.Size()
	return nil
}

// append writes the buffer to the current file. The lock is held.
func (w *Writer) append() error {
	if err := w.openCurrent(true); err != nil {
		return err
	}
	n := int64(len(w.buf))
	if w.size > 0 && w.size+n > w.segment {
		if err := w.turn(); err != nil {
			return err
		}
	}
	if err := w.makeRoom(n); err != nil {
		return err
	}
	written, err := w.current.Write(w.buf)
	if err != nil {
		// No half letter may stay: the next one would be joined to it.
		if written > 0 && w.current.Truncate(w.size) != nil {
			w.current.Close()
			w.current, w.dirty = nil, false // repaired when it is opened
		}
		return fmt.Errorf("writing dead letters: %w", err)
	}
	w.size, w.total, w.dirty = w.size+n, w.total+n, true
	return nil
}

// turn closes the current file and opens the next one.
func (w *Writer) turn() error {
	if err := w.current.Sync(); err != nil {
		return fmt.Errorf("syncing dead letters: %w", err)
	}
	if _, err := rotate(w.dir); err != nil {
		return err
	}
	w.current.Close()
	w.current, w.dirty = nil, false
	return w.openCurrent(true)
}

// makeRoom removes the oldest files until n bytes more are within the limit.
func (w *Writer) makeRoom(n int64) error {
	if w.total+n <= w.max {
		return nil
	}
	l, err := list(w.dir) // a replay may have made room
	if err != nil {
		return err
	}
	dropped := 0
	for w.total = l.bytes; w.total+n > w.max; {
		if len(l.sealed) == 0 {
			if w.size == 0 {
				break // what a replay writes is not ours to remove
			}
			if err := w.turn(); err != nil {
				return err
			}
			if l, err = list(w.dir); err != nil {
				return err
			}
			continue
		}
		oldest := l.sealed[0]
		l.sealed = l.sealed[1:]
		path := filepath.Join(w.dir, oldest.name)
		count := countLines(path)
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("removing the oldest dead letters: %w", err)
		}
		w.total -= oldest.size
		dropped += count
	}
	if dropped > 0 {
		w.events.Dropped(dropped)
		w.log.Warn("dead letters are full: the oldest are dropped", "letters", dropped, "limit", w.max)
	}
	return nil
}

// removeLeftovers removes what a replay that was killed has left.
func removeLeftovers(dir string) {
	f, err := openLock(dir, replayName, false)
	if err != nil {
		return // there was never a replay
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return // it is at work
	}
	removeNew(dir)
}

func removeNew(dir string) {
	names, _ := filepath.Glob(filepath.Join(dir, "*"+suffix+newSuffix))
	for _, name := range names {
		os.Remove(name)
	}
}
