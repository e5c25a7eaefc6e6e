package etcdstore

import (
	"context"
	"testing"

	"github.com/lbshipd/lbshipd/config"
)

// A report that fails is in the caller's next one: it is not counted twice.
func TestFailedReportsAreCountedOnce(t *testing.T) {
	r := newRig(t, nil)
	s := r.open()
	report := func(ctx context.Context, c config.Collector) error { c.ID = "n1"; return s.Report(ctx, c) }
	if err := report(r.ctx(), config.Collector{ExporterSendFailedDelta: 1}); err != nil {
		t.Fatal(err)
	}
	if err := report(r.ctx(), config.Collector{ExporterSendFailedDelta: 2}); err != nil { // nothing has changed: for later
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(r.ctx())
	cancel()
	if err := report(ended, config.Collector{ExporterSendFailedDelta: 10, LokiDroppedEntriesDelta: 5, PipelineHealth: config.HealthError}); err == nil {
		t.Fatal("a report without time is stored")
	}
	if err := report(r.ctx(), config.Collector{ExporterSendFailedDelta: 13, LokiDroppedEntriesDelta: 5, PipelineHealth: config.HealthError}); err != nil {
		t.Fatal(err)
	}
	all, err := s.Collectors(r.ctx())
	if err != nil || len(all) != 1 || all[0].ExporterSendFailedDelta != 2+13 || all[0].LokiDroppedEntriesDelta != 5 {
		t.Errorf("%+v, %v", all, err)
	}
}
