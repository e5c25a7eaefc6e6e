package testbed

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// lokiPage is how many lines one query may give.
const lokiPage = 20000

// LokiEntry is one line as Loki gives it back.
type LokiEntry struct {
	Time     int64 // Unix ns
	Line     string
	Labels   map[string]string // of its stream
	Metadata map[string]string // structured metadata; nil if it has none
}

// LokiQuery is what is asked of Loki.
type LokiQuery struct {
	Query    string    // LogQL; "" is every stream that has one of the usual labels
	From, To time.Time // From counts, To does not; zero: 30 days around now
	Tenant   string
	Page     int // how many lines are asked for at once; 0: 20,000, the most
}

// Query returns every line that the query finds, sorted by time; lines of
// equal times are in Loki's order.
func (l *Loki) Query(tb LokiTB, q LokiQuery) []LokiEntry {
	tb.Helper()
	now := time.Now()
	if q.From.IsZero() {
		q.From = now.Add(-29 * 24 * time.Hour)
	}
	if q.To.IsZero() {
		q.To = now.Add(24 * time.Hour)
	}
	if q.Query == "" {
		q.Query = `{source=~".+"}`
	}
	if q.Page == 0 {
		q.Page = lokiPage
	}
	out, err := l.read(q, q.From.UnixNano(), q.To.UnixNano())
	if err != nil {
		tb.Fatalf("reading back %s: %v\n%s", q.Query, err, tail(l.Log(), 2000))
	}
	slices.SortStableFunc(out, func(a, b LokiEntry) int { return cmp.Compare(a.Time, b.Time) })
	return out
}

// read asks for [from, to) page by page. A full page may end amid lines of one
// time: those of its last time are asked for again with the next one.
func (l *Loki) read(q LokiQuery, from, to int64) ([]LokiEntry, error) {
	var out []LokiEntry
	for {
		got, err := l.ask(q, from, to)
		if err != nil || len(got) < q.Page {
			return append(out, got...), err
		}
		newest := slices.MaxFunc(got, func(a, b LokiEntry) int { return cmp.Compare(a.Time, b.Time) }).Time
		if newest == from {
			return nil, fmt.Errorf("%d lines and more have the time %d", len(got), from)
		}
		out = append(out, slices.DeleteFunc(got, func(e LokiEntry) bool { return e.Time == newest })...)
		from = newest
	}
}

func (l *Loki) ask(q LokiQuery, from, to int64) ([]LokiEntry, error) {
	v := url.Values{
		"query": {q.Query}, "direction": {"forward"}, "limit": {strconv.Itoa(q.Page)},
		"start": {strconv.FormatInt(from, 10)}, "end": {strconv.FormatInt(to, 10)},
	}
	req, err := http.NewRequest(http.MethodGet, l.URL+"/loki/api/v1/query_range?"+v.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Loki-Response-Encoding-Flags", "categorize-labels")
	if q.Tenant != "" {
		req.Header.Set("X-Scope-OrgID", q.Tenant)
	}
	res, err := l.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP %d: %s", res.StatusCode, tail(string(body), 1000))
	}
	return decodeStreams(body)
}

func decodeStreams(body []byte) ([]LokiEntry, error) {
	var answer struct {
		Data struct {
			Result []struct {
				Stream map[string]string
				Values [][]json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("reading the answer to a query: %w", err)
	}
	var out []LokiEntry
	for _, s := range answer.Data.Result {
		for _, v := range s.Values {
			e := LokiEntry{Labels: s.Stream}
			var ts string
			var more struct{ StructuredMetadata map[string]string }
			if len(v) < 2 {
				return nil, fmt.Errorf("a value of %d parts", len(v))
			}
			if err := json.Unmarshal(v[0], &ts); err != nil {
				return nil, err
			}
			if err := json.Unmarshal(v[1], &e.Line); err != nil {
				return nil, err
			}
			if len(v) > 2 {
				if err := json.Unmarshal(v[2], &more); err != nil {
					return nil, err
				}
				e.Metadata = more.StructuredMetadata
			}
			var err error
			if e.Time, err = strconv.ParseInt(ts, 10, 64); err != nil {
				return nil, err
			}
			out = append(out, e)
		}
	}
	return out, nil
}

// LabelText returns the entry's labels as {a="b", c="d"}, sorted.
func (e *LokiEntry) LabelText() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(e.Labels)) {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s=%q", name, e.Labels[name])
	}
	return "{" + b.String() + "}"
}
