package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// board is where the nodes note when they have the newest change, which all are called waves.
type board struct {
	mu    sync.Mutex
	wave  string
	at    []time.Time // by node; zero: it does not have it yet
	have  int
	whole chan struct{} // closed when all have it
}

// begin waits for a new wave. Who has it already has noted that too early.
func (b *board) begin(wave string, nodes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wave, b.at, b.have, b.whole = wave, make([]time.Time, nodes), 0, make(chan struct{})
}

// arrived notes that a node has a wave.
func (b *board) arrived(node int, wave string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wave == "" || wave != b.wave || !b.at[node].IsZero() {
		return
	}
	b.at[node] = now
	if b.have++; b.have == len(b.at) {
		close(b.whole)
	}
}

// since waits until all nodes have the wave, and returns how long after from each of them had it.
func (b *board) since(from time.Time, limit time.Duration) (series, error) {
	b.mu.Lock()
	whole := b.whole
	b.mu.Unlock()
	var err error
	select {
	case <-whole:
	case <-time.After(limit):
		err = fmt.Errorf("not all nodes have the change after %v", limit)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("%w: %d of %d have it", err, b.have, len(b.at))
	}
	var s series
	for _, at := range b.at {
		if !at.IsZero() {
			s = append(s, at.Sub(from))
		}
	}
	return s, err
}

// series are measured times.
type series []time.Duration

// of returns the time that so many of a hundred do not exceed.
func (s series) of(percent float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[min(int(float64(len(sorted))*percent/100), len(sorted)-1)]
}

func (s series) String() string {
	return fmt.Sprintf("first %v, median %v, 99%% %v, last %v", round(s.of(0)), round(s.of(50)), round(s.of(99)), round(s.of(100)))
}

func round(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
