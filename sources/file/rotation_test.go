package file

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// logger writes numbered lines at a rate, one write call for each, as a
// program does that logs.
type logger struct {
	t      *testing.T
	path   string
	next   int
	opened int // lines that were written before the open file was begun
	f      *os.File
	// plainOffset: without O_APPEND.
	plainOffset bool
}

func (l *logger) reopen() {
	l.t.Helper()
	if l.f != nil {
		must(l.t, l.f.Close())
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if l.plainOffset {
		flags &^= os.O_APPEND
	}
	f, err := os.OpenFile(l.path, flags, 0o644)
	must(l.t, err)
	l.f, l.opened = f, l.next
}

func (l *logger) write(n int) {
	for range n {
		fmt.Fprintf(l.f, "%08d the quick brown fox jumps over the lazy dog, as it does in every line\n", l.next)
		l.next++
	}
}

// run writes at about 50,000 lines a second for so long, and calls rotate
// each time an interval has passed.
func (l *logger) run(d, every time.Duration, rotate func(n int)) {
	const burst = 100
	began := time.Now()
	rotations, last := 0, began
	for time.Since(began) < d {
		l.write(burst)
		// Never two in a row, however long this process was held up: nobody
		// can open a file that is deleted at once.
		if time.Since(last) >= every {
			rotations++
			rotate(rotations)
			last = time.Now()
		}
		// Pacing, not synchronisation.
		if ahead := time.Duration(l.next)*20*time.Microsecond - time.Since(began); ahead > 0 {
			time.Sleep(ahead)
		}
	}
}

// tally counts what came of the numbered lines.
type tally struct{ lost, duplicated, torn, max int }

func count(t *testing.T, r *rig, written int) tally {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	times := make([]uint8, written)
	var c tally
	for _, l := range r.lines {
		num, rest, _ := strings.Cut(l.text, " ")
		n, err := strconv.Atoi(num)
		if err != nil || n >= written || !strings.HasSuffix(rest, "every line") || l.flags&record.Torn != 0 {
			c.torn++
			continue
		}
		times[n]++
	}
	for _, n := range times {
		switch {
		case n == 0:
			c.lost++
		case n > 1:
			c.duplicated += int(n) - 1
		}
	}
	return c
}

func TestRotationsUnderLoad(t *testing.T) {
	t.Parallel()
	const length = 1500 * time.Millisecond
	cases := []struct {
		name      string
		every     time.Duration
		noInotify bool
		rotate    func(l *logger, n int)
	}{
		{"rename and create", 200 * time.Millisecond, false, func(l *logger, n int) {
			must(l.t, os.Rename(l.path, l.path+"."+strconv.Itoa(n)))
			l.write(50) // the writer has not noticed yet
			l.reopen()
		}},
		{"rename and create, polling", 300 * time.Millisecond, true, func(l *logger, n int) {
			must(l.t, os.Rename(l.path, l.path+"."+strconv.Itoa(n)))
			l.write(50)
			l.reopen()
		}},
		{"logrotate's shift", 200 * time.Millisecond, false, func(l *logger, n int) {
			os.Remove(l.path + ".2")
			os.Rename(l.path+".1", l.path+".2")
			must(l.t, os.Rename(l.path, l.path+".1"))
			l.write(50)
			l.reopen()
		}},
		{"delete and create", 200 * time.Millisecond, false, func(l *logger, n int) {
			must(l.t, os.Remove(l.path))
			l.write(50)
			l.reopen()
		}},
		{"20 quick renames", 500 * time.Millisecond, false, func(l *logger, n int) {
			for i := range 20 {
				must(l.t, os.Rename(l.path, fmt.Sprintf("%s.%d.%d", l.path, n, i)))
				l.reopen()
				l.write(10)
			}
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "app.log")
			r := newRig(t, path)
			tune := r.tune
			r.tune = func(s *source) { tune(s); s.noInotify = c.noInotify; s.endAfter = time.Second }
			r.start()
			l := &logger{t: t, path: path}
			l.reopen()
			l.run(length, c.every, func(n int) {
				// A file that nobody has opened when it is deleted is gone.
				r.until("the file is read", func() bool { return r.count() > l.opened })
				c.rotate(l, n)
			})
			r.until("all lines", func() bool { return r.count() >= l.next })
			if got := count(t, r, l.next); got != (tally{}) {
				t.Errorf("of %d lines: %+v", l.next, got)
			}
			r.clean()
			r.mu.Lock()
			defer r.mu.Unlock()
			t.Logf("%d lines, %d inputs", l.next, len(r.inputs))
		})
	}
}

