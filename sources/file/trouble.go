package file

import (
	"errors"
	"fmt"
	"sync"
)

// trouble is what keeps a source from files that it is to read.
type trouble struct {
	mu         sync.Mutex
	deaf       error            // why inotify cannot be had; nil: it can
	unreadable map[string]error // by path
}

// Trouble implements sources.Troubled.
func (s *source) Trouble() error {
	t := &s.trouble
	t.mu.Lock()
	defer t.mu.Unlock()
	unreadable := t.firstUnreadable()
	if t.deaf == nil {
		return unreadable
	}
	deaf := fmt.Errorf("new files are looked for in intervals, and what comes and goes in between can be missed: %w", t.deaf)
	if unreadable == nil {
		return deaf
	}
	return fmt.Errorf("%w; %w", unreadable, deaf)
}

// firstUnreadable says how many paths cannot be read, and of the first of them why. t.mu is held.
func (t *trouble) firstUnreadable() error {
	first := ""
	for path := range t.unreadable {
		if first == "" || path < first {
			first = path
		}
	}
	switch len(t.unreadable) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%s is left out: %w", first, t.unreadable[first])
	}
	return fmt.Errorf("%d files or directories are left out, %s among them: %w", len(t.unreadable), first, t.unreadable[first])
}

// setDeaf notes why inotify cannot be had, nil if it can, and returns what was noted before.
func (t *trouble) setDeaf(err error) (before error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, t.deaf = t.deaf, err
	return before
}

// leftOut notes that path cannot be read.
func (t *trouble) leftOut(path, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.unreadable == nil {
		t.unreadable = map[string]error{}
	}
	t.unreadable[path] = errors.New(why)
}

// mended notes that nothing is wrong with path any more.
func (t *trouble) mended(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.unreadable, path)
}
