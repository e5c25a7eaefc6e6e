package loki

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
)

func TestLabelSets(t *testing.T) {
	t.Parallel()
	file := &record.Origin{Source: "src", Kind: "file", Path: "/var/log/x.log", Host: "node1",
		Labels: []record.Label{{Name: "app", Value: "source's"}, {Name: "host", Value: "named"}}}
	journal := &record.Origin{Source: "src", Kind: "journald", Path: "/var/log/journal", Host: "node1"}
	var many []record.Label
	for i := range 20 {
		many = append(many, record.Label{Name: fmt.Sprintf("l%02d", i), Value: "x"})
	}
	for _, c := range []struct {
		name   string
		target config.LokiTarget
		origin *record.Origin
		header record.Header
		want   string
		notes  map[string]int
	}{
		{"the source's label wins over the target's, both over attributes",
			config.LokiTarget{Labels: map[string]string{"app": "target's", "dc": "one"}}, file, record.Header{},
			`{app="source's", dc="one", filename="/var/log/x.log", host="named", level="unknown", source="src"}`, nil},
		{"a journal has no filename, the header's host counts", config.LokiTarget{}, journal,
			record.Header{Host: []byte("other"), Unit: []byte("a.service"), Identifier: []byte("id"), PID: []byte("1")},
			`{host="other", identifier="id", level="unknown", source="src", unit="a.service"}`, nil},
		{"only what is asked for", config.LokiTarget{StreamLabels: []string{"unit", "host"}}, journal, record.Header{Unit: []byte("u")},
			`{host="node1", unit="u"}`, nil},
		{"never none", config.LokiTarget{StreamLabels: []string{"unit"}}, journal, record.Header{}, `{source="src"}`, map[string]int{noStream: 1}},
		{"names are made valid, valid ones win", config.LokiTarget{StreamLabels: []string{"source"},
			Labels: map[string]string{"a-b": "3", "a_b": "1", "a.b": "2", "__x": "y", "1": "z", "": "w"}}, journal, record.Header{},
			`{_="w", _1="z", _x="y", a_b="1", source="src"}`, map[string]int{noteName: 5, noteClash: 2}},
		{"an empty label is left out and hides those below it", config.LokiTarget{StreamLabels: []string{"source", "host"}, Labels: map[string]string{"host": ""}},
			journal, record.Header{}, `{source="src"}`, nil},
		{"quotes", config.LokiTarget{StreamLabels: []string{"unit"}}, journal, record.Header{Unit: []byte("a\"\\\n\xff\x00é")},
			`{unit="a\"\\\n?\x00é"}`, map[string]int{noteValue: 1}},
		{"at most 15, attributes stay", config.LokiTarget{StreamLabels: []string{"source", "level"}},
			&record.Origin{Source: "src", Labels: many}, record.Header{},
			`{l00="x", l01="x", l02="x", l03="x", l04="x", l05="x", l06="x", l07="x", l08="x", l09="x", l10="x", l11="x", l12="x", level="unknown", source="src"}`,
			map[string]int{noteCount: 7}},
	} {
		s, notes := newSink(t, c.target)
		r := &record.Record{Header: &c.header}
		if got := s.labelsOf(c.origin, r); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		for reason, n := range c.notes {
			if notes[reason] != n {
				t.Errorf("%s: noted %v, want %v", c.name, notes, c.notes)
			}
		}
		if c.notes == nil && len(notes) > 0 {
			t.Errorf("%s: noted %v", c.name, notes)
		}
	}
}

var goodName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

