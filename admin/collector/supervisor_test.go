package collector

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/pipeline"
	"github.com/lbshipd/lbshipd/positions"
)

// With a real pipeline: what its targets do is what is reported.
func TestReportsOfAPipelineAtWork(t *testing.T) {
	file := filepath.Join(t.TempDir(), "app.log")
	if err := os.WriteFile(file, []byte(strings.Repeat("line\n", 20)), 0o600); err != nil {
		t.Fatal(err)
	}
	var status atomic.Int64
	status.Store(500)
	loki := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		if code := int(status.Load()); code != 400 || len(data) <= 1 {
			w.WriteHeader(code)
			return
		}
		http.Error(w, `entry for stream '{}' has timestamp too old: 2026-01-01T00:00:00Z`, 400) // of which line? it is asked for each
	}))
	defer loki.Close()
	cfg, err := config.Parse("test.yaml", fmt.Appendf(nil, `
sources: [{name: app, logFormat: raw, startAt: beginning, file: {paths: [%q]}}]
targets: [{name: loki, loki: {url: %q, batchWait: 1ms}}]
`, file, loki.URL))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	store, err := positions.Open(t.TempDir(), log)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	sup := pipeline.New(pipeline.Options{Log: log, Store: store, Registry: prometheus.NewRegistry(), Host: "node1"})
	var local Local
	r := NewReporter(Options{Pipeline: sup, To: &local, Node: node, Log: log})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { r.Run(ctx); close(done) }()
	await := func(what string, is func(c config.Collector) bool) config.Collector {
		t.Helper()
		for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			list, _ := local.Collectors(ctx)
			if len(list) == 1 && is(list[0]) {
				return list[0]
			}
			if time.Now().After(deadline) {
				t.Fatalf("waited too long for %s: %+v", what, list)
			}
		}
	}
	await("the first report", func(c config.Collector) bool { return c.PipelineHealth == "UNKNOWN" })
	if err := sup.ApplyEvent(config.Event{Config: cfg, Hash: "5f2c"}); err != nil {
		t.Fatal(err)
	}
	c := await("a failing target", func(c config.Collector) bool { return c.PipelineHealth == "ERROR" })
	if c.ConfigHash != "5f2c" || c.ExporterSendFailedTotal < 1 || c.ExporterQueueSize != 20 || c.TotalExporters != 1 || c.FailingExporters[0] != "loki" || c.Targets[0].Error == "" {
		t.Errorf("%+v", c)
	}
	status.Store(204)
	await("all to be well", func(c config.Collector) bool { return c.PipelineHealth == "HEALTHY" })
	status.Store(400)
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	io.WriteString(f, "refused\n")
	for deadline := time.Now().Add(30 * time.Second); sup.Status().Totals["loki"].Refused != 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not refused: %+v", sup.Status())
		}
	}
	sup.Stop(t.Context())
	cancel()
	<-done
	c = await("the last report", func(c config.Collector) bool { return c.PipelineError == "lbshipd was stopped" })
	if c.LokiDroppedEntriesDelta != 1 || c.ExporterQueueSize != 0 {
		t.Errorf("%+v", c)
	}
}
