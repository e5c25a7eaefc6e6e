package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/sources"
)

// Status is what runs, for people and for health checks.
type Status struct {
	Applied time.Time // since when the configuration runs; zero: none does
	Stopped bool
	Refused error // why the newest configuration is not the running one

	Hash     string            // config.Event.Hash of what runs; empty if it is not known
	Cached   bool              // the configuration store cannot be reached: what it held last runs
	Rejected []config.Rejected // objects that what runs does without
	Away     time.Time         // since when the configuration store cannot be reached; zero: it can be
	AwayErr  error             // why
	CacheErr error             // why what runs is not kept for a start while the store is away, if it is not

	Totals  map[string]Totals // by kind of target; all that ever ran are in it
	Sources []SourceStatus
	Targets []TargetStatus
	Ledger  []LedgerRow
	AtRisk  map[positions.Pair]AtRisk // nothing where it cannot be known
	SaveErr error                     // of the last save of the positions
	Saved   time.Time                 // the last good save; zero: none yet
}

// SourceStatus is one source at work.
type SourceStatus struct {
	Name   string
	Kind   string
	Format string
	Inputs int
	Rate   float64       // records a second that were read lately
	Quiet  time.Duration // how long nothing was read, to a second or so, and since the daemon runs
	Silent bool          // that is longer than its silentAfter
	Held   sources.Held  // what it keeps that would be gone without it
	Err    error         // why discovery ended, or an input cannot be found or read, if so
}

// TargetStatus is one target at work.
type TargetStatus struct {
	Name       string
	Kind       string
	Class      string // of the error it suffers from; empty if none
	Err        error
	Since      time.Time
	NextTry    time.Time     // when it is tried again; zero or past: now
	Behind     int           // inputs that are not read for it together with the others
	Queued     int64         // records not answered
	QueueBytes int64         // memory that they hold
	QueueLimit int64         // the target's queueBytes
	Lag        time.Duration // how long the oldest of them has been queued
	Rate       float64       // records a second that it has taken lately
	Dead       error         // why its dead letters cannot be kept, if they cannot
	Start      error         // why the place where it starts (startAt) is not found yet, if it is not

	Spool SpoolStatus
}

// Status returns what runs now.
func (s *Supervisor) Status() Status {
	behind := map[*target]int{}
	st := Status{SaveErr: s.store.Err(), Saved: s.store.LastSave(), Ledger: s.Ledger(), AtRisk: s.atRisk(), CacheErr: s.cached(), Totals: s.metrics.outcomes.totals()}
	now := time.Now()
	for _, r := range s.sourceList() {
		runs := r.runs()
		var trouble []error
		for _, run := range runs {
			run.behind(behind)
			if err := run.trouble(); err != nil {
				trouble = append(trouble, err)
			}
		}
		silent := r.silent(now)
		r.mu.Lock()
		st.Sources = append(st.Sources, SourceStatus{Name: r.cfg.Name, Kind: r.kind, Format: r.format, Inputs: len(runs), Rate: r.metrics.flow.rate(now), Err: sourceError(r.runErr, trouble, r.trouble(now)),
			Quiet: r.metrics.flow.quiet(now), Silent: silent, Held: r.held()})
		r.mu.Unlock()
	}
	s.mu.Lock()
	st.Applied, st.Stopped, st.Refused = s.applied, s.stopped, s.refused
	st.Hash, st.Cached, st.Rejected = s.event.Hash, s.event.Cached, s.event.Rejected
	st.Away, st.AwayErr = s.storeIs.since, s.storeIs.err
	targets := s.targetList()
	s.mu.Unlock()
	lost := s.startErrors()
	now = time.Now()
	for _, t := range targets {
		ts := t.status(now)
		ts.Behind = behind[t]
		ts.Start = lost[t]
		st.Targets = append(st.Targets, ts)
	}
	return st
}

// sourceError is what is said of a source: why discovery ended, else what the
// first of its inputs that cannot be read suffers from, and what keeps it from others.
func sourceError(discovery error, inputs []error, kept error) error {
	switch {
	case discovery != nil:
		return discovery
	case len(inputs) == 0:
		return kept
	case len(inputs) > 1:
		inputs[0] = fmt.Errorf("%d inputs cannot be read, one of them: %w", len(inputs), inputs[0])
	}
	if kept != nil {
		return fmt.Errorf("%w; %w", inputs[0], kept)
	}
	return inputs[0]
}

