package pipeline

import (
	"slices"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/sources"
)

// settled waits until a row has nothing in flight and n records read.
func (h *house) settled(target string, n int64) LedgerRow {
	h.t.Helper()
	await(h.t, "the ledger of "+target, func() bool {
		r := h.row("app", target)
		return r.Running && r.Read == n && r.InFlight == 0 && r.Difference() == 0
	})
	return h.row("app", target)
}

// The row of a target outlives its being changed, disabled, removed and added
// again, and the inputs whose records it counts.
func TestLedgerOutlivesTargetsAndInputs(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 100)...)
	h.shelves["a"], h.shelves["b"] = newShelf(), newShelf()
	h.open()
	h.apply(simpleConfig("app", "a", "b"))
	h.settled("a", 100)
	h.settled("b", 100)

	off := false
	disabled := simpleConfig("app", "a", "b")
	disabled.Targets[1].Enabled = &off
	for _, c := range []struct {
		name  string
		cfg   *config.Config
		there bool // at /metrics
	}{
		{"disabled", disabled, false},
		{"back", simpleConfig("app", "a", "b"), true},
		{"removed", simpleConfig("app", "a"), false},
		{"nothing at all", &config.Config{}, false},
		{"added again", simpleConfig("app", "a", "b"), true},
	} {
		h.apply(c.cfg)
		row := h.row("app", "b")
		if row.Read != 100 || row.Delivered != 100 || row.Running != c.there {
			t.Errorf("%s: %+v", c.name, row)
		}
		if _, there := h.scrape()[[2]string{"app", "b"}]; there != c.there {
			t.Errorf("%s: at /metrics: %v, want %v", c.name, there, c.there)
		}
	}

	// A file that has ended and is forgotten stays in the sums.
	h.rotate <- newTape(numbered(100, 150)...)
	h.settled("b", 150)
	h.tapes["app"].end()
	await(t, "the old file to be forgotten", func() bool {
		run := h.run("app")
		return run != nil && run.input.Origin().Input == "next"
	})
	h.settled("b", 150)
	// A new target counts from where it starts.
	h.shelves["c"] = newShelf()
	h.apply(simpleConfig("app", "a", "b", "c"))
	if row := h.row("app", "c"); row.Read != 0 || !row.Running {
		t.Errorf("a new target: %+v", row)
	}
	h.stop(time.Minute)
	saved, err := positions.ReadLedger(h.dir)
	if err != nil || len(saved) != 2 || saved[1].Delivered != 150 {
		t.Errorf("saved: %+v %v", saved, err)
	}
}

// A position that does not belong to its input is a gap of unknown size, and
// what is read again is read, and delivered, again.
func TestStalePositionIsAGapInTheLedger(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 20)...)
	h.shelves["a"] = newShelf()
	h.open()
	key := positions.Key{Source: "app", Target: "a", Input: "tape"}
	h.store.Settle([]positions.Move{{Key: key, Position: "not a number", Counts: positions.Counts{Read: 7, Delivered: 7}}})
	h.apply(simpleConfig("app", "a"))
	want := []positions.Lost{{Reason: "stale_position", Gaps: 1, Unsized: 1}}
	if row := h.settled("a", 27); row.Delivered != 27 || !slices.Equal(row.Lost, want) {
		t.Errorf("got %+v, want 27 delivered and %+v", row, want)
	}
	h.stop(time.Minute)
}

// What a gap says goes into the ledger as far as it says it.
func TestGapsAreCountedAsFarAsTheyAreKnown(t *testing.T) {
	for _, c := range []struct {
		gap  sources.GapError
		want positions.Lost
	}{
		{sources.GapError{Reason: "vacuumed", Records: 3}, positions.Lost{Reason: "vacuumed", Records: 3, Gaps: 1}},
		{sources.GapError{Reason: "truncated", Bytes: 512}, positions.Lost{Reason: "truncated", Bytes: 512, Gaps: 1}},
		{sources.GapError{Reason: "rewritten"}, positions.Lost{Reason: "rewritten", Gaps: 1, Unsized: 1}},
	} {
		if got := lostIn(&c.gap); got != c.want {
			t.Errorf("%+v: got %+v, want %+v", c.gap, got, c.want)
		}
	}
}

// What a reader counts as read and neither gives nor filters is lost, not forgotten.
func TestWhatAReaderLeavesOutIsLost(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 20)...)
	h.tapes["app"].unreadable = 5
	h.shelves["a"] = newShelf()
	h.open()
	h.apply(simpleConfig("app", "a"))
	want := []positions.Lost{{Reason: "unreadable", Records: 5}}
	if row := h.settled("a", 20); row.Delivered != 15 || !slices.Equal(row.Lost, want) {
		t.Errorf("got %+v, want 15 delivered and %+v", row, want)
	}
	h.stop(time.Minute)
}
