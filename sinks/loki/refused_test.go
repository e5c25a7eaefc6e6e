package loki

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/loki/pkg/push"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// batchesOfTwo makes batches of the lines, which belong in turns to two
// sources that write into the same streams.
func batchesOfTwo(lines []line, run int) (batches []*record.Batch) {
	origins := []*record.Origin{
		{Source: "one", Kind: "journald", Input: "journal", Host: "node1"},
		{Source: "two", Kind: "file", Input: "f", Host: "node1"},
	}
	for i := 0; i < len(lines); i += run {
		b := batchOf(lines[i:min(i+run, len(lines))]...)
		b.Origin = origins[i/run%2]
		batches = append(batches, b)
	}
	return batches
}

func identityOfLine(unit string, at int64, text string) string {
	return fmt.Sprint(unit, "|", at, "|", text)
}

// hardCases are lines of which Loki says too little, or that it refuses when
// they are sent again although it has them.
func hardCases(now time.Time) []refusalCase {
	many := func(n int, stream string, from time.Time, step time.Duration, text string) (out []line) {
		for i := range n {
			out = append(out, line{stream, from.Add(time.Duration(i) * step), fmt.Sprintf("%s %d", text, i), nil})
		}
		return out
	}
	long := strings.Repeat("x", 2000)
	limits := map[string]string{"max_line_size": "1KB"}
	day := many(96, "a", now.Add(-24*time.Hour), 15*time.Minute, "backlog")
	withLong := slices.Clone(day)
	for _, i := range []int{10, 40, 41, 90} {
		withLong[i].text = fmt.Sprint(long, i)
	}
	quoted := slices.Clone(withLong)
	for i := range quoted {
		quoted[i].stream = "a; 40 errors like: b" // no count is believed
	}
	jumps := slices.Concat(many(3, "a", now.Add(-9*time.Hour), time.Second, "first"), many(2, "a", now.Add(-5*time.Hour), time.Second, "up"),
		many(20, "a", now.Add(-7*time.Hour), time.Second, "behind"), many(2, "a", now, time.Second, "up"), many(20, "a", now.Add(-3*time.Hour), time.Second, "behind"))
	hidden := slices.Clone(withLong)
	for i := range 20 { // at 8 and 20 hours before now
		hidden = append(hidden, line{"a", now.Add(-time.Duration(8+12*(i%2)) * time.Hour).Add(time.Duration(i)), fmt.Sprint(long[:2*i], "late", i), nil})
	}
	return []refusalCase{
		{name: "a day's backlog with long lines", limits: limits, lines: withLong, bad: map[string]int{"line_too_long": 4}, requests: 1},
		{name: "a day's backlog whose words cannot be believed", limits: limits, lines: quoted, bad: map[string]int{"line_too_long": 4}, requests: 60},
		{name: "the limit rises twice", lines: jumps, bad: map[string]int{reasonBehind: 40}, requests: 4},
		{name: "two reasons, one of which is hidden", limits: limits, lines: hidden, bad: map[string]int{reasonBehind: 20, "line_too_long": 4}, requests: 80},
	}
}

// Every refused record is found and no other, and the sums are right for each
// source, whether records are to be kept or only counted.
func TestRealRefusedRecords(t *testing.T) {
	t.Parallel()
	easy := refusalCases(time.Now())
	for i, c := range append(easy, hardCases(time.Now())...) {
		for _, keep := range []bool{true, false} {
			t.Run(fmt.Sprint(c.name, ", keep ", keep), func(t *testing.T) {
				t.Parallel() // most of it is Loki's start
				refusedRecords(t, c, keep, i >= len(easy))
			})
		}
	}
}

