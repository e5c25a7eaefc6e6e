package pipeline

import (
	"context"
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

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/positions"
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
	h.stop(5 * time.Second)
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
	h.stop(5 * time.Second)
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
			h.tapes["other"].write(numbered(n, n+100)...)
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
	got := h.shelves["a"].got()
	next := map[string]int{}
	for _, line := range got {
		next[line]++
	}
	for _, line := range numbered(0, n) {
		if next[line] != 2 {
			t.Fatalf("%q arrived %d times, want once from each source", line, next[line])
		}
	}
	if spooled == 0 {
		t.Error("nothing was in the spool at any time: that proves nothing")
	}
	h.stop(5 * time.Second)
}

func TestFullSpoolFallsBackToTheSource(t *testing.T) {
	lines := numbered(0, 30000)
	h := spooledHouse(t, lines...)
	c := spooledConfig(64<<10, "a")
	h.apply(c)
	await(t, "the spool to be full", func() bool {
		h.sup.Sample()
		return h.gauge(specSpoolStuck, "a") == 1
	})
	if size := h.gauge(specSpoolBytes, "a"); size > 64<<10 || size < 32<<10 {
		t.Errorf("the spool takes %v bytes of 64 KiB", size)
	}
	if reasons := strings.Join(h.reasons(), "\n"); !strings.Contains(reasons, "spool") {
		t.Errorf("the status says nothing of a full spool: %s", reasons)
	}
	h.shelves["a"].hold(false)
	h.awaitLines("a", len(lines))
	h.wantLines("a", lines)
	h.settledRow("app", "a")
	await(t, "the spool not to count as stuck any more", func() bool {
		h.sup.Sample()
		return h.gauge(specSpoolStuck, "a") == 0
	})
	h.stop(5 * time.Second)
}

func (h *house) gauge(s Metric, target string) float64 {
	h.t.Helper()
	families, err := h.reg.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != s.Name {
			continue
		}
		sum := 0.0
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "target" && l.GetValue() == target {
					sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
				}
			}
		}
		return sum
	}
	return 0
}

func (h *house) reasons() []string {
	st := h.sup.Status()
	return st.Reasons()
}

