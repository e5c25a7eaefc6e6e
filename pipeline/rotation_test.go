package pipeline

import (
	"slices"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/positions"
)

// A target that is dead over several rotations must be given every file, also
// those that the others have read to the end and that it was not yet allowed to
// begin with.
func TestDeadTargetIsGivenEveryFileOfAChainOfRotations(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 3000)...)
	h.shelves["slow"], h.shelves["quick"] = newShelf(), newShelf()
	h.shelves["slow"].hold(true)
	h.open()
	cfg := simpleConfig("app", "quick", "slow")
	cfg.Targets[1].QueueBytes = 16 << 10
	h.apply(cfg)
	h.awaitLines("quick", 3000)
	second := newTape(numbered(3000, 6000)...)
	h.rotate <- second
	h.awaitLines("quick", 6000)
	h.tapes["app"].end()
	second.end()
	h.rotate <- newTape(numbered(6000, 9000)...)
	h.awaitLines("quick", 9000)
	h.shelves["slow"].hold(false)
	h.awaitLines("slow", 9000)
	for _, name := range []string{"slow", "quick"} {
		if got := h.shelves[name].got(); !slices.Equal(got, numbered(0, 9000)) {
			t.Errorf("%s: lines are not each there once in order", name)
		}
	}
	await(t, "the files that have ended to be forgotten", func() bool { return h.run("app") != nil })
	h.stop(time.Minute)
	for _, e := range h.store.Entries("app") {
		if e.Input == "tape" || e.Input == "next" {
			t.Errorf("the position of %s at %s is still stored", e.Input, e.Target)
		}
	}
}

// On a busy machine a reader may not look for long. What follows its input
// waits for it, however long that has been quiet.
func TestSuccessorWaitsForAReaderThatHasNotLooked(t *testing.T) {
	h := newHouse(t)
	first := newTape(numbered(0, 10)...)
	h.tapes["app"], h.shelves["a"] = first, newShelf()
	h.open()
	h.apply(simpleConfig("app", "a"))
	h.awaitLines("a", 10)
	first.asleep.Store(true)
	first.write(numbered(10, 20)...)
	h.rotate <- newTape(numbered(20, 30)...)
	await(t, "the successor to be found", func() bool { return len(h.sup.sources["app"].runs()) == 2 })
	rotated := time.Now()
	await(t, "far more than a reader needs", func() bool { return time.Since(rotated) > 4*drainedAfterQuiet })
	first.asleep.Store(false)
	h.awaitLines("a", 30)
	if got := h.shelves["a"].got(); !slices.Equal(got, numbered(0, 30)) {
		t.Errorf("lines are not in order: %q", got)
	}
	h.stop(time.Minute)
}

// A feed that waits for another one to meet it, at a place that the other one has passed, reads nothing.
// What follows its input waits all the same.
func TestSuccessorWaitsForAFeedThatIsToMeetAnother(t *testing.T) {
	h := newHouse(t)
	first := newTape(numbered(0, 10)...)
	h.tapes["app"], h.shelves["a"] = first, newShelf()
	h.open()
	h.apply(simpleConfig("app", "a"))
	h.awaitLines("a", 10)
	run := h.run("app")
	run.ops.Lock() // as meet does
	run.halt()
	run.mu.Lock()
	f := run.start(run.lanes, "10")
	run.mu.Unlock()
	first.write(numbered(10, 20)...)
	h.rotate <- newTape(numbered(20, 30)...)
	await(t, "the successor to be found", func() bool { return len(h.sup.sources["app"].runs()) == 2 })
	rotated := time.Now()
	await(t, "far more than a reader needs", func() bool {
		return f.waiting.Load() != 0 && time.Since(rotated) > 4*drainedAfterQuiet
	})
	run.halt()
	run.resume()
	run.ops.Unlock()
	h.awaitLines("a", 30)
	if got := h.shelves["a"].got(); !slices.Equal(got, numbered(0, 30)) {
		t.Errorf("lines are not in order: %q", got)
	}
	h.stop(5 * time.Second)
}

// A program writes its last lines to a file that was rotated away long before, and then
// its first ones to the new file: they come in that order, also where the new one is looked at first,
// and whatever was changed in between.
func TestLastLinesOfAQuietFileComeBeforeTheFirstOfTheNextOne(t *testing.T) {
	for name, change := range map[string]func(h *house, cfg *config.Config){
		"nothing": func(*house, *config.Config) {},
		"the source": func(h *house, cfg *config.Config) {
			cfg.Sources[0].Labels = map[string]string{"round": "two"}
			h.apply(cfg)
		},
		"a target": func(h *house, cfg *config.Config) {
			cfg.Targets[0].QueueBytes = 2 << 20
			h.apply(cfg)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			first, second, third := newTape(numbered(0, 10)...), newTape(), newTape()
			h.tapes["app"], h.shelves["a"], h.shelves["b"] = first, newShelf(), newShelf()
			h.open()
			h.apply(simpleConfig("app", "a", "b"))
			h.awaitLines("a", 10)
			h.rotate <- second // and once more, before the program was told
			h.rotate <- third
			await(t, "the next file to be read", func() bool { return third.opened() > 0 })
			opened := third.opened()
			change(h, simpleConfig("app", "a", "b"))
			if name != "nothing" {
				await(t, "the next file to be read again", func() bool { return third.opened() > opened })
			}
			first.asleep.Store(true)
			first.write(numbered(10, 20)...)
			third.write(numbered(20, 30)...)
			wrote := time.Now()
			await(t, "far more than a reader needs", func() bool { return time.Since(wrote) > 4*drainedAfterQuiet })
			first.asleep.Store(false)
			for _, name := range []string{"a", "b"} {
				h.awaitLines(name, 30)
				if got := h.shelves[name].got(); !slices.Equal(got, numbered(0, 30)) {
					t.Errorf("%s: lines are not each there once in order: %q", name, got)
				}
			}
			h.stop(5 * time.Second)
		})
	}
}

