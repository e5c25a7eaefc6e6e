package loki

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/loki/pkg/push"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// newSink makes a sink that sends nowhere; its notes are counted in the map.
func newSink(t testing.TB, l config.LokiTarget) (*Sink, map[string]int) {
	t.Helper()
	if l.URL == "" {
		l.URL = "http://127.0.0.1:1"
	}
	notes := make(map[string]int)
	s, err := New(&config.Target{Name: "t", Loki: &l}, sinks.Deps{
		Host:    "node1",
		Request: func(time.Duration, string) {},
		Note:    func(reason string, n int) { notes[reason] += n },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Sink), notes
}

func valid(p []byte) string { return strings.ToValidUTF8(string(p), "\uFFFD") }

// oracle makes the request that push itself would make of the batches: streams
// in the order of their first records, entries in the order given.
func oracle(s *Sink, batches []*record.Batch) *push.PushRequest {
	req := &push.PushRequest{}
	at := map[string]int{}
	for _, b := range batches {
		for i := range b.Records {
			r := &b.Records[i]
			labels := s.labelsOf(b.Origin, r)
			n, ok := at[labels]
			if !ok {
				n = len(req.Streams)
				at[labels] = n
				req.Streams = append(req.Streams, push.Stream{Labels: labels})
			}
			e := push.Entry{Timestamp: time.Unix(0, r.Time), Line: valid(r.Line)}
			for _, m := range s.metadata {
				value := string(r.Field(m.field))
				switch m.field {
				case "pid":
					value = string(r.Header.PID)
				case "source":
					value = b.Origin.Source
				}
				if value = valid([]byte(value)); value != "" {
					e.StructuredMetadata = append(e.StructuredMetadata, push.LabelAdapter{Name: m.name, Value: value})
				}
			}
			req.Streams[n].Entries = append(req.Streams[n].Entries, e)
		}
	}
	return req
}

// encodeAll is what one request of all batches is, uncompressed.
func encodeAll(s *Sink, batches []*record.Batch) []byte {
	s.streams.forgetPointers()
	s.batching.Bytes = 1 << 40
	s.fill(batches)
	defer s.group.forget()
	var parts []part
	for _, st := range s.group.streams {
		parts = append(parts, st.wholePart())
	}
	return s.metadata.appendPush(nil, parts)
}

// wholePart is all of a stream, however its times jump.
func (st *stream) wholePart() part {
	p := part{st: st, to: len(st.refs)}
	for i := range st.refs {
		p.bytes += entryLen(st.refs[i].size)
	}
	return p
}

func sameAsOracle(t *testing.T, s *Sink, batches []*record.Batch) {
	t.Helper()
	want, err := oracle(s, batches).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if got := encodeAll(s, batches); !bytes.Equal(got, want) {
		t.Fatalf("encoded %d bytes, push encodes %d\n got %q\nwant %q", len(got), len(want), cut(got), cut(want))
	}
}

func cut(p []byte) []byte { return p[:min(len(p), 500)] }

// randomText is text with all that makes trouble: quotes, control characters,
// several bytes per character, bytes that are no UTF-8.
func randomText(r *rand.Rand, max int) []byte {
	pieces := []string{"a", "0", "_", "-", " ", "\"", "\\", "\n", "\x00", "é", "日本", "\U0001F600", "\xff", "\xc3", "\xed\xa0\x80", "\uFFFD", "__", "="}
	var b []byte
	for range r.IntN(max + 1) {
		b = append(b, pieces[r.IntN(len(pieces))]...)
	}
	return b
}

func randomBatch(r *rand.Rand, origins []*record.Origin) *record.Batch {
	b := record.NewBatch()
	b.Origin = origins[r.IntN(len(origins))]
	var h *record.Header
	for range r.IntN(40) {
		rec := b.Add()
		switch r.IntN(5) {
		case 0:
			rec.Time = r.Int64() - r.Int64()
		case 1:
			rec.Time = int64(r.IntN(3)-1) * 1e9
		default:
			rec.Time = 1.8e18 + r.Int64N(1e12)
		}
		rec.Line = b.Copy(randomText(r, 60))
		if r.IntN(3) == 0 || h == nil {
			h = b.NewHeader()
			h.Host, h.Unit = b.Copy(randomText(r, 2)), b.Copy(randomText(r, 2))
			h.Identifier, h.PID = b.Copy(randomText(r, 2)), b.Copy(randomText(r, 3))
		}
		if r.IntN(4) > 0 {
			rec.Header = h
		}
		rec.Level = record.Level(r.IntN(10))
		for range r.IntN(4) {
			b.AddField(rec, []byte([]string{"one", "two", "three.four", "five"}[r.IntN(4)]), b.Copy(randomText(r, 12)))
		}
	}
	return b
}

func randomOrigins(r *rand.Rand) []*record.Origin {
	var out []*record.Origin
	for range 3 {
		o := &record.Origin{
			Source: string(randomText(r, 4)), Kind: []string{"file", "journald"}[r.IntN(2)],
			Input: "i", Path: string(randomText(r, 5)), Host: "node1",
		}
		for range r.IntN(5) {
			o.Labels = append(o.Labels, record.Label{Name: string(randomText(r, 4)), Value: string(randomText(r, 8))})
		}
		out = append(out, o)
	}
	return out
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func checkRandom(t *testing.T, seed uint64) {
	r := newRand(seed)
	s, _ := newSink(t, config.LokiTarget{
		Labels:             map[string]string{string(randomText(r, 3)): string(randomText(r, 3)), "cluster": "c"},
		StructuredMetadata: []string{"pid", "one", "three.four", "three_four", "source", "missing"},
	})
	origins := randomOrigins(r)
	for range 3 {
		var batches []*record.Batch
		for range r.IntN(4) {
			batches = append(batches, randomBatch(r, origins))
		}
		sameAsOracle(t, s, batches)
		for _, b := range batches {
			b.Release() // so that the next round meets the same pointers with other bytes
		}
	}
}

func TestEncodesAsPushDoes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		checkRandom(t, seed)
	}
}

