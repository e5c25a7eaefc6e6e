package file

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// Limits of maxLineBytes, in bytes.
const (
	defaultMaxLine = 256 << 10
	leastMaxLine   = 16
	mostMaxLine    = 16 << 20
)

// source implements sources.Source.
//
// Life: made by New, which touches nothing; Run discovers until its context
// ends; the poller serves open Readers before, during and after that.
type source struct {
	name                 string
	labels               []record.Label
	globs                *globs
	maxLine              int
	fromEnd              bool
	begun                time.Time
	deps                 sources.Deps
	poller               poller
	maxHeldBytes         int64         // of the disk, by deleted files; 0: no bound
	maxHeldFiles         int           // 0: no bound
	maxHeldAge           time.Duration // 0: no bound
	heldFiles, heldBytes atomic.Int64
	noInotify            bool             // for tests
	listed               func(dir string) // for tests: called when a directory was listed, before what is in it is looked at
	watching             watching
	trouble              trouble
	estate               estate
	inotify              *instance

	window int64 // windowBytes and stepBytes, but for tests
	step   int

	endAfter      time.Duration // a file that is gone has ended when it was quiet for so long
	tearAfter     time.Duration // and an unfinished line is then shipped after so long
	archiveSettle time.Duration // see archiveSettle, but for tests

	rescan  time.Duration // between two walks of all directories
	dirPoll time.Duration // between two looks at the directories that inotify does not cover
}

var (
	_ sources.Source   = (*source)(nil)
	_ sources.Watcher  = (*source)(nil)
	_ sources.Troubled = (*source)(nil)
)

// New returns the source of the log files that src.File names. It has no side
// effects. A path or exclusion that is not a valid glob is an error that names it.
func New(src *config.Source, d sources.Deps) (sources.Source, error) {
	return newSource(src, d)
}

func newSource(src *config.Source, d sources.Deps) (*source, error) {
	if src.File == nil {
		return nil, fmt.Errorf("source %s: is not a file source", src.Name)
	}
	g, err := newGlobs(src.File.Paths, src.File.Exclude)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", src.Name, err)
	}
	s := &source{
		// Births lag behind this by a tick of the kernel's clock at most: what was there before is older.
		begun: time.Now(),
		name:  src.Name, globs: g, deps: d, inotify: &shared, maxLine: defaultMaxLine, window: windowBytes, step: stepBytes,
		endAfter: time.Minute, tearAfter: 5 * time.Second,
		archiveSettle: archiveSettle,
		rescan:        10 * time.Second, dirPoll: 100 * time.Millisecond,
	}
	switch src.StartAt {
	case "", "end":
		s.fromEnd = true
	case "beginning":
	default:
		return nil, fmt.Errorf("source %s: startAt %q: neither end nor beginning", src.Name, src.StartAt)
	}
	if n := src.File.MaxLineBytes; n != 0 {
		if n < leastMaxLine || n > mostMaxLine {
			return nil, fmt.Errorf("source %s: maxLineBytes %d: not between %d and %d", src.Name, n, leastMaxLine, mostMaxLine)
		}
		s.maxLine = int(n)
	}
	if src.File.MaxHeldBytes < 0 || src.File.MaxHeldFiles < 0 || src.File.MaxHeldAge < 0 {
		return nil, fmt.Errorf("source %s: maxHeldBytes, maxHeldFiles and maxHeldAge must not be below 0", src.Name)
	}
	s.maxHeldBytes, s.maxHeldFiles = int64(src.File.MaxHeldBytes), src.File.MaxHeldFiles
	s.maxHeldAge = time.Duration(src.File.MaxHeldAge)
	s.labels = src.SortedLabels()
	if s.watching.at = d.LastSaved; s.watching.at.IsZero() {
		s.watching.at = kernelNow()
	}
	if s.deps.Log == nil {
		s.deps.Log = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

func (s *source) skipped(reason string, n int) {
	if s.deps.Skipped != nil {
		s.deps.Skipped(reason, n)
	}
}

func (s *source) knownPositions() []sources.Stored {
	if s.deps.Known == nil {
		return nil
	}
	return s.deps.Known()
}

// Run implements sources.Source. It returns nil when ctx ends.
func (s *source) Run(ctx context.Context, found func(sources.Input)) error {
	d := newDiscovery(s, found)
	defer d.close()
	defer d.bequeath()
	d.start()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(d.pause())
		select {
		case <-ctx.Done():
			d.last()
			return nil
		case <-d.events():
			d.handle()
		case <-timer.C:
			d.look()
		}
		d.release(time.Now())
		d.settle()
		d.holding.look(d.inputs, time.Now())
	}
}
