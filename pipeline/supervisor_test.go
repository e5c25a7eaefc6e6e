package pipeline

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

func TestEveryTargetGetsEveryRecordOnceInOrder(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 500)...)
	h.shelves["a"], h.shelves["b"] = newShelf(), newShelf()
	// a fails every third send and has taken half of what it was given.
	h.shelves["a"].fail = func(send int) error {
		if send%3 == 0 {
			return &sinks.Error{Class: sinks.ClassServer, RetryAfter: time.Millisecond, Err: errors.New("500")}
		}
		return nil
	}
	h.open()
	h.apply(simpleConfig("app", "a", "b"))
	for i := 500; i < 1000; i += 50 {
		h.tapes["app"].write(numbered(i, i+50)...)
	}
	for _, name := range []string{"a", "b"} {
		h.awaitLines(name, 1000)
		if got := h.shelves[name].got(); !slices.Equal(got, numbered(0, 1000)) {
			t.Errorf("%s: lines are not each there once in order", name)
		}
	}
	if left := h.stop(time.Minute); left != 0 {
		t.Errorf("%d records left", left)
	}
	entries, err := positions.ReadDir(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Input == "tape" && e.Position != "1000" {
			t.Errorf("position of %s is %s, want 1000", e.Target, e.Position)
		}
	}
}

func TestPositionMovesOnlyOnAnAnswer(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 100)...)
	h.shelves["dead"], h.shelves["live"] = newShelf(), newShelf()
	h.shelves["dead"].hold(true)
	h.open()
	h.apply(simpleConfig("app", "dead", "live"))
	h.awaitLines("live", 100)
	if left := h.stop(50 * time.Millisecond); left != 100 {
		t.Errorf("%d records left at a dead target, want 100", left)
	}
	if p, _ := h.store.Get(positions.Key{Source: "app", Target: "dead", Input: "tape"}); p != "" {
		t.Errorf("position of the dead target moved to %q", p)
	}
	// A restart goes on with a position for each target.
	h.shelves["dead"].hold(false)
	h.tapes["app"].write(numbered(100, 150)...)
	h.open()
	h.apply(simpleConfig("app", "dead", "live"))
	for _, name := range []string{"dead", "live"} {
		h.awaitLines(name, 150)
		if got := h.shelves[name].got(); !slices.Equal(got, numbered(0, 150)) {
			t.Errorf("%s: lines are not each there once in order", name)
		}
	}
	h.stop(time.Minute)
}

// run returns the one input of a source.
func (h *house) run(source string) *inputRun {
	h.sup.mu.Lock()
	r := h.sup.sources[source]
	h.sup.mu.Unlock()
	runs := r.runs()
	if len(runs) != 1 {
		return nil
	}
	return runs[0]
}

func (h *house) feeds(source string) int {
	run := h.run(source)
	if run == nil {
		return 0
	}
	run.mu.Lock()
	defer run.mu.Unlock()
	return len(run.feeds)
}

func TestFullQueueHoldsNobodyUpAndMeetsAgain(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape()
	h.shelves["slow"], h.shelves["quick"] = newShelf(), newShelf()
	h.shelves["slow"].hold(true)
	h.open()
	cfg := simpleConfig("app", "quick", "slow")
	cfg.Targets[1].QueueBytes = 16 << 10
	h.apply(cfg)
	h.tapes["app"].write(numbered(0, 5000)...)
	h.awaitLines("quick", 5000)
	if n := h.feeds("app"); n != 2 {
		t.Fatalf("%d feeds while one target is behind, want 2", n)
	}
	ctx, stop := context.WithCancel(t.Context())
	written := make(chan int)
	go func() {
		n := 5000
		for ctx.Err() == nil {
			h.tapes["app"].write(numbered(n, n+10)...)
			n += 10
			sleep(ctx, time.Millisecond)
		}
		written <- n
	}()
	h.shelves["slow"].hold(false)
	await(t, "the feeds to meet", func() bool { return h.feeds("app") == 1 })
	stop()
	n := <-written
	for _, name := range []string{"slow", "quick"} {
		h.awaitLines(name, n)
		if got := h.shelves[name].got(); !slices.Equal(got, numbered(0, n)) {
			t.Errorf("%s: lines are not each there once in order", name)
		}
	}
	h.stop(time.Minute)
}

// What is written after a rotation must not overtake what was written before
// it, and a target that is behind must hold up itself only.
func TestOrderHoldsAcrossARotation(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 3000)...)
	h.shelves["slow"], h.shelves["quick"] = newShelf(), newShelf()
	h.shelves["slow"].hold(true)
	h.open()
	cfg := simpleConfig("app", "quick", "slow")
	cfg.Targets[1].QueueBytes = 16 << 10
	h.apply(cfg)
	h.rotate <- newTape(numbered(3000, 6000)...)
	h.awaitLines("quick", 6000)
	if got := h.shelves["quick"].got(); !slices.Equal(got, numbered(0, 6000)) {
		t.Error("quick: lines are not each there once in order")
	}
	h.shelves["slow"].hold(false)
	h.awaitLines("slow", 6000)
	if got := h.shelves["slow"].got(); !slices.Equal(got, numbered(0, 6000)) {
		t.Error("slow: lines are not each there once in order")
	}
	h.stop(time.Minute)
}

