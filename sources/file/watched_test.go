package file

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/sources"
)

// tickOn waits until the kernel's clock has gone on, and returns it.
func tickOn(t *testing.T) time.Time {
	t.Helper()
	from := kernelNow()
	waitFor(t, "the kernel's clock to go on", func() bool { return kernelNow().After(from) }, func() string { return "" })
	return kernelNow()
}

// Up to when all was seen is said exactly: not before the first look is done, and neither an
// event that waits nor an input that is not announced yet counts as seen.
func TestWatched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	src := testSource(t, path, 0)
	saved := time.Now().Add(-time.Minute)
	src.watching.at = saved
	found := 0
	d := newDiscovery(src, func(sources.Input) { found++ })
	if got := src.Watched(); !got.Equal(saved) {
		t.Errorf("before the start: watched until %v, want %v", got, saved)
	}
	d.start()
	now := tickOn(t)
	if got := src.Watched(); got.Before(now) {
		t.Errorf("with nothing going on: watched until %v, want %v", got, now)
	}
	before := tickOn(t)
	write(t, path, "1\n")
	after := tickOn(t)
	held := func(when string) {
		t.Helper()
		tickOn(t)
		if got := src.Watched(); got.After(after) || got.Before(now) {
			t.Errorf("%s: watched until %v, want it between %v and %v", when, got, now, before)
		}
	}
	held("with an event on its way")
	<-d.events()
	held("with an event that waits")
	d.handle()
	d.settle()
	held("with an input that is not announced")
	d.release(time.Now().Add(settleFor))
	d.settle()
	if got := src.Watched(); found != 1 || got.Before(after) {
		t.Errorf("with %d inputs announced: watched until %v, want %v", found, got, after)
	}
	last := tickOn(t)
	write(t, path+".x", "1\n")
	d.close()
	tickOn(t)
	if got, now := src.Watched(), kernelNow(); !got.Before(now) || got.Before(after) {
		t.Errorf("after the end at %v: watched until %v, and it is %v", last, got, now)
	}
}

// What inotify does not cover was seen when it was last looked at.
func TestWatchedWithoutInotify(t *testing.T) {
	src := testSource(t, filepath.Join(t.TempDir(), "app.log"), 0)
	src.noInotify = true
	d := newDiscovery(src, func(sources.Input) {})
	defer d.close()
	before := tickOn(t)
	d.start()
	first := src.Watched()
	tickOn(t)
	if again := src.Watched(); first.Before(before) || !again.Equal(first) {
		t.Errorf("began at %v: watched until %v, and without a look until %v", before, first, again)
	}
	before = kernelNow()
	waitFor(t, "a look while nothing changes", func() bool {
		d.pollDirs()
		d.settle()
		return !src.Watched().Before(before)
	}, func() string { return src.Watched().String() })
}

// A process that has used up its inotify instances looks in intervals, says so as long as it
// is so, and watches once it can.
func TestInotifyThatCanBeHadLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	src := testSource(t, path, 0)
	src.inotify = &instance{refuse: unix.EMFILE}
	found := 0
	d := newDiscovery(src, func(sources.Input) { found++ })
	defer d.close()
	d.start()
	look := func(want int) {
		t.Helper()
		waitFor(t, "a file", func() bool {
			d.look()
			select {
			case <-d.events():
				d.handle()
			default:
			}
			d.release(time.Now().Add(settleFor))
			return found == want
		}, func() string { return "" })
	}
	if src.Trouble() == nil {
		t.Error("nothing is said of inotify")
	}
	write(t, path, "1\n")
	look(1)
	src.inotify.refuse = nil
	d.walk()
	if err := src.Trouble(); err != nil || d.notifier == nil {
		t.Errorf("still in trouble: %v", err)
	}
	must(t, os.Rename(path, path+".1"))
	write(t, path, "2\n")
	d.nextPoll, d.nextWalk = time.Now().Add(time.Hour), time.Now().Add(time.Hour)
	look(2)
}

// What was created and rotated while events were lost is found by its birth, in its place.
func TestRotatedWhileEventsWereLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	src := testSource(t, path, 0)
	var found []*input
	d := newDiscovery(src, func(in sources.Input) { found = append(found, in.(*input)) })
	defer d.close()
	write(t, path, "1\n")
	d.start()
	src.inotify.stall(true)
	for _, name := range []string{".3", ".2", ".1"} {
		tickOn(t)
		must(t, os.Rename(path, path+name))
		write(t, path, name+"\n")
	}
	src.inotify.lose(t)
	d.handle()
	d.release(time.Now().Add(settleFor))
	if len(found) != 4 {
		t.Fatalf("found %d of 4 files", len(found))
	}
	for i, in := range found[1:] {
		if got, want := in.Predecessor(), found[i].origin.Input; got != want {
			t.Errorf("file %d has predecessor %q, want %q", i+1, got, want)
		}
	}
	// A copy that copytruncate makes is none of them.
	src.inotify.stall(true)
	tickOn(t)
	write(t, path+".9", "4\n")
	must(t, os.Truncate(path, 0))
	src.inotify.lose(t)
	d.handle()
	d.release(time.Now().Add(settleFor))
	if len(found) != 4 {
		t.Errorf("a copy was found as %s", found[4].origin.Input)
	}
}

// A file that was there, unknown, when its directory began to be watched, and was renamed before it was
// looked at, is followed through its rename.
func TestRenamedBetweenTheWatchAndTheLook(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "app.log"), filepath.Join(dir, "probe.log")
	src := testSource(t, filepath.Join(dir, "*.log"), 0)
	src.deps.LastSaved = time.Now().Add(time.Minute) // its birth says nothing
	write(t, path, "1\n")
	write(t, other, "")
	var found []sources.Input
	d := newDiscovery(src, func(in sources.Input) {
		if in.Origin().Path == path {
			found = append(found, in)
		}
	})
	defer d.close()
	renamed := false
	src.listed = func(in string) {
		if in == dir && !renamed {
			renamed = true
			must(t, os.Rename(path, path+".1"))
		}
	}
	d.start()
	catchUp(t, d)
	if len(found) == 0 {
		t.Fatal("all events are handled, and it is not found")
	}
	if got := string(readFirst(t, found[0])); got != "1" || !renamed {
		t.Errorf("read %q, renamed %v", got, renamed)
	}
}

// catchUp handles all events that there are, and announces what is found.
func catchUp(t *testing.T, d *discovery) {
	t.Helper()
	waitFor(t, "all events to be handled", func() bool {
		select {
		case <-d.events():
			d.handle()
		default:
		}
		d.release(time.Now().Add(settleFor))
		return len(d.held) == 0 && d.notifier.done()
	}, func() string { return "" })
}
