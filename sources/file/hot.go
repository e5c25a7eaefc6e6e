package file

import "time"

// A file that is truncated in place (copytruncate) takes with it what was
// written since it was last looked at. So the faster a file is written, the
// more often it is looked at: about every hotBytes of it, down to every
// hotLeast, and only as long as it is written like that. A slower file is left
// to the wheel and its 20 ms.
const (
	hotBytes = 4 << 10
	hotLeast = 2 * time.Millisecond
	// hotFor is how long a fast file may pause until it counts as slow.
	hotFor = 100 * time.Millisecond
	// hurryFor is how long a file is looked at as often as can be, once a copy
	// of it seems to be made.
	hurryFor = 2 * time.Second
	// hurryMost bounds how many files are looked at like that at once.
	hurryMost = 64
	hurryPace = time.Millisecond
)

// hotWaiter is a waiter with a time of its own.
type hotWaiter struct {
	waiter
	at int64 // as since counts
}

// heat takes in that n bytes were read at now, and keeps the rate they come at.
func (r *reader) heat(n int64, now time.Time) {
	took := max(now.Sub(r.heated).Seconds(), 1e-4)
	r.heated = now
	r.rate += (float64(n)/took - r.rate) / 4
}

// pace returns how soon the file is to be looked at again if it is a fast one; 0 if not.
func (r *reader) pace(now time.Time) time.Duration {
	if since(now) < r.in.hurryUntil.Load() {
		return hurryPace
	}
	if r.rate < float64(hotBytes)/pollTick.Seconds() || now.Sub(r.lastChange) > hotFor {
		return 0
	}
	return max(hotLeast, time.Duration(hotBytes/r.rate*float64(time.Second)))
}

// putHot keeps w for its time, and returns that; false if its file is not a fast one. p.mu is held.
func (p *poller) putHot(w waiter, now time.Time) (int64, bool) {
	pace := w.r.pace(now)
	if pace == 0 {
		return 0, false
	}
	at := since(now) + int64(pace)
	p.hot = append(p.hot, hotWaiter{w, at})
	return at, true
}

// lookHot looks at the fast files that are due, and returns when the next one
// is, as since counts; 0 if there is none. p.mu is held.
func (p *poller) lookHot(now time.Time) int64 {
	hot := p.hot
	p.hot = hot[:0] // what is put back lands before what is still to be read
	next := int64(0)
	for _, w := range hot {
		if !w.r.waits || w.r.turn != w.turn {
			continue
		}
		if w.at > since(now) {
			p.hot = append(p.hot, w)
		} else if w.r.due(now) {
			p.wake(w.r)
			continue
		} else if at, ok := p.putHot(w.waiter, now); ok {
			w.at = at
		} else {
			p.put(w.waiter, p.tick, now.Sub(w.r.lastChange))
			continue
		}
		if next == 0 || w.at < next {
			next = w.at
		}
	}
	clear(hot[len(p.hot):])
	return next
}

// hurry looks at a file as often as can be for a while: it seems that a copy
// of it is being made, and that it will be truncated then.
func (p *poller) hurry(in *input) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.hot) >= hurryMost {
		return
	}
	in.hurryUntil.Store(since(now.Add(hurryFor)))
	for i := range p.slots {
		for _, w := range p.slots[i] {
			if w.r.in == in && w.r.waits && w.r.turn == w.turn {
				p.hot = append(p.hot, hotWaiter{w, since(now)}) // its other place is void once it is woken
				p.kickBefore(since(now))
			}
		}
	}
}
