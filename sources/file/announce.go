package file

import (
	"slices"
	"sort"
	"time"
)

// settleFor is how long a new input is held before it is announced, where inotify does not tell
// what came before: a file that was renamed away before it could be opened is to be
// announced before the one that is now in its place.
const settleFor = 5 * time.Millisecond

// release announces the inputs that are held, older ones first, once all is known that came before
// them: when a file was opened at its path, the events of those that were there
// earlier were in the kernel's queue, however long they take from there on a machine that is busy.
// Those that are found later wait by themselves: there may be more of them without end.
func (d *discovery) release(now time.Time) {
	if len(d.held) == 0 || d.polls() && now.Sub(d.heldAt) < settleFor {
		return
	}
	n := len(d.held)
	if d.notifier != nil && !d.notifier.handled(d.heldSince[n-1]) {
		n = sort.Search(n, func(i int) bool { return !d.notifier.handled(d.heldSince[i]) })
	}
	d.tellFirst(n)
	d.heldAt = now
}

// tellFirst announces the first n of those that are held.
func (d *discovery) tellFirst(n int) {
	told := d.held[:n]
	if !d.inOrder {
		slices.SortStableFunc(told, byAge)
	}
	for _, in := range told {
		d.tell(in)
	}
	clear(told) // they are to be out of reach once they have ended
	if d.held, d.heldSince = d.held[n:], d.heldSince[n:]; len(d.held) == 0 {
		d.held, d.heldSince = nil, nil
	}
}

// last does what is left to do when Run ends: what has come and gone is in no listing, so that
// whoever comes next, be it in this process or after a restart, has to learn of it from here.
func (d *discovery) last() {
	if d.notifier != nil {
		d.notifier.drain()
		d.handle()
	}
	d.tellFirst(len(d.held))
	d.settle()
}

// hold keeps an input until it is announced.
func (d *discovery) hold(in *input) {
	if len(d.held) == 0 {
		d.heldAt = time.Now()
	}
	d.held, d.heldSince, d.inOrder = append(d.held, in), append(d.heldSince, kernelNow()), false
}

// tell announces an input, as the successor of the one that was at its path before.
func (d *discovery) tell(in *input) {
	before := d.latest[in.lineage()]
	switch {
	case before == nil:
		d.latest[in.lineage()] = in
	case d.paths[in.lineage()] != in && byAge(in, before) < 0:
		// It was renamed before it could be opened, and is found behind the one that
		// took its place: what comes next is to wait for that one.
		in.predecessor = before.predecessor
	default:
		in.predecessor = before.origin.Input
		d.latest[in.lineage()] = in
	}
	d.found(in)
}
