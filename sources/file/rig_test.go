package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// rig is a pipeline in small: it runs a source, reads each input in a
// goroutine of its own, and keeps what came and the positions.
type rig struct {
	t   *testing.T
	cfg config.Source
	// tune sets what New does not offer.
	tune func(*source)

	mu        sync.Mutex
	positions map[string]record.Position // survives restarts
	ran       bool                       // a position was stored once
	lines     []line
	gaps      []*sources.GapError
	errs      []error
	inputs    []sources.Input
	ended     map[string]int
	skips     map[string]int
	log       strings.Builder

	src    *source
	cancel context.CancelFunc
	done   sync.WaitGroup
}

type line struct {
	text   string
	path   string
	input  string
	offset int64
	flags  record.Flags
	time   int64
}

func newRig(t *testing.T, paths ...string) *rig {
	r := &rig{
		t: t, positions: map[string]record.Position{}, ended: map[string]int{}, skips: map[string]int{},
		cfg: config.Source{Name: "logs", StartAt: "beginning", File: &config.FileSource{Paths: paths}},
		tune: func(s *source) {
			s.endAfter, s.tearAfter, s.rescan = 300*time.Millisecond, 150*time.Millisecond, 500*time.Millisecond
		},
	}
	t.Cleanup(r.stop)
	return r
}

func (r *rig) deps() sources.Deps {
	return sources.Deps{
		Log:  slog.New(slog.NewTextHandler(r, nil)),
		Host: "node1", Location: time.UTC, FirstRun: !r.ran,
		Known: func() (all []sources.Stored) {
			r.mu.Lock()
			defer r.mu.Unlock()
			for input, pos := range r.positions {
				all = append(all, sources.Stored{Input: input, Position: pos})
			}
			return all
		},
		Skipped: func(reason string, n int) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.skips[reason] += n
		},
	}
}

// Write takes the source's log.
func (r *rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

func (r *rig) start() {
	r.t.Helper()
	src, err := newSource(&r.cfg, r.deps())
	if err != nil {
		r.t.Fatal(err)
	}
	r.tune(src)
	ctx, cancel := context.WithCancel(context.Background())
	r.src, r.cancel = src, cancel
	r.done.Go(func() {
		if err := src.Run(ctx, func(in sources.Input) {
			r.mu.Lock()
			r.inputs = append(r.inputs, in)
			r.mu.Unlock()
			r.done.Go(func() { r.read(ctx, in) })
		}); err != nil {
			r.fail(err)
		}
	})
}

func (r *rig) stop() {
	if r.cancel != nil {
		r.cancel()
		r.done.Wait()
		r.cancel = nil
	}
}

func (r *rig) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}

func (r *rig) read(ctx context.Context, in sources.Input) {
	key := in.Origin().Input
	r.mu.Lock()
	pos, ok := r.positions[key]
	r.mu.Unlock()
	if !ok {
		pos = in.Start()
	}
	rd, err := in.Open(pos)
	if errors.Is(err, sources.ErrStale) {
		r.fail(err)
		rd, err = in.Open(in.Start())
	}
	if err != nil {
		r.fail(err)
		return
	}
	defer rd.Close()
	for rd.Wait(ctx) == nil {
		b := record.NewBatch()
		err := rd.Read(b)
		r.take(in, b, err)
		b.Release()
		if err == io.EOF {
			return
		}
	}
}

func (r *rig) take(in sources.Input, b *record.Batch, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range b.Records {
		rec := &b.Records[i]
		r.lines = append(r.lines, line{string(rec.Line), b.Origin.Path, b.Origin.Input, rec.Offset, rec.Flags, rec.Time})
	}
	r.positions[in.Origin().Input], r.ran = b.After, true
	var gap *sources.GapError
	switch {
	case errors.As(err, &gap):
		r.gaps = append(r.gaps, gap)
	case err == io.EOF:
		r.ended[in.Origin().Input]++
		delete(r.positions, in.Origin().Input)
	case err != nil:
		r.errs = append(r.errs, err)
	}
}

func (r *rig) texts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	texts := make([]string, len(r.lines))
	for i := range r.lines {
		texts[i] = r.lines[i].text
	}
	return texts
}

func (r *rig) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.lines)
}

func (r *rig) skip(reason string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.skips[reason]
}

func (r *rig) gapCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.gaps)
}

func (r *rig) endedCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ended)
}

func (r *rig) known() map[string]record.Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.positions)
}

// until waits for a condition.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	waitFor(r.t, what, ok, func() string {
		r.mu.Lock()
		defer r.mu.Unlock()
		last := r.lines
		if len(last) > 20 {
			last = last[len(last)-20:]
		}
		return fmt.Sprintf("%d lines, last %+v; gaps %v; errors %v; skipped %v\nlog:\n%s", len(r.lines), last, r.gaps, r.errs, r.skips, r.log.String())
	})
}

func waitFor(t *testing.T, what string, ok func() bool, state func() string) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s: %s", what, state())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// expect waits until exactly these lines have come, and no error.
func (r *rig) expect(want ...string) {
	r.t.Helper()
	r.until(fmt.Sprintf("%d lines", len(want)), func() bool { return r.count() >= len(want) })
	got := r.texts()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		r.t.Fatalf("lines %q, want %q", got, want)
	}
	r.clean()
}

func (r *rig) clean() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.errs) > 0 || len(r.gaps) > 0 {
		r.t.Fatalf("errors %v, gaps %v", r.errs, r.gaps)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
