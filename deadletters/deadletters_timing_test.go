package deadletters

import (
	"strings"
	"testing"
)

// BenchmarkAdd is what a refused record costs on its way to the disk.
func BenchmarkAdd(b *testing.B) {
	w := newWriter(b, b.TempDir(), 1<<30)
	batch := letterBatch(0, 1000, strings.Repeat("x", 150))
	defer batch.Release()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for i := range batch.Records {
			w.Add(batch, i, "too_old", "entry has timestamp too old")
		}
		w.Flush()
		n += len(batch.Records)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/letter")
}
