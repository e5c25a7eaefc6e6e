package collector

import (
	"errors"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
)

// census is a store that knows how many nodes report to it.
type census struct{ shelf }

func (c *census) Fleet() (known, online int, ok bool) {
	n := len(c.all())
	return n + 4, n, n > 0
}

// How many nodes there are is told with each report that is stored, and with no other.
func TestFleetIsToldWithEachReport(t *testing.T) {
	type answer struct{ known, online int }
	var told []answer
	store := &census{}
	store.set(errors.New("away"), false)
	r := NewReporter(Options{Pipeline: &pipe{}, To: store, Node: Node{Node: config.Node{Name: "n1"}},
		Fleet: func(known, online int) { told = append(told, answer{known, online}) }})
	r.report(t.Context(), time.Second)
	if len(told) > 0 {
		t.Errorf("without a report it was told %v", told)
	}
	store.set(nil, false)
	r.report(t.Context(), time.Second)
	r.report(t.Context(), time.Second)
	if len(told) != 2 || told[0] != (answer{5, 1}) || told[1] != (answer{6, 2}) {
		t.Errorf("told %v", told)
	}
}
