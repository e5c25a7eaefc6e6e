package filestore

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestChangedWithinOneTimeStamp: a file that was written just before it was
// read may have been written again without a new time stamp, so it is read
// again; one that has been as it is for long is not.
func TestChangedWithinOneTimeStamp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lbshipd.yaml")
	write(t, path, sample("a"))
	if s := read(path); !s.changed() {
		t.Error("a fresh file is not looked at again")
	}
	before := time.Now().Add(-time.Minute)
	must(t, os.Chtimes(path, before, before))
	s := read(path)
	if s.changed() {
		t.Error("an old file is read again")
	}
	must(t, os.Chmod(path, 0o640))
	if !s.changed() {
		t.Error("a file of another mode is not looked at")
	}
}

// TestReloadIsAnswered although its Event is replaced by a newer one.
func TestReloadIsAnswered(t *testing.T) {
	l := loop{pending: &Event{Reloaded: true}, seen: snapshot{revision: "newer"}}
	l.send()
	if !l.pending.Reloaded {
		t.Error("the reload is forgotten")
	}
}

// TestDue: a file that is never quiet is read after settle.
func TestDue(t *testing.T) {
	first := time.Now()
	for since, want := range map[time.Duration]time.Duration{
		0: quiet, settle - quiet: quiet, settle - quiet/2: quiet / 2, settle: 0, time.Hour: 0,
	} {
		if got := due(first, first.Add(since)); got != want {
			t.Errorf("%v after the first change %v are waited for, want %v", since, got, want)
		}
	}
}
