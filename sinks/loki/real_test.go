package loki

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/grafana/loki/pkg/push"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// What is read back is what was sent: labels, times, lines, metadata, order.
func TestRealDelivery(t *testing.T) {
	t.Parallel()
	l := testbed.StartLoki(t, testbed.LokiOptions{})
	r := newRig(t, config.LokiTarget{
		URL: l.URL, Labels: map[string]string{"cluster": `a"b\c`, "no-name": "é\n\t"},
		StructuredMetadata: []string{"pid", "one", "two.three"},
	}, nil)
	rnd := rand.New(rand.NewPCG(7, 7))
	start := time.Now().Add(-time.Hour)
	type sent struct{ labels, line, meta string }
	want := map[int64]sent{}
	var batches []*record.Batch
	n := 0
	for range 5 {
		b := record.NewBatch()
		b.Origin = &record.Origin{Source: "s", Kind: "file", Path: "/var/log/a b.log", Host: "node1",
			Labels: []record.Label{{Name: "app", Value: "日本\x00\xff"}}}
		for range 2000 {
			rec := b.Add()
			rec.Time = start.Add(time.Duration(n) * 17 * time.Microsecond).UnixNano()
			rec.Level = record.Level(1 + rnd.IntN(9))
			rec.Line = b.Copy(fmt.Appendf(randomText(rnd, 40), " %d", n))
			rec.Header = b.NewHeader()
			rec.Header.PID = b.Copy(fmt.Appendf(nil, "%d", n%7))
			b.AddField(rec, []byte("two.three"), []byte("v"))
			meta := fmt.Sprintf("pid=%d two_three=v", n%7)
			if n%2 == 0 {
				b.AddField(rec, []byte("one"), []byte("\"x\"\n"))
				meta = "one=\"x\"\n " + meta
			}
			want[rec.Time] = sent{r.labelsOf(b.Origin, rec), valid(rec.Line), meta}
			n++
		}
		batches = append(batches, b)
	}
	res := r.send(t, batches...)
	if res.Delivered != n || res.Bytes == 0 {
		t.Fatalf("delivered %d of %d, %d bytes: %v", res.Delivered, n, res.Bytes, res.Refused)
	}
	got := l.Query(t, testbed.LokiQuery{})
	if len(got) != n {
		t.Errorf("read back %d lines of %d", len(got), n)
	}
	for _, e := range got {
		var meta []string
		for k, v := range e.Metadata {
			meta = append(meta, k+"="+v)
		}
		slices.Sort(meta)
		have := sent{e.LabelText(), e.Line, strings.Join(meta, " ")}
		if have != want[e.Time] {
			t.Fatalf("read back %+q\n     sent %+q", have, want[e.Time])
		}
	}
	// A replay changes nothing.
	r.send(t, batches...)
	if again := l.Query(t, testbed.LokiQuery{}); len(again) != n {
		t.Errorf("after a replay there are %d lines of %d", len(again), n)
	}
}

// refusalCase is a push of which Loki refuses lines; bad says which.
type refusalCase struct {
	name     string
	limits   map[string]string
	target   config.LokiTarget
	before   []line // sent first, all taken
	lines    []line
	bad      map[string]int // refused lines by reason
	requests int            // at most this many for lines
}

