package pipeline

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
)

// While a changed source waits for changed targets to drain, nobody watches. A
// file that is created and rotated away meanwhile is found all the same.
func TestFileThatCameAndWentDuringAReloadIsRead(t *testing.T) {
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
	rotate(".1")
	write("three\n")
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
	h.stop(5 * time.Second)
}
