package pipeline

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/positions"
)

// A daemon that crashes before it has found all that came while nobody watched
// leaves that to be found by the next one, although it has saved positions.
func TestCrashSoonAfterTheStartHidesNothingThatWasNotYetFound(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"], h.shelves["a"] = newTape(numbered(0, 10)...), newShelf()
	h.open()
	h.apply(simpleConfig("app", "a"))
	h.awaitLines("a", 10)
	h.stop(time.Minute)
	left := h.sup.lastSaved("app")
	await(t, "the clock to go on", func() bool { return time.Since(left) > 50*time.Millisecond })

	h.open()
	h.apply(simpleConfig("app", "a"))
	h.tapes["app"].write(numbered(10, 20)...)
	h.awaitLines("a", 20)
	if err := h.store.Save(); err != nil {
		t.Fatal(err)
	}
	crashed := h.killed()
	h.stop(time.Minute)
	defer crashed.store.Close()
	if since := crashed.sup.lastSaved("app"); since.After(left) {
		t.Errorf("the next daemon looks for what was born since %v, and nobody has surely watched since %v", since, left)
	}
	if _, ok := crashed.store.Get(positions.Key{Source: "app"}); !ok {
		t.Error("the source counts as new")
	}
}

// What a save holds says up to when its source had watched at that very moment: a daemon that
// is killed then, busy or not, leaves what came later to be found by the next one.
func TestEachSaveSaysUpToWhenItsSourcesHadWatched(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"], h.shelves["a"] = newTape(numbered(0, 10)...), newShelf()
	var watched atomic.Int64
	h.watched = func() time.Time { return time.Unix(0, watched.Load()) }
	begin := time.Now().Add(-time.Minute)
	watched.Store(begin.UnixNano())
	h.open()
	h.apply(simpleConfig("app", "a"))
	for n := range 3 {
		h.tapes["app"].write(numbered(10*n+10, 10*n+20)...)
		h.awaitLines("a", 10*n+20)
		await(t, "the position to move", func() bool {
			at := begin.Add(time.Duration(n) * time.Second)
			watched.Store(at.UnixNano())
			if err := h.store.Save(); err != nil {
				t.Fatal(err)
			}
			killed := h.killed()
			defer killed.store.Close()
			return killed.sup.lastSaved("app").Equal(at)
		})
	}
	// A source that goes on watching is no reason to save.
	await(t, "all to be saved", func() bool {
		before := h.text()
		watched.Add(int64(time.Second))
		if err := h.store.Save(); err != nil {
			t.Fatal(err)
		}
		return h.text() == before
	})
	watched.Add(int64(time.Second))
	h.stop(time.Minute)
	h.open()
	defer h.store.Close()
	if got := h.sup.lastSaved("app"); got.UnixNano() != watched.Load() {
		t.Errorf("a source that was stopped had watched until %v, want %v", got, time.Unix(0, watched.Load()))
	}
}

// text is what is saved of the house.
func (h *house) text() string {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.dir, "positions"))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(text)
}

// killed is what the next daemon would find if this one were killed now.
func (h *house) killed() *house {
	h.t.Helper()
	next := newHouse(h.t)
	if err := os.WriteFile(filepath.Join(next.dir, "positions"), []byte(h.text()), 0o600); err != nil {
		h.t.Fatal(err)
	}
	next.open()
	return next
}
