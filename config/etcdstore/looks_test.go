package etcdstore

import (
	"testing"
	"time"
)

// How old a report is does not hang on clocks that are wrong, as far as it was looked meanwhile.
func TestAgesByLooks(t *testing.T) {
	begin := time.Now()
	at := func(minutes int) time.Time { return begin.Add(time.Duration(minutes) * time.Minute) }
	var l looks
	l.note(100, at(0), time.Minute)
	l.note(105, at(0).Add(time.Second), time.Minute) // too soon to be of use
	l.note(110, at(1), time.Minute)
	l.note(110, at(2), time.Minute)
	l.note(120, at(3), time.Minute)
	const m = time.Minute
	for _, c := range []struct {
		revision     int64
		clocks, want time.Duration
	}{
		{110, 9*m + 30*time.Second, 9*m + 30*time.Second}, // the clocks agree
		{110, 5 * time.Hour, 10 * m},                      // written by a clock that is behind, or ours was set ahead
		{110, -5 * time.Hour, 9 * m},                      // the other way round
		{115, time.Second, 7 * m},
		{115, 12 * m, 8 * m},
		{121, 5 * time.Hour, 7 * m}, // since the last look
		{121, -time.Hour, 0},
		{50, 5 * time.Hour, 5 * time.Hour}, // before the first one: nobody knows better
		{50, -time.Hour, 10 * m},
	} {
		if got := l.age(c.revision, c.clocks, at(10)); got != c.want {
			t.Errorf("revision %d, %v by the clocks: %v, want %v", c.revision, c.clocks, got, c.want)
		}
	}
	if got := new(looks).age(7, -time.Hour, begin); got != 0 {
		t.Errorf("without looks: %v", got)
	}
	for i := range 100 {
		l.note(int64(200+i), at(20+i), time.Minute)
	}
	if len(l.all) != looksKept || l.all[looksKept-1].revision != 299 {
		t.Errorf("%d looks: %+v", len(l.all), l.all)
	}
	if l.note(7, at(200), time.Minute); len(l.all) != 1 { // restored: revisions count anew
		t.Errorf("after a restore: %+v", l.all)
	}
}
