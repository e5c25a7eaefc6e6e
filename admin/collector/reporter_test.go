package collector

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/pipeline"
)

// pipe is a pipeline that says what it is told to, if it answers at all.
type pipe struct {
	mu        sync.Mutex
	st        pipeline.Status
	condition uint64
	looks     int
	away      []string // what it was told of the store
	awaySince time.Time
	hang      chan struct{} // nil: it answers
}

func (p *pipe) Status() pipeline.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.st
}

func (p *pipe) Condition() uint64 {
	p.mu.Lock()
	hang := p.hang
	p.looks++
	p.mu.Unlock()
	if hang != nil {
		<-hang
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.condition
}

func (p *pipe) StoreAway(since time.Time, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := "back"
	if !since.IsZero() {
		text = why.Error()
		p.awaySince = since
	}
	if len(p.away) == 0 || p.away[len(p.away)-1] != text {
		p.away = append(p.away, text)
	}
}

// set changes what it says, and with that its condition.
func (p *pipe) set(change func(*pipeline.Status)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.st)
	p.condition++
}

func (p *pipe) hangs(hang chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hang = hang
}

// sent is a report and when it came.
type sent struct {
	config.Collector
	at time.Time
}

// shelf is a store that keeps all reports, if it is there.
type shelf struct {
	Local
	mu    sync.Mutex
	sent  []sent
	tries int
	away  error
	hang  bool // until the context ends
	takes time.Duration
}

func (s *shelf) Report(ctx context.Context, c config.Collector) error {
	s.mu.Lock()
	s.tries++
	hang, takes := s.hang, s.takes
	s.mu.Unlock()
	time.Sleep(takes) // the bubble's clock
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away != nil {
		return s.away
	}
	s.sent = append(s.sent, sent{c, time.Now()})
	return nil
}

func (s *shelf) set(away error, hang bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away, s.hang = away, hang
}

func (s *shelf) all() []sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]sent(nil), s.sent...)
}

func (s *shelf) tried() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries
}

// bed runs a Reporter in a bubble, where time passes when nobody works.
type bed struct {
	t     *testing.T
	pipe  *pipe
	shelf *shelf
	log   *bytes.Buffer
	r     *Reporter
	stop  func()
	start time.Time
}

