package file

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// shiftOn shifts the rotated files of path by one, as a log rotator does, once a
// directory was listed for the second time, behind the walk, and before what is in it is looked at.
func shiftOn(t *testing.T, src *source, path string) *bool {
	shifted, listings := false, 0
	src.listed = func(dir string) {
		if dir != filepath.Dir(path) || shifted {
			return
		}
		if listings++; listings < 2 {
			return
		}
		shifted = true
		for n := 9; n > 0; n-- {
			from := path + "." + strconv.Itoa(n)
			if err := os.Rename(from, path+"."+strconv.Itoa(n+1)); err != nil && !os.IsNotExist(err) {
				t.Error(err)
			}
		}
	}
	return &shifted
}

// A file that was being read, or was born, while nobody looked and is rotated further just while a
// start looks for it, is found all the same.
func TestRotatedFurtherWhileItIsLookedFor(t *testing.T) {
	for _, known := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "app.log")
		src := testSource(t, path, 0)
		src.deps.LastSaved = time.Now().Add(time.Minute)
		write(t, path, "1\n")
		if known {
			key, start := keyOf(t, src, path)
			src.deps.Known = func() []sources.Stored { return []sources.Stored{{Input: key, Position: start}} }
		} else {
			src.deps.LastSaved = time.Now().Add(-time.Minute)
		}
		must(t, os.Rename(path, path+".3"))
		var skipped []string
		src.deps.Skipped = func(reason string, n int) { skipped = append(skipped, reason) }
		shifted := shiftOn(t, src, path)
		var found []sources.Input
		d := newDiscovery(src, func(in sources.Input) { found = append(found, in) })
		d.start()
		catchUp(t, d)
		d.close()
		if !*shifted {
			t.Fatal("nothing was shifted")
		}
		if len(found) != 1 || len(skipped) > 0 || string(readFirst(t, found[0])) != "1" {
			t.Errorf("known %v: found %d of 1 files, skipped %q", known, len(found), skipped)
		}
	}
}

// The same is true of one that was created and rotated while events were lost.
func TestRotatedFurtherWhileWhatEventsWereLostOfIsLookedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	src := testSource(t, path, 0)
	found := 0
	d := newDiscovery(src, func(in sources.Input) { found++ })
	defer d.close()
	d.start()
	d.steadyUntil = time.Time{} // it is long ago
	src.inotify.stall(true)
	tickOn(t)
	write(t, path, "1\n")
	must(t, os.Rename(path, path+".3"))
	shifted := shiftOn(t, src, path)
	src.inotify.lose(t)
	catchUp(t, d)
	if !*shifted || found != 1 {
		t.Errorf("found %d of 1 files, shifted %v", found, *shifted)
	}
}

// However its directories are, a start waits for them to hold still for two seconds at most, whatever
// it looks for there; and not at all for one whose modification time lies ahead, which the next change moves.
func TestStartDoesNotWaitForUnsteadyDirectoriesForLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	for _, c := range []struct {
		name    string
		changes bool
		most    time.Duration
	}{
		{"changes without end", true, steadyMost + 10*pollTick},
		{"last changed in the future", false, 10 * pollTick},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := testSource(t, path, 0)
				src.noInotify = true // its goroutine waits in the kernel, which stops the clock of this test
				src.deps.LastSaved = kernelNow()
				gone := place{offset: 7, path: escapePath(path)}
				src.deps.Known = func() []sources.Stored {
					return []sources.Stored{{Input: "0.0:1:b1", Position: gone.text()}}
				}
				changed := kernelNow().Add(time.Hour)
				src.listed = func(dir string) {
					if c.changes {
						changed = changed.Add(time.Second)
					}
					must(t, os.Chtimes(dir, changed, changed))
				}
				d := newDiscovery(src, func(sources.Input) {})
				defer d.close()
				began := time.Now()
				d.start()
				if took := time.Since(began); took > c.most {
					t.Errorf("it waited for %v, and may for %v", took, c.most)
				}
			})
		})
	}
}

// What comes while a start looks for others is opened at once, for it may be gone until the events
// of its directory are handled, and is found once.
func TestComesWhileAStartLooksForOthers(t *testing.T) {
	for _, known := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "app.log")
		src := testSource(t, path, 0)
		src.deps.LastSaved = time.Now().Add(-time.Minute)
		if known {
			p := place{head: emptyHash, tail: emptyHash, path: path}
			src.deps.Known = func() []sources.Stored { return []sources.Stored{{Input: "0.0:1:b1", Position: p.text()}} }
		}
		listings := 0
		src.listed = func(dir string) {
			if listings++; listings == 2 { // behind the walk
				write(t, path, "1\n")
			}
		}
		src.deps.Skipped = func(reason string, n int) {
			if reason != "vanished_file" { // what is known
				t.Errorf("skipped: %s", reason)
			}
		}
		var found []sources.Input
		d := newDiscovery(src, func(in sources.Input) { found = append(found, in) })
		d.start()
		must(t, os.Rename(path, path+".1"))
		must(t, os.Remove(path+".1"))
		catchUp(t, d)
		d.close()
		if len(found) != 1 || string(readFirst(t, found[0])) != "1" {
			t.Errorf("known %v: found %d of 1 files, or another one", known, len(found))
		}
	}
}

// keyOf returns the key and the start of the input that path is.
func keyOf(t *testing.T, src *source, path string) (key string, start record.Position) {
	t.Helper()
	d := newDiscovery(src, func(in sources.Input) {
		key, start = in.Origin().Input, in.Start()
	})
	d.start()
	d.close()
	if key == "" {
		t.Fatalf("%s is no input", path)
	}
	return key, start
}
