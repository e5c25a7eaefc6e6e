package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
	"github.com/lbshipd/lbshipd/sources"
)

// row is the ledger's row as it stands now.
func (h *house) row(source, target string) LedgerRow {
	for _, r := range h.sup.Ledger() {
		if r.Source == source && r.Target == target {
			return r
		}
	}
	return LedgerRow{}
}

// picky is a sink that refuses the lines whose hash says so, fails at random,
// and answers for part of what it is given.
type picky struct {
	named bool // refusals name their source

	mu      sync.Mutex
	failing bool
	taken   map[string]int // lines it has taken, and how often
	refused map[string]int
}

func newPicky(named bool) *picky {
	return &picky{named: named, taken: map[string]int{}, refused: map[string]int{}}
}

// disliked reports whether a line is one that picky refuses.
func disliked(line []byte) bool {
	h := fnv.New32a()
	h.Write(line)
	return h.Sum32()%7 == 0 && !bytes.HasPrefix(line, []byte("lbshipd: "))
}

// levelled are lines of which each third is below info.
func levelled(from, to int) []string {
	var lines []string
	for i := from; i < to; i++ {
		level := "info"
		if i%3 == 0 {
			level = "debug"
		}
		lines = append(lines, fmt.Sprintf("level=%s n=%d", level, i))
	}
	return lines
}

// levelledConfig is simpleConfig for such lines.
func levelledConfig(targets ...string) *config.Config {
	c := simpleConfig("app", targets...)
	c.Sources[0].LogFormat, c.Sources[0].MinLevel = "logfmt", record.LevelInfo
	return c
}

// lose makes a few lines from n on ones that are gone before they are read.
func (t *tape) lose(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gaps == nil {
		t.gaps = map[int]*sources.GapError{}
	}
	t.gaps[n] = &sources.GapError{Reason: "vacuumed", Records: int64(1 + n%5)}
}

func (s *picky) Send(ctx context.Context, batches []*record.Batch) (sinks.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var res sinks.Result
	answers := len(batches)
	var err error
	if s.failing || rand.IntN(5) == 0 {
		answers = rand.IntN(len(batches) + 1)
		err = &sinks.Error{Class: sinks.ClassServer, RetryAfter: time.Millisecond, Err: errors.New("500")}
	}
	if s.failing {
		answers = 0
	}
	for _, b := range batches[:answers] {
		n := 0
		for i := range b.Records {
			if disliked(b.Records[i].Line) {
				s.refused[string(b.Records[i].Line)]++
				n++
				continue
			}
			s.taken[string(b.Records[i].Line)]++
		}
		res.Batches++
		res.Delivered += len(b.Records) - n
		if n > 0 {
			r := sinks.Refusal{Reason: "disliked", Records: n}
			if s.named {
				r.Source = b.Origin.Source
			}
			res.Refused = append(res.Refused, r)
		}
	}
	return res, err
}

func (s *picky) Close(context.Context) error { return nil }

// fail makes the sink answer for nothing.
func (s *picky) fail(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = on
}

// scrape reads the ledger of a pair from /metrics: the sum over all reasons.
func (h *house) scrape() map[[2]string]map[string]float64 {
	h.t.Helper()
	families, err := h.reg.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	sums := map[[2]string]map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var pair [2]string
			for _, l := range m.GetLabel() {
				switch l.GetName() {
				case "source":
					pair[0] = l.GetValue()
				case "target":
					pair[1] = l.GetValue()
				}
			}
			if pair[0] == "" || pair[1] == "" {
				continue
			}
			if sums[pair] == nil {
				sums[pair] = map[string]float64{}
			}
			sums[pair][f.GetName()] += m.GetGauge().GetValue()
		}
	}
	return sums
}

