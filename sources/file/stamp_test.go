package file

import (
	"path/filepath"
	"strings"
	"testing"
)

// Lines that carry no time get times of their own: Loki keeps only one of the
// lines of a stream that have the same time and text.
func TestEqualLinesGetDifferentTimes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	const n = 10000
	write(t, path, strings.Repeat("again\n", n))
	r := newRig(t, path)
	r.start()
	r.until("all lines", func() bool { return r.count() == n })
	seen := map[int64]bool{}
	for _, l := range r.lines {
		seen[l.time] = true
	}
	if len(seen) != n {
		t.Errorf("%d equal lines have %d different times", n, len(seen))
	}
}
