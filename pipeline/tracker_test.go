package pipeline

import (
	"math/rand/v2"
	"testing"

	"github.com/lbshipd/lbshipd/record"
)

// Against a model: the low-water mark is the end of the longest answered run.
func TestTrackerAgainstAModel(t *testing.T) {
	for range 200 {
		var tr tracker
		type batch struct {
			seq  uint64
			done bool
		}
		var model []batch // in order; skips are done at once
		var open []int    // of model, not answered
		low := 0
		for step := range 200 {
			after := tapePosition(step)
			switch rand.IntN(4) {
			case 0:
				got, moved := tr.skip(after)
				model = append(model, batch{done: true})
				if wantMoved := len(open) == 0; moved != wantMoved || moved && got != after {
					t.Fatalf("step %d: skip gave %q %v, want moved %v", step, got, moved, wantMoved)
				}
			case 1:
				tr.add(after)
				tr.undo()
				model = append(model, batch{done: true}) // the place is used up; nothing is pending
			default:
				if rand.IntN(2) == 0 || len(open) == 0 {
					model = append(model, batch{seq: tr.add(after)})
					open = append(open, len(model)-1)
					continue
				}
				model = append(model, batch{done: true})
				k := rand.IntN(len(open))
				i := open[k]
				open = append(open[:k], open[k+1:]...)
				model[i].done = true
				got, moved := tr.ack(model[i].seq)
				first := k == 0
				if moved != first {
					t.Fatalf("step %d: ack of open batch %d moved: %v", step, k, moved)
				}
				if moved {
					limit := step
					if len(open) > 0 {
						limit = open[0]
					}
					if n := number(got); n < i || n >= limit || n < low {
						t.Fatalf("step %d: low-water %d is not between %d and %d", step, n, i, limit)
					}
					low = number(got)
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
	seq := tr.add("1")
	for range 100000 {
		tr.skip("2")
	}
	if len(tr.pending) > 2 {
		t.Errorf("%d entries pending", len(tr.pending))
	}
	if low, moved := tr.ack(seq); !moved || low != "2" {
		t.Errorf("got %q %v, want 2", low, moved)
	}
}
