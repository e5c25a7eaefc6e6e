package pipeline

import (
	"math/rand/v2"
	"testing"

	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
)

// Against a model: the low-water mark is the end of the longest answered run,
// and what it brings to the ledger is what that run brought.
func TestTrackerAgainstAModel(t *testing.T) {
	for range 200 {
		var tr tracker
		type batch struct {
			seq   uint64
			done  bool
			read  int64
			taken bool // into the ledger
		}
		var model []batch // in order; skips are done at once
		var open []int    // of model, not answered
		lowest, settled := 0, positions.Counts{}
		check := func(step int, mark low, moved bool) {
			if !moved {
				if !mark.counts.IsZero() {
					t.Fatalf("step %d: counts without a move", step)
				}
				return
			}
			settled.Add(&mark.counts)
			var want int64
			for _, b := range model {
				if !b.done {
					break
				}
				want += b.read
			}
			if settled.Read != want || settled.Read != settled.Settled() {
				t.Fatalf("step %d: settled %+v, want %d read", step, settled, want)
			}
		}
		for step := range 200 {
			after := tapePosition(step)
			switch rand.IntN(4) {
			case 0:
				n := rand.Int64N(3)
				got, moved := tr.skip(after, entry{counts: positions.Counts{Read: n, Filtered: n}})
				model = append(model, batch{done: true, read: n})
				check(step, got, moved)
				if wantMoved := len(open) == 0; moved != wantMoved || moved && got.position != after {
					t.Fatalf("step %d: skip gave %q %v, want moved %v", step, got.position, moved, wantMoved)
				}
			case 1:
				tr.add(after, entry{records: 1, counts: positions.Counts{Read: 1}})
				tr.undo()
				model = append(model, batch{done: true}) // the place is used up; nothing is pending
			default:
				if rand.IntN(2) == 0 || len(open) == 0 {
					n, filtered, lost := rand.Int64N(9), rand.Int64N(9), rand.Int64N(2)
					e := entry{records: n, counts: positions.Counts{Read: n + filtered + lost, Filtered: filtered}}
					if lost > 0 {
						e.counts.AddLost(positions.Lost{Reason: "vacuumed", Records: lost, Gaps: 1})
					}
					model = append(model, batch{seq: tr.add(after, e), read: e.counts.Read})
					open = append(open, len(model)-1)
					continue
				}
				model = append(model, batch{done: true})
				k := rand.IntN(len(open))
				i := open[k]
				open = append(open[:k], open[k+1:]...)
				model[i].done = true
				var refused []positions.Refused
				if n := tr.pending[model[i].seq-tr.first].records; n > 0 && rand.IntN(2) == 0 {
					refused = append(refused, positions.Refused{Reason: "rejected", Records: 1 + rand.Int64N(n)})
				}
				got, moved := tr.ack(model[i].seq, refused)
				check(step, got, moved)
				first := k == 0
				if moved != first {
					t.Fatalf("step %d: ack of open batch %d moved: %v", step, k, moved)
				}
				if moved {
					limit := step
					if len(open) > 0 {
						limit = open[0]
					}
					if n := number(got.position); n < i || n >= limit || n < lowest {
						t.Fatalf("step %d: low-water %d is not between %d and %d", step, n, i, limit)
					}
					lowest = number(got.position)
				}
			}
			if tr.idle() != (len(open) == 0) {
				t.Fatalf("step %d: idle %v with %d open", step, tr.idle(), len(open))
			}
		}
	}
}

func number(p record.Position) int {
	n := 0
	for _, c := range p {
		n = 10*n + int(c-'0')
	}
	return n
}

func TestSkipsTakeNoMemoryBehindADeadTarget(t *testing.T) {
	var tr tracker
	seq := tr.add("1", entry{records: 5, counts: positions.Counts{Read: 5}})
	for range 100000 {
		tr.skip("2", entry{counts: positions.Counts{Read: 2, Filtered: 2}})
	}
	if len(tr.pending) > 2 {
		t.Errorf("%d entries pending", len(tr.pending))
	}
	mark, moved := tr.ack(seq, nil)
	if !moved || mark.position != "2" {
		t.Errorf("got %q %v, want 2", mark.position, moved)
	}
	if c := mark.counts; c.Read != 200005 || c.Delivered != 5 || c.Filtered != 200000 {
		t.Errorf("got %+v", c)
	}
}

// What lanes are given together, each of them counts for itself.
func TestTrackersShareNoCounts(t *testing.T) {
	var given, more entry
	given.counts.AddLost(positions.Lost{Reason: "vacuumed", Gaps: 1})
	more.counts.AddLost(positions.Lost{Reason: "vacuumed", Gaps: 5})
	for range 2 {
		var tr tracker
		seq := tr.add("1", entry{})
		tr.skip("2", given)
		tr.skip("3", more)
		if mark, _ := tr.ack(seq, nil); len(mark.counts.Lost) != 1 || mark.counts.Lost[0].Gaps != 6 {
			t.Errorf("got %+v, want 6 gaps", mark.counts)
		}
	}
}
