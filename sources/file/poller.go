package file

import (
	"sync"
	"time"
)

// pollTick is how often a file in use is looked at.
const pollTick = 20 * time.Millisecond

// pollSlots is the size of the wheel, in ticks; quiet files all share slot 0,
// so that with nothing else to do the processor is woken four times a second.
const pollSlots = 12

// poller looks at the files of all Readers of a source that wait, each at its
// own interval: every tick while it grows (a fast one more often, see hot.go), every 240 ms when it was quiet for
// ten seconds. Its goroutine lives while somebody waits, and a little longer.
type poller struct {
	mu      sync.Mutex
	slots   [pollSlots][]waiter // by tick
	tick    int64               // the last that was handled
	sleeps  int64               // until when the goroutine sleeps, as since counts
	hot     []hotWaiter         // fast files, that are looked at more often
	kick    chan struct{}       // ends that sleep
	waiting int
	running bool
	idle    bool // nobody waited at the last turn
}

// waiter is one call of Wait; it is void once the Reader's turn is another.
type waiter struct {
	r    *reader
	turn uint64
}

// nextLook returns the tick after now at which a file is looked at that has
// been quiet for so long.
func nextLook(now int64, quiet time.Duration) int64 {
	switch {
	case quiet < 2*time.Second:
		return now + 1
	case quiet < 10*time.Second:
		return now + 2
	}
	return now - now%pollSlots + pollSlots
}

func tickOf(now time.Time) int64 { return since(now) / int64(pollTick) }

// begun is what the poller counts from, and since a time as it counts it, in nanoseconds: a clock
// that is set back must not keep a file from being looked at until it is that late again.
var begun = time.Now().Add(-time.Hour)

func since(now time.Time) int64 { return int64(now.Sub(begun)) }

// add makes the poller look after r until it wakes it or remove is called.
func (p *poller) add(r *reader) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	r.turn++
	r.waits = true
	p.waiting++
	if !p.running {
		p.tick = tickOf(now)
		p.running, p.idle, p.sleeps = true, false, since(now.Add(pollTick))
		p.kick = make(chan struct{}, 1)
		go p.run(p.kick)
	}
	if at, ok := p.putHot(waiter{r, r.turn}, now); ok {
		p.kickBefore(at)
		return
	}
	// From the last tick handled on, so that it lies in the wheel's future.
	p.kickBefore(p.put(waiter{r, r.turn}, p.tick, now.Sub(r.lastChange)) * int64(pollTick))
}

// kickBefore makes the goroutine sleep no longer than until at, as since counts. p.mu is held.
func (p *poller) kickBefore(at int64) {
	if at >= p.sleeps {
		return
	}
	p.sleeps = at
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// wake ends the reader's Wait. p.mu is held.
func (p *poller) wake(r *reader) {
	r.waits = false
	p.waiting--
	r.ready <- struct{}{} // has room for one, and there is one per turn
}

func (p *poller) put(w waiter, now int64, quiet time.Duration) int64 {
	at := nextLook(now, quiet)
	p.slots[at%pollSlots] = append(p.slots[at%pollSlots], w)
	return at
}

// remove takes r out if it still waits.
func (p *poller) remove(r *reader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.waits {
		r.waits = false
		p.waiting--
	}
}

func (p *poller) run(kick <-chan struct{}) {
	timer := time.NewTimer(pollTick)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-kick:
		}
		sleep, ok := p.turn(time.Now())
		if !ok {
			return
		}
		timer.Reset(sleep)
	}
}

// turn looks at the files that are due, and returns for how long there is
// nothing to do; false if nobody waits any more.
func (p *poller) turn(now time.Time) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	to := tickOf(now)
	if to < p.tick || to > p.tick+pollSlots {
		p.tick = to - pollSlots // the clock was set, or we were stopped: look at all
	}
	for p.tick < to {
		p.tick++
		p.look(p.tick, now)
	}
	hot := p.lookHot(now)
	if p.waiting == 0 && !p.idle {
		p.idle = true // somebody is about to wait again, or nobody ever will
		p.sleeps = since(now.Add(pollSlots * pollTick))
		return pollSlots * pollTick, true
	}
	p.idle = p.waiting == 0
	if p.idle {
		p.running = false
		for i := range p.slots {
			clear(p.slots[i])
			p.slots[i] = p.slots[i][:0]
		}
		clear(p.hot)
		p.hot = p.hot[:0]
		return 0, false
	}
	next := p.tick + 1
	for next < p.tick+pollSlots && len(p.slots[next%pollSlots]) == 0 {
		next++
	}
	p.sleeps = next * int64(pollTick)
	if hot != 0 && hot < p.sleeps {
		p.sleeps = hot
	}
	return time.Duration(p.sleeps - since(now)), true
}

// look looks at the files of one slot.
func (p *poller) look(tick int64, now time.Time) {
	slot := &p.slots[tick%pollSlots]
	due := *slot
	*slot = due[:0] // what is put back lands before what is still to be read
	for _, w := range due {
		if !w.r.waits || w.r.turn != w.turn {
			continue
		}
		if !w.r.due(now) {
			if _, hot := p.putHot(w, now); !hot {
				p.put(w, tick, now.Sub(w.r.lastChange))
			}
			continue
		}
		p.wake(w.r)
	}
	clear(due[len(*slot):])
}
