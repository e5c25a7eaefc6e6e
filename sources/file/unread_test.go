package file

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/sources"
)

// A file that was found but of which nothing was read yet (it waits for the one
// that it replaced) is found again after a restart, renamed or not.
func TestUnreadFileIsFoundAgainUnderAnotherName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.log")
	must(t, os.WriteFile(path, []byte("one\n"), 0o644))
	find := func(first bool, known ...sources.Stored) sources.Input {
		src, err := New(&config.Source{Name: "logs", StartAt: "beginning", File: &config.FileSource{Paths: []string{dir + "/*.log"}}},
			sources.Deps{FirstRun: first, Known: func() []sources.Stored { return known }})
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		inputs := make(chan sources.Input, 10)
		ended := make(chan error, 1)
		go func() { ended <- src.Run(ctx, func(in sources.Input) { inputs <- in; cancel() }) }()
		if !first { // nothing in the globs: Run says what it restored before it waits
			must(t, os.WriteFile(path, nil, 0o644))
		}
		must(t, <-ended)
		return <-inputs
	}
	in := find(true)
	id := in.Origin().Input
	must(t, os.Rename(path, path+".1"))
	again := find(false, sources.Stored{Input: id, Position: in.Start()})
	if got := again.Origin(); got.Input != id || got.Path != path {
		t.Errorf("found %+v, want %s", got, id)
	}
}
