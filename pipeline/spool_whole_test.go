package pipeline

import (
	"os"
	"testing"
	"time"
)

// Nothing that was in the spool can be used (its one segment is of another version):
// the loss is in the ledger of the source whose records they were, not of one
// that nobody has.
func TestSpoolOfWhichNothingIsLeftIsLostByItsSource(t *testing.T) {
	h := spooledHouse(t, numbered(0, 300)...)
	h.apply(spooledConfig(64<<20, "a"))
	h.awaitSpooled("a", 300)
	h.stop(0)
	for _, name := range h.segments("a") {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		data[7] = '9'
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.open()
	h.tapes["app"] = newTape()
	h.apply(spooledConfig(64<<20, "a"))
	h.shelves["a"].hold(false)
	await(t, "the loss to be booked", func() bool { r := h.row("app", "a"); return r.LostRecords() > 0 })
	if r := h.settledRow("app", "a"); r.LostRecords() != 300 || r.Read != 300 {
		t.Errorf("the ledger: %+v", r)
	}
	h.stop(time.Minute)
}
