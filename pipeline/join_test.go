package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
)

// cri is one line of a container's log.
func cri(n int, stream, tag, text string) string {
	return fmt.Sprintf("2026-01-02T03:04:05.%09dZ %s %s %s", n, stream, tag, text)
}

// A feed that ends and starts anew between the parts of a line, because of a
// reload or because a target fell behind, goes on with them: no line of the
// other stream is given twice, and none is torn.
func TestPartsSurviveAFeedThatStartsAnew(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape()
	h.shelves["a"], h.shelves["b"] = newShelf(), newShelf()
	h.open()
	cfg := func(round int) *config.Config {
		c := simpleConfig("app", "a", "b")
		c.Sources[0].LogFormat = "cri"
		c.Sources[0].Labels = map[string]string{"round": fmt.Sprint(round)}
		return c
	}
	h.apply(cfg(0))
	var want []string
	n := 0
	write := func(stream, tag, text string) {
		h.tapes["app"].write(cri(n, stream, tag, text))
		n++
	}
	for round := 1; round < 30; round++ {
		first, second := fmt.Sprintf("out %d ", round), fmt.Sprintf("err %d ", round)
		write("stdout", "P", first)
		write("stderr", "F", "between")
		want = append(want, "between")
		for _, name := range []string{"a", "b"} {
			h.awaitLines(name, len(want))
		}
		h.apply(cfg(round))
		if round%3 == 0 {
			write("stderr", "P", second)
		}
		write("stdout", "P", strings.Repeat("x", round))
		changed := cfg(round)
		changed.Targets[round%2].QueueBytes++ // a feed for each target, which meet
		h.apply(changed)
		held := int64(1)
		if round%3 == 0 {
			held = 2
		}
		for _, name := range []string{"a", "b"} {
			await(t, "what is held back to be in flight", func() bool {
				r := h.row("app", name)
				return r.InFlight == held && r.Difference() == 0
			})
		}
		write("stdout", "F", "end")
		want = append(want, first+strings.Repeat("x", round)+"end")
		if round%3 == 0 {
			write("stderr", "F", "end")
			want = append(want, second+"end")
		}
	}
	for _, name := range []string{"a", "b"} {
		h.awaitLines(name, len(want))
		if got := h.shelves[name].got(); !slices.Equal(got, want) {
			t.Errorf("%s: got %q\nwant %q", name, got, want)
		}
		await(t, "the answers", func() bool { return h.row("app", name).InFlight == 0 })
		if r := h.row("app", name); r.Read != int64(len(want)) || r.Delivered != r.Read {
			t.Errorf("%s: %+v, want %d read and delivered", name, r, len(want))
		}
	}
	h.stop(time.Minute)
}

// A source whose format changes between the parts of a line ships them all the same.
func TestPartsAreNotForgottenWhenTheFormatChanges(t *testing.T) {
	h := newHouse(t)
	first, second := cri(1, "stdout", "P", "one "), cri(2, "stdout", "F", "two")
	h.tapes["app"] = newTape(first)
	h.shelves["a"] = newShelf()
	h.open()
	cfg := simpleConfig("app", "a")
	cfg.Sources[0].LogFormat = "cri"
	h.apply(cfg)
	await(t, "the part to be held back", func() bool { return h.row("app", "a").InFlight == 1 })
	h.apply(simpleConfig("app", "a"))
	h.tapes["app"].write(second)
	h.awaitLines("a", 2)
	if got := h.shelves["a"].got(); !slices.Equal(got, []string{first, second}) {
		t.Errorf("got %q", got)
	}
	h.stop(time.Minute)
}

// What was lent is not written over by the joiner that goes on.
func TestLentPartsStayAsTheyWere(t *testing.T) {
	p := testProcessor(t, "cri", 0)
	const at = "2026-01-02T03:04:01Z "
	p.process(batchOf(0, at+"stdout P one,", at+"stderr P err,"), false)
	lent := p.join.state()
	if again := p.join.state(); again != lent || lent.lines() != 2 || lent.before() != "0" {
		t.Errorf("lent %v lines before %q", lent.lines(), lent.before())
	}
	other := testProcessor(t, "cri", 0)
	other.join.restore(lent)
	for _, c := range []struct {
		p    *processor
		part string
	}{{p, "two"}, {other, "TWO"}} {
		b := batchOf(2, at+"stdout P "+c.part+",", at+"stdout F end", at+"stderr F end", at+"stdout P next", at+"stdout F .")
		c.p.process(b, false)
		want := []string{"one," + c.part + ",end", "err,end", "next."}
		var got []string
		for i := range b.Records {
			got = append(got, string(b.Records[i].Line))
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := string(lent.streams[0].line) + string(lent.streams[1].line); got != "one,err," {
		t.Errorf("what was lent became %q", got)
	}
	// One byte more finds room behind what is lent; what is torn leaves it alone.
	for i := range 2 {
		last := testProcessor(t, "cri", 0)
		last.join.restore(lent)
		if i == 0 {
			last.process(batchOf(2, at+"stdout P 2", at+"stdout F "), false)
		}
		last.process(batchOf(4), true)
		last.process(batchOf(4, at+"stdout P XXXX", at+"stderr P XXXX"), false)
		if got := string(lent.streams[0].line) + string(lent.streams[1].line); got != "one,err," {
			t.Errorf("what was lent became %q", got)
		}
	}
	// Two feeds that go on with the same parts do not write over each other's.
	two := [2]*processor{testProcessor(t, "cri", 0), testProcessor(t, "cri", 0)}
	for i, q := range two {
		q.join.restore(lent)
		q.process(batchOf(2, at+"stdout P "+fmt.Sprint(i)), false)
	}
	for i, q := range two {
		b := batchOf(3, at+"stdout F .")
		q.process(b, false)
		if got, want := string(b.Records[0].Line), fmt.Sprintf("one,%d.", i); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if p.join.state() != nil || lent.same(nil) || !lent.same(lent) {
		t.Error("nothing is held back any more")
	}
}
