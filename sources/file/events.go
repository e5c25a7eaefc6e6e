package file

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// movesKept is how long a new name, or a rename whose second half has not
// come, is remembered.
const movesKept = 2 * time.Second

// moves remembers the names in the globs that have lately appeared, so that a
// file that was renamed before it could be opened is found under its new name,
// be that in the globs or not.
type moves struct {
	fresh   map[string]move        // current path → the path it had in the globs
	carried map[uint32]move        // by the cookie of a rename whose first half was seen
	left    map[string][]departure // by path, in order: what no event has told of yet
}

// departure is of an input that a path no longer leads to. Each is of one event that a file went
// from there: who has none, was never seen.
type departure struct {
	in *input
	at time.Time
}

type move struct {
	first string
	led   *input // what was there when it was looked for: it, or what came next
	known bool   // it is or was an input, or is none on purpose: when it goes, nothing is lost
	apart bool   // it is not to be opened
	at    time.Time
}

func newMoves() moves {
	return moves{fresh: map[string]move{}, carried: map[uint32]move{}, left: map[string][]departure{}}
}

func (m *moves) expire(now time.Time) {
	for path, mv := range m.fresh {
		if now.Sub(mv.at) > movesKept {
			delete(m.fresh, path)
		}
	}
	for cookie, mv := range m.carried {
		if now.Sub(mv.at) > movesKept {
			delete(m.carried, cookie)
		}
	}
	for path, list := range m.left {
		if now.Sub(list[len(list)-1].at) > movesKept {
			delete(m.left, path)
		}
	}
}

// leave notes that in is no longer at path.
func (m *moves) leave(path string, in *input, now time.Time) {
	m.left[path] = append(m.left[path], departure{in, now})
}

// seen reports whether what an event says has gone from path was an input there. However late the
// events are handled, there are as many of those as have come into sight.
func (m *moves) seen(path string) bool {
	list := m.left[path]
	if len(list) == 0 {
		return false
	}
	if m.left[path] = list[1:]; len(list) == 1 {
		delete(m.left, path)
	}
	return true
}

// handle does what the inotify events that have come ask for.
func (d *discovery) handle() {
	events := d.notifier.take()
	d.known = nil
	now := time.Now()
	for i := range events {
		e := &events[i]
		switch {
		case e.mask&unix.IN_Q_OVERFLOW != 0:
			d.overflowed(now)
		case e.mask&unix.IN_IGNORED != 0:
			d.lostWatch(e.watch, now)
		case e.mask&(unix.IN_DELETE_SELF|unix.IN_MOVE_SELF) != 0:
			for name := range d.byWatch[e.watch] {
				if dir := d.dirs[name]; dir != nil {
					d.unwatch(dir)
				}
			}
			d.nextWalk = now
		default:
			for name := range d.byWatch[e.watch] {
				d.change(d.dirs[name], e, now)
			}
		}
	}
}

// overflowed looks at everything, because events were lost: also for what was
// created and rotated since all was well.
func (d *discovery) overflowed(now time.Time) {
	since := d.notifier.settled()
	d.src.deps.Log.Warn("events of directories were lost; looking at all of them", "since", since)
	d.moves = newMoves() // halves of renames, whose other halves may be lost
	d.walk()
	d.steadyUntil = now.Add(steadyMost)
	d.steadily(slices.Collect(maps.Keys(d.dirs)), func(dir string) bool {
		d.bornUnseen(dir, since.Add(-bornSlack))
		return true
	})
}

// lostWatch is told of a watch that the kernel has removed with its directory.
func (d *discovery) lostWatch(watch int32, now time.Time) {
	for name := range d.byWatch[watch] {
		delete(d.dirs, name)
		d.nextWalk = now
	}
	delete(d.byWatch, watch)
}

