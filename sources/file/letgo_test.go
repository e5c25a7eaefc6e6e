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
	for i := range 4 * letGoMost {
		line := fmt.Sprint(i)
		write(t, path, line+"\n")
		r.until(line, func() bool { return r.count() == i+1 })
		must(t, os.Remove(path))
		r.clean()
		r.mu.Lock()
		r.inputs = nil // as the pipeline does
		r.mu.Unlock()
		// The collector takes its time, and closes what had ended when it began: on a busy
		// machine more are open than that for a while. If nobody asks for it they stay.
		if i%50 == 0 {
			r.until("descriptors to be closed", func() bool { return openFiles(t, path) <= 2*letGoMost })
		}
	}
}
