package pipeline

import (
	"fmt"
	"os"
	"sync"
	"time"
)

const (
	// refusedFor is how long a file that was refused is shown after it was met last. A source that
	// still leads to it meets it again whenever it looks at its directories, every 10 s or, where those are
	// many, after a hundred times as long as looking takes.
	refusedFor = 10 * time.Minute
	// refusedMost bounds the files of a source that are remembered.
	refusedMost = 1000
)

// refusals is what a source is kept from reading. The zero value is ready.
type refusals struct {
	mu    sync.Mutex
	files map[string]refusal // by path
	told  map[string]bool    // reasons that are in the log
}

type refusal struct {
	why error
	at  time.Time
}

// refused is Deps.Refused of a source: it asks, and lets everybody know, once for
// each reason in the log and once for each file in the metrics.
func (r *sourceRun) refused(ask func(*os.File) error) func(*os.File) error {
	if ask == nil {
		return nil
	}
	return func(f *os.File) error {
		why := ask(f)
		if why == nil {
			return nil
		}
		counted, said := r.refusals.note(f.Name(), why, time.Now())
		if counted {
			r.metrics.skipped("forbidden", 1)
		}
		if said {
			r.log.Warn("a source leads to a file that it must not read: leave it out of paths, or exclude it", "path", f.Name(), "reason", why)
		}
		return why
	}
}

// note remembers a refusal; counted if the file is new, said if the reason is.
func (r *refusals) note(path string, why error, now time.Time) (counted, said bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.files == nil {
		r.files, r.told = map[string]refusal{}, map[string]bool{}
	}
	r.expire(now)
	_, known := r.files[path]
	if known || len(r.files) < refusedMost {
		r.files[path] = refusal{why, now}
	}
	said = !r.told[why.Error()] && len(r.told) < refusedMost
	r.told[why.Error()] = true
	return !known, said
}

// expire drops what was not met for a while. r.mu is held.
func (r *refusals) expire(now time.Time) {
	for path, f := range r.files {
		if now.Sub(f.at) > refusedFor {
			delete(r.files, path)
		}
	}
}

// err says what is refused, the first by its name of several; nil if nothing is.
func (r *refusals) err(now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire(now)
	first := ""
	for path := range r.files {
		if first == "" || path < first {
			first = path
		}
	}
	switch n := len(r.files); n {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%s is not read: %w", first, r.files[first].why)
	default:
		return fmt.Errorf("%d files are not read, one of them %s: %w", n, first, r.files[first].why)
	}
}