// What was read to the end, but not answered, is read again when its target
// is changed.
func TestChangedTargetIsGivenTheRestOfAnInputThatEnded(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 10)...)
	h.shelves["a"] = newShelf()
	h.shelves["a"].hold(true)
	h.open()
	h.apply(simpleConfig("app", "a"))
	await(t, "the lines to be queued", func() bool { return h.queued("a") == 10 })
	h.tapes["app"].end()
	await(t, "the end to be read", func() bool { return h.feeds("app") == 0 })
	broken := h.shelves["a"]
	h.shelves["a"] = newShelf()
	cfg := simpleConfig("app", "a")
	cfg.Targets[0].QueueBytes = 2 << 20
	h.apply(cfg)
	h.awaitLines("a", 10)
	if got := broken.got(); len(got) != 0 {
		t.Errorf("the broken target was given %d lines", len(got))
	}
	h.stop(time.Minute)
}

// A target that had all of an input is not given it again because another one
// has not: not by a reload, and not by a restart.
func TestInputThatEndedIsNotRepeatedForTheTargetThatHadIt(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 3000)...)
	h.shelves["slow"], h.shelves["quick"], h.shelves["third"] = newShelf(), newShelf(), newShelf()
	h.shelves["slow"].hold(true)
	h.open()
	cfg := simpleConfig("app", "quick", "slow")
	cfg.Targets[1].QueueBytes = 16 << 10
	h.apply(cfg)
	h.awaitLines("quick", 3000)
	h.tapes["app"].end()
	await(t, "quick to be at the end", func() bool { return h.feeds("app") == 1 })
	await(t, "quick to have answered", func() bool { return h.queued("quick") == 0 })
	more := simpleConfig("app", "quick", "slow", "third")
	more.Targets[1].QueueBytes = 16 << 10
	h.apply(more)
	h.apply(cfg)
	cfg.Sources[0].Labels = map[string]string{"round": "two"}
	h.apply(cfg)
	h.stop(50 * time.Millisecond)
	h.shelves["slow"].hold(false)
	h.open()
	h.apply(cfg)
	h.awaitLines("slow", 3000)
	await(t, "the input to be forgotten", func() bool { return h.run("app") == nil })
	h.awaitLines("quick", 3000)
	h.stop(time.Minute)
	for _, name := range []string{"slow", "quick", "third"} {
		if p, ok := h.store.Get(positions.Key{Source: "app", Target: name, Input: "tape"}); ok {
			t.Errorf("the position %s at %s is still stored", p, name)
		}
	}
}

// queued counts the records that a target has not answered for.
func (h *house) queued(name string) int64 {
	h.sup.mu.Lock()
	defer h.sup.mu.Unlock()
	return h.sup.targets[name].queued()
}

// A target that was away while a file was rotated is given the new one from its
// beginning, not from where the others are.
func TestTargetThatComesBackIsGivenWhatAppearedMeanwhile(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 100)...)
	h.shelves["a"], h.shelves["b"] = newShelf(), newShelf()
	h.open()
	h.apply(simpleConfig("app", "a", "b"))
	h.awaitLines("b", 100)
	h.apply(simpleConfig("app", "a"))
	h.rotate <- newTape(numbered(100, 200)...)
	h.awaitLines("a", 200)
	h.apply(simpleConfig("app", "a", "b"))
	h.awaitLines("b", 200)
	if got := h.shelves["b"].got(); !slices.Equal(got, numbered(0, 200)) {
		t.Error("b: lines are not each there once in order")
	}
	h.stop(time.Minute)
}

// A target that comes back has what it left of one file before the next one.
func TestTargetThatComesBackIsGivenItsRestInOrder(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 300)...)
	h.shelves["a"], h.shelves["b"] = newShelf(), newShelf()
	h.shelves["b"].hold(true)
	h.open()
	h.apply(simpleConfig("app", "a", "b"))
	h.awaitLines("a", 300)
	await(t, "all to be queued for b", func() bool { return h.queued("b") == 300 })
	for n := 300; n < 1200; n += 300 {
		h.rotate <- newTape(numbered(n, n+300)...)
		h.awaitLines("a", n+300)
	}
	await(t, "b to be allowed the last file", func() bool { return h.queued("b") == 1200 })
	h.apply(simpleConfig("app", "a"))
	h.shelves["b"].hold(false)
	h.apply(simpleConfig("app", "a", "b"))
	h.awaitLines("b", 1200)
	if got := h.shelves["b"].got(); !slices.Equal(got, numbered(0, 1200)) {
		t.Error("b: lines are not each there once in order")
	}
	h.stop(time.Minute)
}
