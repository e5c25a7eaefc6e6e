package pipeline

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// What is at risk is asked for with what is answered, not with what is queued;
// a target that does not keep up is warned of, once for each threshold.
func TestWhatIsAtRiskIsToldPerTarget(t *testing.T) {
	h := newHouse(t)
	h.log = &bytes.Buffer{}
	var mu sync.Mutex
	left := 2 * time.Hour
	h.tapes["app"] = newTape(numbered(0, 100)...)
	h.tapes["app"].risk = func(pos record.Position) (sources.Risk, bool) {
		mu.Lock()
		defer mu.Unlock()
		return sources.Risk{Bytes: int64(100 - number(pos)), Left: left}, true
	}
	h.shelves["dead"], h.shelves["live"] = newShelf(), newShelf()
	h.shelves["dead"].hold(true)
	h.open()
	h.apply(simpleConfig("app", "dead", "live"))
	await(t, "the answers of one target", func() bool { return h.row("app", "live").Delivered == 100 })
	dead, live := positions.Pair{Source: "app", Target: "dead"}, positions.Pair{Source: "app", Target: "live"}
	// The first ticks of the housekeeping must not come in between.
	h.sup.tick()
	<-h.sup.ticked
	h.sup.ticked = make(chan struct{})
	close(h.sup.ticked)

	now := time.Now().Add(riskLag + time.Minute) // dead has not answered for that long
	ask := func(d time.Duration) map[positions.Pair]AtRisk {
		mu.Lock()
		left = d
		mu.Unlock()
		h.sup.askRisks(now)
		return h.sup.atRisk()
	}
	told := func() int { return strings.Count(h.log.String(), "about to drop") }
	found := ask(2 * time.Hour)
	if r := found[dead]; r.Bytes != 100 || r.Left != 2*time.Hour || r.Soon || told() != 0 {
		t.Errorf("two hours before: %+v, told %d times", r, told())
	}
	if r, known := found[live]; !known || r.Bytes != 0 || r.Left >= 0 {
		t.Errorf("a target that has all: %+v", r)
	}
	for _, c := range []struct {
		left, later time.Duration
		want        int
	}{
		{50 * time.Minute, 0, 1}, {45 * time.Minute, time.Minute, 1}, {9 * time.Minute, time.Minute, 2},
		{8 * time.Minute, time.Minute, 2}, {7 * time.Minute, riskAgain, 3}, {-1, 0, 3},
	} {
		now = now.Add(c.later)
		found = ask(c.left)
		if told() != c.want || found[dead].Soon != (c.left > 0) {
			t.Errorf("%v before: told %d times, want %d: %+v", c.left, told(), c.want, found[dead])
		}
	}
	ask(time.Minute)
	st := h.sup.Status()
	if reasons := strings.Join(st.Reasons(), "\n"); !strings.Contains(reasons, `about to drop 100 bytes that target "dead"`) || strings.Contains(reasons, `"live"`) {
		t.Errorf("the reasons are %q", reasons)
	}
	h.shelves["dead"].hold(false)
	await(t, "the answers of the other", func() bool { return h.row("app", "dead").Delivered == 100 })
	if r := ask(time.Minute)[dead]; r.Soon || r.Bytes != 0 {
		t.Errorf("all is answered, and yet %+v", r)
	}
	h.stop(time.Minute)
}

func TestRisksOfInputsAreAdded(t *testing.T) {
	pair := positions.Pair{Source: "s", Target: "t"}
	for _, c := range []struct {
		risks []sources.Risk
		want  AtRisk
	}{
		{[]sources.Risk{{Bytes: 5, Left: -1}}, AtRisk{Bytes: 5, Left: -1}},
		{[]sources.Risk{{Bytes: 5, Left: time.Hour}, {Bytes: 7, Left: time.Minute}}, AtRisk{Bytes: 12, Left: time.Minute}},
		{[]sources.Risk{{Bytes: 5, Left: time.Hour}, {Left: 0}}, AtRisk{Bytes: 5, Left: time.Hour}},
		{[]sources.Risk{{Left: -1}, {Bytes: 7}}, AtRisk{Bytes: 7}},
	} {
		found := map[positions.Pair]AtRisk{}
		for _, r := range c.risks {
			addRisk(found, pair, r)
		}
		if found[pair] != c.want {
			t.Errorf("%v: got %+v, want %+v", c.risks, found[pair], c.want)
		}
	}
}

// A target counts as behind where others have read an input to its end, and
// where it may not begin with an input yet.
func TestBehindCountsInputsThatOthersAreThroughWith(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 3000)...)
	h.shelves["slow"], h.shelves["quick"] = newShelf(), newShelf()
	h.shelves["slow"].hold(true)
	h.open()
	cfg := simpleConfig("app", "quick", "slow")
	cfg.Targets[1].QueueBytes = 16 << 10
	h.apply(cfg)
	h.awaitLines("quick", 3000)
	h.rotate <- newTape(numbered(3000, 3010)...)
	h.awaitLines("quick", 3010)
	behind := func(name string) int {
		for _, ts := range h.sup.Status().Targets {
			if ts.Name == name {
				return ts.Behind
			}
		}
		return -1
	}
	await(t, "slow to be behind with the old file and to wait for the new one", func() bool { return behind("slow") == 2 })
	h.tapes["app"].end()
	await(t, "quick to be through with the old file", func() bool {
		for _, run := range h.sup.sources["app"].runs() {
			run.mu.Lock()
			eof := run.eof
			run.mu.Unlock()
			if eof {
				return true
			}
		}
		return false
	})
	if slow, quick := behind("slow"), behind("quick"); slow != 2 || quick != 0 {
		t.Errorf("slow is behind with %d inputs and quick with %d, want 2 and 0", slow, quick)
	}
	h.shelves["slow"].hold(false)
	h.awaitLines("slow", 3010)
	await(t, "slow to be with the others", func() bool { return behind("slow") == 0 })
	h.stop(time.Minute)
}
