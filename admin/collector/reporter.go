package collector

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/backoff"
	"github.com/lbshipd/lbshipd/pipeline"
)

// DefaultInterval is how often a node reports while nothing changes.
const DefaultInterval = time.Minute

// How a Reporter goes about it.
const (
	// checkEvery is how often it looks whether the health has changed.
	checkEvery = time.Second
	// A node whose health changes all the time reports changeBurst times at once
	// and then every changeEvery: a thousand nodes may have the same bad target.
	changeBurst = 3
	changeEvery = 10 * time.Second
	// A change is told after a random time, up to spread times as long as the store took
	// for the last report, spreadMost at most and not at all below checkEvery: a change of
	// the configuration has every node report, and what takes that long has many of them.
	spread     = 20
	spreadMost = 10 * time.Second
	// askWithin is how long the pipeline may take to say how it is.
	askWithin = 5 * time.Second
	// storeWithin is how long the store may take for a report.
	storeWithin = 5 * time.Second
	// lastWithin is the same for the last one, when stopping.
	lastWithin = 2 * time.Second
	// retryMin is the first wait after a report that was not stored.
	retryMin = time.Second
	// againWithin is how soon a node reports once the store that was away is reached: not all
	// nodes together.
	againWithin = 3 * time.Second
	// awayAfter is how long the store must be away until the pipeline is told: a leader that is
	// lost is replaced within a second or two, and nobody needs to know.
	awayAfter = 4 * time.Second
)

// Pipeline is what is reported of; *pipeline.Supervisor is one.
type Pipeline interface {
	Status() pipeline.Status
	// Condition returns a number that changes when the health does.
	Condition() uint64
	// StoreAway is told since when the configuration store cannot be reached, and why; the
	// zero time: it can be again.
	StoreAway(since time.Time, why error)
}

// Options are what a Reporter needs.
type Options struct {
	Pipeline Pipeline
	To       config.Collectors
	Node     Node
	Log      *slog.Logger
	Interval time.Duration // 0: DefaultInterval

	// Fleet is told, after each report that a store of many nodes has taken, how many
	// have reported there and how many of them are alive. It may be nil.
	Fleet func(known, online int)
}

// Reporter reports of a node. Neither a store that is away nor one that hangs
// touches the pipeline.
//
// Life: NewReporter; Run once; Current at any time.
type Reporter struct {
	o      Options
	asking chan struct{} // holds one question that the pipeline has not answered yet

	// Used by Run alone.
	before  Before
	told    uint64    // the Condition that was reported, or tried to be
	stuck   bool      // the pipeline did not answer when it was asked last
	due     time.Time // when there is to be a report in any case
	retry   backoff.Backoff
	failing bool          // the last report was not stored
	away    bool          // and the store has not been reached since
	lost    time.Time     // since when the store was seen to be away; zero: it is not
	said    bool          // and the pipeline was told
	changes int           // reports of changes that may be made at once
	refill  time.Time     // when there may be one more
	took    time.Duration // how long the store took for the last report
	tell    time.Time     // when the change that was seen is told; zero: none was

	mu   sync.Mutex
	last config.Collector // the last report that was made
}

// NewReporter returns a Reporter that has not reported yet.
func NewReporter(o Options) *Reporter {
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Reporter{o: o, asking: make(chan struct{}, 1), changes: changeBurst, retry: backoff.Backoff{Min: retryMin, Max: o.Interval}}
	r.last = Unasked(empty(o.Node), "nothing was reported yet")
	return r
}

func empty(n Node) config.Collector {
	return config.Collector{ID: n.Name, Version: n.Version, NodeLabels: n.Labels, RemotecfgStatus: remotecfgUnspecified,
		UnhealthyComponents: []config.UnhealthyComponent{}, FailingExporters: []string{}}
}

// reacher is a store that knows whether it is reached before a report fails.
type reacher interface {
	Reached() (since time.Time, err error)
}

// Current returns the last report that was made, whether it was stored or not:
// if not, or if the store is known to be away, its RemotecfgStatus says so. Whoever asks the node
// itself finds it online.
func (r *Reporter) Current() config.Collector {
	c := r.made()
	c.AlloyStatus, c.LastSeen = config.AlloyOnline, time.Now().UTC()
	if r.reached() != nil {
		c.RemotecfgStatus = config.RemotecfgDown
	}
	return c
}

// reached returns why the store is known to be away; nil also if that is not known.
func (r *Reporter) reached() error {
	if store, ok := r.o.To.(reacher); ok {
		_, err := store.Reached()
		return err
	}
	return nil
}

// look tells the pipeline when the store has been away for a while, and when it is back.
func (r *Reporter) look(now time.Time) {
	err := r.reached()
	if err == nil {
		r.lost = time.Time{}
	} else if r.lost.IsZero() {
		r.lost = now
	}
	if err == nil && !r.said || err != nil && now.Sub(r.lost) < awayAfter {
		return
	}
	since := r.lost
	told := r.ask(func() func() {
		r.o.Pipeline.StoreAway(since, err)
		return func() {}
	})
	r.said = err != nil || !told // what it was not told is told again
}

