package pipeline

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// inputRun is one input at work: the lanes of all targets, and the feeds that
// fill them, one for each group of lanes at the same position. Most of the
// time that is one feed, the live one; a lane whose target fell behind, was
// changed, or has another position after a restart, is read for by a feed of
// its own until it meets the live one.
type inputRun struct {
	src   *sourceRun
	input sources.Input

	ops sync.Mutex // one regrouping at a time

	mu      sync.Mutex
	lanes   []*lane
	feeds   []*feed
	stopped bool               // feeds are being stopped: none is to be started
	first   *inputRun          // whose place this one took, until that one is over
	born    time.Time          // when it was found
	waiting int                // targets that must not have it yet
	begun   time.Time          // when the first records of it were read, given to nobody before; zero: none were
	eof     bool               // a feed has read it to its very end
	over    bool               // all targets had all of it, or another run took over
	passed  map[string]passing // by target, those that had all of it once
	follows bool               // follow is at work
	swap    bool               // which of two groups waits in the next try to meet

	seeks map[*target]*seek // searches for where a target starts
}

// setTargets makes the lanes those of targets and starts the feeds anew where
// the lanes are. Lanes that stay go on without loss or repeat.
func (r *inputRun) setTargets(targets []*target) {
	r.ops.Lock()
	defer r.ops.Unlock()
	r.place(targets)
	r.halt()
	r.mu.Lock()
	have := r.lanes
	r.mu.Unlock()
	var lanes []*lane
	for _, t := range r.startingLast(targets) {
		l := r.laneFor(t)
		if l == nil {
			continue // where it starts is still looked for
		}
		if !slices.Contains(have, l) {
			l.revive() // what it has finished was another run of this input
		}
		if !r.src.joins() {
			l.unjoin()
		}
		if r.mayHave(t) {
			lanes = append(lanes, l)
		}
	}
	r.mu.Lock()
	r.lanes, r.waiting = lanes, len(targets)-len(lanes)
	if r.waiting > 0 && r.first != nil && !r.follows {
		r.follows = true
		go r.follow()
	}
	r.mu.Unlock()
	r.resume()
}

// follow lets the targets have this input as each of them has had its
// predecessor, so that the order of their records holds across a rotation. A
// target that is behind holds up itself only.
func (r *inputRun) follow() {
	for sleep(r.src.ctx, drainedAfter/3) {
		targets := r.src.targetsNow()
		ready := 0
		for _, t := range targets {
			if r.mayHave(t) && r.sought(t) == nil {
				ready++
			}
		}
		r.mu.Lock()
		have, over := len(r.lanes), r.over
		// A target that was away may have something of the predecessor left when it
		// comes back, so that one stays known until it is over.
		if over || ready == len(targets) && have == ready && r.waiting == 0 {
			r.follows = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		if ready != have {
			r.regroup()
		}
	}
}

// drainedAfter is how long a feed must have waited at the end of an input, since
// the successor was found, for the input to count as drained: longer than a
// reader needs to see news, which is more if it has waited for long already, unless it
// says itself that it has looked.
const (
	drainedAfter      = 60 * time.Millisecond
	drainedAfterQuiet = 400 * time.Millisecond
	quietFor          = time.Second
)

// epoch is what moments are counted from that are kept as numbers: a wall clock
// that is set must not make anything look quiet.
var epoch = time.Now()

// moment is now, as a number that is never 0.
func moment() int64 { return max(1, int64(time.Since(epoch))) }

// drainedAt reports whether a reader that waits since then, a moment (0: it
// does not), would by now have seen what was there when the successor was found, or begun;
// looked: it surely has.
func drainedAt(since int64, successor time.Time, looked bool) bool {
	if since == 0 {
		return false
	}
	start, after := epoch.Add(time.Duration(since)), drainedAfter
	if !looked && successor.Sub(start) > quietFor {
		after = drainedAfterQuiet
	}
	if start.Before(successor) {
		start = successor
	}
	return time.Since(start) >= after
}

// An input that somebody goes on writing to, or that cannot be read, holds its
// successor up no longer than this.
var (
	busyFor    = 5 * time.Second  // since the successor was found, or begun
	failingFor = 10 * time.Second // without one good read
)

// busyWaits is how often in a row a feed must have waited for a busy writer;
// one that catches up waits now and then at most.
const busyWaits = 10

// drained reports whether the target was given all that the input held, once,
// when its successor was found, or begun, or as much of it as can be had.
func (r *inputRun) drained(t *target, successor time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return true
	}
	// What a lane that was given all was not answered for, the target that
	// takes its place is given first.
	if p := r.passed[t.name]; p.covers(successor) && (p.lane.target == t || p.lane.idle()) {
		return true
	}
	for _, f := range r.feeds {
		if f.until != "" {
			continue // it waits where another one is, which says nothing of what lies behind
		}
		// On a busy machine the time alone says nothing of whether the reader has
		// looked, be the successor as old as it may: this feed may have begun just now.
		since := f.waiting.Load()
		looked, says := f.lookedSince(successor)
		quiet := drainedAt(since, successor, looked && says) && (looked || longer(since, busyFor))
		busy := time.Since(successor) > busyFor && f.waits.Load() >= busyWaits
		if !quiet && !busy && !longer(f.failing.Load(), failingFor) {
			continue
		}
		for _, l := range f.lanes {
			if l.target == t {
				r.pass(l, successor, !quiet)
				return true
			}
		}
	}
	return false
}

