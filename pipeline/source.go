package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/parse"
	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// maxFields bounds the fields that are taken out of one line.
const maxFields = 64

// sourceRun is one configured source at work.
//
// Life: newSourceRun makes it without side effects; start lets it discover
// inputs; stopReading ends every feed, and stopLooking discovery.
type sourceRun struct {
	sup     *Supervisor
	cfg     *config.Source
	kind    string
	source  sources.Source
	format  string
	log     *slog.Logger
	metrics *sourceMetrics
	proc    processor // the template of each feed's processor

	ctx    context.Context // of reading
	cancel context.CancelFunc
	blind  context.CancelFunc // ends discovery
	done   chan struct{}      // discovery has ended

	mu      sync.Mutex
	inputs  map[string]*inputRun
	targets []*target

	lastFound time.Time // when an input was found that was there at the start
	runErr    error
	refusals  refusals

	made  time.Time // immutable
	since time.Time // what was born later it has to find itself; immutable
}

// clockStep is how far the clock of a file system may be behind ours.
const clockStep = 10 * time.Millisecond

// lookRound is how long a source may take to have found what is there.
var lookRound = 5 * time.Second

// watched is up to when the source has surely seen what came and went.
func (r *sourceRun) watched() time.Time {
	if at := r.looked(); !at.IsZero() {
		return at
	}
	if time.Since(r.made) < lookRound {
		return r.since
	}
	return time.Now()
}

// looked is up to when a source that can tell has seen what came and went, the zero time
// of one that misses nothing.
func (r *sourceRun) looked() time.Time {
	if w, ok := r.source.(sources.Watcher); ok {
		return w.Watched()
	}
	return time.Time{}
}

// seen stores that a source was seen that misses nothing while positions are saved.
func (r *sourceRun) seen() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil || time.Since(r.made) < lookRound || !r.looked().IsZero() {
		return
	}
	key, mark := positions.Key{Source: r.cfg.Name}, record.Position("seen")
	if have, _ := r.sup.store.Get(key); have != mark {
		r.sup.store.Set(key, mark)
	}
}

// noteSeen has the save that is about to be made tell of each source up to when it has
// watched: what was born later is in no position.
func (s *Supervisor) noteSeen() {
	for _, r := range s.sourceList() {
		r.mu.Lock()
		if at := r.looked(); !at.IsZero() && r.ctx.Err() == nil {
			s.store.Note(positions.Key{Source: r.cfg.Name}, markOf(at, thisBoot()))
		}
		r.mu.Unlock()
	}
}

// newSourceRun builds a source; nothing is opened yet.
func (s *Supervisor) newSourceRun(cfg *config.Source, formats map[string]parse.Regex) (*sourceRun, error) {
	r := &sourceRun{sup: s, cfg: cfg, log: s.log.With("source", cfg.Name), metrics: s.metrics.source(cfg.Name),
		inputs: map[string]*inputRun{}, done: make(chan struct{}), made: time.Now()}
	location := time.Local
	if cfg.TimeZone != "" {
		var err error
		if location, err = time.LoadLocation(cfg.TimeZone); err != nil {
			return nil, fmt.Errorf("source %q: timeZone: %w", cfg.Name, err)
		}
	}
	known := s.store.Entries(cfg.Name)
	deps := sources.Deps{
		Log: r.log, Host: s.host, Known: func() []sources.Stored { return s.known(cfg.Name) },
		FirstRun: len(known) == 0, LastSaved: s.lastSaved(cfg.Name), Skipped: r.metrics.skipped, Location: location,
		Times: timesOf(s.store.Times(), cfg.Name), Refused: r.refused(s.refuses),
	}
	r.since = deps.LastSaved
	if r.since.IsZero() {
		r.since = r.made.Add(-clockStep)
	}
	var err error
	if r.source, r.kind, err = s.makeSource(cfg, deps); err != nil {
		return nil, err
	}
	r.format = cfg.LogFormat
	r.proc = processor{min: cfg.MinLevel, ownTime: r.kind == "journald", metrics: r.metrics,
		options: parse.Options{MaxFields: maxFields, Location: location}}
	if r.format != "raw" {
		if r.proc.format, err = parse.New(r.format, formats); err != nil {
			return nil, fmt.Errorf("source %q: logFormat: %w", cfg.Name, err)
		}
	}
	if r.format == "cri" {
		if r.proc.inner, err = parse.New("auto", nil); err != nil {
			return nil, err
		}
	}
	if cfg.File != nil {
		r.proc.maxBytes = int(cfg.File.MaxLineBytes)
	}
	return r, nil
}

