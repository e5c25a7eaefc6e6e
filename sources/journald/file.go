package journald

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"syscall"
)

// Sizes of the pread windows, in bytes.
const (
	windowBytes = 64 << 10 // reading onward
	hopBytes    = 4 << 10  // hopping from match to match
	farBytes    = 1 << 10  // one data object far behind
	// lookBack: an entry's own data objects lie before it.
	lookBack = 1 << 10
)

var (
	errCorrupt = errors.New("corrupt object")
	// errReplaced: the inode holds another journal than before.
	errReplaced = errors.New("another journal was written into the file")
	// errBeyond: what is asked for lies beyond the end of the file.
	errBeyond = fmt.Errorf("%w: it lies beyond the end of the file", errCorrupt)
)

// fileKey tells files apart while they are open.
type fileKey struct{ dev, ino uint64 }

// window is a piece of a file in memory. Objects that lie below limit were
// complete when it was read.
type window struct {
	buf   []byte
	off   uint64
	limit uint64
}

func (w *window) has(off, n uint64) bool {
	return off >= w.off && off+n <= w.off+uint64(len(w.buf)) && off+n <= w.limit
}

// file is one journal file, read with pread only, so that a file that is cut
// short under us is an error and not a SIGBUS. It is used by one goroutine.
type file struct {
	path string
	key  fileKey
	fd   *os.File // nil while it is put aside
	hdr  header
	size uint64 // as last seen

	win window // reading onward
	far window // looking back
	big []byte // objects larger than a window

	salt   uint64 // of its slots in the cache
	preads int64  // for tests and benchmarks
	broken bool   // a read failed for good: nothing more is to be had
	// hashBroken: the hash tables cannot be trusted.
	hashBroken bool

	family *family
	folder *folder
	scan   entryWalker
	prio   priorities
	stream stream
	state  fileState
}

// openFile opens a journal file and reads its header. A file that is being
// created has none yet: errCorrupt or errBeyond, try again.
func openFile(path string) (*file, error) {
	fd, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("opening journal file: %w", err)
	}
	f := &file{path: path, fd: fd}
	if err := f.start(); err != nil {
		fd.Close()
		return nil, fmt.Errorf("journal file %s: %w", path, err)
	}
	return f, nil
}

func (f *file) start() error {
	st, err := f.fd.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("is not a regular file")
	}
	f.size = uint64(st.Size())
	f.key = keyOf(st)
	return f.readHeader(&f.hdr)
}

func keyOf(st os.FileInfo) fileKey {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return fileKey{uint64(s.Dev), s.Ino}
	}
	return fileKey{}
}

// blocks returns the bytes that a file takes on its disk.
func blocks(st os.FileInfo) int64 {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return s.Blocks * 512
	}
	return st.Size()
}

func (f *file) readHeader(h *header) error {
	var b [headerMaxSize]byte
	n, err := f.readAt(b[:], 0)
	f.preads++
	if err != nil && err != io.EOF {
		return fmt.Errorf("reading the header: %w", err)
	}
	var fresh header
	if err := fresh.parse(b[:n]); err != nil {
		return fmt.Errorf("%w: %w", errCorrupt, err)
	}
	*h = fresh
	return nil
}

// refresh reads the header again: what the writer has published since.
func (f *file) refresh() error {
	var h header
	if err := f.readHeader(&h); err != nil {
		return err
	}
	if h.fileID != f.hdr.fileID {
		return errReplaced
	}
	if h.entries != f.hdr.entries || h.state != f.hdr.state {
		if st, err := f.fd.Stat(); err == nil {
			f.size = uint64(st.Size())
		}
	}
	f.hdr = h
	return nil
}