func TestReloadRestartsOnlyWhatChanged(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 10)...)
	h.shelves["a"], h.shelves["b"] = newShelf(), newShelf()
	h.open()
	h.apply(simpleConfig("app", "a", "b"))
	h.awaitLines("a", 10)

	changed := simpleConfig("app", "a", "b")
	changed.Targets[1].QueueBytes = 2 << 20
	h.apply(changed)
	if h.made["a"] != 1 || h.made["b"] != 2 {
		t.Errorf("sinks made: %v, want a once and b twice", h.made)
	}
	h.tapes["app"].write(numbered(10, 20)...)
	h.awaitLines("b", 20)
	opens := h.tapes["app"].opened()
	h.apply(changed)
	h.tapes["app"].write(numbered(20, 30)...)
	h.awaitLines("b", 30)
	if h.tapes["app"].opened() != opens {
		t.Error("the same configuration made a source read anew")
	}
	renamed := simpleConfig("app", "a", "b")
	renamed.Targets[1].QueueBytes = 2 << 20
	renamed.Sources[0].MinLevel = record.LevelWarning
	h.apply(renamed)
	h.tapes["app"].write(numbered(30, 40)...)
	for _, name := range []string{"a", "b"} {
		h.awaitLines(name, 40)
		if got := h.shelves[name].got(); !slices.Equal(got, numbered(0, 40)) {
			t.Errorf("%s: lines are not each there once in order: %v", name, got)
		}
	}
	// What cannot be built changes nothing.
	broken := simpleConfig("nosuch", "a", "b")
	if err := h.sup.Apply(broken); err == nil || !strings.Contains(err.Error(), "no such tape") {
		t.Errorf("got %v", err)
	}
	if st := h.sup.Status(); st.Refused == nil || len(st.Sources) != 1 || st.Sources[0].Name != "app" {
		t.Errorf("after a refused configuration: %+v", st)
	}
	h.tapes["app"].write(numbered(40, 50)...)
	h.awaitLines("a", 50)
	h.stop(time.Minute)
}

func TestTargetAddedLaterStartsWithWhatComesNow(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 10)...)
	h.shelves["a"], h.shelves["b"] = newShelf(), newShelf()
	h.open()
	h.apply(simpleConfig("app", "a"))
	h.awaitLines("a", 10)
	h.apply(simpleConfig("app", "a", "b"))
	h.tapes["app"].write(numbered(10, 20)...)
	h.awaitLines("a", 20)
	h.awaitLines("b", 10)
	// A target that goes away and comes back goes on where it was.
	h.apply(simpleConfig("app", "a"))
	h.tapes["app"].write(numbered(20, 30)...)
	h.awaitLines("a", 30)
	h.apply(simpleConfig("app", "a", "b"))
	h.awaitLines("b", 20)
	if got := h.shelves["b"].got(); !slices.Equal(got, numbered(10, 30)) {
		t.Errorf("b: %v", got)
	}
	h.stop(time.Minute)
}

func TestInputThatEndsIsForgottenOnceAllIsAnswered(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 10)...)
	h.shelves["a"] = newShelf()
	h.shelves["a"].hold(true)
	h.open()
	h.apply(simpleConfig("app", "a"))
	await(t, "the input to be found", func() bool { return h.run("app") != nil })
	h.tapes["app"].end()
	await(t, "the end to be read", func() bool { return h.feeds("app") == 0 })
	key := positions.Key{Source: "app", Target: "a", Input: "tape"}
	if _, ok := h.store.Get(key); !ok {
		t.Error("the position is forgotten before the target has answered")
	}
	h.shelves["a"].hold(false)
	h.awaitLines("a", 10)
	await(t, "the position to be forgotten", func() bool { _, ok := h.store.Get(key); return !ok })
	await(t, "the input to be forgotten", func() bool { return h.run("app") == nil })
	h.stop(time.Minute)
}

func TestTargetThatReplacesAnotherGoesOnWhereItStopped(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 10)...)
	h.shelves["old"], h.shelves["new"] = newShelf(), newShelf()
	h.open()
	h.apply(simpleConfig("app", "old"))
	h.awaitLines("old", 10)
	h.apply(&config.Config{})
	h.tapes["app"].write(numbered(10, 20)...)
	h.stop(time.Minute)
	h.open()
	h.apply(simpleConfig("app", "new"))
	h.awaitLines("new", 10)
	if got := h.shelves["new"].got(); !slices.Equal(got, numbered(10, 20)) {
		t.Errorf("new: %v", got)
	}
	h.stop(time.Minute)
}

// Reloads, failures and a writer at the same time: each line once, in order.
func TestReloadStorm(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape()
	h.shelves["a"], h.shelves["b"] = newShelf(), newShelf()
	for _, s := range h.shelves {
		s.fail = func(int) error {
			if rand.IntN(10) == 0 {
				return &sinks.Error{Class: sinks.ClassBroken, RetryAfter: time.Millisecond, Err: errors.New("reset")}
			}
			return nil
		}
	}
	h.open()
	h.apply(simpleConfig("app", "a", "b"))
	n := 0
	for i := range 60 {
		h.tapes["app"].write(numbered(n, n+20)...)
		n += 20
		cfg := simpleConfig("app", "a", "b")
		cfg.Targets[i%2].QueueBytes = config.Bytes(1<<20 + i)
		cfg.Sources[0].Labels = map[string]string{"round": string(rune('a' + i%3))}
		h.apply(cfg)
		if i%20 == 19 {
			h.stop(time.Minute)
			h.open()
			h.apply(cfg)
		}
	}
	for _, name := range []string{"a", "b"} {
		h.awaitLines(name, n)
		if got := h.shelves[name].got(); !slices.Equal(got, numbered(0, n)) {
			t.Errorf("%s: lines are not each there once in order", name)
		}
	}
	h.stop(time.Minute)
}
