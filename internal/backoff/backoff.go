// Package backoff computes the waits between tries: exponential, capped, and
// jittered so that a cluster does not knock in step.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Backoff is the state of one series of tries. The zero value is not ready:
// set Min and Max. Not safe for concurrent use.
type Backoff struct {
	Min, Max time.Duration
	tries    int
}

// Next returns how long to wait before the next try: Min doubled for each try
// so far, at most Max, of which a random half is taken away.
func (b *Backoff) Next() time.Duration {
	d := b.Max
	if b.tries < 32 {
		d = min(b.Min<<b.tries, b.Max)
	}
	if d <= 0 {
		d = b.Max
	}
	b.tries++
	return d/2 + rand.N(d/2+1)
}

// Reset starts a new series: the last try was good.
func (b *Backoff) Reset() { b.tries = 0 }
