package main

import (
	"context"
	"time"
)

const (
	// lookAtStore is how often it is looked whether the configuration store is reached.
	lookAtStore = time.Second
	// awayLooks is how many looks in a row it must be away for: a leader that is lost is
	// replaced within a second or two, and nobody needs to know.
	awayLooks = 4
)

// watchStore tells when the configuration store is away, since when and why, and
// when it is back, until ctx ends.
func watchStore(ctx context.Context, reached func() error, tell func(since time.Time, why error), every time.Duration) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	var since time.Time
	looks := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		err := reached()
		switch {
		case err == nil && looks >= awayLooks:
			tell(time.Time{}, nil)
			looks = 0
		case err == nil:
			looks = 0
		default:
			if looks == 0 {
				since = time.Now()
			}
			if looks++; looks >= awayLooks {
				tell(since, err)
			}
		}
	}
}
