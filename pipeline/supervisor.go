// Package pipeline moves records from sources to targets: feeds read, take
// apart, filter and offer; queues hold; senders send; lanes remember what was
// answered; the supervisor makes all of that be what the configuration says.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/parse"
	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/sinks"
	"github.com/lbshipd/lbshipd/sources"
)

// drainOnChange is how long a target that was changed or removed may still
// take what is queued for it.
const drainOnChange = time.Second

// Options are what a Supervisor needs.
type Options struct {
	Log      *slog.Logger
	Store    *positions.Store
	Registry prometheus.Registerer
	Host     string // this node's name
	Version  string
	Revision string // commit that the daemon was built from
	DataDir  string // where dead letters and spools are kept; empty: nowhere

	Refused func(f *os.File) error // says why no source may read an open file; nil: all may be read
	// CacheErr says why the configuration that runs is not kept for a start without its store; nil: it is, or need not be.
	CacheErr func() error
}

// Supervisor runs a configuration and changes it while it runs.
//
// Life: New; Apply for each configuration; Stop once. Apply and Stop are called
// by one goroutine; the other methods are safe for concurrent use.
type Supervisor struct {
	log     *slog.Logger
	store   *positions.Store
	host    string
	dataDir string
	refuses func(f *os.File) error // Options.Refused
	cached  func() error           // Options.CacheErr
	metrics *metrics

	patience time.Duration        // spoolAfter; tests have less
	missed   map[string]time.Time // spools of targets that are not configured, and since when; swapping guards it

	// The registries; tests put their own in.
	makeSource func(*config.Source, sources.Deps) (sources.Source, string, error)
	makeSink   func(*config.Target, sinks.Deps) (sinks.Sink, string, error)

	ctx    context.Context // ends when nothing may go on at all
	cancel context.CancelFunc
	tick   context.CancelFunc
	ticked chan struct{}

	swapping sync.Mutex // held while a configuration is made to run

	mu      sync.Mutex
	cfg     *config.Config
	sources map[string]*sourceRun
	targets map[string]*target
	leaving map[string]*target // that drain before they go or are replaced
	applied time.Time
	refused error // why the newest configuration is not the running one
	stopped bool
	event   config.Event // what s.cfg came with: its Hash, Rejected and Cached
	storeIs storeAway
	risks   riskWatch
}

// New returns a Supervisor that runs nothing yet.
func New(o Options) *Supervisor {
	s := &Supervisor{log: o.Log, store: o.Store, host: o.Host, dataDir: o.DataDir, refuses: o.Refused, metrics: newMetrics(o.Registry), cfg: &config.Config{},
		sources: map[string]*sourceRun{}, targets: map[string]*target{}, leaving: map[string]*target{}, risks: riskWatch{told: map[positions.Pair]riskTale{}}, ticked: make(chan struct{}), makeSource: newSource, makeSink: newSink}
	if s.cached = o.CacheErr; s.cached == nil {
		s.cached = func() error { return nil }
	}
	s.patience, s.missed = spoolAfter, map[string]time.Time{}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	o.Registry.MustRegister(newLedgerCollector(s))
	s.metrics.gauge(specBuild, o.Version, o.Revision, runtime.Version()).Set(1)
	s.metrics.gauge(specSaveOK).Set(1)
	s.metrics.configuration(s.cfg, &config.Event{})
	s.metrics.cached(false)
	ticking, stop := context.WithCancel(s.ctx)
	s.tick = stop
	o.Store.BeforeSave(s.noteSeen)
	go s.housekeep(ticking)
	return s
}

// plan is a new configuration, built and not yet running.
type plan struct {
	cfg     *config.Config
	sources map[string]*sourceRun // new or changed
	targets map[string]*target    // new or changed
}

// Apply builds all that is new or changed in cfg, which must be valid and
// complete with defaults, and then makes it run. If anything cannot be built,
// nothing changes and the error says what. What did not change is not touched.
func (s *Supervisor) Apply(cfg *config.Config) error {
	return s.ApplyEvent(config.Event{Config: cfg})
}

