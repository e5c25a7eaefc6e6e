package file

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// stuckRig is a rig beside which each input has another reader, that of a
// target that takes nothing more.
type stuckRig struct {
	*rig
	stuck map[string]*reader
}

func newStuckRig(t *testing.T, path string) *stuckRig {
	r := &stuckRig{rig: newRig(t, path), stuck: map[string]*reader{}}
	t.Cleanup(func() {
		for _, rd := range r.stuck {
			rd.Close()
		}
	})
	return r
}

// stick opens the second reader of the newest input, at a position in it.
func (r *stuckRig) stick(pos record.Position) *reader {
	r.t.Helper()
	r.mu.Lock()
	in := r.inputs[len(r.inputs)-1]
	r.mu.Unlock()
	rd, err := in.Open(pos)
	must(r.t, err)
	r.stuck[in.Origin().Input] = rd.(*reader)
	return rd.(*reader)
}

// rotate writes a file of so many lines, lets it be read, and takes it away.
func (r *stuckRig) rotate(path string, n int, away func()) (*reader, int64) {
	r.t.Helper()
	lines := numbered(0, n)
	have, inputs := r.count(), r.inputCount()
	write(r.t, path, text(lines))
	r.until("the file is read", func() bool { return r.count() == have+n && r.inputCount() == inputs+1 })
	rd := r.stick("")
	away()
	return rd, int64(len(text(lines)))
}

func (r *rig) inputCount() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.inputs)
}

// lastGap reads until the end, and returns what was lost.
func lastGap(t *testing.T, rd *reader) (gaps []*sources.GapError, lines int) {
	t.Helper()
	for range 10000 {
		b := record.NewBatch()
		err := rd.Read(b)
		lines += len(b.Records)
		b.Release()
		if gap, ok := err.(*sources.GapError); ok {
			gaps = append(gaps, gap)
		} else if err == io.EOF {
			return gaps, lines
		} else if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("no end")
	return nil, 0
}

func TestHeldFilesAreBounded(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		bound func(*source)
		gone  func(t *testing.T, path string, i int)
		why   string
		given []bool // which of three files, by age
	}{
		{"bytes", func(s *source) { s.maxHeldBytes = 500 << 10 }, func(t *testing.T, path string, i int) { must(t, os.Remove(path)) },
			"maxHeldBytes", []bool{true, false, false}},
		{"bytes of files that are on the disk anyway", func(s *source) { s.maxHeldBytes = 1 }, func(t *testing.T, path string, i int) {
			must(t, os.Rename(path, fmt.Sprint(path, ".", i)))
		}, "", []bool{false, false, false}},
		{"files", func(s *source) { s.maxHeldFiles = 1 }, func(t *testing.T, path string, i int) {
			must(t, os.Rename(path, fmt.Sprint(path, ".", i)))
		}, "maxHeldFiles", []bool{true, true, false}},
		{"age", func(s *source) { s.maxHeldAge = 700 * time.Millisecond }, func(t *testing.T, path string, i int) { must(t, os.Remove(path)) },
			"maxHeldAge", []bool{true, true, true}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "app.log")
			r := newStuckRig(t, path)
			tune := r.tune
			r.tune = func(s *source) { tune(s); s.rescan = 100 * time.Millisecond; c.bound(s) }
			r.start()
			var readers []*reader
			var sizes []int64
			for i := range 3 {
				rd, size := r.rotate(path, 4000, func() { c.gone(t, path, i) })
				readers, sizes = append(readers, rd), append(sizes, size)
			}
			want := 0
			for _, given := range c.given {
				if given {
					want++
				}
			}
			r.until("the fast target's end of all", func() bool { return r.endedCount() == 3 })
			r.until("what is given up", func() bool { return r.skip("given_up_file") == want })
			r.until("what is held", func() bool { return r.src.Held().Files == 3-want })
			open := openFiles(t, filepath.Dir(path))
			if open != 3-want {
				t.Errorf("%d files are open, want %d", open, 3-want)
			}
			for i, rd := range readers {
				gaps, lines := lastGap(t, rd)
				if !c.given[i] {
					if len(gaps) != 0 || lines != 4000 {
						t.Errorf("file %d: %d lines, %v", i, lines, gaps)
					}
					continue
				}
				if lines != 0 || len(gaps) != 1 || gaps[0].Bytes != sizes[i] || gaps[0].Reason != "given_up" || !strings.Contains(gaps[0].Detail, c.why) {
					t.Errorf("file %d: %d lines, %v", i, lines, gaps)
				}
			}
			if len(r.gaps) != 0 {
				t.Errorf("the target that had all is told of gaps: %v", r.gaps)
			}
		})
	}
}

// What is given up is counted from where each target is.
func TestGivenUpInTheMiddle(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	lines := numbered(0, 5000)
	write(t, path, text(lines))
	src := testSource(t, path, 0)
	src.window = 8 << 10
	in := testInput(t, src, path)
	opened, err := in.Open("")
	must(t, err)
	rd := opened.(*reader)
	n := readSome(t, rd)
	must(t, in.surrender("test"))
	size := int64(len(text(lines)))
	want := size - rd.at.offset
	again, err := in.Open(rd.pos)
	must(t, err)
	for _, rd := range []*reader{rd, again.(*reader)} {
		gaps, more := lastGap(t, rd)
		if n == 0 || more != 0 || len(gaps) != 1 || gaps[0].Bytes != want {
			t.Errorf("%d lines, then %d and %v, want %d bytes", n, more, gaps, want)
		}
	}
	if risk, ok := in.Risk(""); ok {
		t.Errorf("a file that is there is at risk: %+v", risk) // it was never gone
	}
}

