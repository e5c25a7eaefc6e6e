package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/backoff"
	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
	"github.com/lbshipd/lbshipd/spool"
)

// Waits between tries to a target that does not take what it is given.
const (
	retryMin = 200 * time.Millisecond
	retryMax = 30 * time.Second
	// retryAfterMax bounds what a target may ask for with Retry-After.
	retryAfterMax = 5 * time.Minute
)

// sendBytes is how much one Send is given when the sink does not say.
const sendBytes = 1 << 20

// item is one batch in a queue.
type item struct {
	batch  *record.Batch
	lane   *lane
	seq    uint64
	own    int // records in the batch that lbshipd itself has added
	queued time.Time
	id     uint64 // among all items that the target ever had

	frame spool.Frame // where it is in the spool; zero: nowhere
	entry entry       // what the ledger is to hold of it, if it is in the spool
}

// source names the source of the item's records.
func (it *item) source() string {
	if it.lane != nil {
		return it.lane.key.Source
	}
	return it.batch.Origin.Source
}

func (it *item) spooled() bool { return it.frame.Number > 0 }

// target is one configured target at work: its queue, its sender, its lanes.
//
// Life: newTarget makes it; run sends until stop has drained it or ctx ends.
type target struct {
	name      string
	kind      string
	cfg       *config.Target
	sink      sinks.Sink
	batching  sinks.Batching
	limit     int64
	dead      *deadLetters // nil if none are kept
	log       *slog.Logger
	metrics   *targetMetrics
	knew      map[string]bool // sources that it had positions of when it was made
	made      time.Time       // when it began to run
	done      chan struct{}
	aborted   chan struct{} // closed by abort
	abortOnce sync.Once

	mu      sync.Mutex
	items   []item // in order; the first inFlight ones are with the sink
	bytes   int64
	records int64
	closing bool          // no more offers; the sender ends when all is sent
	wake    chan struct{} // capacity 1: something was queued, or closing
	space   chan struct{} // closed and replaced when space was freed
	lanes   map[laneKey]*lane
	failure sinkFailure
	starts  map[string]start // by source: where it begins with what is there

	// With a spool; guarded by mu.
	inFlight int       // items at the head of the queue that the sender has
	lastID   uint64    // of an item
	over     *overflow // nil: there is no spool
	spoolErr error     // why there is none although it is configured, or was
	// Tries to open it again. Not guarded: used by one goroutine at a time.
	reopen      func()
	reopenEvery time.Duration

	book   book                 // its mu is taken before mu
	before map[laneKey]heldBack // by the target that this one has replaced; immutable once it runs
}

// laneKey names a lane within its target.
type laneKey struct{ source, input string }

// sinkFailure is what a target suffers from at the moment.
type sinkFailure struct {
	Class   string
	Err     error
	Since   time.Time
	NextTry time.Time
}

func newTarget(cfg *config.Target, sink sinks.Sink, log *slog.Logger, m *targetMetrics, store *positions.Store) *target {
	t := &target{
		name: cfg.Name, cfg: cfg, sink: sink, limit: int64(cfg.QueueBytes),
		batching: sinks.Batching{Bytes: sendBytes},
		log:      log.With("target", cfg.Name), metrics: m,
		done: make(chan struct{}), aborted: make(chan struct{}), wake: make(chan struct{}, 1), space: make(chan struct{}),
		lanes: map[laneKey]*lane{}, book: book{store: store, rows: map[string]*bookRow{}},
	}
	if b, ok := sink.(sinks.Batcher); ok {
		t.batching = b.Batching()
		if t.batching.Bytes <= 0 {
			t.batching.Bytes = sendBytes
		}
	}
	m.limit.Set(float64(t.limit))
	return t
}

// lane returns the lane of an input, and whether it is there already.
func (t *target) lane(source, input string) (*lane, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l, ok := t.lanes[laneKey{source, input}]
	return l, ok
}

// addLane makes the lane of an input that goes on at p.
func (t *target) addLane(source, input string, p record.Position) *lane {
	l := &lane{key: positions.Key{Source: source, Target: t.name, Input: input}, target: t, book: &t.book, next: p, answered: p}
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	l.row = t.book.row(source, t.name)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lanes[laneKey{source, input}] = l
	l.inherit(t.before[laneKey{source, input}])
	return l
}

// takeOver lets the target go on exactly where the one that it replaces has
// ended; nil if there is none.
func (t *target) takeOver(old *target) {
	if old == nil {
		return
	}
	t.before = map[laneKey]heldBack{}
	for k, l := range old.lanes { // nobody adds to it any more
		if h, ok := l.handOver(); ok {
			t.before[k] = h
		}
	}
}

// dropLane forgets the lane of an input that is gone.
func (t *target) dropLane(source, input string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.lanes, laneKey{source, input})
}

