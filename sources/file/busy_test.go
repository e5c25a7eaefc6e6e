package file

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/sources"
)

// A file is announced once all is known that came before it, however many come after it without end.
func TestNewFilesWithoutEndHoldNoneBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src := testSource(t, filepath.Join(dir, "*.log"), 0)
	found := map[string]bool{}
	d := newDiscovery(src, func(in sources.Input) { found[filepath.Base(in.Origin().Path)] = true })
	defer d.close()
	d.start()
	for i := 0; i < 100 && !found["0.log"]; i++ {
		path := filepath.Join(dir, fmt.Sprintf("%d.log", i))
		write(t, path, "x\n")
		<-d.events()
		d.handle()
		write(t, path+".x", "") // waits while what came before is looked at
		d.release(time.Now())
		must(t, os.Remove(path+".x"))
		tickOn(t)
	}
	if !found["0.log"] {
		t.Error("the first file is held for ever")
	}
}

// Every file is asked what is at risk, every few seconds: at rest that costs nothing.
func TestRiskOfFilesAtRestIsFree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "one\n")
	in := testInput(t, testSource(t, path, 0), path)
	pos := in.Start()
	if n := testing.AllocsPerRun(100, func() { in.Risk(pos) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
