package pipeline

import (
	"slices"
	"time"
)

// meetWithin is how long one feed waits for another to reach its position.
const meetWithin = 250 * time.Millisecond

// meet brings two feeds together that have both read to the end of the input
// lately: all stop, one goes on until it is exactly where the other is, and
// what stands at the same place then becomes one feed.
func (r *inputRun) meet() {
	if !r.canMeet() {
		return
	}
	r.ops.Lock()
	defer r.ops.Unlock()
	r.halt()
	defer r.resume()
	r.mu.Lock()
	groups := group(r.lanes)
	r.mu.Unlock()
	if len(groups) < 2 {
		return
	}
	waits, goes := groups[0], groups[1]
	if r.swap {
		waits, goes = goes, waits
	}
	goal := waits[0].place().next
	if goal == "" || r.src.ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	f := r.start(goes, goal)
	r.mu.Unlock()
	late := time.NewTimer(meetWithin)
	defer late.Stop()
	select {
	case <-f.done:
	case <-late.C:
	}
	r.halt()
	// Which of the two is ahead cannot be seen from the positions: if it was
	// the wrong way round, the next try goes the other way.
	if goes[0].place().next != goal {
		r.swap = !r.swap
	}
}

// canMeet reports whether at least two feeds were at the end of the input
// since the last call, or are at the same place while nothing comes.
func (r *inputRun) canMeet() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped || len(r.feeds) < 2 {
		return false
	}
	n := 0
	var quiet []place
	for _, f := range r.feeds {
		if f.atEnd.Swap(false) {
			n++
		}
		if f.waiting.Load() != 0 {
			quiet = append(quiet, f.lanes[0].place())
		}
	}
	for i, p := range quiet {
		if slices.ContainsFunc(quiet[:i], p.same) {
			return true
		}
	}
	return n >= 2
}