func inBed(t *testing.T, f func(b *bed)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bed{t: t, pipe: &pipe{st: pipeline.Status{Applied: time.Now(), Targets: []pipeline.TargetStatus{target("a", nil), target("b", nil)}}}, shelf: &shelf{}, log: &bytes.Buffer{}, start: time.Now()}
		b.r = NewReporter(Options{Pipeline: b.pipe, To: b.shelf, Node: node, Log: slog.New(slog.NewTextHandler(b.log, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.r.Run(ctx); close(done) }()
		b.stop = func() { cancel(); <-done }
		defer b.stop()
		b.pass(0)
		f(b)
	})
}

func (b *bed) pass(d time.Duration) {
	time.Sleep(d) // the bubble's clock
	synctest.Wait()
}

// count wants so many reports, and returns the last one.
func (b *bed) count(n int) sent {
	b.t.Helper()
	all := b.shelf.all()
	if len(all) != n {
		b.t.Fatalf("%d reports after %v, want %d", len(all), time.Since(b.start), n)
	}
	return all[n-1]
}

func (b *bed) failing(names ...string) {
	b.pipe.set(func(st *pipeline.Status) {
		st.Targets = nil
		for _, name := range []string{"a", "b"} {
			var err error
			if strings.Contains(strings.Join(names, " "), name) {
				err = refused
				st.Totals = map[string]pipeline.Totals{"loki": {SendFailed: st.Totals["loki"].SendFailed + 1}}
			}
			st.Targets = append(st.Targets, target(name, err))
		}
	})
}

func TestReportsAtStartAndByTheMinute(t *testing.T) {
	inBed(t, func(b *bed) {
		if c := b.count(1); c.ID != "node1" || c.PipelineHealth != "HEALTHY" || c.RemotecfgStatus != "REMOTECFG_UP" {
			t.Errorf("%+v", c)
		}
		b.pass(30 * time.Minute)
		n := len(b.shelf.all())
		if n < 27 || n > 31 {
			t.Errorf("%d reports in half an hour", n)
		}
		for i, c := range b.shelf.all()[1:] {
			if gap := c.at.Sub(b.shelf.all()[i].at); gap < time.Minute || gap > 67*time.Second {
				t.Errorf("a report after %v", gap)
			}
		}
		b.pipe.mu.Lock()
		if b.pipe.looks < 1700 {
			t.Errorf("looked %d times in half an hour", b.pipe.looks)
		}
		b.pipe.mu.Unlock()
		b.stop()
		if c := b.count(n + 1); !c.at.Equal(time.Now()) {
			t.Errorf("the last one is of %v", c.at)
		}
	})
}

func TestReportsWhenHealthChanges(t *testing.T) {
	inBed(t, func(b *bed) {
		b.pass(10500 * time.Millisecond)
		b.failing("a")
		b.pass(time.Second)
		if c := b.count(2); c.PipelineHealth != "DEGRADED" || c.ExporterSendFailedDelta != 1 || len(c.FailingExporters) != 1 {
			t.Errorf("%+v", c)
		}
		b.failing("a", "b")
		b.pass(time.Second)
		if c := b.count(3); c.PipelineHealth != "ERROR" || c.ExporterSendFailedDelta != 2 || c.ExporterSendFailedTotal != 3 {
			t.Errorf("%+v", c)
		}
		b.failing()
		b.pass(time.Second)
		if c := b.count(4); c.PipelineHealth != "HEALTHY" || c.ExporterSendFailedDelta != 0 {
			t.Errorf("%+v", c)
		}
		// Flapping is told, but not each time; and the end of it is.
		for range 600 {
			b.failing("a")
			b.pass(500 * time.Millisecond)
			b.failing()
			b.pass(500 * time.Millisecond)
			b.failing("a")
			b.pass(500 * time.Millisecond)
		}
		if n := len(b.shelf.all()); n > 4+15*60/10+15*2 || n < 4+60 {
			t.Errorf("%d reports of a quarter of an hour of flapping", n)
		}
		b.pass(changeEvery + time.Second)
		if c := b.shelf.all(); c[len(c)-1].PipelineHealth != "DEGRADED" {
			t.Errorf("at last %+v", c[len(c)-1])
		}
	})
}

// A change that all nodes see at once is told one after the other, if the store was
// slow the last time: each waits for as long as it likes, but not for long.
func TestChangesSpreadOverASlowStore(t *testing.T) {
	told := map[time.Duration]int{} // by the second
	for range 40 {
		inBed(t, func(b *bed) {
			b.shelf.mu.Lock()
			b.shelf.takes = 300 * time.Millisecond
			b.shelf.mu.Unlock()
			b.pass(80 * time.Second) // a report that takes so long
			n := len(b.shelf.all())
			b.failing("a")
			changed := time.Now()
			b.pass(9 * time.Second)
			told[b.count(n+1).at.Sub(changed).Truncate(time.Second)]++
		})
	}
	for second, n := range told {
		if n > 20 {
			t.Errorf("%d of 40 nodes tell it after %v", n, second)
		}
	}
	if len(told) < 4 {
		t.Errorf("all tell it within %d different seconds: %v", len(told), told)
	}
}

// A store that is away is tried again and again, the pipeline notices nothing,
// and what was counted meanwhile is in the report that is stored at last.
func TestStoreThatIsAway(t *testing.T) {
	for name, hang := range map[string]bool{"refuses": false, "hangs": true} {
		t.Run(name, func(t *testing.T) {
			inBed(t, func(b *bed) {
				b.shelf.set(config.ErrUnavailable, hang)
				b.failing("a")
				b.pass(10 * time.Second)
				b.failing("a")
				b.pass(10 * time.Minute)
				b.count(1)
				if c := b.r.Current(); c.RemotecfgStatus != "REMOTECFG_DOWN" || c.AlloyStatus != "ALLOY_ONLINE" || !c.LastSeen.Equal(time.Now()) || c.PipelineHealth != "DEGRADED" || c.ExporterSendFailedTotal != 2 {
					t.Errorf("told locally: %+v", c)
				}
				if tries := b.shelf.tried(); tries < 10 || tries > 40 {
					t.Errorf("%d tries in 10 minutes", tries)
				}
				if n := strings.Count(b.log.String(), "cannot be stored"); n != 1 {
					t.Errorf("said %d times:\n%s", n, b.log)
				}
				b.shelf.set(nil, false)
				b.pass(time.Minute + storeWithin + time.Second)
				all := b.shelf.all()
				if c := all[1]; c.RemotecfgStatus != "REMOTECFG_UP" || c.ExporterSendFailedDelta != 2 || c.PipelineHealth != "DEGRADED" {
					t.Errorf("%+v", c)
				}
				if c := b.r.Current(); c.RemotecfgStatus != "REMOTECFG_UP" || !strings.Contains(b.log.String(), "stored again") {
					t.Errorf("%+v\n%s", c, b.log)
				}
				// An end without a store is not waited for.
				b.shelf.set(config.ErrUnavailable, hang)
				b.pass(2 * time.Minute)
				n := len(b.shelf.all())
				b.pass(storeWithin + time.Second)
				tries, before := b.shelf.tried(), time.Now()
				b.stop()
				if took := time.Since(before); took > 0 || b.shelf.tried() != tries {
					t.Errorf("the end took %v and %d tries", took, b.shelf.tried()-tries)
				}
				b.count(n)
			})
		})
	}
}

// knowing is a shelf that knows whether it is reached.
type knowing struct{ shelf }

func (k *knowing) Reached() (time.Time, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Time{}, k.away
}

// A store that knows that it is away makes the node say so at once, and that it is back; a
// report that could not be stored is stored soon after.
func TestStoreThatKnowsThatItIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &knowing{}
		p := &pipe{st: pipeline.Status{Applied: time.Now(), Targets: []pipeline.TargetStatus{target("a", nil)}}}
		r := NewReporter(Options{Pipeline: p, To: store, Node: node})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.Run(ctx); close(done) }()
		defer func() { cancel(); <-done }()
		says := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := r.Current().RemotecfgStatus; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		says("REMOTECFG_UP")
		store.set(config.ErrUnavailable, false)
		says("REMOTECFG_DOWN")
		store.set(nil, false)
		says("REMOTECFG_UP")
		store.set(config.ErrUnavailable, false)
		time.Sleep(10 * time.Minute)
		says("REMOTECFG_DOWN")
		n := len(store.all())
		store.set(nil, false)
		time.Sleep(againWithin + 2*checkEvery)
		says("REMOTECFG_UP")
		if got := len(store.all()); got != n+1 {
			t.Errorf("%d reports, want %d", got, n+1)
		}
	})
}

