package pipeline

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/backoff"
	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// A target that has a startAt begins there with each source that it was never
// sent anything of. What was decided is stored under the key of source and target,
// without an input, so that a crash in the middle does not decide anew:
//
//	"startAt:beginning", "startAt:2026-11-20T08:00:00Z"  inputs that are there start so
//	"started"                                            all that were there have positions
const (
	startPrefix = "startAt:"
	startedText = "started"
)

// start is where a target begins with the inputs of one source that are there.
type start struct {
	counts bool      // false: as if there were no startAt
	at     time.Time // the zero time is the beginning
	now    bool      // as long as it is fresh: the very end, and not by the clock
	since  time.Time
}

// farAway is behind every record.
var farAway = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// startOf returns where the target begins with a source. The first call decides.
func (t *target) startOf(store *positions.Store, source string) start {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, ok := t.starts[source]; ok {
		return s
	}
	key := positions.Key{Source: source, Target: t.name}
	s := start{since: time.Now()}
	if stored, ok := store.Get(key); ok {
		s.counts, s.at = parseStart(stored)
	} else if !t.knew[source] && t.cfg.StartAt != "" {
		s.counts = true
		switch t.cfg.StartAt {
		case config.StartAtBeginning:
		case config.StartAtNow:
			s.at, s.now = s.since, true
		default:
			s.at, _ = config.ParseStartTime(t.cfg.StartAt) // the configuration was checked
		}
		store.Set(key, formatStart(s.at))
	}
	if t.starts == nil {
		t.starts = map[string]start{}
	}
	t.starts[source] = s
	return s
}

func formatStart(at time.Time) record.Position {
	if at.IsZero() {
		return startPrefix + config.StartAtBeginning
	}
	return record.Position(startPrefix + at.UTC().Format(time.RFC3339Nano))
}

func parseStart(p record.Position) (counts bool, at time.Time) {
	text, ok := strings.CutPrefix(string(p), startPrefix)
	if !ok {
		return false, at
	}
	if text == config.StartAtBeginning {
		return true, at
	}
	at, ok = config.ParseStartTime(text)
	return ok, at
}

// startIsOver makes inputs that are found from now on start as always.
func (t *target) startIsOver(store *positions.Store, source string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.starts[source] = start{}
	store.Set(positions.Key{Source: source, Target: t.name}, startedText)
}

// placeWithin is how long the other targets of an input may wait for a new one
// whose place is looked for. After that it joins them later.
const placeWithin = 250 * time.Millisecond

// seek is the search for the place where a target starts.
type seek struct {
	done chan struct{}   // closed when pos is found
	pos  record.Position // set before done is closed

	// Guarded by the run's mu.
	late bool  // nobody waits any more: who finds the place lets the target in
	err  error // of the last try
}

func (s *seek) isDone() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// place has the places found where new targets start. One that takes long, or
// fails, is gone on with while the others are fed. r.ops is held.
func (r *inputRun) place(targets []*target) {
	ctx, cancel := context.WithTimeout(r.src.ctx, placeWithin)
	defer cancel()
	for _, t := range targets {
		s := r.seekFor(t)
		if s == nil {
			continue
		}
		select {
		case <-s.done:
		case <-ctx.Done():
		}
		r.mu.Lock()
		s.late = !s.isDone()
		r.mu.Unlock()
	}
}

// seekFor returns the search for the target's place, which it begins unless it
// is at work already; nil if the target has a place or needs none to be found.
func (r *inputRun) seekFor(t *target) *seek {
	source, input := r.src.cfg.Name, r.input.Origin().Input
	if _, ok := t.lane(source, input); ok {
		return nil
	}
	if _, ok := r.src.sup.store.Get(positions.Key{Source: source, Target: t.name, Input: input}); ok {
		return nil
	}
	st := t.startOf(r.src.sup.store, source)
	if !st.counts || r.appearedFor(t) {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.seeks[t]; s != nil {
		return s
	}
	s := &seek{done: make(chan struct{})}
	if r.seeks == nil {
		r.seeks = map[*target]*seek{}
	}
	r.seeks[t] = s
	go r.seek(t, s, st)
	return s
}

// appearedFor reports whether the input has appeared since the target is there:
// it is then read from its beginning, whatever startAt says.
func (r *inputRun) appearedFor(t *target) bool {
	n, ok := r.input.(sources.Newcomer)
	return ok && n.Appeared() && r.born.After(t.made)
}

// sought returns the search for the target's place, nil if there is none.
func (r *inputRun) sought(t *target) *seek {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seeks[t]
}

// startingLast puts the targets behind the others whose place is being looked
// for: what is new to the source as well starts as the source says, and not there.
func (r *inputRun) startingLast(targets []*target) []*target {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seeks) == 0 {
		return targets
	}
	var first, last []*target
	for _, t := range targets {
		if r.seeks[t] == nil {
			first = append(first, t)
		} else {
			last = append(last, t)
		}
	}
	return append(first, last...)
}