// balanced checks the equation on what is scraped, and returns how many rows had something in flight.
func (h *house) balanced() (rows, flying int) {
	h.t.Helper()
	for pair, m := range h.scrape() {
		sum := m[specLedgerDelivered.Name] + m[specLedgerFiltered.Name] + m[specLedgerRefused.Name] + m[specLedgerLost.Name] + m[specLedgerInFlight.Name]
		if read := m[specLedgerRead.Name]; read != sum || m[specLedgerDifference.Name] != 0 {
			h.t.Errorf("%v: read %v, the sum of the others is %v: %v", pair, read, sum, m)
		}
		rows++
		if m[specLedgerInFlight.Name] > 0 {
			flying++
		}
	}
	return rows, flying
}

// The equation holds on every scrape while sinks fail, refuse and answer
// partly, queues overflow, configurations change and daemons stop; and at the
// end the ledger is what an independent count says.
func TestLedgerBalancesAtAllTimes(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape()
	sinksOf := map[string]*picky{"a": newPicky(true), "b": newPicky(false)}
	h.shelves["a"], h.shelves["b"] = newShelf(), newShelf()
	h.sink = func(name string) sinks.Sink { return sinksOf[name] }
	cfg := func(round int) *config.Config {
		c := levelledConfig("a", "b")
		c.Targets[0].QueueBytes = 16 << 10
		c.Targets[round%2].QueueBytes += config.Bytes(round)
		c.Sources[0].Labels = map[string]string{"round": fmt.Sprint(round % 3)}
		return c
	}
	h.open()
	h.apply(cfg(0))
	n, scrapes, flying := 0, 0, 0
	for round := range 20 {
		sinksOf["a"].fail(round%10 < 4)
		ctx, stop := context.WithCancel(t.Context())
		scraped, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for sleep(ctx, time.Millisecond) {
				rows, f := h.balanced()
				scrapes, flying = scrapes+rows, flying+f
				select {
				case scraped <- struct{}{}:
				default:
				}
			}
		}()
		for i := range 5 {
			if i == 2 {
				h.tapes["app"].lose(n + 5)
			}
			h.tapes["app"].write(levelled(n, n+40)...)
			n += 40
			h.apply(cfg(round))
			<-scraped // one that may have begun before
			<-scraped
		}
		stop()
		<-done
		if round%8 == 7 {
			h.stop(20 * time.Millisecond)
			h.open()
			h.apply(cfg(round))
		}
	}
	for _, name := range []string{"a", "b"} {
		await(t, "all to be settled", func() bool { r := h.row("app", name); return r.InFlight == 0 && r.Read >= int64(n) })
		h.exact(name, sinksOf[name])
	}
	h.balanced()
	if scrapes < 100 || flying == 0 {
		t.Errorf("%d rows scraped, %d with something in flight: that proves little", scrapes, flying)
	}
	h.stop(time.Minute)
}

// exact holds the row against what became of the lines that are on the tape,
// and against what picky has told us.
func (h *house) exact(target string, s *picky) {
	h.t.Helper()
	tp := h.tapes["app"]
	tp.mu.Lock()
	defer tp.mu.Unlock()
	var want positions.Counts
	want.Read = int64(len(tp.lines))
	for i := 0; i < len(tp.lines); i++ {
		if gap := tp.gaps[i]; gap != nil {
			want.AddLost(positions.Lost{Reason: gap.Reason, Records: gap.Records, Gaps: 1})
			i += int(gap.Records) - 1
			continue
		}
		switch {
		case strings.HasPrefix(tp.lines[i], "level=debug"):
			want.Filtered++
		case disliked([]byte(tp.lines[i])):
			want.AddRefused(positions.Refused{Reason: "disliked", Records: 1})
		default:
			want.Delivered++
		}
	}
	r := h.row("app", target)
	if !reflect.DeepEqual(r.Counts, want) {
		h.t.Errorf("%s: the ledger is %+v, want %+v", target, r, want)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.taken, func(line string, _ int) bool { return strings.HasPrefix(line, "lbshipd: ") })
	if int64(len(s.taken)) != want.Delivered || int64(len(s.refused)) != want.RefusedRecords() {
		h.t.Errorf("%s has taken %d lines and refused %d, want %d and %d", target, len(s.taken), len(s.refused), want.Delivered, want.RefusedRecords())
	}
}