// change does what one event in a directory asks for.
func (d *discovery) change(dir *directory, e *event, now time.Time) {
	if dir == nil || e.name == "" {
		return
	}
	path := join(dir.path, e.name)
	for link := range dir.links[e.name] {
		d.watchHops(link)
		d.check(link)
	}
	if e.mask&unix.IN_ISDIR != 0 {
		if e.mask&(unix.IN_CREATE|unix.IN_MOVED_TO) == 0 {
			d.lostDir(path, now)
		} else if d.src.globs.descend(path, false) {
			d.newPass()
			d.walkDir(path)
		}
		return
	}
	switch {
	case e.mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
		d.appeared(path, e, now)
	case e.mask&(unix.IN_MOVED_FROM|unix.IN_DELETE) != 0:
		d.vanished(path, e, now)
	}
}

func (d *discovery) appeared(path string, e *event, now time.Time) {
	carried, moved := d.moves.carried[e.cookie]
	if e.cookie == 0 || !moved {
		moved = false
	} else {
		delete(d.moves.carried, e.cookie)
	}
	if e.mask&unix.IN_CREATE != 0 && !isCompressedName(path) {
		// The file that a copy is made of is about to be truncated.
		if in := d.paths[d.rotatedFrom(parent(path), e.name)]; in != nil {
			d.src.poller.hurry(in)
		}
	}
	if d.src.globs.match(path) {
		d.scanLink(path) // a link may lead to a directory
		if e.mask&unix.IN_MOVED_TO != 0 {
			delete(d.moves.left, path) // no event tells of what it took the place of
		}
		in := d.paths[path]
		d.moves.fresh[path] = move{first: path, led: in, known: moved && carried.known || in == nil && !isGone(path),
			apart: moved && carried.apart || isCompressedName(path), at: now}
		return
	}
	if d.src.globs.descend(path, true) {
		d.scanLink(path)
	}
	if !moved || carried.apart {
		delete(d.moves.fresh, path)
		return
	}
	carried.known = d.open(path, carried.first, false) || carried.known || !isGone(path)
	carried.at = now
	d.moves.fresh[path] = carried
}

// isGone reports whether there is nothing at path: what is there and no input is none on purpose.
func isGone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

func (d *discovery) vanished(path string, e *event, now time.Time) {
	mv, ok := d.moves.fresh[path]
	delete(d.moves.fresh, path)
	matches, leftOut := d.src.globs.match(path), d.complaints[path] != ""
	if matches {
		d.check(path)
		mv.known = d.moves.seen(path) || mv.known
	}
	if !ok && matches && e.mask&unix.IN_MOVED_FROM != 0 {
		mv.first, mv.apart = path, leftOut
		ok = mv.known || mv.apart || d.slipped()
	}
	if !ok {
		return
	}
	mv.at = now
	if e.mask&unix.IN_MOVED_FROM != 0 {
		d.moves.carried[e.cookie] = mv
	} else if !mv.known && !mv.apart { // what is still there is not what was deleted
		d.loseUnseen(mv.first, mv.led)
	}
}

// slipped reports whether a file that was renamed away may never have been
// seen: it came before its directory was watched, and went before it was
// looked at. Not one that was there at a first run that starts at the end.
func (d *discovery) slipped() bool { return !(d.src.deps.FirstRun && d.src.fromEnd) }

// pause is how long Run may wait for events.
func (d *discovery) pause() time.Duration {
	next := d.nextWalk
	if d.nextPoll.Before(next) {
		next = d.nextPoll
	}
	if again := time.Now().Add(settleFor); len(d.held) > 0 && again.Before(next) {
		next = again
	}
	if len(d.holding.files) > 0 && d.holding.next.Before(next) {
		next = d.holding.next
	}
	return max(time.Millisecond, time.Until(next))
}

// look does what is due without an event.
func (d *discovery) look() {
	d.known = nil
	now := time.Now()
	if !now.Before(d.nextWalk) {
		d.pollDirs() // what a walk sees at a path, no poll sees change
		d.walk()
	}
	if !now.Before(d.nextPoll) {
		d.pollDirs()
	}
}