// takePlace returns the place that was found for the target; wait says that it
// is still looked for, and ok that there is one.
func (r *inputRun) takePlace(t *target) (pos record.Position, wait, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.seeks[t]
	if s == nil {
		return "", false, false
	}
	if !s.isDone() {
		return "", true, false
	}
	delete(r.seeks, t)
	return s.pos, false, true
}

// seek looks for the place until it has found it, the target is gone, or the
// run is over.
func (r *inputRun) seek(t *target, s *seek, st start) {
	retry := backoff.Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second}
	began := time.Now()
	for exact := st.now && time.Since(st.since) < placeWithin; ; exact = false {
		at := st.at
		if exact {
			at = farAway
		}
		pos, err := r.seekOnce(at)
		switch {
		case err == nil && exact && time.Since(st.since) > placeWithin:
			continue // where the end was is not where it was then: by the clock
		case err == nil:
			r.seekDone(t, s, pos, time.Since(began))
			return
		}
		r.mu.Lock()
		s.err = err
		r.mu.Unlock()
		r.src.metrics.readErrors.Inc()
		r.src.log.Warn("the place where a target is to start is not found; it is tried again",
			"target", t.name, "path", r.input.Origin().Path, "error", err)
		if !sleep(r.src.ctx, retry.Next()) || !r.seekOn(t) {
			return
		}
	}
}

// seekOn reports whether somebody still wants the place.
func (r *inputRun) seekOn(t *target) bool {
	wanted := slices.Contains(r.src.targetsNow(), t)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || !wanted {
		delete(r.seeks, t)
		return false
	}
	return true
}

func (r *inputRun) seekOnce(at time.Time) (record.Position, error) {
	if s, ok := r.input.(sources.Seeker); ok {
		return s.Seek(at, r.src.timeOf())
	}
	return "", nil // rather twice than never
}

// seekDone lets the target in.
func (r *inputRun) seekDone(t *target, s *seek, pos record.Position, took time.Duration) {
	r.src.log.Info("target starts where startAt says", "target", t.name, "path", r.input.Origin().Path,
		"start_at", t.cfg.StartAt, "position", string(pos), "took", took.Round(time.Millisecond).String())
	r.mu.Lock()
	s.pos = pos
	close(s.done)
	late := s.late
	r.mu.Unlock()
	if late && r.seekOn(t) {
		r.setTargets(r.src.targetsNow())
	}
}

// timeOf returns what finds the time of a line, as the source's format has it.
func (r *sourceRun) timeOf() func(line []byte) (time.Time, bool) {
	format, options := r.proc.format, r.proc.options
	if format == nil {
		return func([]byte) (time.Time, bool) { return time.Time{}, false }
	}
	options.Now = time.Now()
	b, lines := record.NewBatch(), 0
	return func(line []byte) (time.Time, bool) {
		if lines++; lines%1000 == 0 { // its memory is not to grow
			b.Release()
			b = record.NewBatch()
		}
		rec := record.Record{Time: math.MinInt64, Line: line, Message: line}
		if !format.Parse(b, &rec, &options) || rec.Time <= 0 {
			return time.Time{}, false
		}
		return time.Unix(0, rec.Time), true
	}
}

// A source's inputs have all been found once it was quiet for startQuiet; after
// startMost that is taken for granted.
const (
	startQuiet = 10 * time.Second
	startMost  = 5 * time.Minute
)

// endStarts ends the starts of targets whose places were all found.
func (s *Supervisor) endStarts(now time.Time) {
	s.mu.Lock()
	targets := s.targetList()
	s.mu.Unlock()
	for _, r := range s.sourceList() {
		r.mu.Lock()
		quiet := len(r.inputs) > 0 && now.Sub(r.lastFound) > startQuiet
		r.mu.Unlock()
		for _, t := range targets {
			t.mu.Lock()
			st := t.starts[r.cfg.Name]
			t.mu.Unlock()
			if !st.counts || now.Sub(st.since) < startQuiet || !quiet && now.Sub(st.since) < startMost {
				continue
			}
			if !slices.ContainsFunc(r.runs(), func(run *inputRun) bool { return run.sought(t) != nil }) {
				t.startIsOver(s.store, r.cfg.Name)
			}
		}
	}
}

// saveStarts saves where new targets start before the configuration is said to
// run: a crash right after that must not move it. In the first configuration
// nothing is found yet, and only startAt has decided anything.
func (s *Supervisor) saveStarts(p *plan) {
	s.mu.Lock()
	again := !s.applied.IsZero()
	s.mu.Unlock()
	for _, t := range p.targets {
		if t.cfg.StartAt != "" || again && len(t.knew) == 0 {
			_ = s.store.Save() // the store's own saving tells, and tries again
			return
		}
	}
}

// startErrors returns, by target, why a place where it starts is not found.
func (s *Supervisor) startErrors() map[*target]error {
	errs := map[*target]error{}
	for _, r := range s.sourceList() {
		for _, run := range r.runs() {
			run.mu.Lock()
			for t, s := range run.seeks {
				if s.err != nil {
					errs[t] = s.err
				}
			}
			run.mu.Unlock()
		}
	}
	return errs
}
