package loki

import (
	"fmt"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/grafana/loki/pkg/push"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
)

// timingBatches makes 7,000 lines, 1.1 MB, of 5 streams: a file of 5 levels if
// alternating is false (runs of 50 lines), or journal entries of 5 units whose
// Header changes with each one.
func timingBatches(alternating bool) ([]*record.Batch, int) {
	const lines = 7000
	b := record.NewBatch()
	b.Origin = &record.Origin{Source: "storage", Kind: "file", Input: "1", Path: "/var/log/storage/osd.log", Host: "node1",
		Labels: []record.Label{{Name: "cluster", Value: "one"}, {Name: "service", Value: "osd"}}}
	bytes := 0
	for i := range lines {
		r := b.Add()
		r.Time = 1.79e18 + int64(i)*1234567
		line := fmt.Sprintf(`{"ts":"2026-11-21T09:33:%02d.%06dZ","level":"info","caller":"osd/pg.go:%d","msg":"scrub of placement group finished","pg":"4.%x","objects":%d}`,
			i/120%60, i*977%1000000, i%900, i*7919%4096, i*31%100000)
		r.Line = b.Copy([]byte(line))
		bytes += len(line)
		if alternating {
			h := b.NewHeader()
			h.Host, h.Unit = b.Copy([]byte("node1")), b.Copy(fmt.Appendf(nil, "osd@%d.service", i%5))
			h.Identifier, h.PID = b.Copy([]byte("osd")), b.Copy(fmt.Appendf(nil, "%d", 1000+i%5))
			r.Header, r.Level = h, record.LevelInfo
		} else {
			r.Level = record.LevelDebug + record.Level(i/50%5)
		}
	}
	return []*record.Batch{b}, bytes
}

func reportLines(b *testing.B, lines, bytes int) {
	b.SetBytes(int64(bytes))
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*lines), "ns/line")
}

func BenchmarkPush(b *testing.B) {
	for _, alternating := range []bool{false, true} {
		for _, compress := range []bool{false, true} {
			for _, meta := range [][]string{nil, {"pid", "identifier"}} {
				b.Run(fmt.Sprintf("headers=%v/snappy=%v/metadata=%d", alternating, compress, len(meta)), func(b *testing.B) {
					s, _ := newSink(b, config.LokiTarget{StructuredMetadata: meta})
					s.batching.Bytes = 1 << 40
					batches, bytes := timingBatches(alternating)
					var parts []part
					b.ReportAllocs()
					for b.Loop() {
						s.streams.forgetPointers()
						s.fill(batches)
						parts = parts[:0]
						for _, st := range s.group.streams {
							parts = append(parts, st.cut(0, 1<<40))
						}
						s.push = s.metadata.appendPush(s.push[:0], parts)
						if compress {
							if n := snappy.MaxEncodedLen(len(s.push)); cap(s.packed) < n {
								s.packed = make([]byte, n)
							}
							snappy.Encode(s.packed[:cap(s.packed)], s.push)
						}
						s.group.forget()
					}
					reportLines(b, len(batches[0].Records), bytes)
				})
			}
		}
	}
}

// BenchmarkNaive is what a shipper with push.PushRequest does per request: a
// map of streams, strings, Marshal.
func BenchmarkNaive(b *testing.B) {
	for _, compress := range []bool{false, true} {
		b.Run(fmt.Sprintf("snappy=%v", compress), func(b *testing.B) {
			batches, bytes := timingBatches(false)
			b.ReportAllocs()
			for b.Loop() {
				byLabels := map[string]*push.Stream{}
				for i := range batches[0].Records {
					r := &batches[0].Records[i]
					labels := `{cluster="one", filename="/var/log/storage/osd.log", host="node1", level="` + r.Level.Loki() + `", service="osd", source="storage"}`
					st := byLabels[labels]
					if st == nil {
						st = &push.Stream{Labels: labels}
						byLabels[labels] = st
					}
					st.Entries = append(st.Entries, push.Entry{Timestamp: time.Unix(0, r.Time), Line: string(r.Line)})
				}
				req := push.PushRequest{}
				for _, st := range byLabels {
					req.Streams = append(req.Streams, *st)
				}
				data, err := req.Marshal()
				if err != nil {
					b.Fatal(err)
				}
				if compress {
					snappy.Encode(nil, data)
				}
			}
			reportLines(b, len(batches[0].Records), bytes)
		})
	}
}

func BenchmarkSnappyAlone(b *testing.B) {
	s, _ := newSink(b, config.LokiTarget{})
	batches, bytes := timingBatches(false)
	data := encodeAll(s, batches)
	packed := make([]byte, snappy.MaxEncodedLen(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		snappy.Encode(packed, data)
	}
	reportLines(b, len(batches[0].Records), bytes)
}
