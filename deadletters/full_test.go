package deadletters

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// On a disk that is full letters are counted as not kept, no half of one stays,
// and what fits later is kept.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("needs to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 200<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, dir, 64<<20)
	const n = 400
	for i := range n {
		w.add(i, 1, strings.Repeat("x", 500))
		w.Flush()
	}
	lines, damaged := read(t, dir)
	if len(lines)+w.failed != n || damaged != 0 || w.failed == 0 || len(lines) == 0 || w.Err() == nil {
		t.Fatalf("%d letters, %d failed of %d, %d damaged, error %v", len(lines), w.failed, n, damaged, w.Err())
	}
	if !strings.Contains(w.log.String(), "no space left on device") {
		t.Error("nothing is said of it")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	failed := w.failed
	w.add(n, 3, "later")
	w.Flush()
	again, damaged := read(t, dir)
	if w.failed != failed || w.Err() != nil || damaged != 0 || !slices.Equal(again, append(lines, numbers(n, 3, "later")...)) {
		t.Errorf("then %d letters, %d failed, %d damaged, error %v", len(again), w.failed-failed, damaged, w.Err())
	}
}