// ApplyEvent is Apply of what a Watcher has sent: an Event without a Config is
// refused with its Err. Of the others the Status says what is beside the Config:
// objects that cannot be used, the Hash, whether the store can be reached.
func (s *Supervisor) ApplyEvent(e config.Event) error {
	if e.Err != nil {
		s.Refuse(e.Err)
		return e.Err
	}
	cfg := e.Config
	p, err := s.build(cfg)
	if err != nil {
		s.Refuse(err)
		return err
	}
	s.swap(p)
	e.Config = nil
	s.mu.Lock()
	s.cfg, s.event, s.applied, s.refused = cfg, e, time.Now(), nil
	s.metrics.configuration(cfg, &e)
	s.metrics.cached(e.Cached || !s.storeIs.since.IsZero())
	s.mu.Unlock()
	s.lookAtSpools(time.Now())
	s.metrics.gauge(specReloadOK).Set(1)
	s.metrics.gauge(specReloadTime).Set(float64(time.Now().Unix()))
	return nil
}

// build makes what is new or changed, without side effects.
func (s *Supervisor) build(cfg *config.Config) (*plan, error) {
	p := &plan{cfg: cfg, sources: map[string]*sourceRun{}, targets: map[string]*target{}}
	var errs []error
	for i := range cfg.Targets {
		t := &cfg.Targets[i]
		if !t.IsEnabled() || s.targetRuns(cfg, t) {
			continue
		}
		built, err := s.newTarget(cfg, t)
		if err != nil {
			errs = append(errs, fmt.Errorf("target %q: %w", t.Name, err))
			continue
		}
		p.targets[t.Name] = built
	}
	formats := regexes(cfg)
	for i := range cfg.Sources {
		src := &cfg.Sources[i]
		if !src.IsEnabled() || s.sourceRuns(cfg, src) && !s.lacks(s.sources[src.Name], p) {
			continue
		}
		built, err := s.newSourceRun(src, formats)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		p.sources[src.Name] = built
	}
	return p, errors.Join(errs...)
}

func regexes(cfg *config.Config) map[string]parse.Regex {
	m := map[string]parse.Regex{}
	for _, f := range cfg.Formats {
		m[f.Name] = parse.Regex{Pattern: f.Regex, TimeLayout: f.TimeLayout}
	}
	return m
}

// targetRuns reports whether the same target runs already.
func (s *Supervisor) targetRuns(cfg *config.Config, t *config.Target) bool {
	have, ok := s.targets[t.Name]
	return ok && config.TargetEqual(have.cfg, t, s.cfg.TLSBundles, cfg.TLSBundles)
}

// sourceRuns reports whether the same source runs already.
func (s *Supervisor) sourceRuns(cfg *config.Config, src *config.Source) bool {
	have, ok := s.sources[src.Name]
	return ok && config.SourceEqual(have.cfg, src, s.cfg.Formats, cfg.Formats)
}

func (s *Supervisor) newTarget(cfg *config.Config, t *config.Target) (*target, error) {
	m := s.metrics.target(t.Name)
	log := s.log.With("target", t.Name)
	dead := newDeadLetters(s.dataDir, t, log, m)
	sink, kind, err := s.makeSink(t, sinks.Deps{Log: log, Host: s.host, Bundle: cfg.TLSBundle(t), Request: m.request, Note: m.adjusted, Using: m.using, DeadLetter: dead.sink()})
	if err != nil {
		return nil, err
	}
	m.outcomes = s.metrics.outcomes.of(kind)
	built := newTarget(t, sink, s.log, m, s.store)
	built.kind, built.knew, built.dead = kind, map[string]bool{}, dead
	for _, e := range s.store.Entries("") {
		if e.Target == t.Name {
			built.knew[e.Source] = true
		}
	}
	return built, nil
}

