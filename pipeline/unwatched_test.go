package pipeline

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
	h.stop(5 * time.Second)
	left := h.sup.lastSaved("app")
	await(t, "the clock to go on", func() bool { return time.Since(left) > 50*time.Millisecond })

	h.open()
	h.apply(simpleConfig("app", "a"))
	h.tapes["app"].write(numbered(10, 20)...)
	h.awaitLines("a", 20)
	if err := h.store.Save(); err != nil {
		t.Fatal(err)
	}
	crashed := newHouse(t)
	text, err := os.ReadFile(filepath.Join(h.dir, "positions"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(crashed.dir, "positions"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	h.stop(5 * time.Second)
	crashed.open()
	defer crashed.store.Close()
	if since := crashed.sup.lastSaved("app"); since.After(left) {
		t.Errorf("the next daemon looks for what was born since %v, and nobody has surely watched since %v", since, left)
	}
	if _, ok := crashed.store.Get(positions.Key{Source: "app"}); !ok {
		t.Error("the source counts as new")
	}
}

// A source that has to look for new inputs now and then may be killed long after it
// last did, and after its positions were saved: what came since is looked for.
func TestWhatCameBetweenTwoLooksIsLookedFor(t *testing.T) {
	defer func(d time.Duration) { lookRound = d }(lookRound)
	lookRound = 50 * time.Millisecond
	h := newHouse(t)
	h.tapes["app"], h.shelves["a"] = newTape(numbered(0, 10)...), newShelf()
	looked := time.Now().Add(-time.Minute)
	h.watched = func() time.Time { return looked }
	h.open()
	h.apply(simpleConfig("app", "a"))
	h.awaitLines("a", 10)
	// One that is killed has only what was saved.
	await(t, "the mark", func() bool {
		mark, _ := h.store.Get(positions.Key{Source: "app"})
		ns, err := strconv.ParseInt(strings.TrimPrefix(string(mark), left), 10, 64)
		return h.store.Save() == nil && err == nil && !time.Unix(0, ns).After(looked)
	})
	h.stop(5 * time.Second)
	h.open()
	defer h.store.Close()
	if since := h.sup.lastSaved("app"); since.After(looked) {
		t.Errorf("the next daemon looks for what was born since %v, and the last look was at %v", since, looked)
	}
}
