package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/sinks"
)

// What an Event says beside its Config is told; what is refused changes none of it.
func TestRejectedObjectsAreTold(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"], h.shelves["a"] = newTape(numbered(0, 10)...), newShelf()
	h.open()
	if got := h.reasons(); len(got) != 0 {
		t.Fatalf("at first: %q", got)
	}
	rejected := []config.Rejected{{Kind: config.KindTarget, Name: "siem", Reason: "the TLS bundle \"x\" is not there\nat all"},
		{Kind: config.KindTarget, Name: "b", Reason: "no kind"}, {Kind: config.KindFormat, Name: "f", Reason: "regex: missing )"}}
	if err := h.sup.ApplyEvent(config.Event{Config: simpleConfig("app", "a"), Hash: "abc", Cached: true, Rejected: rejected}); err != nil {
		t.Fatal(err)
	}
	st := h.sup.Status()
	if st.Hash != "abc" || !st.Cached || !slices.Equal(st.Rejected, rejected) {
		t.Errorf("%+v", st)
	}
	want := []string{"the configuration store cannot be reached: what it held last is running",
		`target "siem" cannot be used: the TLS bundle "x" is not there`, `target "b" cannot be used: no kind`, `format "f" cannot be used: regex: missing )`}
	if got := st.Reasons(); !slices.Equal(got, want) {
		t.Errorf("reasons %q, want %q", got, want)
	}
	wantMetrics := func(targets, formats, cached float64) {
		t.Helper()
		sums := map[string]float64{}
		families, err := h.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := f.GetName()
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				sums[name] = m.GetGauge().GetValue()
			}
		}
		for name, want := range map[string]float64{"_rejected_objects target": targets, "_rejected_objects format": formats, "_rejected_objects source": 0, "_cached": cached} {
			if got, ok := sums["lbshipd_config"+name]; !ok || got != want {
				t.Errorf("%s is %v (there: %v), want %v", name, got, ok, want)
			}
		}
	}
	wantMetrics(2, 1, 1)

	// Refused, by its Err or because it cannot be built: what runs is what ran.
	if err := h.sup.ApplyEvent(config.Event{Err: config.ErrUnavailable}); !errors.Is(err, config.ErrUnavailable) {
		t.Error(err)
	}
	if err := h.sup.ApplyEvent(config.Event{Config: simpleConfig("app", "no-shelf"), Hash: "def"}); err == nil {
		t.Error("no error")
	}
	if st := h.sup.Status(); st.Hash != "abc" || len(st.Rejected) != 3 || st.Refused == nil {
		t.Errorf("after a refusal: %+v", st)
	}
	wantMetrics(2, 1, 1)

	if err := h.sup.ApplyEvent(config.Event{Config: simpleConfig("app", "a"), Hash: "ghi"}); err != nil {
		t.Fatal(err)
	}
	if st := h.sup.Status(); st.Hash != "ghi" || st.Cached || len(st.Reasons()) != 0 {
		t.Errorf("at last: %+v", st)
	}
	wantMetrics(0, 0, 0)
	h.stop(time.Minute)
}

