package deadletters

import (
	"os"
	"path/filepath"
	"testing"
)

// A directory of letters that was copied without its lock is read all the same:
// nothing would be a lie.
func TestACopyWithoutItsLockIsRead(t *testing.T) {
	dir := t.TempDir()
	w := newWriter(t, dir, 1<<20)
	w.add(0, 3, "x")
	w.Close()
	if err := os.Remove(filepath.Join(Dir(dir, "loki"), lockName)); err != nil {
		t.Fatal(err)
	}
	if lines, damaged := read(t, dir); len(lines) != 3 || damaged != 0 {
		t.Errorf("%d letters, %d damaged, want 3 and 0", len(lines), damaged)
	}
}