func (r *Reporter) made() config.Collector {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// Run reports at once, when the health changes, and every interval, until ctx
// ends; and then once more, unless the store was away: how the pipeline ended, if
// it was stopped before. The caller waits for that and then closes the store, which
// lets the node's lease go: the report stays, and the node is seen to be gone at once.
func (r *Reporter) Run(ctx context.Context) {
	r.report(ctx, storeWithin)
	ticks := time.NewTicker(checkEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			if !r.failing {
				r.report(context.WithoutCancel(ctx), lastWithin)
			}
			return
		case <-ticks.C:
		}
		r.look(time.Now())
		if ctx.Err() == nil && r.isDue(time.Now()) {
			r.report(ctx, storeWithin)
		}
	}
}

// isDue reports whether there is something to be reported now.
func (r *Reporter) isDue(now time.Time) bool {
	if !now.Before(r.due) {
		return true
	}
	if r.away && r.reached() == nil {
		r.away, r.due = false, now.Add(rand.N(againWithin))
	}
	if r.failing {
		return false // what has changed is reported with the next try
	}
	var condition uint64
	answered := r.ask(func() func() {
		c := r.o.Pipeline.Condition()
		return func() { condition = c }
	})
	if answered != r.stuck && (!answered || condition == r.told) {
		r.tell = time.Time{}
		return false
	}
	if r.tell.IsZero() {
		r.tell = now.Add(r.wait())
	}
	return !now.Before(r.tell) && r.mayChange(now)
}

// wait is how long a change waits until it is told.
func (r *Reporter) wait() time.Duration {
	most := min(spread*r.took, spreadMost)
	if most < checkEvery {
		return 0
	}
	return rand.N(most)
}

// mayChange reports whether another change may be reported now, and counts it.
func (r *Reporter) mayChange(now time.Time) bool {
	for r.changes < changeBurst && !now.Before(r.refill) {
		r.changes++
		r.refill = r.refill.Add(changeEvery)
	}
	if r.changes == 0 {
		return false
	}
	if r.changes == changeBurst {
		r.refill = now.Add(changeEvery)
	}
	r.changes--
	return true
}

// ask has the pipeline asked, and reports whether it has answered in time:
// then what f returns is done. One question that is not answered is all that waits.
func (r *Reporter) ask(f func() func()) bool {
	select {
	case r.asking <- struct{}{}:
	default:
		return false
	}
	answer := make(chan func(), 1)
	go func() {
		answer <- f()
		<-r.asking
	}()
	timer := time.NewTimer(askWithin)
	defer timer.Stop()
	select {
	case done := <-answer:
		done()
		return true
	case <-timer.C:
		return false
	}
}

// report makes a report and has it stored.
func (r *Reporter) report(ctx context.Context, within time.Duration) {
	c, counts := r.make()
	timed, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	asked := time.Now()
	err := r.o.To.Report(timed, c)
	if err != nil && ctx.Err() != nil {
		return // it was interrupted; the last one is to follow
	}
	if err != nil {
		c.RemotecfgStatus = config.RemotecfgDown
	}
	r.mu.Lock()
	r.last = c
	r.mu.Unlock()
	now := time.Now()
	if err == nil {
		if r.failing {
			r.o.Log.Info("reports of this node are stored again")
		}
		r.failing, r.away, r.before.Counts = false, false, counts
		r.countFleet()
		r.took, r.tell = now.Sub(asked), time.Time{}
		r.retry.Reset()
		// Not all nodes that were started together report together; and never
		// before the interval is over.
		r.due = now.Add(r.o.Interval + rand.N(r.o.Interval/10+1))
		return
	}
	wait := r.retry.Next()
	r.due = now.Add(wait)
	if !r.failing {
		r.o.Log.Warn("the report of this node cannot be stored; it goes on working and tries again", "error", err, "next_try_in", wait.Round(time.Millisecond).String())
	}
	r.failing, r.away = true, r.reached() != nil
}

// counter is a store that knows how many nodes report to it.
type counter interface {
	Fleet() (known, online int, ok bool)
}

func (r *Reporter) countFleet() {
	store, counts := r.o.To.(counter)
	if !counts || r.o.Fleet == nil {
		return
	}
	if known, online, ok := store.Fleet(); ok {
		r.o.Fleet(known, online)
	}
}

// make makes a report.
func (r *Reporter) make() (config.Collector, Counts) {
	var st pipeline.Status
	answered := r.ask(func() func() {
		// What changes in between is told by the next report.
		condition := r.o.Pipeline.Condition()
		s := r.o.Pipeline.Status()
		return func() { r.told, st = condition, s }
	})
	r.stuck = !answered
	if !answered {
		return Unasked(r.made(), fmt.Sprintf("the pipeline has not answered within %s", askWithin)), r.before.Counts
	}
	c, counts := From(&st, r.before, r.o.Node, time.Now())
	r.before.Components = c.UnhealthyComponents
	return c, counts
}
