package pipeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
)

// A file that is deleted while no daemon runs is in each target's ledger, and announced in the
// stream, once; then it is forgotten.
func TestDeletedWhileDownIsInTheLedger(t *testing.T) {
	log := filepath.Join(t.TempDir(), "app.log")
	if err := os.WriteFile(log, []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHouse(t)
	h.shelves["a"] = newShelf()
	cfg := simpleConfig("app", "a")
	cfg.Sources[0] = config.Source{Name: "app", LogFormat: "raw", StartAt: "beginning", File: &config.FileSource{Paths: []string{log}}}
	run := func() {
		h.open()
		h.sup.makeSource = newSource
		h.apply(cfg)
	}
	run()
	h.awaitLines("a", 1)
	h.stop(time.Minute)
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		run()
		await(t, "the loss in the ledger, and nothing that is known of the file", func() bool {
			rows := h.sup.Ledger()
			return len(rows) == 1 && len(rows[0].Lost) == 1 && rows[0].Lost[0].Reason == "vanished" && rows[0].Lost[0].Unsized == 1 &&
				rows[0].Lost[0].Gaps == 1 && rows[0].Difference() == 0 && len(h.sup.known("app")) == 0
		})
		h.stop(time.Minute)
	}
	if got := h.shelves["a"].got(); len(got) != 2 || !strings.HasPrefix(got[1], "lbshipd: records lost: vanished: "+log) {
		t.Errorf("got %q", got)
	}
}
