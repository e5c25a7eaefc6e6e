package pipeline

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/sinks"
)

// A source that yields nothing for longer than its silentAfter is told, until it does; one
// without it never is, nor one that is not read because nobody takes anything.
func TestSilentSourceIsTold(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"], h.tapes["quiet"], h.shelves["a"] = newTape(), newTape(), newShelf()
	fails := make(chan error, 1)
	fails <- nil
	h.shelves["a"].fail = func(int) error {
		err := <-fails
		fails <- err
		return err
	}
	h.open()
	cfg := simpleConfig("app", "a")
	const silentAfter = 2 * time.Second
	cfg.Sources[0].SilentAfter = config.Duration(silentAfter)
	cfg.Sources = append(cfg.Sources, config.Source{Name: "quiet", LogFormat: "raw"})
	begun := time.Now()
	// soon: what is seen now is of before the source can be silent. A busy machine may stand still for that long.
	soon := func() bool { return time.Since(begun) < silentAfter }
	h.apply(cfg)
	healthy := h.sup.Condition()
	told := func() bool {
		return slices.ContainsFunc(h.reasons(), func(r string) bool {
			return strings.HasPrefix(r, `source "app" has yielded nothing for `) && strings.HasSuffix(r, "longer than its silentAfter")
		})
	}
	if told() && soon() {
		t.Errorf("told at once: %q", h.reasons())
	}
	await(t, "the silence", told)
	if got := h.reasons(); len(got) != 1 {
		t.Errorf("reasons %q", got)
	}
	if h.sup.Condition() == healthy {
		t.Error("the condition has not changed")
	}
	if st := h.sup.Status(); !st.Sources[0].Silent || st.Sources[0].Quiet < 2*time.Second || st.Sources[1].Silent || st.Sources[1].Quiet < 2*time.Second {
		t.Errorf("%+v", st.Sources)
	}
	await(t, "the gauge", func() bool { return h.gauge(specSilent, "app") == 1 })

	begun = time.Now()
	h.tapes["app"].write("a line")
	await(t, "a record", func() bool { return !told() })
	h.awaitLines("a", 1)
	if h.sup.Condition() != healthy && soon() {
		t.Error("the condition is not what it was")
	}

	<-fails
	fails <- &sinks.Error{Class: sinks.ClassConnect, RetryAfter: time.Millisecond, Err: errors.New("down")}
	h.tapes["app"].write("another")
	await(t, "the failure", func() bool { return h.sup.Status().Targets[0].Class != "" })
	await(t, "time", func() bool { return h.sup.Status().Sources[0].Quiet > 3*time.Second })
	if told() {
		t.Errorf("told of a source that cannot be read: %q", h.reasons())
	}
	<-fails
	fails <- nil
	h.stop(time.Minute)
}
