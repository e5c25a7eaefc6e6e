package loki

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/loki/pkg/push"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
)

// partOf is a part of n empty records of a stream.
func partOf(labels string, n int) part {
	st := &stream{labels: labels}
	for range n {
		st.refs = append(st.refs, ref{rec: &record.Record{}})
	}
	return part{st: st, to: n}
}

// Bodies as Loki 3.7.8 wrote them (TestRealRefusals holds the same against a
// running one).
const (
	bodyBehind = "entry with timestamp 2026-11-21 07:13:33.005749721 +0000 UTC ignored, reason: 'entry too far behind, entry timestamp is: 2026-11-21T07:13:33Z, oldest acceptable timestamp is: 2026-11-21T08:53:37Z',\n" +
		"entry with timestamp 2026-11-21 07:13:34.005749721 +0000 UTC ignored, reason: 'entry too far behind, entry timestamp is: 2026-11-21T07:13:34Z, oldest acceptable timestamp is: 2026-11-21T08:53:37Z',\n" +
		"user 'fake', total ignored: 2 out of 5 for stream: {host=\"node1\", source=\"src\"}\n"
	bodyNew     = "entry for stream '{host=\"node1\", source=\"src\"}' has timestamp too new: 2026-11-21T11:14:33Z\n"
	bodyGrouped = "3 errors like: " + "max entry size '1024' bytes exceeded for stream '{host=\"node1\"}' while adding an entry with length '2002' bytes" +
		"; 1 errors like: entry for stream '{host=\"node1\"}' has timestamp too new: 2026-11-21T11:14:33Z\n"
	bodyLabels = "couldn't parse labels: 1:6: parse error: invalid UTF-8 rune\n"
	bodyLimit  = "stream '{host=\"node1\"}' has label value too long: 'node1'\n"
	bodyRate   = "entry with timestamp 2026-11-21 07:13:33 +0000 UTC ignored, reason: 'Per stream rate limit exceeded (limit: 3MB/sec) while attempting to ingest for stream '{a=\"b\"}' totaling 13B, consider splitting',\nuser 'fake', total ignored: 1 out of 5 for stream: {a=\"b\"}\n"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	five := []part{partOf(`{host="node1"}`, 5)}
	two := []part{partOf(`{host="node1"}`, 5), partOf(`{host="node2"}`, 5)}
	for _, c := range []struct {
		name, body string
		parts      []part
		kind       verdictKind
		want       string
	}{
		{"ingester", bodyBehind, five, counted, "too_far_behind 2"},
		{"ingester, of two streams", bodyBehind, two, unsure, ""},
		{"ingester, some were taken out before", bodyBehind, []part{partOf(`{host="node1"}`, 9)}, counted, "too_far_behind 2, other 4"},
		{"ingester, of more than were sent", bodyBehind, []part{partOf(`{host="node1"}`, 4)}, unsure, ""},
		{"ingester, a shard", strings.Replace(bodyBehind, `source="src"`, `__stream_shard__="1"`, 1), five, unsure, ""},
		{"rate limit", bodyRate, five, limited, ""},
		{"one error", bodyNew, five, counted, "too_new 1"},
		{"one error, of two streams", bodyNew, two, counted, "too_new 1"},
		{"groups", bodyGrouped, five, counted, "line_too_long 3, too_new 1"},
		{"groups, of more than were sent", bodyGrouped, []part{partOf(`{host="node1"}`, 3)}, unsure, ""},
		{"a stream", bodyLimit, five, counted, "label_too_long 5"},
		{"a stream of two", bodyLimit, two, unsure, ""},
		{"no labels", bodyLabels, five, counted, "label_invalid 5"},
		{"hostile labels", bodyGrouped, []part{partOf(`{host="; 9 errors like: x"}`, 5)}, unsure, ""},
		{"nothing known", "bad request\n", five, unknownBody, ""},
		{"nothing", "", five, unknownBody, ""},
		{"blocked", "ingestion blocked for user 'x' until '2100-01-01T00:00:00Z' with status code '400'", five, blocked, ""},
	} {
		v := judge(&answer{status: 400, body: c.body, whole: true}, c.parts)
		var got []string
		for _, r := range v.refusals {
			got = append(got, fmt.Sprint(r.reason, " ", r.records))
		}
		if v.kind != c.kind || strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %d %v, want %d %s", c.name, v.kind, got, c.kind, c.want)
		}
		if v := judge(&answer{status: 400, body: c.body}, c.parts); v.kind == counted {
			t.Errorf("%s: counted though the body was cut", c.name)
		}
	}
}

// Whatever the body is: no panic, and never more refused than was sent.
func FuzzJudge(f *testing.F) {
	for _, body := range []string{bodyBehind, bodyNew, bodyGrouped, bodyLabels, bodyLimit, bodyRate, "99999999999999999999 errors like: has timestamp too new"} {
		f.Add(body, uint8(5), uint8(1), true)
	}
	f.Fuzz(func(t *testing.T, body string, n, streams uint8, whole bool) {
		var parts []part
		sent := 0
		for i := range int(streams%4) + 1 {
			parts = append(parts, partOf(fmt.Sprintf(`{a="%d"}`, i), int(n)+1))
			sent += int(n) + 1
		}
		v := judge(&answer{status: 400, body: body, whole: whole}, parts)
		refused := 0
		for _, r := range v.refusals {
			if r.records < 1 || r.reason == "" || len(r.detail) > maxDetail {
				t.Errorf("refusal %+v", r)
			}
			refused += r.records
		}
		if refused > sent || (v.kind == counted) != (refused > 0) {
			t.Errorf("kind %d: %d refused of %d", v.kind, refused, sent)
		}
	})
}

func TestRateLimitWords(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]int{
		"ingestion rate limit exceeded for user fake (limit: 52428 bytes/sec) while": 52428,
		"Per stream rate limit exceeded (limit: 3MB/sec) while attempting":           3 << 20,
		"(limit: 0 bytes/sec)": 0,
		"slow down":            -1,
	} {
		got, ok := rateLimit(body)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %d, %v", body, got, ok)
		}
	}
}

func TestDetailIsCut(t *testing.T) {
	t.Parallel()
	long := cutDetail(strings.Repeat("日", 1000))
	if len(long) > maxDetail || !strings.HasSuffix(long, "日...") {
		t.Errorf("%d bytes, ends in %q", len(long), long[len(long)-9:])
	}
	if !slices.Contains([]string{"a b"}, cutDetail(" a b\n")) {
		t.Error("white space stays")
	}
}

// Words that we do not know refuse a line only if it is Loki that says them.
func TestUnknownRefusal(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.decide(func(w http.ResponseWriter, _ *http.Request, req *push.PushRequest) bool {
		if !slices.Contains(linesOf(req), "a17") {
			return true
		}
		http.Error(w, "a reason of the year 2030", 400)
		return false
	})
	r := newRig(t, config.LokiTarget{URL: f.URL}, nil)
	res := r.send(t, batchOf(numbered("a", 64)...))
	if res.Delivered != 63 || refusedOf(res, reasonOther) != 1 || !strings.Contains(res.Refused[0].Detail, "2030") {
		t.Errorf("%+v", res)
	}
	if n := r.requests(); n > 2*6+2+2*(insistTimes-1) {
		t.Errorf("%d requests to find one line of 64", n)
	}
	if want := slices.DeleteFunc(texts(numbered("a", 64)), func(s string) bool { return s == "a17" }); !slices.Equal(f.lines, want) {
		t.Errorf("it has %q", f.lines)
	}
}
