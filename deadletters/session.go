package deadletters

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrBusy says that another replay of the target is at work.
var ErrBusy = errors.New("another replay of this target is at work")

// Session is the right to send the letters of a target again and to remove
// them. The daemon may go on writing; letters that it writes from now on are
// not in Files.
//
// Life: Begin; for each of Files, Rewrite and Commit (or Abort); End.
type Session struct {
	Files []string // paths, oldest first

	dir   string
	busy  *os.File
	lock  *os.File
	known repeats
}

// Begin closes the daemon's current file, so that it starts another one, and
// lists what there is. A target without letters has no files.
func Begin(dataDir, target string) (*Session, error) {
	dir := Dir(dataDir, target)
	s := &Session{dir: dir}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	var err error
	if s.busy, err = openLock(dir, replayName, true); err != nil {
		return nil, err
	}
	if err := unix.Flock(int(s.busy.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		s.End()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrBusy
		}
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	if s.lock, err = openLock(dir, lockName, true); err == nil {
		err = s.seal()
	}
	if err != nil {
		s.End()
		return nil, err
	}
	return s, nil
}

// seal makes the current file a full one, without a torn line.
func (s *Session) seal() error {
	if err := lock(s.lock, unix.LOCK_EX); err != nil {
		return err
	}
	defer unlock(s.lock)
	removeNew(s.dir)
	f, err := os.OpenFile(filepath.Join(s.dir, currentName), os.O_RDWR|os.O_APPEND|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err == nil {
		_, err = repair(f)
		f.Close()
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("closing the file of dead letters: %w", err)
	}
	if _, err := rotate(s.dir); err != nil {
		return err
	}
	l, err := list(s.dir)
	if err != nil {
		return err
	}
	for _, x := range l.sealed {
		s.Files = append(s.Files, filepath.Join(s.dir, x.name))
	}
	return nil
}

// Repeat reports whether a letter of that id was met before in this session.
func (s *Session) Repeat(id string) bool { return s.known.seen(id) }

// End lets others in.
func (s *Session) End() {
	for _, f := range []*os.File{s.busy, s.lock} {
		if f != nil {
			f.Close()
		}
	}
}

// Rewrite replaces one file by what is kept of it, all at once: a replay that is
// killed before Commit leaves the file as it was.
type Rewrite struct {
	Original *os.File // open for reading; its owner is the Rewrite

	s    *Session
	path string
	out  *os.File
	w    *bufio.Writer
	kept bool
}

// Rewrite begins with one of Files. os.ErrNotExist means that the daemon has
// dropped it meanwhile, to make room.
func (s *Session) Rewrite(path string) (*Rewrite, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening dead letters: %w", err)
	}
	out, err := os.OpenFile(path+newSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("making a new file of dead letters: %w", err)
	}
	return &Rewrite{Original: f, s: s, path: path, out: out, w: bufio.NewWriterSize(out, 64<<10)}, nil
}

// Keep keeps lines, each with its newline. An error comes back from Commit.
func (r *Rewrite) Keep(raw []byte) {
	r.kept = r.kept || len(raw) > 0
	r.w.Write(raw) // bufio keeps the error
}

// Abort leaves the file as it was.
func (r *Rewrite) Abort() {
	r.Original.Close()
	r.out.Close()
	os.Remove(r.out.Name())
}

// Commit puts what was kept in the place of the file, or removes it if that is
// nothing. On an error the file is as it was, or already replaced.
func (r *Rewrite) Commit() error {
	defer r.Abort() // closes; there is nothing left to remove after the rename
	if err := r.w.Flush(); err != nil {
		return fmt.Errorf("keeping dead letters: %w", err)
	}
	if err := r.out.Sync(); err != nil {
		return fmt.Errorf("keeping dead letters: %w", err)
	}
	if err := lock(r.s.lock, unix.LOCK_EX); err != nil {
		return err
	}
	defer unlock(r.s.lock)
	if !same(r.Original, r.path) {
		return nil // the daemon has dropped it, to make room
	}
	var err error
	if r.kept {
		err = os.Rename(r.out.Name(), r.path)
	} else {
		err = os.Remove(r.path)
	}
	if err == nil {
		err = syncDir(r.s.dir)
	}
	if err != nil {
		return fmt.Errorf("replacing a file of dead letters: %w", err)
	}
	return nil
}
