package file

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// input is one log file: an inode that is held open.
//
// Life: made by discovery with the file open; leaves (is "gone") when no path
// in the globs leads to it any more, and may come back; it ends when a Reader
// has said io.EOF, and then never comes back. The descriptor is closed when
// the input is no longer reachable.
type input struct {
	origin *record.Origin // immutable
	id     inode          // immutable
	file   *os.File       // immutable; read only with pread, so Readers share it
	fd     int            // file's, valid as long as file is reachable
	path   string         // escaped origin.Path, immutable

	src   *source
	start record.Position // immutable

	// copies is where an input is whose own file is gone: file is nil and fd
	// -1 then. Immutable.
	copies []copyFile

	predecessor string // immutable once announced
	adopted     bool   // it has a stored position; immutable once announced
	line        string // whose successor it may be, if not its own path's; immutable once announced
	appeared    bool   // immutable once announced: it was not there when Run began

	paths map[string]bool // in the globs, that lead here; guarded by discovery's goroutine

	hurryUntil atomic.Int64 // as the poller's since counts; until then a truncation is expected

	givenUp atomic.Pointer[surrender] // set once, before the file is let go

	mu      sync.Mutex
	readers map[*reader]bool // that are open
	goneAt  time.Time        // zero while a path leads here
	ended   bool             // a Reader has said io.EOF
	stale   bool             // its content was replaced: start is void
}

var (
	_ sources.Input     = (*input)(nil)
	_ sources.Successor = (*input)(nil)
)

// Origin implements sources.Input.
func (in *input) Origin() *record.Origin { return in.origin }

// Predecessor implements sources.Successor: the file that was at this path before.
func (in *input) Predecessor() string { return in.predecessor }

// lineage is the path at which it was, with others before and after it.
func (in *input) lineage() string { return cmp.Or(in.line, in.origin.Path) }

// Start implements sources.Input. It is the beginning once the file was seen
// to be truncated or rewritten. The beginning is told with the path: stored,
// it lets the file be found again that was renamed before anything was read.
func (in *input) Start() record.Position {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stale || in.start == "" {
		p := place{head: emptyHash, tail: emptyHash, path: in.path}
		return p.text()
	}
	return in.start
}

// Open implements sources.Input.
func (in *input) Open(pos record.Position) (sources.Reader, error) {
	p, err := parsePosition(pos)
	if err != nil {
		// Not ours to read on from: as good as another file's.
		return nil, fmt.Errorf("opening %s: %w: %w", in.origin.Path, err, sources.ErrStale)
	}
	p.path = in.path
	if in.refuse() {
		return newReader(in, p), nil // which says so
	}
	if in.file == nil {
		r := newReader(in, p)
		if r.fromCopies(in.copies); p.deleted || p.offset == lostOffset {
			r.copyState = copyState{over: true} // it was read to its end, or its rest is known to be lost
		}
		return r, nil
	}
	if err := in.verify(&p); err != nil {
		if errors.Is(err, sources.ErrStale) {
			in.setStale()
			if copies := in.src.copiesOf(&p, in.id); len(copies) > 0 {
				r := newReader(in, p)
				r.known = 0 // how long the file was, nobody saw
				r.fromCopies(copies)
				return r, nil
			}
		}
		return nil, fmt.Errorf("opening %s: %w", in.origin.Path, err)
	}
	return newReader(in, p), nil
}

// verify checks that the content before the position is what it was.
func (in *input) verify(p *place) error {
	st, _, _, err := fstat(in.fd)
	if err != nil {
		return fmt.Errorf("looking at it: %w", err)
	}
	if st.size < p.offset {
		return fmt.Errorf("file has %d bytes, position is at %d: %w", st.size, p.offset, sources.ErrStale)
	}
	head, tail, err := in.fingerprint(p.offset)
	if err != nil {
		return err
	}
	if head != p.head || tail != p.tail {
		return fmt.Errorf("content before offset %d is another one: %w", p.offset, sources.ErrStale)
	}
	return nil
}

// fingerprint hashes what lies at the head of the file and before offset.
func (in *input) fingerprint(offset int64) (head, tail uint64, err error) {
	var buf [fingerprintSpan]byte
	n := min(offset, fingerprintSpan)
	if head, err = in.hash(buf[:n], 0); err != nil {
		return 0, 0, err
	}
	tail, err = in.hash(buf[:n], offset-n)
	return head, tail, err
}

func (in *input) hash(buf []byte, at int64) (uint64, error) {
	if _, err := in.file.ReadAt(buf, at); err != nil {
		if err == io.EOF {
			return 0, fmt.Errorf("file was truncated: %w", sources.ErrStale)
		}
		return 0, err
	}
	return xxhash.Sum64(buf), nil
}

// endPosition returns where a file starts that is read from its end: behind
// the last newline, or within the last line if that is longer than limit.
func (in *input) endPosition(limit int64) (record.Position, error) {
	st, _, _, err := fstat(in.fd)
	if err != nil {
		return "", err
	}
	enc, err := in.sniff()
	if err != nil {
		return "", err
	}
	at, skip, err := lastLine(in.file, enc, st.size, limit)
	if err != nil || at == 0 {
		return "", err
	}
	p := place{offset: at, skip: skip, path: in.path}
	p.head, p.tail, err = in.fingerprint(at)
	return p.text(), err
}

// sniff returns the encoding of the file as its first bytes say.
func (in *input) sniff() (encoding, error) {
	var head [3]byte
	n, err := in.file.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return plain, err
	}
	enc, _ := sniffEncoding(head[:n])
	return enc, nil
}

// lastLine returns where the unfinished line at the end of f begins, or the
// end and true if it is longer than limit.
func lastLine(f io.ReaderAt, enc encoding, size, limit int64) (int64, bool, error) {
	if enc != plain {
		size &^= 1 // so that no unit is astride two parts
	}
	buf := make([]byte, 4<<10)
	for end := size; end > 0; {
		begin := max(0, end-int64(len(buf)))
		part := buf[:end-begin]
		if _, err := f.ReadAt(part, begin); err != nil && err != io.EOF {
			return 0, false, err
		}
		if i := enc.lastNewline(part); i >= 0 {
			return begin + int64(i), false, nil
		}
		end = begin
		if size-end > limit {
			return size, true, nil
		}
	}
	return 0, false, nil
}

// leave notes that no path in the globs leads here any more.
func (in *input) leave(now time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.goneAt.IsZero() {
		in.goneAt = now
	}
}

// comeBack notes that a path leads here again; false if the input has ended.
func (in *input) comeBack() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.ended {
		in.goneAt = time.Time{}
	}
	return !in.ended
}

// gone returns since when no path leads here, or the zero time.
func (in *input) gone() time.Time {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.goneAt
}

// end ends the input if it is still gone.
func (in *input) end() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ended = in.ended || !in.goneAt.IsZero()
	return in.ended
}

// finish ends the input whether a path leads here or not.
func (in *input) finish() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ended = true
}

func (in *input) hasEnded() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.ended
}

func (in *input) setStale() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.stale = true
}

func (in *input) pathError(op string, err error) error {
	return &fs.PathError{Op: op, Path: in.origin.Path, Err: err}
}
