package pipeline

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

var (
	_ sources.Seeker   = (*tapeInput)(nil)
	_ sources.Newcomer = (*tapeInput)(nil)
)

// Seek: line n of a tape is of n seconds after 1970.
func (in *tapeInput) Seek(t time.Time, _ func([]byte) (time.Time, bool)) (record.Position, error) {
	if in.tape.seeking != nil {
		if err := in.tape.seeking(); err != nil {
			return "", err
		}
	}
	in.tape.mu.Lock()
	defer in.tape.mu.Unlock()
	if t.IsZero() {
		return tapePosition(0), nil
	}
	return tapePosition(min(int(t.Unix()), len(in.tape.lines))), nil
}

func (in *tapeInput) Appeared() bool { return in.predecessor != "" }

// startConfig is simpleConfig with a startAt for the last target.
func startConfig(startAt string, targets ...string) *config.Config {
	c := simpleConfig("app", targets...)
	c.Targets[len(targets)-1].StartAt = startAt
	return c
}

func (h *house) holds(target string, want []string) {
	h.t.Helper()
	h.awaitLines(target, len(want))
	if got := h.shelves[target].got(); !slices.Equal(got, want) {
		h.t.Errorf("%s holds %d lines from %q on, want %d from %q on", target, len(got), got[0], len(want), want[0])
	}
}

func TestAddedTargetStartsWhereStartAtSays(t *testing.T) {
	for startAt, first := range map[string]int{"beginning": 0, "1970-01-01T00:05:00Z": 300, "1970-01-01T01:05:00.5+01:00": 300, "now": 1000, "2200-01-01T00:00:00Z": 1000, "": 1000} {
		t.Run(startAt, func(t *testing.T) {
			h := newHouse(t)
			h.tapes["app"] = newTape(numbered(0, 1000)...)
			h.shelves["old"], h.shelves["new"] = newShelf(), newShelf()
			h.open()
			h.apply(simpleConfig("app", "old"))
			h.awaitLines("old", 1000)
			h.apply(startConfig(startAt, "old", "new"))
			h.tapes["app"].write(numbered(1000, 1500)...)
			h.holds("new", numbered(first, 1500))
			h.holds("old", numbered(0, 1500))
			await(t, "the feeds to meet", func() bool { return h.feeds("app") == 1 })
			// What appears later is read from its beginning.
			h.rotate <- newTape(numbered(1500, 1600)...)
			h.holds("new", numbered(first, 1600))
			// Changed later, it has no effect, nor after a restart.
			h.apply(startConfig("1970-01-01T00:00:07Z", "old", "new"))
			h.tapes["app"].write(numbered(1600, 1610)...)
			h.holds("new", numbered(first, 1610))
			h.stop(time.Minute)
			h.rotate = make(chan *tape, 1)
			h.open()
			h.apply(startConfig("beginning", "old", "new"))
			h.tapes["app"].write(numbered(1610, 1620)...)
			h.holds("new", numbered(first, 1620))
			h.stop(time.Minute)
		})
	}
}

// A source and a target that are both new: the target's word counts for it alone.
func TestStartAtOfATargetGoesBeforeThatOfANewSource(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 100)...)
	h.shelves["plain"], h.shelves["now"] = newShelf(), newShelf()
	h.open()
	h.apply(startConfig("now", "plain", "now"))
	h.awaitLines("plain", 100)
	h.tapes["app"].write(numbered(100, 200)...)
	h.holds("plain", numbered(0, 200))
	h.holds("now", numbered(100, 200))
	h.stop(time.Minute)
}

// A search that fails, or takes long, holds up nobody, is visible, and the
// target is given everything once it has succeeded.
func TestPlaceThatIsHardToFindHoldsNobodyUp(t *testing.T) {
	var fails atomic.Bool
	slow := make(chan struct{})
	for name, seeking := range map[string]func() error{
		"fails": func() error {
			if fails.Load() {
				return errors.New("bad disk")
			}
			return nil
		},
		"slow": func() error { <-slow; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			fails.Store(true)
			h := newHouse(t)
			h.tapes["app"] = newTape(numbered(0, 50)...)
			h.tapes["app"].seeking = seeking
			h.shelves["old"], h.shelves["new"] = newShelf(), newShelf()
			h.open()
			var log safeBuffer
			h.sup.log = slog.New(slog.NewTextHandler(&log, nil))
			h.apply(simpleConfig("app", "old"))
			h.awaitLines("old", 50)
			began := time.Now()
			h.apply(startConfig("1970-01-01T00:00:20Z", "old", "new"))
			if took := time.Since(began); took > 30*time.Second { // the slow search goes on for ever
				t.Errorf("the reload took %v", took)
			}
			h.tapes["app"].write(numbered(50, 80)...)
			h.awaitLines("old", 80)
			if name == "fails" {
				await(t, "the failure in the log", func() bool { return strings.Contains(log.String(), "bad disk") })
				st := h.sup.Status()
				if reasons := strings.Join(st.Reasons(), "\n"); !strings.Contains(reasons, `target "new"`) || !strings.Contains(reasons, "bad disk") {
					t.Errorf("reasons: %s", reasons)
				}
			}
			if n := len(h.shelves["new"].got()); n != 0 {
				t.Errorf("%d lines at a target that has no place yet", n)
			}
			// A reload meanwhile, and the end of the input, change nothing.
			h.apply(startConfig("1970-01-01T00:00:20Z", "old", "new"))
			h.tapes["app"].end()
			fails.Store(false)
			if name == "slow" {
				close(slow)
			}
			h.holds("new", numbered(20, 80))
			h.holds("old", numbered(0, 80))
			h.stop(time.Minute)
		})
	}
}

// A daemon that dies before the place is found starts where it would have.
func TestStartSurvivesACrash(t *testing.T) {
	for startAt, want := range map[string]int{"beginning": 0, "1970-01-01T00:00:20Z": 20} {
		var fails atomic.Bool
		fails.Store(true)
		h := newHouse(t)
		h.tapes["app"] = newTape(numbered(0, 50)...)
		h.tapes["app"].seeking = func() error {
			if fails.Load() {
				return errors.New("bad disk")
			}
			return nil
		}
		h.shelves["old"], h.shelves["new"] = newShelf(), newShelf()
		h.open()
		h.apply(simpleConfig("app", "old"))
		h.awaitLines("old", 50)
		h.apply(startConfig(startAt, "old", "new"))
		entries, err := positions.ReadDir(h.dir) // as a SIGKILL would leave it now
		if err != nil || !slices.ContainsFunc(entries, func(e positions.Entry) bool { return e.Target == "new" && e.Input == "" }) {
			t.Fatalf("what was decided is not on disk: %v, %v", entries, err)
		}
		h.stop(time.Minute)
		fails.Store(false)
		h.open()
		h.apply(startConfig("now", "old", "new")) // too late
		h.holds("new", numbered(want, 50))
		h.stop(time.Minute)
	}
}

// safeBuffer is a log that is read while it is written.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

var _ io.Writer = (*safeBuffer)(nil)