// The pipeline is told of a store that stays away, since when and why, and that it is back; not of
// one that is away for a moment.
func TestThePipelineIsToldThatTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &knowing{}
		p := &pipe{st: pipeline.Status{Applied: time.Now()}}
		r := NewReporter(Options{Pipeline: p, To: store, Node: node})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.Run(ctx); close(done) }()
		defer func() { cancel(); <-done }()
		told := func(want string) {
			t.Helper()
			synctest.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			if got := strings.Join(p.away, ", "); got != want {
				t.Errorf("told %q, want %q", got, want)
			}
		}
		time.Sleep(10 * time.Second)
		store.set(config.ErrUnavailable, false)
		time.Sleep(awayAfter - 2*checkEvery)
		store.set(nil, false)
		time.Sleep(10 * time.Second)
		told("")
		gone := time.Now()
		store.set(config.ErrUnavailable, false)
		time.Sleep(awayAfter + 2*checkEvery)
		away := config.ErrUnavailable.Error()
		told(away)
		time.Sleep(time.Hour)
		told(away)
		if late := p.awaySince.Sub(gone); late < 0 || late > checkEvery {
			t.Errorf("said to be away since %v later", late)
		}
		store.set(nil, false)
		time.Sleep(3 * checkEvery)
		told(away + ", back")
	})
}

