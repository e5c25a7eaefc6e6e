package config

import (
	"testing"
	"time"
)

// FuzzStartTime: what is accepted as a time means the same when it is written again.
func FuzzStartTime(f *testing.F) {
	for _, s := range []string{"2026-11-20T08:00:00Z", "2026-11-20t08:00:00.5+01:00", "2026-02-30T08:00:00Z", "0000-01-01T00:00:00Z", "now", "", "2026-11-20", "9999-12-31T23:59:59-23:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, ok := ParseStartTime(s)
		if !ok {
			return
		}
		again, ok := ParseStartTime(at.UTC().Format(time.RFC3339Nano))
		if !ok || !again.Equal(at) {
			t.Fatalf("%q is %v, written again %v, %v", s, at, again, ok)
		}
	})
}
