package pipeline

import (
	"slices"

	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
)

// tracker takes the answers for the batches of one (source, target, input) in
// any order and yields the position up to which all are answered, and what the
// ledger is to hold of it. It is not safe for concurrent use; its lane guards it.
type tracker struct {
	first   uint64 // sequence number of pending[0]
	pending []pendingBatch
}

type pendingBatch struct {
	after record.Position
	done  bool
	entry
}

// entry is what one batch, or a run of input without records, brings to the
// ledger. The counts hold what was read, filtered and lost at first; what was
// delivered and refused comes with the answer.
type entry struct {
	records int64 // for the target to answer for; those of lbshipd itself are not among them
	counts  positions.Counts
}

// low is a low-water mark that has moved: everything up to there is answered.
type low struct {
	position record.Position
	counts   positions.Counts // of all that lies between it and the one before
}

// add notes a batch that ends at after and returns its sequence number.
func (t *tracker) add(after record.Position, e entry) uint64 {
	t.pending = append(t.pending, pendingBatch{after, false, e.own()})
	return t.first + uint64(len(t.pending)) - 1
}

// own makes e this tracker's own: other lanes were given the same.
func (e entry) own() entry {
	e.counts.Lost = slices.Clone(e.counts.Lost)
	return e
}

// undo takes the last add back: the batch was not queued after all.
func (t *tracker) undo() { t.pending = t.pending[:len(t.pending)-1] }

// skip notes a run of input without records for this target, up to after. Runs
// behind one another become one, so that they take no memory while the
// target does not answer for what lies before them.
func (t *tracker) skip(after record.Position, e entry) (low, bool) {
	n := len(t.pending)
	if n == 0 {
		return low{after, e.own().counts}, true
	}
	if last := &t.pending[n-1]; last.done {
		last.after = after
		last.counts.Add(&e.counts)
		return low{}, false
	}
	t.pending = append(t.pending, pendingBatch{after, true, e.own()})
	return low{}, false
}

// ack notes the answer for one batch: what of it was refused, all else of it
// was delivered; moved tells that everything up to the low-water mark is now answered.
func (t *tracker) ack(seq uint64, refused []positions.Refused) (mark low, moved bool) {
	if seq < t.first || seq >= t.first+uint64(len(t.pending)) {
		return low{}, false
	}
	p := &t.pending[seq-t.first]
	p.done = true
	p.counts.Refused = refused
	p.counts.Delivered = p.records - p.counts.RefusedRecords()
	n := 0
	for n < len(t.pending) && t.pending[n].done {
		mark.position, moved = t.pending[n].after, true
		mark.counts.Add(&t.pending[n].counts)
		n++
	}
	t.first += uint64(n)
	rest := copy(t.pending, t.pending[n:])
	clear(t.pending[rest:])
	t.pending = t.pending[:rest]
	return mark, moved
}

// entryOf returns what the ledger is to hold of a batch that waits for its
// answer; false if it does not.
func (t *tracker) entryOf(seq uint64) (entry, bool) {
	if seq < t.first || seq >= t.first+uint64(len(t.pending)) || t.pending[seq-t.first].done {
		return entry{}, false
	}
	return t.pending[seq-t.first].entry.own(), true
}

// spooled notes that a batch is on disk, and what the ledger is to hold of it
// as well: only its position is left here.
func (t *tracker) spooled(seq uint64) (mark low, moved bool) {
	if _, ok := t.entryOf(seq); !ok {
		return low{}, false
	}
	t.pending[seq-t.first].entry = entry{}
	return t.ack(seq, nil)
}

// idle reports whether everything is answered.
func (t *tracker) idle() bool { return len(t.pending) == 0 }