// A disk that is full under the spool: shipping goes on from the source.
func TestSpoolOnAFullDisk(t *testing.T) {
	h := newHouse(t)
	disk := filepath.Join(h.dir, "spool")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("mounting a small file system needs root: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(disk, unix.MNT_DETACH) })
	lines := numbered(0, 30000)
	h.tapes["app"], h.shelves["a"] = newTape(lines...), newShelf()
	h.shelves["a"].hold(true)
	h.open()
	h.apply(spooledConfig(64<<20, "a"))
	await(t, "the disk to be full", func() bool {
		h.sup.Sample()
		return h.gauge(specSpoolErrors, "a") > 0 && h.gauge(specSpoolStuck, "a") == 1
	})
	if held := h.gauge(specSpoolRecords, "a"); held < 1000 {
		t.Errorf("only %v records fit on the disk", held)
	}
	h.shelves["a"].hold(false)
	h.awaitLines("a", len(lines))
	h.wantLines("a", lines)
	if r := h.settledRow("app", "a"); r.Delivered != int64(len(lines)) || r.LostRecords() != 0 {
		t.Errorf("%+v", r)
	}
	await(t, "the alarm to be over, as nothing waits for the spool", func() bool {
		h.sup.Sample()
		return h.gauge(specSpoolStuck, "a") == 0
	})
	h.stop(5 * time.Second)
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
	h.stop(5 * time.Second)
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
	h.stop(5 * time.Second)
}

// Damage in the middle of the spool: what is lost is counted, announced where
// the hole is, and in the ledger; all else arrives.
func TestDamagedSpoolIsCountedAndAnnounced(t *testing.T) {
	lines := numbered(0, 1000)
	h := spooledHouse(t, lines...)
	h.apply(spooledConfig(64<<20, "a"))
	h.awaitSpooled("a", 1000)
	h.stop(0)
	name := h.segments("a")[0]
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 0x40
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	h.open()
	h.tapes["app"] = newTape()
	h.apply(spooledConfig(64<<20, "a"))
	h.shelves["a"].hold(false)
	r := h.settledRow("app", "a")
	lost := r.LostRecords()
	if lost == 0 || lost > 30 || r.Delivered != 1000-lost || r.Read != 1000 {
		t.Errorf("the ledger: %+v", r)
	}
	got := h.shelves["a"].got()
	hole := slices.IndexFunc(got, func(s string) bool { return strings.HasPrefix(s, "lbshipd: ") })
	if hole < 0 || !strings.HasPrefix(got[hole], fmt.Sprintf("lbshipd: %d record", lost)) {
		t.Fatalf("no gap record of %d lost records: %d lines", lost, len(got))
	}
	want := slices.Concat(lines[:hole], got[hole:hole+1], lines[hole+int(lost):])
	if !slices.Equal(got, want) {
		t.Errorf("%d lines, want %d with the hole behind line %d", len(got), len(want), hole)
	}
	h.stop(5 * time.Second)
}

// wall is a shelf that takes nothing while it is up.
type wall struct {
	*shelf
	up atomic.Bool
}

func (w *wall) Send(ctx context.Context, batches []*record.Batch) (sinks.Result, error) {
	if w.up.Load() {
		return sinks.Result{}, &sinks.Error{Class: sinks.ClassConnect, Err: errors.New("refused")}
	}
	return w.shelf.Send(ctx, batches)
}

// A daemon that stops while its target is away need not wait for it.
func TestStopLeavesWhatIsQueuedInTheSpool(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"], h.shelves["a"] = newTape(numbered(0, 200)...), newShelf()
	w := &wall{shelf: h.shelves["a"]}
	w.up.Store(true)
	h.sink = func(string) sinks.Sink { return w }
	h.open()
	h.sup.patience = time.Hour // nothing goes there before the end
	h.apply(spooledConfig(64<<20, "a"))
	await(t, "the lines to be queued", func() bool { return h.queued("a") == 200 })
	start := time.Now()
	if left := h.stop(time.Minute); left != 0 || time.Since(start) > 40*time.Second {
		t.Errorf("stopping took %v and left %d records", time.Since(start), left)
	}
	if len(h.segments("a")) == 0 {
		t.Error("nothing is in the spool")
	}
	h.tapes["app"] = newTape()
	w.up.Store(false)
	h.open()
	h.apply(spooledConfig(64<<20, "a"))
	h.awaitLines("a", 200)
	h.wantLines("a", numbered(0, 200))
	h.stop(5 * time.Second)
}

// A spool whose target is gone is told of, waits for 30 days, and is then given
// up: counted as lost, by source. A clock that jumps does not do that.
func TestSpoolThatNobodyComesForIsGivenUp(t *testing.T) {
	h := spooledHouse(t, numbered(0, 300)...)
	h.apply(spooledConfig(64<<20, "a"))
	h.awaitSpooled("a", 300)
	h.apply(simpleConfig("app"))
	if got := h.gauge(specSpoolRecords, "a"); got != 300 {
		t.Errorf("the spool of a target that is gone: %v records at /metrics, want 300", got)
	}
	old := time.Now().Add(-keepSpool - time.Hour)
	files, err := filepath.Glob(filepath.Join(h.dir, "spool", "a", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if err := os.Chtimes(f, old, old); err != nil {
			t.Fatal(err)
		}
	}
	h.sup.lookAtSpools(time.Now())
	if len(h.segments("a")) == 0 {
		t.Fatal("given up although this daemon has not missed the target for long")
	}
	h.sup.lookAtSpools(time.Now().Add(keepMissed + time.Minute))
	if _, err := os.Stat(filepath.Join(h.dir, "spool", "a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the spool is still there: %v", err)
	}
	if c := h.store.Counts(positions.Pair{Source: "app", Target: "a"}); c.Read != 300 || c.LostRecords() != 300 {
		t.Errorf("the ledger: %+v", c)
	}
	h.stop(5 * time.Second)
}