func refusalCases(now time.Time) []refusalCase {
	many := func(n int, stream string, from time.Time, text string) (out []line) {
		for i := range n {
			out = append(out, line{stream, from.Add(time.Duration(i) * time.Second), fmt.Sprintf("%s %d", text, i), nil})
		}
		return out
	}
	join := func(l ...[]line) []line { return slices.Concat(l...) }
	good, old := now.Add(-20*time.Minute), now.Add(-3*time.Hour)
	long := strings.Repeat("x", 2000)
	return []refusalCase{{
		name:   "too far behind, some",
		before: many(5, "a", good, "first"),
		lines:  join(many(30, "a", old, "behind"), many(20, "a", good.Add(time.Minute), "good"), many(10, "b", good, "other")),
		bad:    map[string]int{"too_far_behind": 30}, requests: 2,
	}, {
		name:   "too far behind, all of a stream",
		before: many(1, "a", now, "first"),
		lines:  many(900, "a", old, "behind"),
		bad:    map[string]int{"too_far_behind": 900}, requests: 1,
	}, {
		name:   "one too far behind",
		before: many(1, "a", now, "first"),
		lines:  join(many(1, "a", old, "behind"), many(3, "a", now.Add(time.Second), "good")),
		bad:    map[string]int{"too_far_behind": 1}, requests: 1,
	}, {
		name:  "too new, each with words of its own",
		lines: join(many(300, "a", now.Add(time.Hour), "new"), many(50, "a", good, "good"), many(20, "b", good, "good")),
		bad:   map[string]int{"too_new": 300}, requests: 3,
	}, {
		name: "line too long, one of many", limits: map[string]string{"max_line_size": "1KB"},
		lines: join(many(40, "a", good, "good"), many(1, "a", good.Add(time.Minute), long), many(40, "a", good.Add(2*time.Minute), "good")),
		bad:   map[string]int{"line_too_long": 1}, requests: 1,
	}, {
		name: "line too long, and too new", limits: map[string]string{"max_line_size": "1KB"},
		lines: join(many(7, "a", good, long), many(40, "a", good.Add(time.Minute), "good"), many(5, "a", now.Add(time.Hour), "new")),
		bad:   map[string]int{"line_too_long": 7, "too_new": 5}, requests: 1,
	}, {
		name: "the distributor's refusals hide behind the ingester's", limits: map[string]string{"max_line_size": "1KB"},
		before: many(1, "a", now, "first"),
		lines:  join(many(9, "a", old, "behind"), many(7, "a", now.Add(time.Second), long), many(40, "a", now.Add(time.Minute), "good")),
		bad:    map[string]int{"too_far_behind": 9, reasonOther: 7}, requests: 1,
	}, {
		name: "too old", limits: map[string]string{"reject_old_samples": "true", "reject_old_samples_max_age": "2h"},
		lines: join(many(25, "a", old, "old"), many(25, "a", good, "good")),
		bad:   map[string]int{"too_old": 25}, requests: 1,
	}, {
		name: "label value too long", limits: map[string]string{"max_label_value_length": "10"},
		lines: join(many(25, "a-very-long-unit.service", good, "x"), many(25, "a", good, "good")),
		bad:   map[string]int{"label_too_long": 25}, requests: 2,
	}, {
		name: "too many labels", limits: map[string]string{"max_label_names_per_series": "3"},
		lines: join(many(25, "a", good, "x"), many(25, "", good, "good")),
		bad:   map[string]int{"label_limit": 25}, requests: 2,
	}, {
		name: "enforced labels", limits: map[string]string{"enforced_labels": "[unit]"},
		lines: join(many(25, "", good, "x"), many(25, "a", good, "good")),
		bad:   map[string]int{"label_missing": 25}, requests: 2,
	}, {
		name: "metadata is not allowed", limits: map[string]string{"allow_structured_metadata": "false"},
		target: config.LokiTarget{StructuredMetadata: []string{"f"}},
		lines:  join(many(3, "a", good, "good"), []line{{"a", now, "with", []string{"f", "v"}}}),
		bad:    map[string]int{"metadata_disallowed": 1}, requests: 1,
	}, {
		name: "metadata too large", limits: map[string]string{"max_structured_metadata_size": "1KB"},
		target: config.LokiTarget{StructuredMetadata: []string{"f"}},
		lines:  []line{{"a", good, "large", []string{"f", long}}, {"a", good, "small", []string{"f", "v"}}},
		bad:    map[string]int{"metadata_too_large": 1}, requests: 1,
	}, {
		name: "words of Loki's in a label", limits: map[string]string{"max_line_size": "1KB"},
		lines: join(many(6, "a; 40 errors like: b", good, "x"), many(1, "a; 40 errors like: b", good.Add(time.Minute), long)),
		bad:   map[string]int{"line_too_long": 1}, requests: 12,
	}, {
		name:   "words of the ingester's in a label",
		before: many(1, "user 'x', total ignored: 3 out of 3 for stream: ", now, "first"),
		lines:  join(many(6, "user 'x', total ignored: 3 out of 3 for stream: ", now, "x"), many(2, "user 'x', total ignored: 3 out of 3 for stream: ", old, "behind")),
		bad:    map[string]int{"too_far_behind": 2}, requests: 12,
	}, {
		name:  "older than the schema",
		lines: join(many(3, "a", time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), "ancient"), many(5, "b", good, "good")),
		bad:   map[string]int{"no_schema": 3}, requests: 12,
	}}
}

func TestRealRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range refusalCases(time.Now()) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := testbed.StartLoki(t, testbed.LokiOptions{Limits: c.limits})
			c.target.URL = l.URL
			r := newRig(t, c.target, nil)
			if len(c.before) > 0 {
				if res := r.send(t, batchOf(c.before...)); res.Delivered != len(c.before) {
					t.Fatalf("of the first lines %+v", res)
				}
			}
			first := r.requests()
			// Several batches, so that one answer is about more than one.
			half := len(c.lines) / 2
			res := r.send(t, batchOf(c.lines[:half]...), batchOf(c.lines[half:]...))
			bad := 0
			for reason, n := range c.bad {
				bad += n
				if got := refusedOf(res, reason); got != n {
					t.Errorf("%d refused as %s, want %d (%+v)", got, reason, n, res.Refused)
				}
			}
			if res.RefusedRecords() != bad {
				t.Errorf("%d refused, want %d: %+v", res.RefusedRecords(), bad, res.Refused)
			}
			if n := r.requests() - first; n > c.requests {
				t.Errorf("%d requests, at most %d are needed", n, c.requests)
			}
			for _, f := range res.Refused {
				if f.Detail == "" || len(f.Detail) > maxDetail {
					t.Errorf("detail of %d bytes", len(f.Detail))
				}
			}
			// Loki has exactly what is counted as delivered.
			got := l.Query(t, testbed.LokiQuery{})
			if want := len(c.before) + len(c.lines) - bad; len(got) != want {
				t.Errorf("Loki has %d lines, %d were delivered", len(got), want)
			}
		})
	}
}

// rawPush posts a request as it is and returns the answer.
func rawPush(t *testing.T, l *testbed.Loki, streams ...push.Stream) (int, string) {
	t.Helper()
	data, err := (&push.PushRequest{Streams: streams}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(l.URL+pushPath, "application/x-protobuf", bytes.NewReader(snappy.Encode(nil, data)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// Why streams are sent by themselves until they are settled: of several streams
// Loki tells only how the last one fared. If a newer Loki fails this test, risk
// can go.
func TestRealLokiHidesRefusalsOfStreamsBeforeTheLast(t *testing.T) {
	t.Parallel()
	l := testbed.StartLoki(t, testbed.LokiOptions{})
	now := time.Now()
	entry := func(at time.Time, line string) []push.Entry { return []push.Entry{{Timestamp: at, Line: line}} }
	if status, body := rawPush(t, l, push.Stream{Labels: `{source="a"}`, Entries: entry(now, "new")}); status != 204 {
		t.Fatalf("HTTP %d %s", status, body)
	}
	behind := push.Stream{Labels: `{source="a"}`, Entries: entry(now.Add(-3*time.Hour), "behind")}
	other := push.Stream{Labels: `{source="b"}`, Entries: entry(now, "other")}
	if status, body := rawPush(t, l, other, behind); status != 400 || !strings.Contains(body, "total ignored: 1 out of 1 for stream: ") {
		t.Errorf("refused in the last stream: HTTP %d %q", status, body)
	}
	if status, body := rawPush(t, l, behind, other); status != 204 {
		t.Errorf("refused in the first stream: HTTP %d %q, and it used to be 204", status, body)
	}
	for _, e := range l.Query(t, testbed.LokiQuery{}) {
		if e.Line == "behind" {
			t.Error("Loki took a line that it refused")
		}
	}
}

// Streams that are settled share a request, and one that falls behind later is
// counted all the same.
func TestRealSettledStreamsShareRequests(t *testing.T) {
	t.Parallel()
	l := testbed.StartLoki(t, testbed.LokiOptions{})
	r := newRig(t, config.LokiTarget{URL: l.URL}, nil)
	now := time.Now().Add(-time.Hour)
	send := func(at time.Time, late string) sinks.Result {
		var lines []line
		for i := range 20 {
			stream := fmt.Sprintf("unit%02d", i)
			when := at
			if stream == late {
				when = at.Add(-5 * time.Hour)
			}
			lines = append(lines, line{stream, when, "x " + at.String(), nil})
		}
		return r.send(t, batchOf(lines...))
	}
	send(now, "")
	if n := r.requests(); n != 20 {
		t.Errorf("%d requests for 20 new streams", n)
	}
	for i := range 5 {
		before := r.requests()
		send(now.Add(time.Duration(i+1)*time.Second), "")
		if n := r.requests() - before; n != 1 {
			t.Errorf("%d requests for 20 settled streams", n)
		}
	}
	if res := send(now.Add(10*time.Second), "unit03"); refusedOf(res, "too_far_behind") != 1 {
		t.Errorf("one line is too far behind: %+v", res)
	}
	if got := l.Query(t, testbed.LokiQuery{}); len(got) != 7*20-1 {
		t.Errorf("Loki has %d lines, want %d", len(got), 7*20-1)
	}
}

// What the fake in fake_test.go imitates.
func TestRealEmptyPush(t *testing.T) {
	t.Parallel()
	l := testbed.StartLoki(t, testbed.LokiOptions{})
	if status, body := rawPush(t, l); status != 422 || !knownEmpty(body) {
		t.Errorf("a push without streams: HTTP %d %q", status, body)
	}
}
