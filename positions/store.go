// Package positions keeps, for each source, target and input, the position up
// to which the target has answered, and for each source and target the ledger of
// what became of the records up to there: the only state that lbshipd has.
package positions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/record"
)

// Names of the files in the data directory.
const (
	fileName     = "positions"
	previousName = "positions.previous"
	tempName     = "positions.tmp"
	linkName     = "positions.link"
	lockName     = "lock"
)

// saveEvery is the time between two writes of the file that are waited for: what
// a power cut can make a target see twice. In between it is written
// every keepEvery without waiting for the disk, which is what a SIGKILL can
// make a target see twice, or less often if that takes more than one keepShare of the time. A key that is new is written after saveNew: until
// then a file that is rotated away while no daemon runs is only known by its birth.
const (
	saveEvery = time.Second
	saveNew   = 50 * time.Millisecond
	keepEvery = 100 * time.Millisecond
	keepShare = 50
)

// keepUnused is how long an entry whose input was not seen again is kept.
const keepUnused = 30 * 24 * time.Hour

// ErrLocked says that another daemon uses the data directory.
var ErrLocked = errors.New("another lbshipd uses this data directory")

// Key names a position: names of the source and the target object, and the
// identity of the input within the source.
type Key struct{ Source, Target, Input string }

// Entry is one stored position.
type Entry struct {
	Key
	Position record.Position
	Updated  int64 // Unix seconds
}

// Store holds the positions in memory and writes them to the data directory.
// It is safe for concurrent use.
//
// Life: Open locks the directory and loads; Run saves what changed; Close saves
// once more and unlocks.
type Store struct {
	dir  string
	log  *slog.Logger
	lock *os.File
	now  func() time.Time

	mu      sync.Mutex
	entries map[Key]Entry
	ledger  map[Pair]*Row
	version uint64    // counts changes
	saved   uint64    // version that is on disk
	kept    uint64    // version that is in the file, on disk or not
	lastErr error     // of the last save
	lastOK  time.Time // of the last good save

	before func() // called before a save; nil: nothing is

	saving sync.Mutex    // one save at a time
	loose  bool          // the current file may not be on the disk; guarded by saving
	fresh  chan struct{} // capacity 1: a key is new

	loaded time.Time // immutable
	times  *Times    // immutable
}

// Open locks dir, which is made if it is missing, and loads its positions. A
// damaged file is set aside under another name and the previous generation is
// used; a directory that cannot be locked is an error.
func Open(dir string, log *slog.Logger) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening lock of data directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", dir, ErrLocked)
		}
		return nil, fmt.Errorf("locking data directory %s: %w", dir, err)
	}
	s := &Store{dir: dir, log: log, lock: lock, now: time.Now, entries: map[Key]Entry{}, ledger: map[Pair]*Row{}, fresh: make(chan struct{}, 1)}
	if err := s.load(); err != nil {
		lock.Close()
		return nil, err
	}
	s.times = openTimes(dir, log, s)
	return s, nil
}

// Times returns what remembers the times given to records without one.
func (s *Store) Times() *Times { return s.times }

// load reads the newest generation that is whole.
func (s *Store) load() error {
	var damaged []any
	for _, name := range []string{fileName, previousName} {
		path := filepath.Join(s.dir, name)
		c, err := readContents(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			if damaged != nil {
				s.log.Error("positions file is damaged: set aside, the previous generation is used; what was sent since then is sent again", damaged...)
			}
			for _, e := range c.entries {
				s.entries[e.Key] = e
			}
			for i := range c.rows {
				s.ledger[c.rows[i].Pair] = &c.rows[i]
			}
			if info, err := os.Stat(path); err == nil {
				s.loaded = info.ModTime()
			}
			return nil
		}
		aside := fmt.Sprintf("%s.damaged-%d", path, s.now().Unix())
		if err := os.Rename(path, aside); err != nil {
			return fmt.Errorf("setting damaged positions file aside: %w", err)
		}
		damaged = append(damaged, "file", path, "kept_as", aside, "error", err)
	}
	if damaged != nil {
		s.log.Error("positions are damaged and no generation of them is left: set aside; all sources begin as they do without positions, and the ledger at zero", damaged...)
	}
	return nil
}

// SavedAt returns when the positions that Open has loaded were saved, by the
// clock of the file system; the zero time if there were none.
func (s *Store) SavedAt() time.Time { return s.loaded }

