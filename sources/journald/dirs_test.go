package journald

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A directory that exists and cannot be watched, here because it is a file
// (as root every directory can), is listed at intervals and holds nobody up.
func TestWatchOfWhatCannotBeWatchedEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDirectories(path, nil)
	defer d.close()
	done := make(chan struct{})
	go func() {
		d.list(time.Now())
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("listing does not end")
	}
}
