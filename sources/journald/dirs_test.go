package journald

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A path that exists and cannot be watched must neither hang the reader nor
// stay unsaid.
func TestDirectoryThatIsNone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan []string, 1)
	go func() {
		var told []string
		j := newJournal(newDirectories(path, nil), nil, maxPayload,
			func(path string, _ uint64, reason string, _ error) { told = append(told, path+" "+reason) })
		defer j.close()
		now := time.Now()
		j.now = func() time.Time { now = now.Add(rescanAfter); return now }
		for range 4 {
			j.rescan(false)
		}
		done <- told
	}()
	select {
	case told := <-done:
		if len(told) != 1 || told[0] != path+" unreadable-file" {
			t.Errorf("told %q, want once that %s is unreadable", told, path)
		}
	case <-time.After(time.Minute):
		t.Fatal("listing a path that is no directory does not end")
	}
}

func TestInspectMissingDirectory(t *testing.T) {
	t.Parallel()
	for _, dirs := range [][]string{{"missing"}, {".", "missing"}} {
		for i, dir := range dirs {
			dirs[i] = filepath.Join(t.TempDir(), dir)
		}
		if err := Inspect(t.Context(), os.Stdout, InspectOptions{Directories: dirs}); err == nil {
			t.Errorf("inspecting %q is no error", dirs)
		}
	}
}
