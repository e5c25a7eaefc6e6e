package pipeline

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/positions"
)

// What is known of a file that was deleted when all of it was in the spool is not forgotten by a kill, though
// the spool is as young as the positions: it is no loss.
func TestDeletedFileInTheSpoolIsNoLossAfterAKill(t *testing.T) {
	log := filepath.Join(t.TempDir(), "app.log")
	if err := os.WriteFile(log, []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := spooledHouse(t)
	cfg := spooledConfig(64<<20, "a")
	cfg.Sources[0] = config.Source{Name: "app", LogFormat: "raw", StartAt: "beginning", File: &config.FileSource{Paths: []string{log}}}
	h.sup.makeSource = newSource
	h.apply(cfg)
	h.awaitSpooled("a", 1)
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	deleted := func() bool {
		return slices.ContainsFunc(h.store.Entries("app"), func(e positions.Entry) bool { return strings.HasPrefix(string(e.Position), "1:4d:") })
	}
	await(t, "the deletion in the position", deleted)
	if err := h.store.Save(); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Minute) // as if the spool had been written after the positions
	h.kill()
	h.stop(0)
	if err := os.Chtimes(filepath.Join(h.dir, "positions"), past, past); err != nil {
		t.Fatal(err)
	}
	h.open()
	h.sup.makeSource = newSource
	h.apply(cfg)
	h.shelves["a"].hold(false)
	h.awaitLines("a", 1)
	await(t, "the spool to be empty", func() bool { return len(h.segments("a")) == 0 })
	if got, rows := h.shelves["a"].got(), h.sup.Ledger(); len(got) != 1 || len(rows) != 1 || len(rows[0].Lost) != 0 || !deleted() {
		t.Errorf("got %q, ledger %+v, known %v", got, rows, h.sup.known("app"))
	}
	h.stop(5 * time.Second)
}
