package pipeline

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Rates are those of the last rateOver; marks are made every second or so.
const (
	rateOver = 10 * time.Second
	rateMin  = time.Second // below it nothing can be said
)

// flow counts the records of one source or target, and says how many a second
// they were lately. Counting is one addition for each batch.
type flow struct {
	total atomic.Int64

	mu    sync.Mutex
	marks []flowMark // oldest first; never empty
	moved time.Time  // of the last mark that found more than the one before, or of the beginning
}

type flowMark struct {
	at    time.Time
	total int64
}

func newFlow(now time.Time) *flow { return &flow{marks: []flowMark{{at: now}}, moved: now} }

// mark notes how far it is, and forgets what rates need no more.
func (f *flow) mark(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := 0
	for old+1 < len(f.marks) && now.Sub(f.marks[old+1].at) >= rateOver {
		old++
	}
	f.marks = append(f.marks[:0], f.marks[old:]...)
	total := f.total.Load()
	if total != f.marks[len(f.marks)-1].total {
		f.moved = now
	}
	f.marks = append(f.marks, flowMark{now, total})
}

// quiet returns how long nothing has been counted, to a second or so.
func (f *flow) quiet(now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.total.Load() != f.marks[len(f.marks)-1].total {
		return 0
	}
	return max(0, now.Sub(f.moved))
}

// rate returns records a second, to a tenth.
func (f *flow) rate(now time.Time) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := f.marks[0]
	for _, m := range f.marks {
		if now.Sub(m.at) >= rateOver {
			first = m
		}
	}
	took := max(now.Sub(first.at), rateMin).Seconds()
	return math.Round(float64(f.total.Load()-first.total)/took*10) / 10
}

// flows are the flows by kind ("source", "target") and name: one that is
// replaced by another of its name goes on.
type flows struct {
	mu  sync.Mutex
	all map[[2]string]*flow
}

func (s *flows) of(kind, name string) *flow {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.all[[2]string{kind, name}]
	if f == nil {
		if s.all == nil {
			s.all = map[[2]string]*flow{}
		}
		f = newFlow(time.Now())
		s.all[[2]string{kind, name}] = f
	}
	return f
}

func (s *flows) forget(kind, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, [2]string{kind, name})
}

func (s *flows) mark(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.all {
		f.mark(now)
	}
}
