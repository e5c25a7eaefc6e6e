package pipeline

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
)

// While a changed source waits for changed targets to drain, nobody reads. A
// file that is created and goes away meanwhile is read all the same, and so is the rest of
// one that was deleted: what the former source has open is taken over.
func TestFileThatCameAndWentDuringAReloadIsRead(t *testing.T) {
	for _, how := range []string{"renamed", "deleted"} {
		t.Run(how, func(t *testing.T) { cameAndWent(t, how == "deleted") })
	}
}

func cameAndWent(t *testing.T, deleted bool) {
	dir := t.TempDir()
	log := filepath.Join(dir, "app.log")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rotate := func(to string) {
		t.Helper()
		if deleted {
			if err := os.Remove(log); err != nil {
				t.Fatal(err)
			}
			return
		}
		if err := os.Rename(log, log+to); err != nil {
			t.Fatal(err)
		}
	}
	h := newHouse(t)
	h.shelves["a"] = newShelf()
	h.open()
	h.sup.makeSource = newSource
	cfg := simpleConfig("app", "a")
	cfg.Sources[0] = config.Source{Name: "app", LogFormat: "raw", StartAt: "beginning", File: &config.FileSource{Paths: []string{dir + "/*.log"}, MaxLineBytes: 1 << 10}}
	write("one\n")
	h.apply(cfg)
	h.awaitLines("a", 1)
	h.shelves["a"].hold(true)
	f, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("two\n"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	await(t, "a queued line", func() bool { return h.queued("a") == 1 })

	changed := *cfg
	changed.Sources = slices.Clone(cfg.Sources)
	changed.Sources[0].Labels = map[string]string{"team": "storage"}
	changed.Targets = slices.Clone(cfg.Targets)
	changed.Targets[0].QueueBytes = 2 << 20
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.apply(&changed)
	}()
	await(t, "the source to be stopped", func() bool { return len(h.sup.sourceList()) == 0 })
	known := len(h.store.Entries("app"))
	rotate(".1")
	write("three\n")
	if deleted { // it has to be open by then
		await(t, "the third line's file to be seen", func() bool { return len(h.store.Entries("app")) > known })
	}
	rotate(".2")
	write("four\n")
	h.shelves["a"].hold(false)
	<-done
	h.awaitLines("a", 4)
	got := slices.Clone(h.shelves["a"].got())
	slices.Sort(got)
	if !slices.Equal(got, []string{"four", "one", "three", "two"}) {
		t.Errorf("got %q", got)
	}
	h.stop(time.Minute)
}

// A source that is not read any more goes on watching until there is another one: what it
// finds is remembered from its beginning.
func TestASourceThatIsNotReadGoesOnWatching(t *testing.T) {
	dir := t.TempDir()
	h := newHouse(t)
	h.shelves["a"] = newShelf()
	h.open()
	h.sup.makeSource = newSource
	cfg := simpleConfig("app", "a")
	cfg.Sources[0] = config.Source{Name: "app", LogFormat: "raw", StartAt: "beginning", File: &config.FileSource{Paths: []string{dir + "/*.log"}}}
	h.apply(cfg)
	r := h.sup.sources["app"]
	replaced := stopLookingBut([]*sourceRun{r}, map[string]*sourceRun{"app": r})
	r.stopReading()
	if err := os.WriteFile(filepath.Join(dir, "a.log"), []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "the file to be remembered", func() bool { return len(h.sup.known("app")) == 1 })
	stopLookingBut([]*sourceRun{replaced["app"]}, nil)
	if err := os.WriteFile(filepath.Join(dir, "b.log"), []byte("two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if known := h.sup.known("app"); len(known) != 1 || len(h.shelves["a"].got()) > 0 {
		t.Errorf("knows %v, and gave %q", known, h.shelves["a"].got())
	}
	h.stop(time.Minute)
}
