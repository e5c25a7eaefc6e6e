package pipeline

import (
	"slices"
	"time"
)

// A program goes on writing to a file that was renamed until somebody tells it, and may be quiet before
// it does so: that nothing comes of the file for a while says little. That
// something was written to the next one says all: who wrote it is done with the former one. So
// the predecessor is looked at once more when a feed has read the first records of an input,
// and before anybody is given them.

// passing is what a lane was given once: all that there was until then, or all
// that there will be.
type passing struct {
	lane  *lane
	until time.Time
	all   bool // or as much of it as can be had
}

// covers reports whether the lane was given what there was at a time.
func (p passing) covers(at time.Time) bool {
	return p.lane != nil && (p.all || !p.until.Before(at))
}

// pass notes what the lane was given. r.mu is held.
func (r *inputRun) pass(l *lane, until time.Time, all bool) {
	if r.passed == nil {
		r.passed = map[string]passing{}
	}
	r.passed[l.target.name] = passing{l, until, all}
}

// mayHave reports whether the target had all of the predecessor, and of those before it if
// nothing was written to that one: two rotations may have come before a program was told of one.
func (r *inputRun) mayHave(t *target) bool {
	first, since := r.before()
	if since.IsZero() {
		since = r.born
	}
	for first != nil {
		if !first.drained(t, since) {
			return false
		}
		before, begun := first.before()
		if !begun.IsZero() {
			return true
		}
		first = before
	}
	return true
}

// before returns the predecessor, nil if there is none or it is over, and when
// the first records of r were read, the zero time if none were.
func (r *inputRun) before() (first *inputRun, begun time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first, r.begun
}

// admitted reports whether what the feed has read, the first records that it could give, may be
// given to all its lanes. If not, those that may not are taken out of it: the feed is to
// end, and what it has read is read again. It is called by the feed's goroutine.
func (f *feed) admitted() bool {
	r := f.run
	r.mu.Lock()
	if r.first != nil && r.begun.IsZero() {
		r.begun = time.Now()
	}
	r.mu.Unlock()
	if slices.ContainsFunc(f.lanes, func(l *lane) bool { return !r.mayHave(l.target) }) {
		go r.regroup()
		return false
	}
	f.admits = true
	return true
}

// regroup makes the lanes those of the targets that there are, as setTargets does.
func (r *inputRun) regroup() {
	for {
		targets := r.src.targetsNow()
		r.setTargets(targets)
		if slices.Equal(targets, r.src.targetsNow()) {
			return // else somebody else's call may have been before ours
		}
	}
}
