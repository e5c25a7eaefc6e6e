package pipeline

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// impatient makes successors wait a short time only.
func impatient(t *testing.T) {
	busy, failing := busyFor, failingFor
	busyFor, failingFor = 50*time.Millisecond, 50*time.Millisecond
	t.Cleanup(func() { busyFor, failingFor = busy, failing })
}

// A writer that never lets go of a file that was rotated away must not keep
// what others write to the new one from being read.
func TestFileThatIsWrittenForEverDoesNotHoldUpItsSuccessor(t *testing.T) {
	impatient(t)
	h := newHouse(t)
	h.tapes["app"] = newTape("old")
	h.shelves["a"] = newShelf()
	h.open()
	h.apply(simpleConfig("app", "a"))
	h.awaitLines("a", 1)
	ctx, stop := context.WithCancel(t.Context())
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		for sleep(ctx, 10*time.Millisecond) {
			h.tapes["app"].write("old")
		}
	}()
	h.rotate <- newTape("new")
	await(t, "the new file", func() bool { return slices.Contains(h.shelves["a"].got(), "new") })
	stop()
	<-wrote
	h.stop(time.Minute)
}

// A file that cannot be read any more (a bad disk, a stale network mount) must
// not keep the next one from being read.
func TestFileThatCannotBeReadDoesNotHoldUpItsSuccessor(t *testing.T) {
	impatient(t)
	h := newHouse(t)
	h.tapes["app"] = newTape("old")
	h.tapes["app"].broken = errors.New("input/output error")
	h.shelves["a"] = newShelf()
	h.open()
	h.apply(simpleConfig("app", "a"))
	h.rotate <- newTape("new")
	h.awaitLines("a", 1)
	if got := h.shelves["a"].got(); got[0] != "new" {
		t.Errorf("got %v", got)
	}
	h.stop(time.Minute)
}

// A feed that is being stopped while a queue is full must not go on with a
// lane that has missed a batch.
func TestFeedThatIsStoppedWhileAQueueIsFullEnds(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape()
	h.shelves["full"], h.shelves["quick"] = newShelf(), newShelf()
	h.shelves["full"].hold(true)
	h.open()
	cfg := simpleConfig("app", "full", "quick")
	h.apply(cfg)
	await(t, "the feed", func() bool { return h.feeds("app") == 1 })
	run := h.run("app")
	run.mu.Lock()
	run.stopped = true
	f := run.feeds[0]
	i := slices.IndexFunc(f.lanes, func(l *lane) bool { return l.target.name == "full" })
	l := f.lanes[i]
	run.mu.Unlock()
	l.target.mu.Lock()
	l.target.limit = 0
	l.target.mu.Unlock()
	h.tapes["app"].write("in the queue alone")
	h.tapes["app"].write(numbered(0, 100)...)
	select {
	case <-f.done:
	case <-time.After(time.Minute):
		t.Fatal("the feed goes on")
	}
	run.halt()
	run.resume()
	h.shelves["full"].hold(false)
	h.awaitLines("full", 101)
	h.awaitLines("quick", 101)
	h.stop(time.Minute)
}

// What was written just before a rotation may not have been seen yet when the
// new file is found.
func TestQuietInputIsDrainedOnlyAfterAnotherLook(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, c := range []struct {
		name             string
		waits, successor time.Time
		looked, want     bool
	}{
		{"waits for long, successor just found", ago(time.Minute), now, false, false},
		{"waits for long, successor found a look of an active file ago", ago(time.Minute), ago(100 * time.Millisecond), false, false},
		{"waits for long, and has looked since the successor was found", ago(time.Minute), ago(100 * time.Millisecond), true, true},
		{"waits for long, successor found two looks ago", ago(time.Minute), ago(time.Second), false, true},
		{"active, successor just found", ago(500 * time.Millisecond), now, false, false},
		{"active, successor found a while ago", ago(500 * time.Millisecond), ago(200 * time.Millisecond), false, true},
		{"has just read", now, ago(time.Second), true, false},
	} {
		if got := drainedAt(int64(c.waits.Sub(epoch)), c.successor, c.looked); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if drainedAt(0, ago(time.Minute), true) {
		t.Error("a feed that reads counts as waiting")
	}
}