// A reader in the middle of a file that is given up at any moment sees the
// gap, and never another file's content or a truncation.
func TestGivenUpAtAnyMoment(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	lines := numbered(0, 20000)
	write(t, path, text(lines))
	for i := range 30 {
		src := testSource(t, path, 0)
		src.window, src.step = 4<<10, 1<<10
		in := testInput(t, src, path)
		rd, err := in.Open("")
		must(t, err)
		done := make(chan error)
		go func() {
			time.Sleep(time.Duration(i) * 100 * time.Microsecond) // another moment each time
			done <- in.surrender("test")
		}()
		read, gap := int64(0), (*sources.GapError)(nil)
		for {
			b := record.NewBatch()
			err := rd.Read(b)
			read += b.ReadBytes
			b.Release()
			if err == io.EOF {
				break
			}
			if g, ok := err.(*sources.GapError); ok {
				gap = g
			} else if err != nil {
				t.Logf("an error that passes: %v", err)
			}
		}
		must(t, <-done)
		if gap == nil && read == int64(len(text(lines))) {
			continue
		}
		if gap == nil || gap.Reason != "given_up" || gap.Bytes+read != int64(len(text(lines))) {
			t.Fatalf("read %d of %d bytes: %v", read, len(text(lines)), gap)
		}
	}
}

func TestRisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "one\ntwo\n")
	r := newStuckRig(t, path)
	tune := r.tune
	r.tune = func(s *source) { tune(s); s.maxHeldAge = time.Hour }
	r.start()
	r.until("two lines", func() bool { return r.count() == 2 })
	in := r.inputs[0].(*input)
	rd := r.stick("")
	if risk, ok := in.Risk(""); ok {
		t.Errorf("a file that is there is at risk: %+v", risk)
	}
	must(t, os.Remove(path))
	r.until("it is gone", func() bool { return !in.gone().IsZero() })
	risk, ok := in.Risk("")
	if !ok || risk.Bytes != 8 || risk.Left <= 59*time.Minute || risk.Left > time.Hour {
		t.Errorf("%+v %v", risk, ok)
	}
	r.until("all of it", func() bool { readSome(t, rd); return rd.at.offset == 8 })
	if risk, ok := in.Risk(rd.pos); !ok || risk.Bytes != 0 || risk.Left >= 0 {
		t.Errorf("%+v %v", risk, ok)
	}
}

// Giving a file up frees its inode, whose number the next file gets: that one
// is another file, also while the target that lost the first one is still down.
func TestFileThatGetsTheInodeOfOneGivenUp(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	r := newRig(t, path)
	src, err := newSource(&r.cfg, r.deps())
	must(t, err)
	src.inotify = new(instance) // what other tests do is not waited for
	src.rescan, src.maxHeldBytes = 50*time.Millisecond, 1
	found := make(chan sources.Input, 10)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- src.Run(ctx, func(in sources.Input) { found <- in }) }()
	defer func() { cancel(); must(t, <-done) }()
	next := func() *input {
		t.Helper()
		select {
		case in := <-found:
			return in.(*input)
		case <-time.After(time.Minute):
			t.Fatal("the file is not found")
			return nil
		}
	}

	write(t, path, "one\ntwo\n")
	first := next()
	rd, err := first.Open("")
	must(t, err)
	defer rd.Close()
	must(t, os.Remove(path))
	waitFor(t, "the file to be given up", func() bool { return first.givenUp.Load() != nil }, func() string { return "" })
	for i := range 100 { // some file gets the number, on ext4 the first
		write(t, path, fmt.Sprintf("three %d\n", i))
		f, err := os.Open(path)
		must(t, err)
		_, id, _, err := fstat(int(f.Fd()))
		f.Close()
		must(t, err)
		second := next()
		if second == first || second.givenUp.Load() != nil {
			t.Fatal("the new file is taken for the one that was given up")
		}
		if id == first.id {
			break
		}
		must(t, os.Rename(path, fmt.Sprint(path, ".", i)))
	}
	gaps, lines := lastGap(t, rd.(*reader))
	if lines != 0 || len(gaps) != 1 || gaps[0].Bytes != 8 {
		t.Errorf("%d lines, %v", lines, gaps)
	}
}

// A daemon that was stopped for a while finds that a file is gone, and that its input
// has ended for the target that had read it all, before it looks at what is held: for
// the target that has not, the file is held, and bounded, all the same.
func TestHeldFileThatDiscoveryForgetsIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "one\ntwo\n")
	r := newRig(t, path)
	src, err := newSource(&r.cfg, r.deps())
	must(t, err)
	src.inotify = new(instance) // what other tests do is not waited for
	src.maxHeldAge = time.Nanosecond
	var in *input
	d := newDiscovery(src, func(found sources.Input) { in = found.(*input) })
	defer d.close()
	d.start()
	stuck, err := in.Open("")
	must(t, err)
	defer stuck.Close()
	must(t, os.Remove(path))
	d.walk()
	if in.gone().IsZero() || !in.end() {
		t.Fatal("the file is not gone")
	}
	d.walk()
	if len(d.inputs) != 0 {
		t.Fatal("the input is not forgotten")
	}
	d.holding.look(d.inputs, time.Now())
	if gaps, lines := lastGap(t, stuck.(*reader)); lines != 0 || len(gaps) != 1 || gaps[0].Bytes != 8 {
		t.Errorf("%d lines, %v", lines, gaps)
	}
}
