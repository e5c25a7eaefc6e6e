package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/parse"
	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
	"github.com/lbshipd/lbshipd/sources/file"
)

// BenchmarkFileToParsed reads a file of a million lines of about 155 bytes and takes
// level, time and message out of each: what a feed does for a line before it is
// queued. CPU time of the whole process counts.
func BenchmarkFileToParsed(b *testing.B) {
	for format, line := range map[string]string{
		"json": `{"time":"2026-01-02T03:04:05.%06dZ","level":"info","msg":"request handled","path":"/v2/volumes/7f3c","status":200,"took_ms":12.5,"node":"server01","id":%d}`,
		"raw":  `2026-01-02T03:04:05.%06dZ server01 request handled path=/v2/volumes/7f3c status=200 took_ms=12.5 user=admin region=eu-central-1 zone=b id=%d ..............`,
	} {
		b.Run(format, func(b *testing.B) { benchmarkFile(b, format, line, record.LevelUnknown) })
		if format == "json" {
			b.Run("json filtered", func(b *testing.B) { benchmarkFile(b, format, line, record.LevelWarning) })
		}
	}
}

func benchmarkFile(b *testing.B, format, line string, min record.Level) {
	const lines = 1_000_000
	var text bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&text, line+"\n", i, i)
	}
	path := filepath.Join(b.TempDir(), "app.log")
	store, err := positions.Open(b.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	opened := 0
	times := func(_ string, offsetOf func(record.Position) (int64, bool)) sources.Times {
		opened++ // as if it were another file: each time it is read for the first time
		return store.Times().Of("s", fmt.Sprint(opened), offsetOf)
	}
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	text = bytes.Buffer{}
	src, err := file.New(&config.Source{Name: "s", StartAt: "beginning", File: &config.FileSource{Paths: []string{path}}},
		sources.Deps{FirstRun: true, Known: func() []sources.Stored { return nil }, Skipped: func(string, int) {}, Location: time.UTC, Times: times})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	found := make(chan sources.Input, 1)
	go src.Run(ctx, func(in sources.Input) { found <- in })
	in := <-found
	p := &processor{min: min, metrics: newMetrics(prometheus.NewRegistry()).source("s"), options: parse.Options{MaxFields: maxFields, Location: time.UTC}}
	if format != "raw" {
		if p.format, err = parse.New(format, nil); err != nil {
			b.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := cpu()
	b.ResetTimer()
	for range b.N {
		reader, err := in.Open("")
		if err != nil {
			b.Fatal(err)
		}
		read, filtered := 0, 0
		for read < lines {
			batch := record.NewBatch()
			batch.Origin = in.Origin()
			if err := reader.Read(batch); err != nil {
				b.Fatal(err)
			}
			p.process(batch, false)
			read, filtered = read+batch.Read, filtered+batch.Filtered
			batch.Release()
		}
		if (min != record.LevelUnknown) != (filtered == lines) {
			b.Fatalf("%d filtered", filtered)
		}
		reader.Close()
	}
	b.StopTimer()
	runtime.ReadMemStats(&after)
	n := float64(b.N) * lines
	b.ReportMetric(float64(cpu()-start)/n, "cpu-ns/line")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/n, "allocs/line")
	b.ReportMetric(0, "ns/op")
}

// cpu is the user and system time of this process.
func cpu() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