// swap makes the plan run: changed sources stop, changed targets drain while
// all others go on, then what is new starts where the old has stopped.
func (s *Supervisor) swap(p *plan) {
	s.swapping.Lock()
	defer s.swapping.Unlock()
	wantSources, wantTargets := names(p.cfg)
	s.mu.Lock()
	var oldSources []*sourceRun
	var oldTargets []*target
	for name, r := range s.sources {
		if p.sources[name] != nil || !wantSources[name] {
			oldSources = append(oldSources, r)
			delete(s.sources, name)
		}
	}
	for name, t := range s.targets {
		if p.targets[name] != nil || !wantTargets[name] {
			oldTargets = append(oldTargets, t)
			delete(s.targets, name)
			s.leaving[name] = t
		}
	}
	staying := s.targetList()
	s.mu.Unlock()
	each(oldSources, (*sourceRun).stopReading)
	replaced := stopLookingBut(oldSources, p.sources)
	if len(oldTargets) > 0 {
		each(s.sourceList(), func(r *sourceRun) { r.setTargets(staying) })
		each(oldTargets, s.drain)
	}
	each(slices.Collect(maps.Values(p.targets)), s.openSpool)
	s.mu.Lock()
	for name, t := range p.targets {
		t.takeOver(s.leaving[name])
		s.targets[name] = t
		t.made = time.Now()
		go t.run(s.ctx, drainOnChange)
	}
	clear(s.leaving)
	targets := s.targetList()
	s.mu.Unlock()
	if len(p.targets) > 0 {
		each(s.sourceList(), func(r *sourceRun) { r.setTargets(targets) })
	}
	stopLookingBut(slices.Collect(maps.Values(replaced)), nil)
	s.mu.Lock()
	for name, r := range p.sources {
		s.sources[name] = r
		r.start(s.ctx, targets, replaced[name])
	}
	s.mu.Unlock()
	for _, t := range oldTargets {
		if p.targets[t.name] == nil {
			s.leave(t)
		}
	}
	s.saveStarts(p)
	s.forgetMetrics(oldSources, oldTargets)
}

// drain lets a target send what is queued for it, but not for long.
func (s *Supervisor) drain(t *target) {
	t.stop()
	select {
	case <-t.done:
	case <-time.After(drainOnChange):
		t.abort()
		<-t.done
	}
	t.metrics.recovered() // what it suffered from is no longer true of its name
}

// forgetMetrics drops the series of what is gone and not replaced.
func (s *Supervisor) forgetMetrics(oldSources []*sourceRun, oldTargets []*target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range oldSources {
		if s.sources[r.cfg.Name] == nil {
			s.metrics.forget("source", r.cfg.Name)
		}
	}
	for _, t := range oldTargets {
		if s.targets[t.name] == nil {
			s.metrics.forget("target", t.name)
		}
	}
}

func names(cfg *config.Config) (sources, targets map[string]bool) {
	sources, targets = map[string]bool{}, map[string]bool{}
	for i := range cfg.Sources {
		sources[cfg.Sources[i].Name] = cfg.Sources[i].IsEnabled()
	}
	for i := range cfg.Targets {
		targets[cfg.Targets[i].Name] = cfg.Targets[i].IsEnabled()
	}
	return sources, targets
}

// each calls f for all of list at once, and waits.
func each[T any](list []T, f func(T)) {
	var wg sync.WaitGroup
	for _, x := range list {
		wg.Go(func() { f(x) })
	}
	wg.Wait()
}

// targetList lists the running targets by name. s.mu is held.
func (s *Supervisor) targetList() []*target {
	list := make([]*target, 0, len(s.targets))
	for _, t := range s.targets {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *target) int { return compare(a.name, b.name) })
	return list
}

func (s *Supervisor) sourceList() []*sourceRun {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*sourceRun, 0, len(s.sources))
	for _, r := range s.sources {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *sourceRun) int { return compare(a.cfg.Name, b.cfg.Name) })
	return list
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Stop reads no more, lets the targets take what is queued until ctx ends, and
// returns how many records remain unanswered: a restart reads them again.
func (s *Supervisor) Stop(ctx context.Context) int64 {
	s.tick()
	<-s.ticked
	s.mu.Lock()
	s.stopped = true
	targets := s.targetList()
	s.mu.Unlock()
	each(s.sourceList(), (*sourceRun).stop)
	var left int64
	var mu sync.Mutex
	each(targets, func(t *target) {
		t.stop()
		select {
		case <-t.done:
		case <-ctx.Done():
			n := t.queued()
			t.abort()
			<-t.done
			mu.Lock()
			left += n
			mu.Unlock()
		}
	})
	each(s.sourceList(), (*sourceRun).settle)
	s.cancel()
	return left
}

// Sample brings the gauges up to date.
func (s *Supervisor) Sample() {
	behind := map[*target]int{}
	for _, r := range s.sourceList() {
		r.eachRun(func(run *inputRun) { run.behind(behind) })
		r.sample()
	}
	s.mu.Lock()
	targets := s.targetList()
	s.mu.Unlock()
	now := time.Now()
	for _, t := range targets {
		t.sample(now)
		t.dead.sample()
		t.metrics.behind.Set(float64(behind[t]))
	}
	saved := 1.0
	if s.store.Err() != nil || s.store.Times().Err() != nil {
		saved = 0
	}
	s.metrics.gauge(specSaveOK).Set(saved)
}
