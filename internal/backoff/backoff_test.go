package backoff

import (
	"testing"
	"time"
)

func TestNextGrowsToTheCapAndIsJittered(t *testing.T) {
	b := Backoff{Min: 100 * time.Millisecond, Max: 30 * time.Second}
	limit := b.Min
	for i := range 100 {
		d := b.Next()
		if d < limit/2 || d > limit {
			t.Fatalf("try %d: %v is not within %v and %v", i, d, limit/2, limit)
		}
		limit = min(2*limit, b.Max)
	}
	seen := map[time.Duration]bool{}
	for range 10 {
		seen[b.Next()] = true
	}
	if len(seen) < 2 {
		t.Error("ten waits are all the same: no jitter")
	}
	b.Reset()
	if d := b.Next(); d > b.Min {
		t.Errorf("after Reset: %v, want at most %v", d, b.Min)
	}
}
