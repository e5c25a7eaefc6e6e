package pipeline

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/positions"
)

// logHouse is a house whose source is a real file, app.log, that is rotated out
// of the globs.
func logHouse(t *testing.T, targets ...string) (h *house, cfg *config.Config, write func(text string), rotate func(to string)) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "app.log")
	h = newHouse(t)
	for _, name := range targets {
		h.shelves[name] = newShelf()
	}
	h.open()
	h.sup.makeSource = newSource
	cfg = simpleConfig("app", targets...)
	cfg.Sources[0] = config.Source{Name: "app", LogFormat: "raw", StartAt: "beginning", File: &config.FileSource{Paths: []string{dir + "/*.log"}, MaxLineBytes: 1 << 10}}
	write = func(text string) {
		t.Helper()
		if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rotate = func(to string) {
		t.Helper()
		if err := os.Rename(log, log+to); err != nil {
			t.Fatal(err)
		}
	}
	return h, cfg, write, rotate
}

// with returns cfg with other targets and another label of its source.
func with(cfg *config.Config, label string, targets ...string) *config.Config {
	changed := *cfg
	changed.Sources = slices.Clone(cfg.Sources)
	changed.Sources[0].Labels = map[string]string{"round": label}
	changed.Targets = simpleConfig("app", targets...).Targets
	return &changed
}

// What appears while no target is there is remembered: a change of the source
// does not lose what was rotated away meanwhile.
func TestFileThatCameAndWentWithoutATargetIsRead(t *testing.T) {
	h, cfg, write, rotate := logHouse(t, "a")
	write("one\n")
	h.apply(cfg)
	h.awaitLines("a", 1)
	h.apply(with(cfg, ""))
	run := h.sup.sourceList()[0]
	for i, text := range []string{"two\n", "three\n"} {
		rotate("." + text[:2])
		write(text)
		await(t, "the file to be found", func() bool { return len(run.runs()) == i+2 })
	}
	rotate(".end")
	none := with(cfg, "")
	none.Sources = nil
	h.apply(none)
	h.apply(with(cfg, "new", "a"))
	h.awaitLines("a", 3)
	if got := h.shelves["a"].got(); !slices.Equal(got, []string{"one", "two", "three"}) {
		t.Errorf("got %q", got)
	}
	h.stop(time.Minute)
}

// An input that the others have done with while a target was away is found
// again when that one comes back, without a restart.
func TestTargetThatComesBackIsGivenWhatTheOthersHaveDoneWith(t *testing.T) {
	for name, rotated := range map[string]bool{"what it began with is there": false, "all that it knew is done with": true} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			first, second := newTape(numbered(0, 100)...), newTape(numbered(100, 200)...)
			h.tapes["app"] = first
			h.shelves["a"], h.shelves["b"] = newShelf(), newShelf()
			h.open()
			h.apply(simpleConfig("app", "a", "b"))
			h.awaitLines("b", 100)
			h.awaitLines("a", 100)
			h.apply(simpleConfig("app", "a"))
			h.rotate <- second
			h.awaitLines("a", 200)
			h.rotate <- newTape(numbered(200, 300)...)
			h.awaitLines("a", 300)
			if rotated {
				first.end()
				await(t, "the first file to be forgotten", func() bool { return len(h.sup.sourceList()[0].runs()) == 2 })
			}
			second.end()
			await(t, "the second file to be done with", func() bool { return len(h.sup.sourceList()[0].runs()) == map[bool]int{true: 1, false: 2}[rotated] })
			h.apply(simpleConfig("app", "a", "b"))
			h.awaitLines("b", 300)
			if got := h.shelves["b"].got(); !slices.Equal(got, numbered(0, 300)) {
				t.Error("b: lines are not each there once in order")
			}
			h.awaitLines("a", 300)
			await(t, "both to be done with the second file", func() bool {
				for _, e := range h.store.Entries("app") {
					if e.Input == "next" {
						return false
					}
				}
				return true
			})
			h.stop(time.Minute)
		})
	}
}

// A kill right after a reload does not make a target new once more: it would
// begin with what comes after the next start.
func TestPlaceOfANewTargetIsSavedWithTheReload(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 100)...)
	h.shelves["a"], h.shelves["b"] = newShelf(), newShelf()
	h.open()
	h.apply(simpleConfig("app", "a"))
	h.awaitLines("a", 100)
	h.apply(simpleConfig("app", "a", "b"))
	killed := t.TempDir()
	if err := os.CopyFS(filepath.Join(killed, "data"), os.DirFS(h.dir)); err != nil {
		t.Fatal(err)
	}
	store, err := positions.Open(filepath.Join(killed, "data"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if p, ok := store.Get(positions.Key{Source: "app", Target: "b", Input: "tape"}); !ok || p != "100" {
		t.Errorf("the place of b is %q, stored: %v", p, ok)
	}
	h.stop(time.Minute)
}