// longer reports whether since, a moment, is set and further back than d.
func longer(since int64, d time.Duration) bool {
	return since != 0 && moment()-since >= int64(d)
}

// laneFor finds the lane of the input to t, in the target, in the store, or
// new. A new target of a known input starts where another target of it is: with
// what comes now if that one keeps up, and where a target that it replaces has
// stopped; one with a startAt of its own starts there. Only an input that nobody
// knows starts as the source says. Nil: where it starts is still looked for.
func (r *inputRun) laneFor(t *target) *lane {
	source, input := r.src.cfg.Name, r.input.Origin().Input
	if l, ok := t.lane(source, input); ok {
		return l
	}
	key := positions.Key{Source: source, Target: t.name, Input: input}
	store := r.src.sup.store
	pos, stored := store.Get(key)
	if !stored {
		sought, wait, found := r.takePlace(t)
		if wait {
			return nil
		}
		if found {
			pos = sought
		} else if t.knew[source] || t.startOf(store, source).counts {
			pos = r.begin() // it appeared while the target was away
		} else if live := r.live(); live != nil {
			pos = live.position()
		} else if known, ok := store.Latest(source, input); ok {
			pos = known
		} else {
			pos = r.begin()
		}
		// Stored at once: a crash before the first answer must not make the
		// input look new, and be read from another place.
		store.Set(key, pos)
		store.Forget(positions.Key{Source: source, Input: input})
	}
	t.remember(store, source)
	store.Touch(key)
	return t.addLane(source, input, pos)
}

// live returns a lane that had all there is, or else one of the feed with the
// most lanes, nil if there is none.
func (r *inputRun) live() *lane {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.IndexFunc(r.lanes, (*lane).hasFinished); i >= 0 {
		return r.lanes[i]
	}
	groups := group(r.lanes)
	if len(groups) == 0 {
		return nil
	}
	return groups[0][0]
}

// group sorts lanes by place: the largest group first.
func group(lanes []*lane) [][]*lane {
	var at []place
	var groups [][]*lane
	for _, l := range lanes {
		if l.hasFinished() {
			continue
		}
		p := l.place()
		i := slices.IndexFunc(at, p.same)
		if i < 0 {
			i = len(groups)
			at, groups = append(at, p), append(groups, nil)
		}
		groups[i] = append(groups[i], l)
	}
	slices.SortStableFunc(groups, func(a, b []*lane) int { return len(b) - len(a) })
	return groups
}

// halt stops every feed and waits for them.
func (r *inputRun) halt() {
	r.mu.Lock()
	r.stopped = true
	feeds := r.feeds
	r.mu.Unlock()
	for _, f := range feeds {
		f.cancel()
	}
	for _, f := range feeds {
		<-f.done
	}
	r.mu.Lock()
	r.feeds = nil
	r.mu.Unlock()
}

// resume starts a feed for each group of lanes.
func (r *inputRun) resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.src.ctx.Err() != nil || r.over {
		return
	}
	r.stopped = false
	for _, g := range group(r.lanes) {
		r.start(g, "")
	}
}

// start starts a feed. r.mu is held.
func (r *inputRun) start(lanes []*lane, until record.Position) *feed {
	ctx, cancel := context.WithCancel(r.src.ctx)
	at := lanes[0].place()
	f := &feed{run: r, lanes: slices.Clone(lanes), from: at.next, until: until,
		proc: r.src.newProcessor(), cancel: cancel, done: make(chan struct{})}
	if f.proc.join != nil {
		f.proc.join.restore(at.join)
	}
	r.feeds = append(r.feeds, f)
	go func() {
		defer close(f.done)
		f.loop(ctx)
		cancel()
		if f.eof {
			r.ended(f)
		}
	}()
	return f
}

// startAlone moves a lane from its feed to a new one. It is called by the
// feed's goroutine.
func (r *inputRun) startAlone(f *feed, l *lane) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		// Whoever stops the feeds groups the lanes anew. This one must not go
		// on with a lane that has missed a batch.
		f.cancel()
		return
	}
	r.src.log.Info("target has fallen behind: what it missed is read again for it alone",
		"target", l.target.name, "path", r.input.Origin().Path)
	f.lanes = slices.DeleteFunc(slices.Clone(f.lanes), func(have *lane) bool { return have == l })
	r.start([]*lane{l}, "")
}

// ended notes that a feed has read the input to its very end.
func (r *inputRun) ended(f *feed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range f.lanes {
		l.finish()
		r.pass(l, time.Time{}, true)
	}
	r.feeds = slices.DeleteFunc(slices.Clone(r.feeds), func(have *feed) bool { return have == f })
	r.eof = true
}
