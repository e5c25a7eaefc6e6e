package scrub

import (
	"fmt"
	"strings"
	"testing"
)

// Text of what bundles are made of: metrics, log lines, lists of files.
func BenchmarkText(b *testing.B) {
	var text strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&text, "lbshipd_source_read_records_total{source=\"s%d\"} %d\n", i, i*7919)
		fmt.Fprintf(&text, "time=2026-11-21T18:00:00Z level=WARN msg=\"target does not take records\" target=t%d error=\"HTTP 401 from https://loki-%d\"\n", i, i)
		fmt.Fprintf(&text, "-rw-r----- root adm %d /var/log/app/%d.log\n", i, i)
	}
	var s Scrubber
	for i := range 300 {
		s.Add(fmt.Sprintf("secret-number-%d", i))
	}
	s.Ready()
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		s.Text(text.String())
	}
}