// trouble says why the input cannot be read; nil if it can.
func (r *inputRun) trouble() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.feeds {
		if err := f.trouble.Load(); err != nil {
			return fmt.Errorf("reading %s: %w", r.input.Origin().Path, *err)
		}
	}
	return nil
}

func (t *target) status(now time.Time) TargetStatus {
	lag := t.lag(now)
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.failure
	return TargetStatus{Name: t.name, Kind: t.kind, Class: f.Class, Err: f.Err, Since: f.Since, NextTry: f.NextTry,
		Queued: t.records + t.onDisk(), QueueBytes: t.bytes, QueueLimit: t.limit, Lag: lag, Rate: t.metrics.flow.rate(now), Dead: t.dead.err(), Spool: t.spoolState()}
}

// Reasons lists, in words, what is not as it should be.
func (st *Status) Reasons() []string {
	var reasons []string
	if st.Refused != nil {
		reasons = append(reasons, "the newest configuration is not running: "+firstLine(st.Refused))
	}
	if !st.Away.IsZero() {
		reasons = append(reasons, "the configuration store cannot be reached since "+st.Away.UTC().Format(time.RFC3339)+", and what it held last is running: "+strings.TrimPrefix(firstLine(st.AwayErr), config.ErrUnavailable.Error()+": "))
	} else if st.Cached {
		reasons = append(reasons, "the configuration store cannot be reached: what it held last is running")
	}
	if st.CacheErr != nil {
		reasons = append(reasons, "the configuration cannot be kept on disk, and a start would need its store: "+firstLine(st.CacheErr))
	}
	for _, r := range st.Rejected {
		reasons = append(reasons, fmt.Sprintf("%s %q cannot be used: %s", r.Kind, r.Name, firstLine(errors.New(r.Reason))))
	}
	if st.SaveErr != nil {
		reasons = append(reasons, "positions cannot be saved: "+firstLine(st.SaveErr))
	}
	for _, src := range st.Sources {
		if src.Err != nil {
			reasons = append(reasons, "source \""+src.Name+"\": "+firstLine(src.Err))
		}
		if src.Silent {
			reasons = append(reasons, fmt.Sprintf("source %q has yielded nothing for %s, longer than its silentAfter", src.Name, src.Quiet.Round(time.Second)))
		}
	}
	for _, t := range st.Targets {
		if t.Err != nil {
			reasons = append(reasons, "target \""+t.Name+"\" takes no records since "+t.Since.UTC().Format(time.RFC3339)+": "+firstLine(t.Err))
		}
		if t.Spool.Err != nil {
			reasons = append(reasons, "target \""+t.Name+"\": its spool cannot be written, records stay at their sources: "+firstLine(t.Spool.Err))
		}
		if t.Spool.Full {
			reasons = append(reasons, "target \""+t.Name+"\": its spool is full, records stay at their sources")
		}
	}
	for _, t := range st.Targets {
		if t.Dead != nil {
			reasons = append(reasons, "target \""+t.Name+"\": refused records cannot be kept as dead letters: "+firstLine(t.Dead))
		}
	}
	for i := range st.Ledger {
		row := &st.Ledger[i]
		if risk := st.AtRisk[row.Pair]; row.Running && risk.Soon {
			reasons = append(reasons, fmt.Sprintf("source %q is about to drop %d bytes that target %q has not taken, the first of them in about %s",
				row.Source, risk.Bytes, row.Target, risk.Left.Round(time.Second)))
		}
		if d := row.Difference(); d != 0 {
			reasons = append(reasons, fmt.Sprintf("the ledger of source %q and target %q does not add up: %d records too many were read", row.Source, row.Target, d))
		}
	}
	for _, t := range st.Targets {
		if t.Start != nil {
			reasons = append(reasons, "target \""+t.Name+"\": where it is to start is not found: "+firstLine(t.Start))
		}
	}
	return slices.Clip(reasons)
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
