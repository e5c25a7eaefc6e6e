package deadletters

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Line is one line of a file of dead letters.
type Line struct {
	Number int     // from 1
	Raw    []byte  // with its newline; valid until the next line is read
	Letter *Letter // nil if it is damaged
	Err    error   // why it is damaged
}

// Scanner reads a file of dead letters line by line, in bounded memory.
type Scanner struct {
	r      *bufio.Reader
	number int
	buf    []byte
}

// NewScanner reads from r.
func NewScanner(r io.Reader) *Scanner { return &Scanner{r: bufio.NewReaderSize(r, 64<<10)} }

// errTooLong is the Err of a line that is longer than MaxLetter.
var errTooLong = fmt.Errorf("longer than %d bytes", MaxLetter)

// errTorn is the Err of a last line without its newline.
var errTorn = errors.New("torn: its end is missing")

// Next returns the next line. io.EOF is the end. A line longer than MaxLetter
// has no Raw.
func (s *Scanner) Next() (Line, error) {
	s.number++
	if cap(s.buf) > 1<<20 {
		s.buf = nil // one long line must not stay
	}
	s.buf = s.buf[:0]
	long := false
	for {
		piece, err := s.r.ReadSlice('\n')
		if long = long || len(s.buf)+len(piece) > MaxLetter; !long {
			s.buf = append(s.buf, piece...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return Line{}, fmt.Errorf("reading dead letters: %w", err)
		}
		switch {
		case long:
			return Line{Number: s.number, Err: errTooLong}, nil
		case err != nil && len(s.buf) == 0:
			return Line{}, io.EOF
		}
		l := Line{Number: s.number, Raw: s.buf}
		if l.Letter, l.Err = Decode(s.buf); l.Err == nil && err != nil {
			l.Letter, l.Err = nil, errTorn
		} else if err != nil {
			l.Err = errTorn
		}
		return l, nil
	}
}

// repeats remembers the letters met last, to know a repeat. What a crash makes
// be written twice is near.
type repeats struct {
	known map[string]bool
	ring  []string
	next  int
}

// maxRepeats is how far apart the repeats of a letter may be, in letters.
const maxRepeats = 1 << 16

func (p *repeats) seen(id string) bool {
	if p.known[id] {
		return true
	}
	if p.known == nil {
		p.known = map[string]bool{}
	}
	p.known[id] = true
	if len(p.ring) < maxRepeats {
		p.ring = append(p.ring, id)
		return false
	}
	delete(p.known, p.ring[p.next])
	p.ring[p.next] = id
	p.next = (p.next + 1) % maxRepeats
	return false
}

// Read gives every letter of a target to each, oldest file first, while a
// daemon or a replay may be at work. A damaged line goes to damaged with its
// file; a repeat is skipped. An error of each ends it.
func Read(dataDir, target string, each func(l *Letter, raw []byte) error, damaged func(path string, l Line)) error {
	dir := Dir(dataDir, target)
	names, current, size, err := snapshot(dir)
	if err != nil {
		return err
	}
	if current != nil {
		defer current.Close()
	}
	var known repeats
	for _, name := range names {
		path := filepath.Join(dir, name)
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // sent, or dropped to make room
		}
		if err != nil {
			return fmt.Errorf("opening dead letters: %w", err)
		}
		err = readFile(f, path, &known, each, damaged)
		f.Close()
		if err != nil {
			return err
		}
	}
	if current == nil {
		return nil
	}
	return readFile(io.LimitReader(current, size), current.Name(), &known, each, damaged)
}

// snapshot lists a directory at one moment, and opens its current file.
func snapshot(dir string) (names []string, current *os.File, size int64, err error) {
	guard, err := openLock(dir, lockName, false)
	switch {
	case errors.Is(err, os.ErrNotExist): // never any, or a copy of a directory without its lock
	case err != nil:
		return nil, nil, 0, err
	default:
		defer guard.Close()
		if err := lock(guard, unix.LOCK_SH); err != nil {
			return nil, nil, 0, err
		}
	}
	l, err := list(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, 0, nil
	}
	if err != nil {
		return nil, nil, 0, err
	}
	for _, s := range l.sealed {
		names = append(names, s.name)
	}
	if l.current > 0 {
		if current, err = os.Open(filepath.Join(dir, currentName)); err != nil {
			return nil, nil, 0, fmt.Errorf("opening dead letters: %w", err)
		}
	}
	return names, current, l.current, nil
}

func readFile(r io.Reader, path string, known *repeats, each func(*Letter, []byte) error, damaged func(string, Line)) error {
	s := NewScanner(r)
	for {
		l, err := s.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		switch {
		case l.Err != nil:
			damaged(path, l)
		case !known.seen(l.Letter.ID):
			if err := each(l.Letter, l.Raw); err != nil {
				return err
			}
		}
	}
}