// pread fills p from off and returns how much there was.
func (f *file) pread(p []byte, off uint64) (int, error) {
	if f.fd == nil {
		return 0, os.ErrClosed
	}
	if off > math.MaxInt64 {
		return 0, errBeyond
	}
	f.preads++
	n, err := f.readAt(p, int64(off))
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// badDisk, set by tests, tells how much of a read succeeds and why no more.
var badDisk func(path string, off int64, n int) (int, error)

func (f *file) readAt(p []byte, off int64) (int, error) {
	if badDisk == nil {
		return f.fd.ReadAt(p, off)
	}
	n, bad := badDisk(f.path, off, len(p))
	m, err := f.fd.ReadAt(p[:n], off)
	if err == nil {
		err = bad
	}
	return m, err
}

// view returns n bytes at off. They are valid until the next view; n is at
// most the file's size, whatever an object claims.
func (f *file) view(off, n uint64) ([]byte, error) {
	if f.win.has(off, n) {
		return f.win.buf[off-f.win.off:][:n], nil
	}
	if f.far.has(off, n) {
		return f.far.buf[off-f.far.off:][:n], nil
	}
	return f.load(off, n)
}

func (f *file) load(off, n uint64) ([]byte, error) {
	if off > 1<<62 || n > 1<<62 {
		return nil, errBeyond
	}
	if off+n > f.size {
		st, err := f.fd.Stat()
		if err != nil {
			return nil, err
		}
		if f.size = uint64(st.Size()); off+n > f.size {
			return nil, errBeyond
		}
	}
	if n > windowBytes-lookBack {
		if uint64(cap(f.big)) < n {
			f.big = make([]byte, n)
		}
		f.big = f.big[:n]
		m, err := f.pread(f.big, off)
		if err != nil {
			return nil, err
		}
		if uint64(m) < n {
			return nil, errBeyond
		}
		return f.big, nil
	}
	end := f.win.off + uint64(len(f.win.buf))
	switch {
	case f.win.buf != nil && off < f.win.off:
		return f.fill(&f.far, off, n, max(n, farBytes))
	case f.win.buf == nil || off >= end && off-end > windowBytes:
		back := min(off, lookBack)
		return f.fillFrom(&f.win, off-back, off, n, max(n+back, hopBytes))
	}
	back := min(off, lookBack)
	return f.fillFrom(&f.win, off-back, off, n, windowBytes)
}

func (f *file) fill(w *window, off, n, size uint64) ([]byte, error) {
	return f.fillFrom(w, off, off, n, size)
}

// fillFrom reads a window of size bytes at start and returns the n at off.
func (f *file) fillFrom(w *window, start, off, n, size uint64) ([]byte, error) {
	if uint64(cap(w.buf)) < size {
		w.buf = make([]byte, 0, max(size, farBytes))
	}
	m, err := f.pread(w.buf[:size], start)
	if err != nil && off+n > start+uint64(m) { // else the disk is bad behind it
		w.buf = w.buf[:0]
		return nil, err
	}
	w.buf, w.off = w.buf[:m], start
	w.limit = f.hdr.tailObject
	if f.hdr.state == stateArchived {
		w.limit = math.MaxUint64
	}
	if off+n > start+uint64(m) {
		return nil, errBeyond
	}
	// It was read after it was published, so it is complete even if it lies
	// beyond the limit that later reads from this window must keep.
	return w.buf[off-start:][:n], nil
}

// forget drops what is in memory.
func (f *file) forget() {
	f.win.buf, f.far.buf, f.big = nil, nil, nil
	f.scan.buf = nil
}

// close frees the descriptor and the windows.
func (f *file) close() {
	f.forget()
	if f.fd != nil {
		f.fd.Close()
		f.fd = nil
	}
}

// reopen opens a file again that was put aside.
func (f *file) reopen() error {
	fd, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return fmt.Errorf("opening journal file again: %w", err)
	}
	st, err := fd.Stat()
	if err == nil && keyOf(st) != f.key {
		err = fmt.Errorf("journal file %s is another file now", f.path)
	}
	if err != nil {
		fd.Close()
		return err
	}
	f.fd, f.size = fd, uint64(st.Size())
	return nil
}
