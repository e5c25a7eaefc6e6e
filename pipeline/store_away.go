package pipeline

import "time"

// storeAway is that the configuration store cannot be reached.
type storeAway struct {
	since time.Time // zero: it can be
	err   error
}

// StoreAway notes since when the configuration store cannot be reached, and why;
// the zero time: it can be. What runs goes on in any case.
func (s *Supervisor) StoreAway(since time.Time, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.storeIs = storeAway{since, why}
	s.metrics.cached(s.event.Cached || !since.IsZero())
}

// Refuse notes that a newer configuration is not running, and why.
func (s *Supervisor) Refuse(err error) {
	s.mu.Lock()
	s.refused = err
	s.mu.Unlock()
	s.metrics.gauge(specReloadOK).Set(0)
}
