package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// The oracle sees what it is there for: each run has one thing done wrong on
// purpose, and has to fail for it; the run with nothing wrong has to pass.
func TestOracleSees(t *testing.T) {
	t.Parallel()
	bin := lbshipd(t)
	for spoil, kind := range map[string]string{
		"":        "",
		"drop":    "lost",    // a line that Loki said yes to is not there
		"reorder": "order",   // two lines of a stream come the wrong way round
		"again":   "twice",   // Loki is sent a line once more, with another time
		"change":  "payload", // a bit of a line is another one
		"ledger":  "ledger",  // the ledger has one more delivered than there are
		"filter":  "filter",  // a line below the minimum level is sent
	} {
		t.Run(spoil, func(t *testing.T) {
			t.Parallel()
			found := run(options{bin: bin, seed: 1, length: 3 * time.Second, dir: t.TempDir(), race: true, small: true, spoil: spoil})
			// The admin port of a daemon that was killed may be a receiver's of another run
			// soon, which is asked for metrics then: that is nobody's fault.
			found = slices.DeleteFunc(found, func(f finding) bool { return f.kind == "protocol" && strings.Contains(f.text, `"GET"`) })
			of := func(k string) bool { return slices.ContainsFunc(found, func(f finding) bool { return f.kind == k }) }
			if kind == "" && len(found) > 0 || kind != "" && !of(kind) {
				t.Errorf("with %q the oracle found %v, want a finding of the kind %q", spoil, found[:min(len(found), 10)], kind)
			}
			for _, f := range found {
				// A change and a drop also leave a hole.
				if f.kind != kind && f.kind != "lost" && f.kind != "ledger" {
					t.Errorf("with %q it also found %v", spoil, f)
				}
			}
		})
	}
}

// A run in which nothing happened is not a good one.
func TestVacuousRunIsSeen(t *testing.T) {
	t.Parallel()
	tb := &bed{}
	t.Cleanup(tb.clean)
	s := &scene{tb: tb, o: options{length: 3 * time.Minute}, book: newBook("loki"), count: newCounts(), disk: &disk{own: true}}
	for range 100 {
		for _, f := range faults {
			s.count.add(f.name)
		}
	}
	s.vacuous()
	var kinds []string
	for _, f := range s.book.found {
		kinds = append(kinds, f.text)
	}
	if want := fmt.Sprintf("%q happened 0 times, want at least 1", "relp resets"); !slices.Contains(kinds, want) {
		t.Errorf("no %s in %q", want, kinds)
	}
}
