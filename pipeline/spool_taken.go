package pipeline

import (
	"time"

	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/spool"
)

// takenTick is how often what a target has taken out of its spool is saved in the
// ledger, before the spool forgets it.
const takenTick = time.Second

// saveTaken lets the spool forget what the target has answered, once the ledger
// that counts it is on disk: a SIGKILL between the two finds it in the spool, as taken.
// If the ledger cannot be saved the spool forgets it all the same: it may be the
// spool that fills the disk.
func (t *target) saveTaken() {
	t.mu.Lock()
	o := t.over
	t.mu.Unlock()
	if o == nil {
		return
	}
	// What is counted is in the store before it is taken.
	if f, unsaved := o.spool.LastTaken(); unsaved {
		t.book.store.Save() // keeps its error, and Run tells it
		o.spool.Answered(f)
	}
}

// takeOverTaken puts into the ledger what the target has taken out of the spool
// after the ledger was saved last. Whether some of it was refused is not known
// any more: it counts as delivered. The book is locked.
func (s *Supervisor) takeOverTaken(t *target, o *overflow, tails map[positions.Key]tail, unsaved func(time.Time) bool) {
	b := &t.book
	o.spool.EachTaken(func(h spool.Head) {
		e := entryOf(&h)
		e.counts.Delivered = e.records
		b.row(h.Origin.Source, t.name).read += e.counts.Read
		b.moves = append(b.moves, positions.Move{Key: positions.Key{Source: h.Origin.Source, Target: t.name}, Counts: e.counts})
		if unsaved(h.Appended) && h.Whole() {
			tails[positions.Key{Source: h.Origin.Source, Target: t.name, Input: h.Origin.Input}] = tailOf(h)
		}
	})
	b.settle()
}