// Condition changes with all that it is to tell, and with nothing else.
func TestConditionChangesWithWhatIsWrong(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"], h.shelves["a"] = newTape(), newShelf()
	fails := make(chan error, 1)
	fails <- nil
	h.shelves["a"].fail = func(int) error {
		err := <-fails
		fails <- err
		return err
	}
	var trouble atomic.Pointer[error]
	h.trouble = func() error {
		if err := trouble.Load(); err != nil {
			return *err
		}
		return nil
	}
	h.open()
	seen := map[uint64]string{h.sup.Condition(): "nothing applied"}
	changes := func(to string) uint64 {
		t.Helper()
		now := h.sup.Condition()
		if was, ok := seen[now]; ok {
			t.Errorf("%s: the same as %s", to, was)
		}
		seen[now] = to
		return now
	}
	h.apply(simpleConfig("app", "a"))
	healthy := changes("applied")
	event := config.Event{Config: simpleConfig("app", "a"), Hash: "abc"}
	if err := h.sup.ApplyEvent(event); err != nil {
		t.Fatal(err)
	}
	healthy = changes("a hash")
	h.tapes["app"].write(numbered(0, 10)...)
	h.awaitLines("a", 10)
	if h.sup.Condition() != healthy {
		t.Error("records alone change it")
	}
	for _, class := range []string{sinks.ClassConnect, sinks.ClassTLS} {
		<-fails
		fails <- &sinks.Error{Class: class, RetryAfter: time.Millisecond, Err: errors.New(class)}
		h.tapes["app"].write("more")
		await(t, class, func() bool { return h.sup.Status().Targets[0].Class == class })
		changes(class)
	}
	<-fails
	fails <- nil
	await(t, "the target", func() bool { return h.sup.Status().Targets[0].Class == "" })
	if h.sup.Condition() != healthy {
		t.Error("a target that has recovered is not as it was")
	}
	for _, text := range []string{"a.log is left out: permission denied", "2 files are left out"} {
		err := errors.New(text)
		trouble.Store(&err)
		changes(text)
		if st := h.sup.Status(); !slices.Equal(st.Reasons(), []string{`source "app": ` + text}) {
			t.Errorf("reasons %q", st.Reasons())
		}
	}
	trouble.Store(nil)
	if h.sup.Condition() != healthy {
		t.Error("a source that has recovered is not as it was")
	}
	for _, e := range []config.Event{
		{Config: event.Config, Hash: "abc", Cached: true},
		{Config: event.Config, Hash: "abc", Rejected: []config.Rejected{{Kind: config.KindTarget, Name: "x", Reason: "1"}}},
		{Config: event.Config, Hash: "abc", Rejected: []config.Rejected{{Kind: config.KindTarget, Name: "x", Reason: "2"}}},
		{Config: event.Config, Hash: "abc", Rejected: []config.Rejected{{Kind: config.KindSource, Name: "x", Reason: "1"}}},
	} {
		if err := h.sup.ApplyEvent(e); err != nil {
			t.Fatal(err)
		}
		changes(fmt.Sprintf("%+v", e))
	}
	h.sup.Refuse(errors.New("a typo"))
	changes("refused")
	h.stop(time.Minute)
	changes("stopped")
}

// The sums are over all targets of a kind, those that are gone too.
func TestTotalsOutliveTargets(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 10)...)
	h.shelves["a"], h.shelves["b"] = newShelf(), newShelf()
	for _, name := range []string{"a", "b"} {
		h.shelves[name].fail = func(send int) error {
			if send <= 2 {
				return &sinks.Error{Class: sinks.ClassServer, RetryAfter: time.Millisecond, Err: errors.New("500")}
			}
			return nil
		}
	}
	h.open()
	h.apply(simpleConfig("app", "a", "b"))
	h.awaitLines("a", 10)
	h.awaitLines("b", 10)
	want := map[string]Totals{"stdout": {SendFailed: 4}}
	await(t, "the sums", func() bool { return h.sup.Status().Totals["stdout"] == want["stdout"] })
	h.sup.metrics.target("z").refused("x", 7) // of no target that was made: not in it
	h.apply(simpleConfig("app", "b"))
	run := h.run("app")
	run.src.targetsNow()[0].metrics.refused("too_old", 3)
	run.src.targetsNow()[0].metrics.lost("vacuumed", 2)
	if got := h.sup.Status().Totals["stdout"]; got != (Totals{4, 3, 2}) {
		t.Errorf("%+v", got)
	}
	h.stop(time.Minute)
}

// A store that goes away while all runs is told of, and is no part of what is refused.
func TestStoreIsAway(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"], h.shelves["a"] = newTape(numbered(0, 10)...), newShelf()
	h.open()
	h.apply(simpleConfig("app", "a"))
	healthy := h.sup.Condition()
	since := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	h.sup.StoreAway(since, fmt.Errorf("%w: no route", config.ErrUnavailable))
	if h.sup.Condition() == healthy {
		t.Error("the condition is the same")
	}
	st := h.sup.Status()
	if r := st.Reasons(); len(r) != 1 || !strings.Contains(r[0], "since 2026-11-20T10:00:00Z") || !strings.HasSuffix(r[0], "is running: no route") {
		t.Errorf("reasons %q", r)
	}
	h.apply(simpleConfig("app", "a"))
	if !h.sup.Status().Away.Equal(since) {
		t.Error("a configuration from the cache makes the store be there")
	}
	h.sup.StoreAway(time.Time{}, nil)
	if st := h.sup.Status(); len(st.Reasons()) != 0 || !st.Away.IsZero() {
		t.Errorf("back: %q", st.Reasons())
	}
	h.stop(time.Minute)
}
