package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

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
	h.stop(time.Minute)
}

func (h *house) gauge(s Metric, name string) float64 {
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
				if (l.GetName() == "target" || l.GetName() == "source") && l.GetValue() == name {
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
	h.stop(time.Minute)
}

// Damage in the middle of the spool: what is lost is counted, announced where
// the hole is, and in the ledger; all else arrives.
func TestDamagedSpoolIsCountedAndAnnounced(t *testing.T) {
	t.Run("in the records", func(t *testing.T) { damagedSpool(t, func(data []byte) int { return len(data) / 2 }) })
	// Then not even that there was a frame is known, but for the numbers.
	t.Run("in the header of a frame", func(t *testing.T) {
		damagedSpool(t, func(data []byte) int { return len(data)/2 + bytes.Index(data[len(data)/2:], []byte("LBSF")) })
	})
}

// What the ledger is to hold of a batch, and its position, are read at the start without the
// records behind them: damage there is no other than anywhere else.
func TestDamagedHeadOfABatchInTheSpoolIsNotBelieved(t *testing.T) {
	for i := range 56 { // up to the first record
		t.Run(fmt.Sprint("byte ", i), func(t *testing.T) {
			damagedSpool(t, func(data []byte) int {
				const header = 36
				return len(data)/2 + bytes.Index(data[len(data)/2:], []byte("LBSF")) + header + i
			})
		})
	}
}

func damagedSpool(t *testing.T, where func([]byte) int) {
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
	data[where(data)] ^= 0x40
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
	h.stop(time.Minute)
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
	h.stop(time.Minute)
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
	h.stop(time.Minute)
}

// A spool that cannot be opened costs nothing but the spool, and is tried again.
func TestSpoolThatCannotBeOpened(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"], h.shelves["a"] = newTape(numbered(0, 100)...), newShelf()
	if err := os.MkdirAll(filepath.Join(h.dir, "spool"), 0o700); err != nil {
		t.Fatal(err)
	}
	inTheWay := write(t, filepath.Join(h.dir, "spool", "a"))
	h.open()
	h.apply(spooledConfig(64<<20, "a"))
	h.awaitLines("a", 100)
	h.sup.Sample()
	if h.gauge(specSpoolStuck, "a") != 1 || h.gauge(specSpoolErrors, "a") == 0 || !strings.Contains(strings.Join(h.reasons(), "\n"), "spool") {
		t.Errorf("nothing is said of it: %v", h.reasons())
	}
	h.shelves["a"].hold(true)
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	h.tapes["app"].write(numbered(100, 200)...)
	h.awaitSpooled("a", 100)
	h.shelves["a"].hold(false)
	h.awaitLines("a", 200)
	h.wantLines("a", numbered(0, 200))
	h.stop(time.Minute)
}

func write(t *testing.T, name string) string {
	t.Helper()
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
