package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// sinkhole takes everything.
type sinkhole struct{ taken atomic.Int64 }

func (s *sinkhole) Send(_ context.Context, batches []*record.Batch) (sinks.Result, error) {
	res := sinks.Result{Batches: len(batches)}
	for _, b := range batches {
		res.Delivered += len(b.Records)
	}
	s.taken.Add(int64(res.Delivered))
	return res, nil
}

func (s *sinkhole) UsesFields() bool            { return false }
func (s *sinkhole) Close(context.Context) error { return nil }

// BenchmarkFileToTarget runs the whole daemon on a file of a million lines of
// about 155 bytes and two targets that take everything: what reading, queues,
// answers and the ledger cost per line. CPU time of the whole process counts.
func BenchmarkFileToTarget(b *testing.B) {
	const lines = 1_000_000
	var text bytes.Buffer
	for i := range lines {
		fmt.Fprintf(&text, "2026-01-02T03:04:05.%06dZ server01 request handled path=/v2/volumes/7f3c status=200 took_ms=12.5 user=admin region=eu-central-1 zone=b id=%d ..............\n", i, i)
	}
	path := filepath.Join(b.TempDir(), "app.log")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	text = bytes.Buffer{}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg := &config.Config{Sources: []config.Source{{Name: "s", LogFormat: "raw", StartAt: "beginning", File: &config.FileSource{Paths: []string{path}}}}}
	for _, name := range []string{"a", "b"} {
		cfg.Targets = append(cfg.Targets, config.Target{Name: name, Stdout: &config.StdoutTarget{}, QueueBytes: 8 << 20})
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := cpu()
	b.ResetTimer()
	for range b.N {
		store, err := positions.Open(b.TempDir(), log)
		if err != nil {
			b.Fatal(err)
		}
		sup := New(Options{Log: log, Store: store, Registry: prometheus.NewRegistry(), Host: "h", Version: "v"})
		hole := &sinkhole{}
		sup.makeSink = func(*config.Target, sinks.Deps) (sinks.Sink, string, error) { return hole, "stdout", nil }
		if err := sup.Apply(cfg); err != nil {
			b.Fatal(err)
		}
		for hole.taken.Load() < 2*lines {
			<-time.After(time.Millisecond)
		}
		sup.Stop(b.Context())
		store.Close()
	}
	b.StopTimer()
	runtime.ReadMemStats(&after)
	n := float64(b.N) * lines
	b.ReportMetric(float64(cpu()-start)/n, "cpu-ns/line")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/n, "allocs/line")
	b.ReportMetric(float64(b.Elapsed())/n, "ns/line")
	b.ReportMetric(0, "ns/op")
}