// lastSaved is when what was known of the source was last saved while it was
// watched, by the clock of the file system. A daemon that was asked to stop, and
// one in which the source was disabled or changed, saves positions long after
// it has stopped looking for new inputs. A source that replaces one that still
// watches has to find what comes while targets drain.
func (s *Supervisor) lastSaved(source string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.sources[source]; old != nil {
		return old.watched()
	}
	mark, _ := s.store.Get(positions.Key{Source: source})
	if m, ok := parseMark(mark); ok {
		return m.here(thisBoot())
	}
	if !s.applied.IsZero() {
		return time.Time{}
	}
	return s.store.SavedAt()
}

// known lists what the store knows of a source, one position for each input.
func (s *Supervisor) known(source string) []sources.Stored {
	var list []sources.Stored
	for _, e := range s.store.Entries(source) {
		if e.Input != "" {
			list = append(list, sources.Stored{Input: e.Input, Position: e.Position})
		}
	}
	return list
}

// newProcessor makes the processor of one feed.
func (r *sourceRun) newProcessor() *processor {
	p := r.proc
	p.options.Fields = r.wantsFields()
	if r.joins() {
		p.join = &joiner{max: max(p.maxBytes, 1<<10)}
		p.options.Fields = true // stdout and stderr are told apart by a field
	}
	return &p
}

// joins reports whether lines come in parts.
func (r *sourceRun) joins() bool { return r.format == "cri" }

func (r *sourceRun) wantsFields() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.targets, func(t *target) bool { return t.usesFields() })
}

// start discovers inputs and reads them for targets. former is the run that this one
// replaces, nil if there is none.
func (r *sourceRun) start(ctx context.Context, targets []*target, former *sourceRun) {
	r.inherit(former)
	r.ctx, r.cancel = context.WithCancel(ctx)
	var looking context.Context
	looking, r.blind = context.WithCancel(ctx)
	r.targets = targets
	// From now on the source has been seen: an input that appears while no
	// daemon runs is new and is read from its beginning. A crash before all that
	// is there was found must not make the rest of it look old.
	r.mark(r.since)
	time.AfterFunc(lookRound, r.seen)
	go func() {
		defer close(r.done)
		for looking.Err() == nil {
			err := r.source.Run(looking, r.found)
			r.mu.Lock()
			r.runErr = err
			r.mu.Unlock()
			if looking.Err() != nil {
				return
			}
			r.metrics.readErrors.Inc()
			r.log.Error("discovery of inputs ended; it is started again", "error", err)
			sleep(looking, time.Second)
		}
	}()
}

// mark notes since when nobody has watched the source, as far as is known.
func (r *sourceRun) mark(since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sup.store.Set(positions.Key{Source: r.cfg.Name}, markOf(since, thisBoot()))
}

// found takes in an input that the source has discovered.
func (r *sourceRun) found(in sources.Input) {
	id := in.Origin().Input
	r.mu.Lock()
	have := r.inputs[id]
	r.mu.Unlock()
	if have != nil && !have.retire() {
		return
	}
	r.mu.Lock()
	run := &inputRun{src: r, input: in, born: time.Now()}
	if r.ctx.Err() != nil { // who replaces this source reads it
		r.mu.Unlock()
		run.remember()
		return
	}
	if s, ok := in.(sources.Successor); ok {
		run.first = r.inputs[s.Predecessor()]
	}
	r.inputs[id] = run
	if n, ok := in.(sources.Newcomer); !ok || !n.Appeared() {
		r.lastFound = run.born
	}
	targets := r.targets
	r.metrics.inputs.Set(float64(len(r.inputs)))
	r.mu.Unlock()
	run.setTargets(targets)
	// The targets may have changed meanwhile.
	r.mu.Lock()
	same := slices.Equal(targets, r.targets)
	targets = r.targets
	r.mu.Unlock()
	if !same {
		run.setTargets(targets)
	}
	run.remember()
}

