package pipeline

import "slices"

// behind counts, by target, the inputs that are not read for it together with
// the others: those that have a feed of their own while another feed is ahead,
// those that others have read to their very end, and those that it may not
// begin with because it is not through with what was there before.
func (r *inputRun) behind(count map[*target]int) {
	targets := r.src.targetsNow()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped || r.over {
		return
	}
	for _, t := range targets {
		has := slices.ContainsFunc(r.lanes, func(l *lane) bool { return l.target == t })
		if !has && len(r.lanes)+r.waiting > 0 {
			count[t]++
		}
	}
	ahead := r.ahead()
	for _, f := range r.feeds {
		if f == ahead {
			continue
		}
		for _, l := range f.lanes {
			count[l.target]++
		}
	}
}

// ahead returns the feed that the others are behind, nil if that one has read
// the input to its end. r.mu is held.
func (r *inputRun) ahead() *feed {
	if r.eof || len(r.feeds) == 0 {
		return nil
	}
	// A feed that waits at the end is ahead of one that does not; of two that
	// do, or do not, the one with more targets.
	weight := func(f *feed) int {
		if f.waiting.Load() != 0 {
			return 1<<20 + len(f.lanes)
		}
		return len(f.lanes)
	}
	return slices.MaxFunc(r.feeds, func(a, b *feed) int { return weight(a) - weight(b) })
}