func FuzzEncodesAsPushDoes(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(checkRandom)
}

func FuzzLineAsPushDoes(f *testing.F) {
	f.Add([]byte("a line"), []byte("value"), int64(1.8e18))
	f.Add([]byte(""), []byte(""), int64(0))
	f.Add([]byte("\xff\xfe half \xe6\x97"), []byte("\xc0\xaf"), int64(-1))
	f.Add(bytes.Repeat([]byte("x"), 300), []byte("\x00"), int64(1e9))
	f.Fuzz(func(t *testing.T, line, value []byte, ns int64) {
		s, _ := newSink(t, config.LokiTarget{StructuredMetadata: []string{"f"}})
		b := record.NewBatch()
		defer b.Release()
		b.Origin = &record.Origin{Source: "s"}
		rec := b.Add()
		rec.Time, rec.Line = ns, line
		b.AddField(rec, []byte("f"), value)
		sameAsOracle(t, s, []*record.Batch{b})
	})
}

func TestInvalidLinesAreMadeValidAndCounted(t *testing.T) {
	t.Parallel()
	s, notes := newSink(t, config.LokiTarget{})
	b := record.NewBatch()
	defer b.Release()
	b.Origin = &record.Origin{Source: "s"}
	for _, line := range []string{"good", "\xff\xff bad \xc3", "worse\xff"} {
		b.Add().Line = []byte(line)
	}
	var req push.PushRequest
	if err := req.Unmarshal(encodeAll(s, []*record.Batch{b})); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range req.Streams[0].Entries {
		lines = append(lines, e.Line)
	}
	if want := []string{"good", "\uFFFD bad \uFFFD", "worse\uFFFD"}; !slices.Equal(lines, want) {
		t.Errorf("lines %q, want %q", lines, want)
	}
	if notes[invalidLine] != 2 {
		t.Errorf("noted %d invalid lines, want 2", notes[invalidLine])
	}
}