// Whatever moment a SIGKILL cuts the daemon off at, what is saved balances,
// and the next daemon brings the ledger to exactly what there was.
func TestLedgerIsExactAfterAnyCut(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape()
	sink := newPicky(true)
	h.shelves["a"] = newShelf()
	h.sink = func(string) sinks.Sink { return sink }
	h.open()
	cfg := levelledConfig("a")
	cfg.Targets[0].QueueBytes = 16 << 10
	h.apply(cfg)
	n, midway := 0, 0
	for cut := range 12 {
		sink.fail(cut%3 == 0) // so that something is always unanswered at some cuts
		for range 1 + rand.IntN(8) {
			if n%4 == 0 {
				h.tapes["app"].lose(n + rand.IntN(10))
			}
			h.tapes["app"].write(levelled(n, n+30)...)
			n += 30
			sleep(t.Context(), time.Duration(rand.IntN(1500))*time.Microsecond)
		}
		// What is on disk at this moment is all that the next one has.
		if err := h.store.Save(); err != nil {
			t.Fatal(err)
		}
		killed := h.dir
		h.dir = t.TempDir()
		data, err := os.ReadFile(filepath.Join(killed, "positions"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(h.dir, "positions"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		sink.fail(false)
		h.stop(0)
		saved, err := positions.ReadLedger(h.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range saved {
			if r.Read != r.Settled() {
				t.Errorf("cut %d: saved %+v does not balance", cut, r)
			}
			if r.Read < int64(n) {
				midway++
			}
		}
		h.open()
		h.apply(cfg)
	}
	await(t, "all to be settled", func() bool { r := h.row("app", "a"); return r.InFlight == 0 && r.Read >= int64(n) })
	h.exact("a", sink)
	if midway == 0 {
		t.Error("no cut was in the middle of anything")
	}
	h.stop(time.Minute)
}

// What a target does not name is attributed as far as it can be, and an answer
// that cannot be true is told and does not unbalance the ledger.
func TestRefusalsAreAttributedToTheirSource(t *testing.T) {
	batch := func(source string, records, own int) item {
		b := record.NewBatch()
		for range records + own {
			b.Add()
		}
		return item{batch: b, lane: &lane{key: positions.Key{Source: source}}, own: own}
	}
	done := []item{batch("x", 3, 0), batch("y", 4, 1), batch("x", 2, 0)}
	for _, c := range []struct {
		name     string
		refusals []sinks.Refusal
		want     []int64
		excess   int
	}{
		{"none", nil, nil, 0},
		{"of one batch", []sinks.Refusal{{Source: "y", Reason: "r", Records: 2}}, []int64{0, 2, 0}, 0},
		{"of two batches", []sinks.Refusal{{Source: "x", Reason: "r", Records: 4}}, []int64{3, 0, 1}, 0},
		{"a record of lbshipd itself", []sinks.Refusal{{Source: "y", Reason: "r", Records: 5}}, []int64{0, 4, 0}, 0},
		{"without a name", []sinks.Refusal{{Reason: "r", Records: 5}}, []int64{3, 2, 0}, 0},
		{"two reasons", []sinks.Refusal{{Source: "x", Reason: "r", Records: 1}, {Source: "x", Reason: "s", Records: 3}}, []int64{3, 0, 1}, 0},
		{"more than there were", []sinks.Refusal{{Source: "x", Reason: "r", Records: 9}}, []int64{3, 0, 2}, 4},
		{"of a source that was not sent", []sinks.Refusal{{Source: "z", Reason: "r", Records: 1}}, []int64{0, 0, 0}, 1},
	} {
		per, excess := attribute(done, c.refusals)
		var got []int64
		for i := range per {
			counts := positions.Counts{Refused: per[i]}
			got = append(got, counts.RefusedRecords())
		}
		if !slices.Equal(got, c.want) || excess != c.excess {
			t.Errorf("%s: got %v and %d too many, want %v and %d", c.name, got, excess, c.want, c.excess)
		}
	}
}
