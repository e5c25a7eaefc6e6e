package pipeline

import (
	"sync"
	"sync/atomic"

	"github.com/lbshipd/lbshipd/config"
)

// Totals are what became of sends since the daemon started, over all targets of
// one kind, those that are gone included: they only grow.
type Totals struct {
	SendFailed int64 // sends that failed and were or will be tried again
	Refused    int64 // records that the targets refused for good
	Lost       int64 // records lost on the way to the targets, as far as their number is known
}

// outcomes count for Totals.
type outcomes struct{ failed, refused, lost atomic.Int64 }

// allOutcomes are the outcomes by kind of target.
type allOutcomes struct {
	mu     sync.Mutex
	byKind map[string]*outcomes
}

// of returns those of a kind.
func (s *allOutcomes) of(kind string) *outcomes {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.byKind[kind]
	if t == nil {
		if s.byKind == nil {
			s.byKind = map[string]*outcomes{}
		}
		t = new(outcomes)
		s.byKind[kind] = t
	}
	return t
}

func (s *allOutcomes) totals() map[string]Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := make(map[string]Totals, len(s.byKind))
	for kind, t := range s.byKind {
		m[kind] = Totals{t.failed.Load(), t.refused.Load(), t.lost.Load()}
	}
	return m
}

// configuration shows what an applied configuration came with.
func (m *metrics) configuration(cfg *config.Config, e *config.Event) {
	m.running(cfg, e.Hash)
	count := map[config.Kind]int{}
	for _, r := range e.Rejected {
		count[r.Kind]++
	}
	for _, kind := range config.Kinds() {
		m.gauge(specRejected, string(kind)).Set(float64(count[kind]))
	}
}

// cached says whether what runs is what the store held when it could be reached last.
func (m *metrics) cached(is bool) {
	value := 0.0
	if is {
		value = 1
	}
	m.gauge(specCached).Set(value)
}