// copytruncate destroys what is written between the last look and the
// truncation; that much may be lost, and nothing else.
func TestCopytruncateUnderLoad(t *testing.T) {
	t.Parallel()
	for _, plainOffset := range []bool{false, true} {
		t.Run(fmt.Sprintf("writer's own offset %v", plainOffset), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "app.log")
			r := newRig(t, path)
			r.start()
			l := &logger{t: t, path: path, plainOffset: plainOffset}
			l.reopen()
			rotations := 0
			// came reports whether line n or one behind it did: then what lies before it was looked at.
			came := func(n int) bool {
				r.mu.Lock()
				defer r.mu.Unlock()
				return len(r.lines) > 0 && r.lines[len(r.lines)-1].text >= fmt.Sprintf("%08d", n)
			}
			l.run(1500*time.Millisecond, 250*time.Millisecond, func(int) {
				// Of two truncations between two looks only one can be seen.
				r.until("the file is read", func() bool { return came(l.opened) })
				must(t, os.Truncate(path, 0))
				rotations++
				l.opened = l.next
			})
			l.write(1)
			r.until("the last line", func() bool { return came(l.next - 1) })
			got := count(t, r, l.next)
			// On a machine that is busy for so long, two truncations may look like one.
			if got.duplicated > 0 || got.torn > 0 || r.gapCount() > rotations || 2*r.gapCount() < rotations {
				t.Errorf("of %d lines: %+v; %d gaps for %d truncations: %v", l.next, got, r.gapCount(), rotations, r.gaps)
			}
			// 50 lines a millisecond, and a look every 20 ms; a busy machine is slower.
			if got.lost > rotations*50*200 || got.lost > l.next/2 {
				t.Errorf("lost %d of %d lines in %d truncations", got.lost, l.next, rotations)
			}
			t.Logf("%d lines, %d truncations: %+v; %v", l.next, rotations, got, r.gaps[0])
		})
	}
}

// A restart at any moment, with rotations before, during and after it: each
// line comes exactly once.
func TestRestartsUnderLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	r := newRig(t, path)
	r.start()
	l := &logger{t: t, path: path}
	l.reopen()
	// A file that nobody ever saw under its name in the globs cannot be found
	// under another one: the test waits until it was seen.
	seen := func() {
		r.until("the new file is seen", func() bool {
			_, id, _, err := fstat(int(l.f.Fd()))
			must(t, err)
			r.mu.Lock()
			defer r.mu.Unlock()
			return slices.ContainsFunc(r.inputs, func(in sources.Input) bool {
				_, stored := r.positions[in.Origin().Input]
				return in.(*input).id == id && stored
			})
		})
	}
	l.run(3*time.Second, 70*time.Millisecond, func(n int) {
		if r.cancel != nil {
			seen()
		}
		switch n % 4 {
		case 0:
			must(t, os.Rename(path, path+"."+strconv.Itoa(n)))
			l.write(20)
			l.reopen()
		case 1:
			r.stop()
		case 2:
			if r.cancel == nil {
				must(t, os.Rename(path, path+"."+strconv.Itoa(n)))
				l.reopen()
			}
		case 3:
			r.start()
		}
	})
	if r.cancel == nil {
		r.start()
	}
	r.until("all lines", func() bool { return r.count() >= l.next })
	if got := count(t, r, l.next); got != (tally{}) {
		t.Errorf("of %d lines: %+v", l.next, got)
	}
	r.clean()
}

// A writer that flushes a buffer leaves lines unfinished between two writes.
func TestBufferedWriter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	r := newRig(t, path)
	r.start()
	f, err := os.Create(path)
	must(t, err)
	w := bufio.NewWriterSize(f, 4096)
	const lines = 20000
	for i := range lines {
		fmt.Fprintf(w, "%08d in every line\n", i)
		if i%1000 == 0 {
			time.Sleep(5 * time.Millisecond) // pacing
		}
	}
	must(t, w.Flush())
	must(t, f.Close())
	r.until("all lines", func() bool { return r.count() >= lines })
	if got := count(t, r, lines); got != (tally{}) {
		t.Errorf("%+v", got)
	}
	r.clean()
}