// FileTime returns when the positions were last saved, by the clock of the
// file system; the zero time if they never were.
func (s *Store) FileTime() time.Time {
	info, err := os.Stat(filepath.Join(s.dir, fileName))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// Get returns the position of k, and whether there is one.
func (s *Store) Get(k Key) (record.Position, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[k]
	return e.Position, ok
}

// Latest returns the position of an input for whichever target had it changed
// last, and whether there is one.
func (s *Store) Latest(source, input string) (record.Position, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var latest Entry
	found := false
	for k, e := range s.entries {
		if k.Source != source || k.Input != input || k.Target == "" {
			continue
		}
		if newer := e.Updated > latest.Updated || e.Updated == latest.Updated && k.Target > latest.Target; !found || newer {
			latest, found = e, true
		}
	}
	return latest.Position, found
}

// Set stores the position of k.
func (s *Store) Set(k Key, p record.Position) {
	now := s.now().Unix()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(k, p, now)
}

// Note stores the position of k with the next save, without being a reason for one.
func (s *Store) Note(k Key, p record.Position) {
	now := s.now().Unix()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries[k] = Entry{k, p, now}
}

// BeforeSave has f called whenever something is about to be saved, so that it can Note what
// is true at that moment. f must not save.
func (s *Store) BeforeSave(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = f
}

// ask calls what BeforeSave was given, if there is anything to save behind have.
func (s *Store) ask(have *uint64) {
	s.mu.Lock()
	f, changed := s.before, s.version != *have
	s.mu.Unlock()
	if f != nil && changed {
		f()
	}
}

// set is Set with s.mu held.
func (s *Store) set(k Key, p record.Position, now int64) {
	if _, known := s.entries[k]; !known {
		select {
		case s.fresh <- struct{}{}:
		default:
		}
	}
	s.entries[k] = Entry{k, p, now}
	s.version++
}

// Forget drops the position of k: its input is gone and answered for.
func (s *Store) Forget(k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.entries[k]; ok {
		delete(s.entries, k)
		s.version++
	}
}

// Entries returns the entries of one source, or of all if source is empty,
// sorted by source, target and input.
func (s *Store) Entries(source string) []Entry {
	s.mu.Lock()
	list := s.list(source)
	s.mu.Unlock()
	sortEntries(list)
	return list
}

// list copies the entries of one source, or of all. s.mu is held.
func (s *Store) list(source string) []Entry {
	list := make([]Entry, 0, len(s.entries))
	for _, e := range s.entries {
		if source == "" || e.Source == source {
			list = append(list, e)
		}
	}
	return list
}

func sortEntries(list []Entry) {
	slices.SortFunc(list, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Input, b.Input))
	})
}

// Run saves what changed, once a second and soon after a key is new, until ctx
// ends. A save that fails is told once per cause and tried again: shipping
// never waits for it.
func (s *Store) Run(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	soon := time.NewTimer(keepEvery)
	defer soon.Stop()
	for {
		from := time.Now()
		select {
		case <-ctx.Done():
			return
		case <-soon.C:
			s.letCatchUp(ctx, from)
			start := time.Now()
			s.keep()
			soon.Reset(max(keepEvery, keepShare*time.Since(start)))
			continue
		case <-tick.C:
			s.letCatchUp(ctx, from)
		case <-s.fresh:
			// Keys come in crowds; one write is for all of them.
			select {
			case <-ctx.Done():
				return
			case <-time.After(saveNew):
			}
		}
		s.saveAndTell()
		s.times.tend()
	}
}

// A process that was stopped for stalled lets the sources see what has come and
// gone meanwhile, for catchUp, before it saves anything: what was born before a
// save counts as known.
const (
	stalled = 750 * time.Millisecond // less than what a source allows for what is seen late
	catchUp = 250 * time.Millisecond
)

func (s *Store) letCatchUp(ctx context.Context, from time.Time) {
	if time.Since(from) < stalled {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(catchUp):
	}
}

func (s *Store) saveAndTell() {
	before := s.Err()
	err := s.Save()
	if err != nil && (before == nil || before.Error() != err.Error()) {
		s.log.Error("positions cannot be saved; shipping goes on, and a restart would send again what is delivered from now on", "error", err)
	}
	if err == nil && before != nil {
		s.log.Info("positions are saved again")
	}
}

// Err returns the error of the last save, nil if it was good.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastErr
}

// expire drops what nobody has touched for keepUnused. s.mu is held.
func (s *Store) expire() {
	oldest := s.now().Add(-keepUnused).Unix()
	for k, e := range s.entries {
		if e.Updated < oldest {
			delete(s.entries, k)
		}
	}
	for p, r := range s.ledger {
		if r.Updated < oldest {
			delete(s.ledger, p)
		}
	}
}

// old reports whether an entry in use is to be marked as that once more.
func old(updated, now int64) bool { return now-updated > int64(keepUnused/time.Second)/10 }

// Touch marks k as in use, so that it does not expire while its input is quiet.
func (s *Store) Touch(k Key) {
	now := s.now().Unix()
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[k]; ok && old(e.Updated, now) {
		e.Updated = now
		s.entries[k] = e
		s.version++
	}
}

// Close saves and unlocks.
func (s *Store) Close() error {
	return errors.Join(s.Save(), s.times.close(), s.lock.Close())
}
