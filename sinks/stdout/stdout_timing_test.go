package stdout

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/record"
)

func BenchmarkEncode(b *testing.B) {
	batch := batchOf(slices.Repeat([]string{strings.Repeat("a line of about 150 bytes ", 6)}, 1000)...)
	for _, format := range []string{"text", "json", "logfmt"} {
		b.Run(format, func(b *testing.B) {
			s, err := newSink(format, discard{}, false, deps)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Send(context.Background(), []*record.Batch{batch}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
