// Package deadletters keeps the records that a target refused for good, so that
// people can look at them and send them again.
//
// # Files
//
//	DATA_DIR/dead-letters/TARGET/
//	  current.jsonl               what the daemon appends to
//	  00000000000000000001.jsonl  full files, oldest first
//	  00000000000000000001.jsonl.new  what a replay keeps of that file, while it works
//	  lock                        flock: held for an append, a rename, a removal
//	  replay.lock                 flock: held by the one replay that is at work
//
// Each line is one Letter, written whole by one write(2). A line that a crash
// has cut is taken out again when the file is opened for writing; its record's
// position had not moved, so it is refused and written once more. After a crash
// a letter may therefore stand there twice, with the same id: readers skip it.
//
// A file that is not current never changes; it is replaced or removed as a
// whole, by rename(2) or unlink(2).
package deadletters

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Names within a target's directory.
const (
	rootName    = "dead-letters"
	currentName = "current.jsonl"
	suffix      = ".jsonl"
	newSuffix   = ".new"
	lockName    = "lock"
	replayName  = "replay.lock"
)

// MaxLetter is how long one line may be, in bytes; longer ones are not kept,
// and are no letters when they are read.
const MaxLetter = 64 << 20

// lockWait is how long the lock of a directory is waited for: it is held for
// moments only, unless its holder was stopped in them.
const lockWait = 10 * time.Second

// Dir returns the directory of a target's dead letters.
func Dir(dataDir, target string) string { return filepath.Join(dataDir, rootName, target) }

// Targets lists the targets that have a directory, sorted. None is no error.
func Targets(dataDir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dataDir, rootName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the dead letters: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// listing is what a target's directory holds.
type listing struct {
	sealed  []sealed // oldest first
	current int64    // size of the current file, -1 if there is none
	bytes   int64    // of all letters, those that a replay writes included
}

type sealed struct {
	name string
	size int64
}

func list(dir string) (listing, error) {
	l := listing{current: -1}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return l, fmt.Errorf("listing dead letters: %w", err)
	}
	for _, e := range entries {
		isNew := strings.HasSuffix(e.Name(), suffix+newSuffix)
		if !strings.HasSuffix(e.Name(), suffix) && !isNew {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // gone meanwhile
		}
		l.bytes += info.Size()
		switch {
		case isNew:
		case e.Name() == currentName:
			l.current = info.Size()
		case isSealed(e.Name()):
			l.sealed = append(l.sealed, sealed{e.Name(), info.Size()})
		}
	}
	return l, nil
}

// isSealed reports whether it is the name of a full file: twenty digits.
func isSealed(name string) bool {
	digits, ok := strings.CutSuffix(name, suffix)
	return ok && len(digits) == 20 && strings.Trim(digits, "0123456789") == ""
}

// openLock opens a lock file, which is made if create is set.
func openLock(dir, name string, create bool) (*os.File, error) {
	flags := os.O_RDONLY | unix.O_CLOEXEC
	if create {
		flags = os.O_RDWR | os.O_CREATE | unix.O_CLOEXEC
	}
	f, err := os.OpenFile(filepath.Join(dir, name), flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of dead letters: %w", err)
	}
	return f, nil
}

// lock takes the flock of f, and gives up after lockWait.
func lock(f *os.File, how int) error {
	pause := time.Millisecond
	for end := time.Now().Add(lockWait); ; pause = min(2*pause, 100*time.Millisecond) {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("locking %s: %w", f.Name(), err)
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s is held by another process since %v", f.Name(), lockWait)
		}
		time.Sleep(pause)
	}
}

func unlock(f *os.File) { unix.Flock(int(f.Fd()), unix.LOCK_UN) }

// rotate makes the current file a full one. The lock is held. It reports
// whether there was anything to do.
func rotate(dir string) (bool, error) {
	l, err := list(dir)
	if err != nil || l.current < 0 {
		return false, err
	}
	var last uint64
	if n := len(l.sealed); n > 0 {
		fmt.Sscanf(l.sealed[n-1].name, "%d", &last)
	}
	name := fmt.Sprintf("%020d%s", last+1, suffix)
	if err := os.Rename(filepath.Join(dir, currentName), filepath.Join(dir, name)); err != nil {
		return false, fmt.Errorf("closing a file of dead letters: %w", err)
	}
	return true, nil
}

// repair takes a torn last line out of f, which is open for reading and
// appending, or completes it if only its newline is missing. The lock is held. It
// returns how many lines that were.
func repair(f *os.File) (int, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("looking at dead letters: %w", err)
	}
	end := info.Size()
	last, err := lastNewline(f, end)
	if err != nil || last == end {
		return 0, err
	}
	if end-last <= MaxLetter {
		torn := make([]byte, end-last)
		if _, err := f.ReadAt(torn, last); err != nil {
			return 0, fmt.Errorf("reading a torn dead letter: %w", err)
		}
		if _, err := Decode(torn); err == nil {
			if _, err := f.Write([]byte{'\n'}); err != nil {
				return 0, fmt.Errorf("completing a torn dead letter: %w", err)
			}
			return 1, nil
		}
	}
	if err := f.Truncate(last); err != nil {
		return 0, fmt.Errorf("cutting a torn dead letter: %w", err)
	}
	return 1, nil
}

// lastNewline returns the place behind the last newline before end.
func lastNewline(f io.ReaderAt, end int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for at := end; at > 0; {
		n := min(int64(len(buf)), at)
		at -= n
		if _, err := f.ReadAt(buf[:n], at); err != nil {
			return 0, fmt.Errorf("looking for the end of dead letters: %w", err)
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return at + int64(i) + 1, nil
		}
	}
	return 0, nil
}

// countLines counts the letters of a file.
func countLines(path string) int {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	n, buf := 0, make([]byte, 64<<10)
	for {
		got, err := f.Read(buf)
		n += bytes.Count(buf[:got], []byte{'\n'})
		if err != nil {
			return n
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
