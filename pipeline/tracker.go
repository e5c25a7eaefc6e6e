package pipeline

import "github.com/lbshipd/lbshipd/record"

// tracker takes the answers for the batches of one (source, target, input) in
// any order and yields the position up to which all are answered. It is not
// safe for concurrent use; its lane guards it.
type tracker struct {
	first   uint64 // sequence number of pending[0]
	pending []pendingBatch
}

type pendingBatch struct {
	after record.Position
	done  bool
}

// add notes a batch that ends at after and returns its sequence number.
func (t *tracker) add(after record.Position) uint64 {
	t.pending = append(t.pending, pendingBatch{after: after})
	return t.first + uint64(len(t.pending)) - 1
}

// undo takes the last add back: the batch was not queued after all.
func (t *tracker) undo() { t.pending = t.pending[:len(t.pending)-1] }

// skip notes a run of input without records for this target, up to after. Runs
// behind one another become one, so that they take no memory while the
// target does not answer for what lies before them.
func (t *tracker) skip(after record.Position) (record.Position, bool) {
	if n := len(t.pending); n > 0 {
		if t.pending[n-1].done {
			t.pending[n-1].after = after
			return "", false
		}
		t.pending = append(t.pending, pendingBatch{after, true})
		return "", false
	}
	return after, true
}

// ack notes the answer for one batch; moved tells that everything up to low
// is now answered.
func (t *tracker) ack(seq uint64) (low record.Position, moved bool) {
	if seq < t.first || seq >= t.first+uint64(len(t.pending)) {
		return "", false
	}
	t.pending[seq-t.first].done = true
	n := 0
	for n < len(t.pending) && t.pending[n].done {
		low, moved = t.pending[n].after, true
		n++
	}
	t.first += uint64(n)
	t.pending = append(t.pending[:0], t.pending[n:]...)
	return low, moved
}

// idle reports whether everything is answered.
func (t *tracker) idle() bool { return len(t.pending) == 0 }
