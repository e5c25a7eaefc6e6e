package pipeline

import (
	"testing"
	"time"
)

// A kill after the target has taken what was in its spool, and before the ledger was
// saved: it stays counted, once, and is not sent again.
func TestWhatIsTakenFromASpoolIsCountedAcrossAKill(t *testing.T) {
	lines := numbered(0, 500)
	h := spooledHouse(t, lines...)
	h.apply(spooledConfig(64<<20, "a"))
	h.awaitSpooled("a", 500)
	if err := h.store.Save(); err != nil {
		t.Fatal(err)
	}
	h.tapes["app"] = newTape() // gone
	h.shelves["a"].hold(false)
	h.awaitLines("a", 500)
	h.settledRow("app", "a")
	h.kill()
	h.apply(spooledConfig(64<<20, "a"))
	if r := h.settledRow("app", "a"); r.Read != 500 || r.Delivered != 500 {
		t.Errorf("after the kill: %+v", r)
	}
	h.wantLines("a", lines)
	await(t, "the spool to be empty", func() bool { return len(h.segments("a")) == 0 })
	h.kill()
	h.apply(spooledConfig(64<<20, "a"))
	if r := h.settledRow("app", "a"); r.Read != 500 || r.Delivered != 500 {
		t.Errorf("after the second kill: %+v", r)
	}
	h.stop(time.Minute)
}
