package pipeline

import (
	"slices"
	"time"

	"github.com/lbshipd/lbshipd/positions"
)

// touchEvery is how often the positions of what runs are marked as in use.
const touchEvery = time.Hour

// touch keeps the positions of quiet inputs from expiring.
func (s *Supervisor) touch() {
	for _, r := range s.sourceList() {
		s.store.Touch(positions.Key{Source: r.cfg.Name})
		for _, t := range r.targetsNow() {
			s.store.TouchLedger(positions.Pair{Source: r.cfg.Name, Target: t.name})
			s.store.Touch(positions.Key{Source: r.cfg.Name, Target: t.name})
		}
		for _, run := range r.runs() {
			run.mu.Lock()
			lanes := slices.Clone(run.lanes)
			run.mu.Unlock()
			for _, l := range lanes {
				s.store.Touch(l.key)
			}
		}
	}
}
