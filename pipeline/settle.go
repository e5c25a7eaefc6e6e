package pipeline

import "slices"

// settle forgets an input that yields nothing more, once every target had all
// of it and has answered. Until then it stays, with all its positions: a target
// that is changed meanwhile reads on, and one that had all is not given it
// again by a restart because another one has not.
func (r *inputRun) settle() {
	r.ops.Lock()
	defer r.ops.Unlock()
	r.mu.Lock()
	lanes := r.lanes
	unsettled := func(l *lane) bool { return !l.settled() }
	if !r.eof || r.over || r.waiting > 0 || len(lanes) == 0 || slices.ContainsFunc(lanes, unsettled) {
		r.mu.Unlock()
		return
	}
	r.over = true
	r.first = nil // so that a chain of rotations is not kept
	r.mu.Unlock()
	input, store := r.input.Origin().Input, r.src.sup.store
	// A target that was taken away before it had all may come back, and then
	// finds the input again; the others must not get it anew then.
	stored := store.Entries(r.src.cfg.Name)
	if !keptFor(r.src.sup.away(stored), stored, input, lanes[0].position()) {
		for _, e := range stored {
			if e.Input == input {
				store.Forget(e.Key)
			}
		}
	}
	for _, l := range lanes {
		l.target.dropLane(l.key.Source, l.key.Input)
	}
	r.src.forget(r)
}

// retire ends a run whose input has ended and was found once more: another run
// goes on where its lanes are. It reports false if the input has not ended.
func (r *inputRun) retire() bool {
	r.ops.Lock()
	defer r.ops.Unlock()
	r.mu.Lock()
	ended := r.eof
	r.over = r.over || ended
	if ended {
		r.first = nil
	}
	r.mu.Unlock()
	if ended {
		r.halt()
	}
	return ended
}

// settle forgets the inputs that are done with.
func (r *sourceRun) settle() {
	r.eachRun((*inputRun).settle)
}
