package file

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
)

// Files that were read and deleted do not take descriptors until the collector comes by itself.
func TestManyShortFilesKeepNoDescriptors(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it does not come by itself
	path := filepath.Join(t.TempDir(), "app.log")
	r := newRig(t, path)
	r.start()
	most := 0
	for i := range 4 * letGoMost {
		line := fmt.Sprint(i)
		write(t, path, line+"\n")
		r.until(line, func() bool { return r.count() == i+1 })
		must(t, os.Remove(path))
		r.clean()
		r.mu.Lock()
		r.inputs = nil // as the pipeline does
		r.mu.Unlock()
		if i%50 == 0 {
			most = max(most, openFiles(t, path))
		}
	}
	if most > 2*letGoMost {
		t.Errorf("%d descriptors were open", most)
	}
}
