package pipeline

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// spooledConfig is simpleConfig whose targets have a spool.
func spooledConfig(max config.Bytes, targets ...string) *config.Config {
	c := simpleConfig("app", targets...)
	for i := range c.Targets {
		c.Targets[i].Spool = &config.Spool{MaxBytes: max}
	}
	return c
}

// spooledHouse has a source app with lines and a target a that takes nothing.
func spooledHouse(t *testing.T, lines ...string) *house {
	h := newHouse(t)
	h.tapes["app"] = newTape(lines...)
	h.shelves["a"] = newShelf()
	h.shelves["a"].hold(true)
	h.open()
	return h
}

func (h *house) target(name string) *target {
	h.sup.mu.Lock()
	defer h.sup.mu.Unlock()
	return h.sup.targets[name]
}

// awaitSpooled waits until the target's spool holds n records and its queue nothing else.
func (h *house) awaitSpooled(name string, n int64) {
	h.t.Helper()
	await(h.t, fmt.Sprintf("%d records in the spool of %s", n, name), func() bool {
		t := h.target(name)
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.over != nil && t.over.spool.Stats().Records == n && t.firstInMemory() == len(t.items)
	})
}

// kill leaves on disk what is there, and opens a daemon on that.
func (h *house) kill() {
	h.t.Helper()
	dir := h.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(h.dir)); err != nil {
		h.t.Fatal(err)
	}
	os.Remove(filepath.Join(dir, "lock"))
	h.stop(0)
	h.dir = dir
	h.open()
}

func (h *house) wantLines(name string, want []string) {
	h.t.Helper()
	if got := h.shelves[name].got(); !slices.Equal(got, want) {
		for i := range want {
			if i >= len(got) || got[i] != want[i] {
				h.t.Fatalf("%s holds %d lines, want %d; line %d is not as it should be: %.5q", name, len(got), len(want), i, got[i:min(i+4, len(got))])
			}
		}
		h.t.Fatalf("%s holds %d lines, want %d", name, len(got), len(want))
	}
}

func (h *house) segments(name string) []string {
	h.t.Helper()
	found, err := filepath.Glob(filepath.Join(h.dir, "spool", name, "*.seg"))
	if err != nil {
		h.t.Fatal(err)
	}
	return found
}

// settledRow waits until nothing is in flight, and returns the ledger's row.
func (h *house) settledRow(source, target string) LedgerRow {
	h.t.Helper()
	await(h.t, "nothing to be in flight", func() bool { return h.row(source, target).InFlight == 0 })
	r := h.row(source, target)
	if r.Difference() != 0 {
		h.t.Errorf("the ledger does not balance: %+v", r)
	}
	return r
}

func TestSpooledRecordsOutliveTheirSource(t *testing.T) {
	lines := numbered(0, 500)
	h := spooledHouse(t, lines...)
	h.apply(spooledConfig(64<<20, "a"))
	h.awaitSpooled("a", 500)
	if r := h.row("app", "a"); r.Read != 500 || r.InFlight != 500 || r.Delivered != 0 {
		t.Errorf("while it is in the spool: %+v", r)
	}
	if err := h.store.Save(); err != nil {
		t.Fatal(err)
	}
	h.tapes["app"] = newTape() // gone
	h.kill()
	h.apply(spooledConfig(64<<20, "a"))
	if r := h.row("app", "a"); r.Read != 500 || r.InFlight != 500 {
		t.Errorf("after the kill: %+v", r)
	}
	h.balanced()
	h.shelves["a"].hold(false)
	h.awaitLines("a", 500)
	h.wantLines("a", lines)
	if r := h.settledRow("app", "a"); r.Read != 500 || r.Delivered != 500 {
		t.Errorf("in the end: %+v", r)
	}
	await(t, "the spool to be empty", func() bool { return len(h.segments("a")) == 0 })
	h.stop(time.Minute)
}

// The positions were not saved when the daemon was killed, and the source
// still has all: nothing comes twice.
func TestSpoolKnowsPositionsThatWereNotSaved(t *testing.T) {
	lines := numbered(0, 500)
	h := spooledHouse(t, lines...)
	h.apply(spooledConfig(64<<20, "a"))
	h.awaitSpooled("a", 500)
	h.kill() // nothing ever saved them
	if entries := h.store.Entries("app"); len(entries) != 0 {
		t.Fatalf("positions were saved: %v", entries)
	}
	h.apply(spooledConfig(64<<20, "a"))
	h.shelves["a"].hold(false)
	h.tapes["app"].write(numbered(500, 510)...)
	h.awaitLines("a", 510)
	h.wantLines("a", numbered(0, 510))
	if r := h.settledRow("app", "a"); r.Read != 510 || r.Delivered != 510 {
		t.Errorf("the ledger: %+v", r)
	}
	h.stop(time.Minute)
}

