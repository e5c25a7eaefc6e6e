package file

import (
	"sync"
	"time"
)

// pollTick is how often a file in use is looked at.
const pollTick = 20 * time.Millisecond

// pollSlots is the size of the wheel; the longest interval is one less.
const pollSlots = 16

// poller looks at the files of all Readers of a source that wait, each at its
// own interval: every tick while it grows, every 240 ms when it was quiet for
// ten seconds. Its goroutine lives while somebody waits.
type poller struct {
	mu      sync.Mutex
	slots   [pollSlots][]waiter // by tick
	tick    int
	waiting int
	running bool
}

// waiter is one call of Wait; it is void once the Reader's turn is another.
type waiter struct {
	r    *reader
	turn uint64
}

// interval returns the ticks between two looks at a file that has been quiet
// for so long.
func interval(quiet time.Duration) int {
	switch {
	case quiet < 2*time.Second:
		return 1
	case quiet < 10*time.Second:
		return 2
	}
	return 12
}

// add makes the poller look after r until it wakes it or remove is called.
func (p *poller) add(r *reader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.turn++
	r.waits = true
	p.waiting++
	p.put(waiter{r, r.turn}, time.Since(r.lastChange))
	if !p.running {
		p.running = true
		go p.run()
	}
}

func (p *poller) put(w waiter, quiet time.Duration) {
	at := (p.tick + interval(quiet)) % pollSlots
	p.slots[at] = append(p.slots[at], w)
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

func (p *poller) run() {
	ticker := time.NewTicker(pollTick)
	defer ticker.Stop()
	for {
		now := <-ticker.C
		if !p.turn(now) {
			return
		}
	}
}

// turn looks at the files that are due; false if nobody waits any more.
func (p *poller) turn(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tick = (p.tick + 1) % pollSlots
	due := p.slots[p.tick]
	p.slots[p.tick] = due[:0]
	for _, w := range due {
		if !w.r.waits || w.r.turn != w.turn {
			continue
		}
		if w.r.due(now) {
			w.r.waits = false
			p.waiting--
			w.r.ready <- struct{}{} // has room for one, and there is one per turn
			continue
		}
		// Never into the slot being read: an interval is shorter than the wheel.
		p.put(w, now.Sub(w.r.lastChange))
	}
	clear(due)
	p.running = p.waiting > 0
	return p.running
}
