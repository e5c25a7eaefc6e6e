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
// own interval: every tick while it grows, every 240 ms when it was quiet for
// ten seconds. Its goroutine lives while somebody waits.
type poller struct {
	mu      sync.Mutex
	slots   [pollSlots][]waiter // by tick
	tick    int64               // the last that was handled, since the epoch
	sleeps  int64               // the tick until which the goroutine sleeps
	kick    chan struct{}       // ends that sleep
	waiting int
	running bool
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

func tickOf(now time.Time) int64 { return now.UnixNano() / int64(pollTick) }

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
		p.running, p.sleeps = true, p.tick
		p.kick = make(chan struct{}, 1)
		go p.run(p.kick)
	}
	// From the last tick handled on, so that it lies in the wheel's future.
	at := p.put(waiter{r, r.turn}, p.tick, now.Sub(r.lastChange))
	if at < p.sleeps {
		p.sleeps = at
		select {
		case p.kick <- struct{}{}:
		default:
		}
	}
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
	if p.waiting == 0 {
		p.running = false
		for i := range p.slots {
			clear(p.slots[i])
			p.slots[i] = p.slots[i][:0]
		}
		return 0, false
	}
	next := p.tick + 1
	for next < p.tick+pollSlots && len(p.slots[next%pollSlots]) == 0 {
		next++
	}
	p.sleeps = next
	return time.Unix(0, next*int64(pollTick)).Sub(now), true
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
			p.put(w, tick, now.Sub(w.r.lastChange))
			continue
		}
		w.r.waits = false
		p.waiting--
		w.r.ready <- struct{}{} // has room for one, and there is one per turn
	}
	clear(due[len(*slot):])
}
