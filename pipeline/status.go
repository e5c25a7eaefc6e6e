package pipeline

import (
	"slices"
	"strings"
	"time"
)

// Status is what runs, for people and for health checks.
type Status struct {
	Applied bool // a configuration is running
	Stopped bool
	Refused error // why the newest configuration is not the running one
	Sources []SourceStatus
	Targets []TargetStatus
	SaveErr error // of the last save of the positions
}

// SourceStatus is one source at work.
type SourceStatus struct {
	Name   string
	Kind   string
	Format string
	Inputs int
	Err    error // why discovery ended, if it did
}

// TargetStatus is one target at work.
type TargetStatus struct {
	Name   string
	Class  string // of the error it suffers from; empty if none
	Err    error
	Since  time.Time
	Behind int   // inputs that are read for it alone
	Queued int64 // records not answered
}

// Status returns what runs now.
func (s *Supervisor) Status() Status {
	behind := map[*target]int{}
	st := Status{SaveErr: s.store.Err()}
	for _, r := range s.sourceList() {
		runs := r.runs()
		for _, run := range runs {
			run.behind(behind)
		}
		r.mu.Lock()
		st.Sources = append(st.Sources, SourceStatus{Name: r.cfg.Name, Kind: r.kind, Format: r.format, Inputs: len(runs), Err: r.runErr})
		r.mu.Unlock()
	}
	s.mu.Lock()
	st.Applied, st.Stopped, st.Refused = !s.applied.IsZero(), s.stopped, s.refused
	targets := s.targetList()
	s.mu.Unlock()
	for _, t := range targets {
		f := t.trouble()
		st.Targets = append(st.Targets, TargetStatus{Name: t.name, Class: f.Class, Err: f.Err, Since: f.Since, Behind: behind[t], Queued: t.queued()})
	}
	return st
}

// Reasons lists, in words, what is not as it should be.
func (st *Status) Reasons() []string {
	var reasons []string
	if st.Refused != nil {
		reasons = append(reasons, "the newest configuration is not running: "+firstLine(st.Refused))
	}
	if st.SaveErr != nil {
		reasons = append(reasons, "positions cannot be saved: "+firstLine(st.SaveErr))
	}
	for _, src := range st.Sources {
		if src.Err != nil {
			reasons = append(reasons, "source \""+src.Name+"\": "+firstLine(src.Err))
		}
	}
	for _, t := range st.Targets {
		if t.Err != nil {
			reasons = append(reasons, "target \""+t.Name+"\" takes no records since "+t.Since.UTC().Format(time.RFC3339)+": "+firstLine(t.Err))
		}
	}
	return slices.Clip(reasons)
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
