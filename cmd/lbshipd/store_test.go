package main

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A store that is away for one look is not worth a word; one that stays away is told of, and that it is back.
func TestWatchStore(t *testing.T) {
	away := errors.New("away")
	answers := []error{nil, away, nil, away, away, away, away, away, nil}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	next := 0
	reached := func() error {
		if next == len(answers) {
			cancel()
			return nil
		}
		next++
		return answers[next-1]
	}
	var told []string
	var first time.Time
	watchStore(ctx, reached, func(since time.Time, why error) {
		switch {
		case since.IsZero():
			told = append(told, "back")
		case why != away:
			t.Errorf("told %v", why)
		case len(told) == 0:
			first = since
			told = append(told, "away")
		case !since.Equal(first):
			t.Errorf("away since %v, and then since %v", first, since)
		}
	}, time.Millisecond)
	if len(told) != 2 || told[0] != "away" || told[1] != "back" || time.Since(first) > time.Minute {
		t.Errorf("told %v", told)
	}
}