func (r *sourceRun) targetsNow() []*target {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.targets
}

// forget drops an input that will never yield more.
func (r *sourceRun) forget(run *inputRun) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := run.input.Origin().Input
	if r.inputs[id] == run {
		delete(r.inputs, id)
		r.metrics.inputs.Set(float64(len(r.inputs)))
	}
}

// runs lists the inputs at work.
func (r *sourceRun) runs() []*inputRun {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*inputRun, 0, len(r.inputs))
	for _, run := range r.inputs {
		list = append(list, run)
	}
	return list
}

// runLists are the lists that eachRun has used.
var runLists = sync.Pool{New: func() any { return new([]*inputRun) }}

// eachRun calls f for each input at work. What is done every second has its list from here: those of
// two thousand inputs at rest were most of the garbage that the collector came for.
func (r *sourceRun) eachRun(f func(*inputRun)) {
	list := runLists.Get().(*[]*inputRun)
	r.mu.Lock()
	*list = slices.Grow(*list, len(r.inputs))
	for _, run := range r.inputs {
		*list = append(*list, run)
	}
	r.mu.Unlock()
	for _, run := range *list {
		f(run)
	}
	clear(*list)
	*list = (*list)[:0]
	runLists.Put(list)
}

// setTargets makes the source feed exactly targets from now on.
func (r *sourceRun) setTargets(targets []*target) {
	r.mu.Lock()
	r.targets = targets
	r.mu.Unlock()
	var wg sync.WaitGroup
	for _, run := range r.runs() {
		wg.Go(func() { run.setTargets(targets) })
	}
	wg.Wait()
}

// meet lets feeds that are apart come together where they can.
func (r *sourceRun) meet() {
	r.eachRun((*inputRun).meet)
}

// trouble says what keeps the source from inputs; nil if nothing does.
func (r *sourceRun) trouble(now time.Time) error {
	refused := r.refusals.err(now)
	t, ok := r.source.(sources.Troubled)
	if !ok {
		return refused
	}
	err := t.Trouble()
	if err == nil || refused == nil {
		return cmp.Or(err, refused)
	}
	return fmt.Errorf("%w; %w", refused, err)
}

func (r *sourceRun) readFailed(in sources.Input, err error) {
	r.metrics.readErrors.Inc()
	r.log.Warn("reading failed; it is tried again", "path", in.Origin().Path, "error", err)
}

func (r *sourceRun) gap(in sources.Input, gap *sources.GapError) {
	r.metrics.lost(gap.Reason, gap.Records, gap.Bytes)
	r.log.Error("records were gone before they could be read", "path", in.Origin().Path,
		"reason", gap.Reason, "records", gap.Records, "bytes", gap.Bytes, "detail", gap.Detail)
}

// held is what the source keeps that would be gone without it.
func (r *sourceRun) held() sources.Held {
	if h, ok := r.source.(sources.Holder); ok {
		return h.Held()
	}
	return sources.Held{}
}

// silent reports whether the source has yielded nothing for longer than it may. One that
// nobody can be given anything of is not read, and nothing is known of it.
func (r *sourceRun) silent(now time.Time) bool {
	after := time.Duration(r.cfg.SilentAfter)
	if after <= 0 || r.metrics.flow.quiet(now) <= after {
		return false
	}
	return slices.ContainsFunc(r.targetsNow(), func(t *target) bool { return t.trouble().Class == "" })
}

// sample brings the gauges of what the source holds, and of its silence, up to date.
func (r *sourceRun) sample() {
	silent := 0.0
	if r.silent(time.Now()) {
		silent = 1
	}
	r.metrics.silent.Set(silent)
	if _, ok := r.source.(sources.Holder); ok {
		held := r.held()
		r.metrics.heldFiles.Set(float64(held.Files))
		r.metrics.heldBytes.Set(float64(held.Bytes))
	}
}
