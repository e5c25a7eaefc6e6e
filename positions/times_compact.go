package positions

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/record"
)

// Limits of Times. A checkpoint takes 24 bytes of memory and about 90 of the file.
const (
	// rewriteBytes is from which size on the file is rewritten when it has doubled.
	rewriteBytes = 4 << 20
	// maxMarks bounds the checkpoints of all inputs together; beyond it they are thinned.
	maxMarks = 1 << 18
	// guarded is how many checkpoints behind each stored position are not
	// thinned if there is a way: what a target was given and has not answered.
	guarded = 8 << 10
	// forgetAfter is how long an input without a stored position is remembered:
	// after a crash its positions may be missing, for they are stored later than its times.
	forgetAfter = time.Hour
)

// rewriteAgain is how long a rewrite that failed waits, if the file can still be appended to.
const rewriteAgain = 10 * time.Second

// tend rewrites the file if it has grown, or cannot be trusted. It is called
// by one goroutine, about once a second.
func (t *Times) tend() {
	t.mu.Lock()
	due := t.broken || t.size > rewriteBytes && t.size > 2*t.least && !t.now().Before(t.retry)
	t.mu.Unlock()
	if !due {
		return
	}
	err := t.rewrite()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil && t.err != nil:
		t.err = nil
		t.log.Info("the times given to lines without one are stored again")
	case err != nil && t.broken:
		t.fail(err)
	case err != nil:
		t.retry = t.now().Add(rewriteAgain)
		t.log.Warn("the file of assigned times cannot be made smaller", "error", err)
	}
}

// rewrite replaces the file by one that holds what is still needed. Whoever
// needs a time meanwhile does not wait for the disk to sync.
func (t *Times) rewrite() error {
	floors := t.floors()
	// A crash goes back to the positions on disk: what lies behind those is still needed.
	t.store.saveAndTell()
	saved := t.store.Err() == nil
	t.mu.Lock()
	t.trim(floors, saved)
	data := t.encode()
	t.side, t.moving = t.side[:0], true
	t.mu.Unlock()

	temp := filepath.Join(t.dir, timesTempName)
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND|unix.O_CLOEXEC, 0o600)
	if err == nil {
		if _, err = f.Write(data); err == nil {
			err = f.Sync()
		}
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	t.moving = false
	if err == nil {
		_, err = f.Write(t.side)
	}
	if err == nil {
		err = os.Rename(temp, t.path())
	}
	if err != nil {
		if f != nil {
			err = errors.Join(err, f.Close())
			os.Remove(temp) // gives the space back when the disk is full
		}
		return fmt.Errorf("writing times anew: %w", err)
	}
	if t.file != nil {
		t.file.Close()
	}
	t.file, t.broken = f, false
	t.size = int64(len(data) + len(t.side))
	t.least = int64(len(data))
	if cap(t.side) > 1<<20 {
		t.side = nil
	}
	return nil
}

// floors lists the stored positions of each input.
func (t *Times) floors() map[inputName][]record.Position {
	m := map[inputName][]record.Position{}
	for _, e := range t.store.Entries("") {
		if e.Target != "" {
			n := inputName{e.Source, e.Input}
			m[n] = append(m[n], e.Position)
		}
	}
	return m
}

// trim drops what no target can ask for any more, which is known only if floors
// are saved, and thins what is left if it is too much. t.mu is held.
func (t *Times) trim(floors map[inputName][]record.Position, saved bool) {
	now, total := t.now(), 0
	stored := map[*InputTimes][]int64{}
	for n, in := range t.inputs {
		positions := floors[n]
		if len(positions) == 0 && in.open == 0 && now.Sub(in.used) > forgetAfter {
			delete(t.inputs, n)
			continue
		}
		stored[in] = in.offsets(positions)
		if saved {
			in.drop(stored[in])
		}
		total += len(in.marks)
	}
	if total <= maxMarks {
		return
	}
	t.log.Warn("targets are so far apart that not all of the times given to lines without one can be kept: what a target is given later of them may differ from what another one was given",
		"checkpoints", total, "limit", maxMarks)
	for guard := guarded; total > maxMarks*3/4; guard /= 2 {
		for again := true; again && total > maxMarks*3/4; {
			again = false
			for in := range stored {
				n := in.thin(stored[in], guard)
				total -= n
				again = again || n > 0
			}
		}
		if guard == 0 {
			return
		}
	}
}

// offsets returns the offsets of positions, sorted; nil if one has none, or
// nobody has opened the input since the start.
func (in *InputTimes) offsets(positions []record.Position) []int64 {
	if in.offsetOf == nil {
		return nil
	}
	var list []int64
	for _, p := range positions {
		offset, ok := in.offsetOf(p)
		if !ok {
			return nil
		}
		list = append(list, offset)
	}
	slices.Sort(list)
	return list
}

// drop drops the checkpoints that lie before all offsets. The last one stays:
// what follows it is to go on from it.
func (in *InputTimes) drop(offsets []int64) {
	if len(offsets) == 0 {
		return
	}
	n := 0
	for n < len(in.marks)-1 && in.marks[n].until <= offsets[0] {
		n++
	}
	if n > 0 {
		in.marks = slices.Clone(in.marks[n:]) // and not a part of a large array
	}
}

// thin drops every other checkpoint that is not among the next guard ones
// behind one of the offsets, nor the last one, and returns how many those were. What lies
// in a dropped one then counts back from the one behind it, so that times still grow with the offset.
func (in *InputTimes) thin(offsets []int64, guard int) int {
	kept, left, odd := in.marks[:0], 0, false
	before := len(in.marks)
	for i, m := range in.marks {
		for len(offsets) > 0 && offsets[0] < m.until {
			offsets, left = offsets[1:], guard
		}
		left--
		odd = !odd
		if left >= 0 || i == before-1 || odd {
			kept = append(kept, m)
		}
	}
	in.marks = kept
	return before - len(kept)
}

// encode returns the file as it is to be. t.mu is held.
func (t *Times) encode() []byte {
	b := []byte(timesHeader)
	for _, in := range t.inputs {
		if len(in.marks) == 0 && in.id == 0 {
			continue
		}
		if in.id == 0 {
			t.lastID++
			in.id = t.lastID
		}
		b = appendInput(b, in)
		if len(in.marks) == 0 {
			b = appendMark(b, in, mark{}, 0)
		}
		for _, m := range in.marks {
			b = appendMark(b, in, m, in.tail)
		}
	}
	return b
}

// close gives the file back. What was appended is in the kernel's hands; a
// power loss right after an orderly stop is not to undo it.
func (t *Times) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == nil {
		return nil
	}
	err := errors.Join(t.file.Sync(), t.file.Close())
	t.file, t.broken = nil, true
	return err
}
