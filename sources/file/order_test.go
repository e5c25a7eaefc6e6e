package file

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/sources"
)

// A file that is found behind the one that took its place comes where it belongs, and
// what is at the path next comes behind the one that was there last.
func TestFoundBehindItsSuccessor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	src := testSource(t, path, 0)
	var found []*input
	d := newDiscovery(src, func(in sources.Input) { found = append(found, in.(*input)) })
	defer d.close()
	d.start()
	see := func() {
		t.Helper()
		for n, deadline := len(found), time.After(time.Minute); len(found) == n; {
			select {
			case <-d.events():
				d.handle()
			case <-time.After(settleFor):
				d.release(time.Now())
			case <-deadline:
				t.Fatal("found no more")
			}
		}
	}
	write(t, path, "1\n")
	see()
	must(t, os.Rename(path, path+".3"))
	write(t, path+".2", "2\n") // was at path, too shortly to be seen there
	write(t, path, "3\n")
	see()
	d.open(path+".2", path, false)
	see()
	must(t, os.Rename(path, path+".1"))
	write(t, path, "4\n")
	see()
	for i, want := range []string{"", found[0].origin.Input, found[0].origin.Input, found[1].origin.Input} {
		if got := found[i].Predecessor(); got != want {
			t.Errorf("file %d has predecessor %q, want %q", i, got, want)
		}
	}
}

// On a busy machine the event of a file's birth may come long before that of its rename. It
// is announced before the one that is at its path by then, all the same.
func TestFoundBehindItsSuccessorOnABusyMachine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	src := testSource(t, path, 0)
	var found []sources.Input
	d := newDiscovery(src, func(in sources.Input) { found = append(found, in) })
	defer d.close()
	d.start()
	stall := src.inotify.stall
	write(t, path, "1\n")
	<-d.events()
	stall(true)
	tickOn(t)
	must(t, os.Rename(path, path+".1"))
	write(t, path, "2\n")
	d.handle()
	d.release(time.Now().Add(time.Hour))
	if len(found) > 0 {
		t.Errorf("announced %q, and events wait", readFirst(t, found[0]))
	}
	stall(false)
	write(t, path+".x", "") // has the instance read on
	<-d.events()
	d.handle()
	d.release(time.Now())
	if len(found) != 2 || string(readFirst(t, found[0])) != "1" || string(readFirst(t, found[1])) != "2" {
		t.Fatalf("found %d files of 2, or in another order", len(found))
	}
	if got := found[1].(sources.Successor).Predecessor(); got != found[0].Origin().Input {
		t.Errorf("predecessor %q, want %q", got, found[0].Origin().Input)
	}
}

// What was rotated while nobody looked is announced in the order of its births, be
// it compressed later than what came behind it was written last.
func TestOrderOfCompressedFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	r := newRig(t, path)
	tune := r.tune
	r.tune = func(s *source) { tune(s); s.endAfter = time.Minute }
	r.start()
	write(t, path, "a1\n")
	r.expect("a1")
	must(t, os.Rename(path, path+".1"))
	time.Sleep(20 * time.Millisecond) // births are told apart by the kernel's tick
	write(t, path, "b1\n")
	r.expect("a1", "b1")
	r.stop()
	write(t, path+".1", "a2\n")
	write(t, path, "b2\n")
	must(t, os.Rename(path, path+".2"))
	squeeze(t, path+".1", path+".1.gz", ".gz")
	later := time.Now().Add(time.Minute)
	must(t, os.Chtimes(path+".1.gz", later, later))
	write(t, path, "c1\n")
	known := r.inputs
	r.inputs = nil
	r.start()
	r.until("all", func() bool { return r.count() == 5 })
	r.mu.Lock()
	defer r.mu.Unlock()
	before := ""
	for i, in := range r.inputs {
		if key := in.Origin().Input; i < 2 && key != known[i].Origin().Input {
			t.Errorf("input %d is %s, want %s", i, key, known[i].Origin().Input)
		}
		if got := in.(sources.Successor).Predecessor(); got != before {
			t.Errorf("input %d has predecessor %q, want %q", i, got, before)
		}
		before = in.Origin().Input
	}
}

// Without inotify, files that are created and rotated between two looks are found, and
// come in their places; the copy that copytruncate makes is none of them.
func TestRotatedBetweenTwoLooks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	src := testSource(t, path, 0)
	src.noInotify = true
	var found []*input
	d := newDiscovery(src, func(in sources.Input) { found = append(found, in.(*input)) })
	defer d.close()
	look := func() {
		d.pollDirs()
		d.release(time.Now().Add(settleFor))
	}
	write(t, path, "1\n")
	d.start()
	look()
	must(t, os.Rename(path, path+".3"))
	for _, name := range []string{".2", ".1"} {
		write(t, path, name+"\n")
		must(t, os.Rename(path, path+name))
	}
	write(t, path, "4\n")
	look()
	if len(found) != 4 {
		t.Fatalf("found %d of 4 files", len(found))
	}
	for i, in := range found[1:] {
		if got, want := in.Predecessor(), found[i].origin.Input; got != want || in.origin.Path != path {
			t.Errorf("file %d at %s has predecessor %q, want %q", i+1, in.origin.Path, got, want)
		}
	}
	write(t, path+".9", "4\n")
	must(t, os.Truncate(path, 0))
	look()
	if len(found) != 4 {
		t.Errorf("a copy was found as %s", found[4].origin.Input)
	}
}

// What is rotated while a start looks around comes behind what its walk has seen.
func TestRotatedDuringTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	src := testSource(t, path, 0)
	write(t, path, "1\n")
	src.deps.LastSaved = time.Now().Add(-time.Minute)
	rotated := false
	var found []*input
	d := newDiscovery(src, func(in sources.Input) { found = append(found, in.(*input)) })
	defer d.close()
	src.deps.Skipped = func(string, int) { // called between the walk and what was born meanwhile
		if rotated {
			return
		}
		rotated = true
		must(t, os.Rename(path, path+".2"))
		write(t, path, "2\n")
		must(t, os.Rename(path, path+".1"))
	}
	gone := place{head: emptyHash, tail: emptyHash, path: path}
	src.deps.Known = func() []sources.Stored {
		return []sources.Stored{{Input: "1.1:1:b1", Position: gone.text()}}
	}
	d.start()
	catchUp(t, d)
	if !rotated || len(found) != 2 {
		t.Fatalf("found %d of 2 files", len(found))
	}
	if a, b := keyBirth(found[0].origin.Input), keyBirth(found[1].origin.Input); a > b || found[1].Predecessor() != found[0].origin.Input {
		t.Errorf("files born at %d and %d, the second with predecessor %q", a, b, found[1].Predecessor())
	}
}
