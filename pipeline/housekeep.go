package pipeline

import (
	"context"
	"time"
)

// housekeep refreshes gauges and lets feeds meet, every second or so.
func (s *Supervisor) housekeep(ctx context.Context) {
	defer close(s.ticked)
	touched, asked := time.Now(), time.Time{}
	for sleep(ctx, time.Second) {
		for _, r := range s.sourceList() {
			r.meet()
			r.seen()
		}
		s.settle()
		s.endStarts(time.Now())
		s.Sample()
		s.sampleDisk()
		s.metrics.flows.mark(time.Now())
		if now := time.Now(); now.Sub(asked) >= riskEvery {
			asked = now
			s.askRisks(now)
		}
		if time.Since(touched) > touchEvery {
			touched = time.Now()
			s.touch()
			s.lookAtSpools(time.Now())
		}
	}
}

// settle forgets inputs that are done with; not while targets are being
// replaced: what one had not answered, another is to have.
func (s *Supervisor) settle() {
	if !s.swapping.TryLock() {
		return
	}
	defer s.swapping.Unlock()
	for _, r := range s.sourceList() {
		r.settle()
	}
}
