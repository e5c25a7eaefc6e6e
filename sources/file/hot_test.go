package file

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"
)

// A file is looked at the sooner the faster it is written, and no longer than it is.
func TestPace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "")
	opened, err := testInput(t, testSource(t, path, 0), path).Open("")
	must(t, err)
	r := opened.(*reader)
	now := time.Now()
	at := func(bytesPerSecond int64) time.Duration {
		r.rate, r.heated = 0, now
		for range 50 { // until it has settled
			now = now.Add(10 * time.Millisecond)
			r.heat(bytesPerSecond/100, now)
		}
		r.lastChange = now
		return r.pace(now)
	}
	for _, c := range []struct {
		rate int64
		want time.Duration
	}{{0, 0}, {100 << 10, 0}, {400 << 10, 10 * time.Millisecond}, {1 << 20, 4 * time.Millisecond}, {100 << 20, hotLeast}} {
		if got := at(c.rate).Round(time.Millisecond); got != c.want {
			t.Errorf("at %d bytes a second: %v, want %v", c.rate, got, c.want)
		}
	}
	if got := r.pace(now.Add(2 * hotFor)); got != 0 {
		t.Errorf("when it has stopped: %v", got)
	}
}

// A copy that appears beside a quiet file makes it be looked at as often as
// can be, and the truncation that follows costs nothing that was there for a moment.
func TestCopyIsAWarning(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "1\n")
	r := newRig(t, path)
	r.start()
	r.expect("1")
	in := r.inputs[0].(*input)
	write(t, path+".2.gz", "")
	must(t, os.Rename(path+".2.gz", path+".3.gz"))
	must(t, os.WriteFile(filepath.Join(filepath.Dir(path), "other.log.1"), nil, 0o644))
	write(t, path+".1", "")
	r.until("a hurry", func() bool { return in.hurryUntil.Load() > 0 })
	r.until("the reader's turn", func() bool {
		r.src.poller.mu.Lock()
		defer r.src.poller.mu.Unlock()
		return len(r.src.poller.hot) > 0
	})
	write(t, path, "2\n")
	r.expect("1", "2")
}

// Readers that are hurried, cancelled and closed at any moment leave nothing behind.
func TestHurryAndCancel(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "1\n")
	src := testSource(t, path, 0)
	in := testInput(t, src, path)
	opened, err := in.Open("")
	must(t, err)
	rd := opened.(*reader)
	readSome(t, rd)
	for i := range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- rd.Wait(ctx) }()
		src.poller.hurry(in)
		if i%3 == 0 {
			write(t, path, "more\n")
			must(t, <-done)
			readSome(t, rd)
			cancel()
			continue
		}
		cancel()
		if err := <-done; err == nil {
			readSome(t, rd)
		}
	}
	must(t, rd.Close())
	waitFor(t, "the poller's rest", func() bool {
		src.poller.mu.Lock()
		defer src.poller.mu.Unlock()
		return !src.poller.running && src.poller.waiting == 0 && len(src.poller.hot) == 0
	}, func() string { return "" })
}

// A clock that is set back keeps nobody from looking at a file, be it a fast one or not.
func TestClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	for _, fast := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "app.log")
		write(t, path, "1\n")
		src := testSource(t, path, 0)
		opened, err := testInput(t, src, path).Open("")
		must(t, err)
		r := opened.(*reader)
		now := time.Now()
		if fast {
			r.rate, r.lastChange = 1<<20, now
		}
		p := &src.poller
		p.tick, r.waits, p.waiting = tickOf(now), true, 1
		if _, hot := p.putHot(waiter{r, r.turn}, now); hot != fast {
			t.Fatalf("a fast file: %v", hot)
		} else if !hot {
			p.put(waiter{r, r.turn}, p.tick, 0)
		}
		p.turn(setBack(now.Add(2*pollTick), time.Hour))
		if r.waits {
			t.Errorf("a file that was written is not looked at any more (a fast one: %v)", fast)
		}
	}
}

// setBack is a moment as it looks when the clock was set back before it: the monotonic part,
// which is in front of everything that time.Time compares, is what it was.
func setBack(at time.Time, by time.Duration) time.Time {
	const secondsFrom = 30 // bits of wall below its seconds, see time.Time
	parts := (*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&at))
	parts.wall -= uint64(by/time.Second) << secondsFrom
	return at
}