func FuzzLabelsAreValid(f *testing.F) {
	for _, s := range []string{"", "a", "__x", "____", "1a", "é", "\xff", "a.b", strings.Repeat("x", 3000), strings.Repeat("日", 2000), "-", "_-", "\uFFFD"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name := validName(text)
		if !goodName.MatchString(name) || strings.HasPrefix(name, "__") || len(name) > maxLabelName {
			t.Errorf("name %q of %q", name, text)
		}
		if again := validName(name); again != name {
			t.Errorf("name %q becomes %q", name, again)
		}
		value := validValue(text)
		if !utf8.ValidString(value) || len(value) > maxLabelValue || strings.ContainsRune(value, utf8.RuneError) {
			t.Errorf("value %q of %q", value, text)
		}
		if again := validValue(value); again != value {
			t.Errorf("value %q becomes %q", value, again)
		}
	})
}

// The number of streams that is remembered is bounded, and what is forgotten
// is found again.
func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	s, _ := newSink(t, config.LokiTarget{})
	for round := range 4 {
		for i := range maxStreams {
			b := record.NewBatch()
			b.Origin = &record.Origin{Source: "s", Kind: "file", Path: fmt.Sprintf("/%d/%d", round, i/2)} // an Origin of its own each time
			b.Add().Line = []byte("x")
			s.streams.forgetPointers()
			s.streams.trim()
			s.fill([]*record.Batch{b})
			want := fmt.Sprintf(`{filename="/%d/%d", level="unknown", source="s"}`, round, i/2)
			if got := s.group.streams[0].labels; got != want {
				t.Fatalf("stream %s, want %s", got, want)
			}
			b.Release()
		}
		if len(s.streams.byText) > maxStreams+1 || s.streams.keys > maxStreams+1 || len(s.streams.table) > 4*maxStreams {
			t.Fatalf("%d streams, %d keys, table of %d", len(s.streams.byText), s.streams.keys, len(s.streams.table))
		}
	}
	long := strings.Repeat("x", 2000)
	for i := range 20000 {
		b := record.NewBatch()
		b.Origin = &record.Origin{Source: "s", Kind: "file", Path: fmt.Sprintf("%d%s", i, long)}
		b.Add().Line = []byte("x")
		s.streams.trim()
		s.fill([]*record.Batch{b})
		b.Release()
		if s.streams.bytes > maxStreamBytes+10000 {
			t.Fatalf("%d bytes of labels are remembered", s.streams.bytes)
		}
	}
}

// When a stream may share a request (see risk).
func TestSettled(t *testing.T) {
	t.Parallel()
	now := time.Now()
	p := func(times ...time.Duration) *part {
		st := &stream{}
		for _, d := range times {
			st.refs = append(st.refs, ref{rec: &record.Record{Time: now.Add(d).UnixNano()}})
		}
		return &part{st: st, to: len(times), bytes: 100}
	}
	fresh := p(0)
	if fresh.settled(now) {
		t.Error("a stream that was never seen")
	}
	proven := func(p *part) *part {
		first := &part{st: p.st, to: 1, bytes: 100}
		first.taken(now, true, false)
		return p
	}
	for _, c := range []struct {
		name string
		part *part
		at   time.Time
		want bool
	}{
		{"in order", proven(p(0, time.Second, 2*time.Second)), now, true},
		{"a little behind", proven(p(0, -30*time.Second)), now, true},
		{"far behind", proven(p(0, -2*time.Minute)), now, false},
		{"a long span", proven(p(0, 20*time.Minute)), now, false},
		{"proven long ago", proven(p(0, time.Second)), now.Add(11 * time.Minute), false},
	} {
		if got := c.part.settled(c.at); got != c.want {
			t.Errorf("%s: settled %v, want %v", c.name, got, c.want)
		}
	}
	fast := proven(p(0, time.Second))
	fast.bytes = bucketSize / 2
	fast.taken(now, false, false)
	if fast.settled(now) {
		t.Error("a stream above its rate")
	}
	if !fast.settled(now.Add(5 * time.Second)) {
		t.Error("the bucket does not leak")
	}
	// A refused time in the future is not the newest of the stream.
	future := proven(p(0, 24*time.Hour))
	future.taken(now, true, true)
	if next := proven(future); next.st.seen.newest > now.Add(time.Hour).UnixNano() {
		t.Error("the newest time is one that was refused")
	}
}