// A pipeline that does not answer is UNKNOWN, within seconds, and known again
// when it does.
func TestPipelineThatHangs(t *testing.T) {
	inBed(t, func(b *bed) {
		b.failing("a")
		b.pass(time.Second)
		b.count(2)
		hang := make(chan struct{})
		b.pipe.hangs(hang)
		b.pass(2 * askWithin)
		c := b.count(3)
		if c.PipelineHealth != "UNKNOWN" || !strings.Contains(c.PipelineError, "has not answered within 5s") || c.ExporterSendFailedDelta != 0 ||
			len(c.UnhealthyComponents) != 1 || c.TotalExporters != 2 || !c.PipelineCheckedAt.Equal(b.shelf.all()[1].PipelineCheckedAt) {
			t.Errorf("%+v", c)
		}
		b.pass(10 * time.Minute)
		if n := len(b.shelf.all()); n < 11 || n > 14 {
			t.Errorf("%d reports of a pipeline that hangs for 10 minutes", n)
		}
		b.pipe.hangs(nil)
		close(hang)
		b.pass(2 * time.Second)
		if c := b.r.Current(); c.PipelineHealth != "DEGRADED" || !strings.Contains(c.UnhealthyComponents[0].LocalID, "target/a") {
			t.Errorf("%+v", c)
		}
	})
}

// What the daemon was when it ended is its last report.
func TestLastReport(t *testing.T) {
	inBed(t, func(b *bed) {
		b.failing("a")
		b.pipe.set(func(st *pipeline.Status) { st.Stopped = true })
		b.stop()
		if c := b.count(2); c.PipelineHealth != "UNKNOWN" || c.PipelineError != "lbshipd was stopped" || c.ExporterSendFailedDelta != 1 {
			t.Errorf("%+v", c)
		}
	})
}

// A report that the end interrupts is no reason to leave the last one out.
func TestEndInTheMiddleOfAReport(t *testing.T) {
	inBed(t, func(b *bed) {
		b.shelf.set(nil, true)
		b.failing("a")
		b.pass(2 * time.Second) // it waits for the store
		b.count(1)
		b.shelf.set(nil, false)
		b.stop()
		if c := b.count(2); c.ExporterSendFailedDelta != 1 || c.RemotecfgStatus != "REMOTECFG_UP" || b.log.Len() > 0 {
			t.Errorf("%+v\n%s", c, b.log)
		}
	})
}

func TestLocal(t *testing.T) {
	var l Local
	ctx := t.Context()
	if list, err := l.Collectors(ctx); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	if err := l.Forget(ctx, "node1"); !errors.Is(err, config.ErrNotFound) {
		t.Error(err)
	}
	for _, version := range []string{"1", "2"} {
		if err := l.Report(ctx, config.Collector{ID: "node1", Version: version}); err != nil {
			t.Error(err)
		}
	}
	list, err := l.Collectors(ctx)
	if err != nil || len(list) != 1 || list[0].Version != "2" || list[0].AlloyStatus != "ALLOY_ONLINE" || time.Since(list[0].LastSeen) > time.Minute {
		t.Errorf("%+v, %v", list, err)
	}
	if err := l.Forget(ctx, "node2"); !errors.Is(err, config.ErrNotFound) || !strings.Contains(err.Error(), "node2") {
		t.Error(err)
	}
	if err := l.Forget(ctx, "node1"); err != nil {
		t.Error(err)
	}
	if list, _ := l.Collectors(ctx); len(list) != 0 {
		t.Errorf("%v", list)
	}
}