// Whatever the target does and whenever the daemon stops, each line arrives
// once and in order, and the ledger balances.
func TestSpoolKeepsOrder(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"], h.tapes["other"] = newTape(), newTape()
	h.shelves["a"] = newShelf()
	var calm atomic.Bool
	h.shelves["a"].fail = func(int) error {
		if calm.Load() || rand.IntN(3) == 0 {
			return nil
		}
		return &sinks.Error{Class: sinks.ClassServer, RetryAfter: time.Duration(1+rand.IntN(15)) * time.Millisecond, Err: errors.New("500")}
	}
	cfg := func(round int) *config.Config {
		c := spooledConfig(64<<20, "a")
		c.Sources = append(c.Sources, config.Source{Name: "other", LogFormat: "raw", StartAt: "beginning"})
		c.Targets[0].QueueBytes = config.Bytes(32<<10 + round)
		return c
	}
	h.open()
	h.apply(cfg(0))
	n, spooled := 0, int64(0)
	for round := range 12 {
		for range 10 {
			h.tapes["app"].write(numbered(n, n+100)...)
			others := numbered(n, n+100)
			for i := range others {
				others[i] = "other " + others[i]
			}
			h.tapes["other"].write(others...)
			n += 100
			sleep(t.Context(), time.Duration(rand.IntN(4))*time.Millisecond)
			h.balanced()
		}
		tg := h.target("a")
		tg.mu.Lock()
		spooled += tg.over.spool.Stats().Records
		tg.mu.Unlock()
		switch round % 3 {
		case 1:
			h.apply(cfg(round))
		case 2:
			h.stop(time.Duration(rand.IntN(40)) * time.Millisecond)
			h.open()
			h.apply(cfg(round))
		}
	}
	calm.Store(true)
	h.awaitLines("a", 2*n)
	h.settledRow("app", "a")
	h.settledRow("other", "a")
	next := map[bool]int{}
	for _, line := range h.shelves["a"].got() {
		text, other := strings.CutPrefix(line, "other ")
		if want := fmt.Sprintf("line %d", next[other]); text != want {
			t.Fatalf("%q came where %q was to come", line, want)
		}
		next[other]++
	}
	if spooled == 0 {
		t.Error("nothing was in the spool at any time: that proves nothing")
	}
	h.stop(time.Minute)
}

// A spool that is taken out of the configuration is emptied first, and then gone.
func TestSpoolThatIsTakenAwayIsEmptiedFirst(t *testing.T) {
	lines := numbered(0, 300)
	h := spooledHouse(t, lines...)
	h.apply(spooledConfig(64<<20, "a"))
	h.awaitSpooled("a", 300)
	h.tapes["app"].write(numbered(300, 400)...)
	h.apply(simpleConfig("app", "a"))
	h.shelves["a"].hold(false)
	h.awaitLines("a", 400)
	h.wantLines("a", numbered(0, 400))
	await(t, "the spool's directory to be gone", func() bool {
		_, err := os.Stat(filepath.Join(h.dir, "spool", "a"))
		return errors.Is(err, os.ErrNotExist)
	})
	h.settledRow("app", "a")
	h.stop(time.Minute)
}

// A target that is disabled, or gone, keeps its spool for when it is back.
func TestSpoolWaitsForItsTarget(t *testing.T) {
	lines := numbered(0, 300)
	h := spooledHouse(t, lines...)
	h.apply(spooledConfig(64<<20, "a"))
	h.awaitSpooled("a", 300)
	off := spooledConfig(64<<20, "a")
	off.Targets[0].Enabled = new(bool)
	h.apply(off)
	h.stop(time.Second)
	h.open()
	h.apply(&config.Config{})
	if len(h.segments("a")) == 0 {
		t.Fatal("the spool is gone with its target")
	}
	h.tapes["app"] = newTape()
	h.apply(spooledConfig(64<<20, "a"))
	h.shelves["a"].hold(false)
	h.awaitLines("a", 300)
	h.wantLines("a", lines)
	h.stop(time.Minute)
}

// The sender has taken batches into its hand, and waits for more of them, when
// they are written to the spool: what comes out of the spool lines up behind them.
func TestSpoolLinesUpBehindWhatTheSenderHas(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"], h.shelves["a"] = newTape(), newShelf()
	h.open()
	defer h.stop(0)
	cfg := spooledConfig(64<<20, "a")
	tg, err := h.sup.newTarget(cfg, &cfg.Targets[0]) // it does not run
	if err != nil {
		t.Fatal(err)
	}
	h.sup.openSpool(tg)
	defer tg.over.spool.Close()
	l := tg.addLane("app", "tape", "")
	queue := func(line string) {
		b := record.NewBatch()
		b.Origin = &record.Origin{Source: "app", Input: "tape"}
		r := b.Add()
		r.Line = b.Copy([]byte(line))
		r.Message = r.Line
		p := &parcel{batch: b, end: record.Position(line), entry: entry{records: 1}}
		p.entry.counts.Read = 1
		if !l.enqueue(nil, p) {
			t.Fatal("the queue is full")
		}
	}
	queue("1")
	queue("2")
	if got, _, _, _ := tg.peek(nil); len(got) != 2 {
		t.Fatalf("the sender has %d batches", len(got))
	}
	queue("3")
	queue("4")
	if !tg.spill() {
		t.Fatal("nothing was written to the spool")
	}
	queue("5")
	tg.refill(t.Context())
	// While more is in the spool, nothing that is behind it is sent, not even at the end.
	tg.mu.Lock()
	tg.over.given, tg.over.loaded, tg.closing = tg.over.given-1, tg.over.loaded-1, true
	tg.mu.Unlock()
	if got, _, _, _ := tg.peek(nil); len(got) != 3 {
		t.Errorf("the sender gets %d batches, of which one is behind what is in the spool", len(got))
	}
	tg.mu.Lock()
	tg.over.given, tg.over.loaded, tg.closing = tg.over.given+1, tg.over.loaded+1, false
	tg.mu.Unlock()
	batches, _, _, _ := tg.peek(nil)
	var got []string
	for _, b := range batches {
		got = append(got, string(b.Records[0].Line))
	}
	if want := []string{"1", "2", "3", "4", "5"}; !slices.Equal(got, want) {
		t.Errorf("the sender gets %q, want %q", got, want)
	}
	tg.ack(&sinks.Result{Batches: 5, Delivered: 5})
	if r := tg.ledger()["app"]; r.Delivered != 5 || r.InFlight != 0 || r.Difference() != 0 || tg.over.spool.Stats().Records != 0 {
		t.Errorf("%+v, %+v", r, tg.over.spool.Stats())
	}
}
