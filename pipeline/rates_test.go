package pipeline

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestRatesAreThoseOfTheLastSeconds(t *testing.T) {
	start := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	f := newFlow(start)
	at := func(second int) time.Time { return start.Add(time.Duration(second) * time.Second) }
	check := func(now time.Time, want float64) {
		t.Helper()
		if got := f.rate(now); got != want {
			t.Errorf("after %s: %v, want %v", now.Sub(start), got, want)
		}
	}
	check(start, 0)
	f.total.Add(50)
	check(start.Add(time.Millisecond), 50) // not 50,000
	check(at(2), 25)
	for second := 1; second <= 30; second++ {
		f.total.Add(100)
		f.mark(at(second))
		if len(f.marks) > 12 {
			t.Fatalf("%d marks are kept", len(f.marks))
		}
	}
	check(at(30), 100)
	for second := 31; second <= 50; second++ {
		f.mark(at(second))
	}
	check(at(50), 0)
	f.total.Add(7)
	check(at(50), 0.7)
	check(at(500), 0) // the marks are late: seven in 450 seconds
}

// What is read and delivered is in the status; a source and a target that are
// changed go on, those that come back after they were removed begin anew.
func TestStatusHasRates(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 1000)...)
	h.shelves["a"] = newShelf()
	h.open()
	defer h.stop(0)
	cfg := simpleConfig("app", "a")
	h.apply(cfg)
	h.settled("a", 1000)
	rates := func() (source, target float64) {
		st := h.sup.Status()
		return st.Sources[0].Rate, st.Targets[0].Rate
	}
	if source, target := rates(); source <= 0 || source > 1000 || target <= 0 || target > 1000 {
		t.Errorf("source %v/s, target %v/s, want up to 1000", source, target)
	}
	changed := simpleConfig("app", "a")
	changed.Targets[0].QueueBytes, changed.Sources[0].TimeZone = 12345678, "UTC"
	h.apply(changed)
	if source, target := rates(); source <= 0 || target <= 0 {
		t.Errorf("changed: source %v/s, target %v/s", source, target)
	}
	none := *changed
	none.Sources, none.Targets = nil, nil
	h.apply(&none)
	h.apply(changed)
	if source, target := rates(); source != 0 || target != 0 {
		t.Errorf("back: source %v/s, target %v/s", source, target)
	}
}

// An input that cannot be read is what is said of its source.
func TestStatusSaysWhyASourceCannotBeRead(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 10)...)
	h.tapes["app"].broken = errors.New("input/output error")
	h.shelves["a"] = newShelf()
	h.open()
	defer h.stop(0)
	h.apply(simpleConfig("app", "a"))
	await(t, "the source to say what is wrong", func() bool {
		st := h.sup.Status()
		reasons := strings.Join(st.Reasons(), ", ")
		return st.Sources[0].Err != nil && reasons == `source "app": reading /tape: input/output error`
	})
	one := errors.New("one")
	if err := sourceError(nil, []error{one, errors.New("two")}, nil); err.Error() != "2 inputs cannot be read, one of them: one" {
		t.Error(err)
	}
	if sourceError(nil, nil, nil) != nil || sourceError(one, []error{errors.New("two")}, errors.New("three")) != one {
		t.Error("what discovery says comes first")
	}
	if err := sourceError(nil, []error{one}, errors.New("two")); err.Error() != "one; two" || sourceError(nil, nil, one) != one {
		t.Error(err)
	}
}
