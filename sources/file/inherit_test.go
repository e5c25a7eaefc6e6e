package file

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/sources"
)

// What a source holds open, and nobody can open again, outlives any number of reloads, be
// they so close that the sources in between never ran.
func TestDeletedFilesOutliveReloadsThatFollowAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "held\n")
	next := func(former *source, known ...sources.Stored) *source {
		src := testSource(t, path, 0)
		src.deps.Known = func() []sources.Stored { return known }
		if former != nil {
			src.watching.at = former.Watched().Add(-time.Second) // it was made a while ago
			src.Inherit(former)
		}
		return src
	}
	run := func(src *source) sources.Input {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		found, done := make(chan sources.Input, 10), make(chan error)
		go func() { done <- src.Run(ctx, func(in sources.Input) { found <- in }) }()
		select {
		case in := <-found:
			cancel()
			must(t, <-done)
			return in
		case <-time.After(10 * time.Second):
			t.Fatal("nothing is found")
		}
		return nil
	}
	src := next(nil)
	in := run(src)
	must(t, os.Remove(path))
	known := sources.Stored{Input: in.Origin().Input, Position: in.Start()}
	for range 2 {
		watched := src.Watched()
		src = next(next(next(src, known), known), known) // the first two never run
		if src.Watched().Before(watched) {
			t.Errorf("watched until %v, and before until %v", src.Watched(), watched)
		}
		if in = run(src); in.Origin().Input != known.Input {
			t.Fatalf("found %s, want %s", in.Origin().Input, known.Input)
		}
		if got := string(readFirst(t, in)); got != "held" || in.(*input).gone().IsZero() {
			t.Errorf("read %q of a file that is gone since %v", got, in.(*input).gone())
		}
	}
}