// stop lets nothing more in; the sender ends when the queue is empty.
func (t *target) stop() {
	t.mu.Lock()
	t.closing = true
	close(t.space)
	t.space = make(chan struct{})
	t.mu.Unlock()
	t.signal()
}

// abort ends the sender at once; what is not answered is not.
func (t *target) abort() { t.abortOnce.Do(func() { close(t.aborted) }) }

// queued counts the records that are not answered.
func (t *target) queued() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.records + t.onDisk()
}

// usesFields reports whether the sink does anything with fields.
func (t *target) usesFields() bool {
	u, ok := t.sink.(sinks.FieldUser)
	return !ok || u.UsesFields()
}

// run sends what is queued, until the queue is empty after stop, or ctx ends.
// closeWithin bounds the goodbye.
func (t *target) run(parent context.Context, closeWithin time.Duration) {
	defer close(t.done)
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	go func() {
		select {
		case <-t.aborted:
			cancel()
		case <-ctx.Done():
		}
	}()
	t.dead.open(t.log)
	spilling, stopSpilling := context.WithCancel(ctx)
	var spillers sync.WaitGroup
	spillers.Go(func() { t.overflowing(spilling) })
	var batches []*record.Batch
	for {
		batches = t.gather(ctx, batches[:0])
		if len(batches) == 0 || !t.deliver(ctx, batches) {
			break
		}
	}
	stopSpilling()
	spillers.Wait()
	closing, closed := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
	defer closed()
	if err := t.sink.Close(closing); err != nil {
		t.log.Warn("target was not closed cleanly", "error", err)
	}
	t.dead.close()
	t.spillAll()
	t.discard()
}

// deliver sends until the target has answered for all of batches; false if that
// is not to be waited for any more.
func (t *target) deliver(ctx context.Context, batches []*record.Batch) bool {
	wait := backoff.Backoff{Min: retryMin, Max: retryMax}
	for len(batches) > 0 {
		res, err := t.sink.Send(ctx, batches)
		t.dead.flush()
		if res.Batches > len(batches) {
			res.Batches = len(batches)
		}
		t.account(&res)
		t.ack(&res)
		batches = batches[res.Batches:]
		if err == nil && len(batches) == 0 {
			t.recovered()
			return true
		}
		if err == nil {
			err = errors.New("the sink left batches unanswered without an error")
		}
		if ctx.Err() != nil {
			return false
		}
		if res.Batches > 0 {
			wait.Reset()
		}
		delay := t.failed(err, wait.Next())
		if t.leavesToSpool() || !sleep(ctx, delay) {
			return false
		}
	}
	return true
}

// failed notes a failure and returns how long to wait: the target's own wish
// if it has one, else d.
func (t *target) failed(err error, d time.Duration) time.Duration {
	class := sinks.ClassLocal
	var e *sinks.Error
	if errors.As(err, &e) {
		class = e.Class
		if e.RetryAfter > 0 {
			d = min(e.RetryAfter, retryAfterMax)
		}
	}
	t.mu.Lock()
	if t.failure.Class == "" {
		t.failure.Since = time.Now()
	}
	t.failure.Class, t.failure.Err, t.failure.NextTry = class, err, time.Now().Add(d)
	since := t.failure.Since
	t.mu.Unlock()
	t.metrics.failing(class)
	t.log.Warn("target does not take records; they are kept and sent again", "class", class, "error", err,
		"failing_for", time.Since(since).Round(time.Second).String(), "next_try_in", d.Round(time.Millisecond).String())
	return d
}

// recovered notes that the target takes records again.
func (t *target) recovered() {
	t.mu.Lock()
	was := t.failure
	t.failure = sinkFailure{}
	t.mu.Unlock()
	if was.Class == "" {
		return
	}
	t.metrics.recovered()
	t.log.Info("target takes records again", "after", time.Since(was.Since).Round(time.Millisecond).String())
}

// trouble returns what the target suffers from; the zero value if nothing.
func (t *target) trouble() sinkFailure {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failure
}

func (t *target) account(res *sinks.Result) {
	t.metrics.delivered.Add(float64(res.Delivered))
	t.metrics.flow.total.Add(int64(res.Delivered))
	t.metrics.sentBytes.Add(float64(res.Bytes))
	for _, r := range res.Refused {
		t.metrics.refused(r.Reason, r.Records)
		t.log.Warn("target refused records for good", "reason", r.Reason, "records", r.Records, "detail", r.Detail)
	}
}

// sample refreshes the gauges of the queue.
func (t *target) sample(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.metrics.lagSeconds.Set(t.lagNow(now).Seconds())
	t.metrics.lagRecords.Set(float64(t.records + t.onDisk()))
	t.sampleSpool()
	t.metrics.queueBytes.Set(float64(t.bytes))
}

// sleep waits for d; false means that ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
