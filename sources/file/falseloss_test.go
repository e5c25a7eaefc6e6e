package file

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lbshipd/lbshipd/sources"
)

// What was read, or is none of ours to read, is no loss when it is deleted, whatever has looked at
// the paths before the events are handled.
func TestDeletedIsNoLossWhoeverLookedFirst(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		glob string
		run  func(t *testing.T, d *discovery, path string)
		want int // inputs
	}{
		"compressed files are shifted and the oldest is deleted": {"app.log*", func(t *testing.T, d *discovery, path string) {
			must(t, os.Rename(path+".2.gz", path+".3.gz"))
			must(t, os.Rename(path+".1.gz", path+".2.gz"))
			must(t, os.Remove(path+".3.gz"))
		}, 1},
		"a compressed file is created and deleted": {"app.log*", func(t *testing.T, d *discovery, path string) {
			write(t, path+".4.gz", "\x1f\x8b")
			must(t, os.Remove(path+".4.gz"))
		}, 1},
		"a walk comes before the events of a rotation": {"app.log", func(t *testing.T, d *discovery, path string) {
			must(t, os.Rename(path, path+".1"))
			write(t, path, "2\n")
			must(t, os.Remove(path+".1"))
			d.walk()
		}, 2},
		"a walk comes in the midst of a rotation": {"app.log", func(t *testing.T, d *discovery, path string) {
			must(t, os.Rename(path, path+".1"))
			d.walk()
			write(t, path, "2\n")
			must(t, os.Remove(path+".1"))
		}, 2},
		"a walk comes before the events of a rotation within the globs": {"app.log*", func(t *testing.T, d *discovery, path string) {
			must(t, os.Rename(path, path+".1"))
			write(t, path, "2\n")
			must(t, os.Remove(path+".1"))
			d.walk()
		}, 2},
		"a walk comes in the midst of a rotation within the globs": {"app.log*", func(t *testing.T, d *discovery, path string) {
			must(t, os.Rename(path, path+".1"))
			d.walk()
			write(t, path, "2\n")
			must(t, os.Remove(path+".1"))
		}, 2},
		"a walk finds a file before its events, that is deleted and created anew": {"*.log", func(t *testing.T, d *discovery, path string) {
			next := filepath.Join(filepath.Dir(path), "next.log")
			write(t, next, "2\n")
			d.walk()
			must(t, os.Remove(next))
			write(t, next, "3\n")
		}, 3},
		"a walk finds a file before its events, that is renamed and deleted": {"*.log", func(t *testing.T, d *discovery, path string) {
			next := filepath.Join(filepath.Dir(path), "next.log")
			write(t, next, "2\n")
			d.walk()
			must(t, os.Rename(next, next+".1"))
			must(t, os.Remove(next+".1"))
			write(t, next, "3\n")
		}, 3},
		"events are lost in the midst of a rotation": {"app.log", func(t *testing.T, d *discovery, path string) {
			d.src.inotify.stall(true)
			write(t, filepath.Join(filepath.Dir(path), "other"), "")
			d.src.inotify.lose(t)
			must(t, os.Rename(path, path+".1"))
			write(t, path, "2\n")
			must(t, os.Remove(path+".1"))
		}, 2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "app.log")
			write(t, path, "1\n")
			write(t, path+".1.gz", "\x1f\x8b")
			write(t, path+".2.gz", "\x1f\x8b")
			src := testSource(t, filepath.Join(filepath.Dir(path), c.glob), 0)
			var found []sources.Input
			d := newDiscovery(src, func(in sources.Input) { found = append(found, in) })
			defer d.close()
			d.start()
			c.run(t, d, path)
			catchUp(t, d)
			lost := 0
			for _, in := range found {
				if in.(*input).givenUp.Load() != nil {
					lost++
				}
			}
			if lost > 0 || len(found) != c.want {
				t.Errorf("%d losses, %d inputs of %d", lost, len(found), c.want)
			}
		})
	}
}