// refusedRecords holds what is said to be refused against what Loki has.
func refusedRecords(t *testing.T, c refusalCase, keep, settle bool) {
	l := testbed.StartLoki(t, testbed.LokiOptions{Limits: c.limits})
	c.target.URL = l.URL
	c.target.StreamLabels, c.target.Labels = []string{"host", "unit", "level"}, map[string]string{"c": "x"}
	r := newRigWith(t, c.target, nil, keep)
	if len(c.before) > 0 {
		r.send(t, batchOf(c.before...))
	}
	first := r.requests()
	batches := batchesOfTwo(c.lines, 7)
	res := r.send(t, batches...)
	if n := r.requests() - first; n > c.requests+12 {
		t.Errorf("%d requests, about %d are needed", n, c.requests)
	}

	if settle {
		l.Flush()
	}
	stored := map[string]bool{}
	for _, e := range l.Query(t, testbed.LokiQuery{Query: `{c="x"}`}) {
		stored[identityOfLine(e.Labels["unit"], e.Time, e.Line)] = true
	}
	want, sums := []string{}, map[string]int{}
	for _, b := range batches {
		for i := range b.Records {
			rec := &b.Records[i]
			if id := identityOfLine(string(rec.Header.Unit), rec.Time, string(rec.Line)); !stored[id] {
				want = append(want, id)
				sums[b.Origin.Source]++
			}
		}
	}
	got := map[string]int{}
	for _, f := range res.Refused {
		got[f.Source] += f.Records
	}
	if !maps.Equal(got, sums) {
		t.Errorf("refused by source %v, want %v: %+v", got, sums, res.Refused)
	}
	if !keep {
		return
	}
	var letters []string
	byReason, bySource := map[string]int{}, map[string]int{}
	for i, rec := range r.letters {
		letters = append(letters, identityOfLine(string(rec.Header.Unit), rec.Time, string(rec.Line)))
		byReason[r.reasons[i]]++
		bySource[r.owners[i]]++
	}
	slices.Sort(letters)
	slices.Sort(want)
	if !slices.Equal(letters, want) {
		t.Errorf("%d letters of %d refused records, or of others", len(letters), len(want))
	}
	if !maps.Equal(bySource, sums) {
		t.Errorf("letters by source %v, want %v", bySource, sums)
	}
	if c.bad[reasonOther] == 0 && !maps.Equal(byReason, c.bad) {
		t.Errorf("letters by reason %v, want %v", byReason, c.bad)
	}
}

// Each refused record is handed over once, whatever fails in between.
func TestLettersOnceAcrossFailures(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	n := 0
	f.decide(func(w http.ResponseWriter, _ *http.Request, req *push.PushRequest) bool {
		if n++; slices.Contains([]int{5, 9, 16, 25}, n) {
			w.WriteHeader(500)
			return false
		}
		if !slices.ContainsFunc(linesOf(req), func(s string) bool { return strings.HasSuffix(s, "7") }) {
			return true
		}
		w.WriteHeader(400)
		io.WriteString(w, "a reason of the year 2030")
		return false
	})
	r := newRigWith(t, config.LokiTarget{URL: f.URL}, nil, true)
	lines := slices.Concat(numbered("a", 30), numbered("b", 30))
	batches := batchesOfTwo(lines, 10)
	total := r.untilSent(t, batches...)
	var got []string
	for _, rec := range r.letters {
		got = append(got, string(rec.Line))
	}
	slices.Sort(got)
	want := []string{"a17", "a27", "a7", "b17", "b27", "b7"}
	if !slices.Equal(got, want) || total.Delivered != 54 {
		t.Errorf("letters %v, want %v; delivered %d", got, want, total.Delivered)
	}
	for _, source := range []string{"one", "two"} {
		if n := refusedBySource(total, source); n != 3 {
			t.Errorf("%d refused of source %s, want 3: %+v", n, source, total.Refused)
		}
	}
}

func refusedBySource(res sinks.Result, source string) (n int) {
	for _, f := range res.Refused {
		if f.Source == source {
			n += f.Records
		}
	}
	return n
}

// A count is not believed where the words contradict what would follow from it.
func TestContradictionsAreSifted(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.decide(func(w http.ResponseWriter, _ *http.Request, req *push.PushRequest) bool {
		lines := linesOf(req)
		if !slices.Contains(lines, "a1") {
			return true
		}
		// It says that a line is too long, and means one that is not the longest.
		http.Error(w, "max entry size '3' bytes exceeded for stream '{}' while adding an entry with length '2' bytes", 400)
		return false
	})
	r := newRigWith(t, config.LokiTarget{URL: f.URL}, nil, true)
	res := r.send(t, batchesOfTwo(numbered("a", 30), 5)...)
	if len(r.letters) != 1 || string(r.letters[0].Line) != "a1" || refusedBySource(res, "one") != 1 {
		t.Errorf("letters %v, %+v", r.letters, res.Refused)
	}
}
