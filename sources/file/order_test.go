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
		for n, deadline := len(found), time.After(10*time.Second); len(found) == n; {
			select {
			case events := <-d.events():
				d.handle(events)
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
