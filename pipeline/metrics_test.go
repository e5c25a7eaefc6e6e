package pipeline

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
	"github.com/lbshipd/lbshipd/sources"
)

// docs/metrics.md is made from Metrics(); this holds /metrics against it.
func TestMetricsKeepTheirSpecification(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 10)...)
	h.tapes["app"].risk = func(record.Position) (sources.Risk, bool) { return sources.Risk{Bytes: 5, Left: time.Hour}, true }
	h.shelves["a"] = newShelf()
	h.shelves["a"].fail = func(send int) error {
		if send == 1 {
			return &sinks.Error{Class: sinks.ClassConnect, RetryAfter: time.Millisecond, Err: errors.New("refused")}
		}
		return nil
	}
	h.open()
	h.store.Settle([]positions.Move{{Key: positions.Key{Source: "app", Target: "a", Input: "gone"}, Counts: positions.Counts{Read: 2,
		Refused: []positions.Refused{{Reason: "too_old", Records: 1}}, Lost: []positions.Lost{{Reason: "vacuumed", Records: 1, Gaps: 1}}}}})
	h.apply(keepingConfig())
	h.awaitLines("a", 10)
	await(t, "the answer", func() bool { return h.row("app", "a").Delivered == 10 })
	// What a healthy run does not show.
	run := h.run("app")
	run.src.gap(run.input, &sources.GapError{Reason: "vacuumed", Records: 3})
	run.src.metrics.skipped("corrupt", 1)
	tm := h.sup.metrics.target("a")
	tm.refused("too_old", 1)
	tm.lost("vacuumed", 3)
	tm.adjusted("cut", 1)
	tm.spoolError("append")
	tm.using("logs:601")
	tm.using("logs2:601")
	tm.request(time.Second, "ok")
	h.sup.Refuse(errors.New("x"))
	h.sup.Sample()
	h.sup.sampleDisk()
	h.sup.Collectors(3, 2)
	ca := testbed.NewCA(t, "metrics")
	h.sup.metrics.running(&config.Config{TLSBundles: []config.TLSBundle{{Name: "siem", CAPem: ca.PEM}}}, "abc")
	h.sup.askRisks(time.Now())

	families, err := h.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	specs := map[string]Metric{}
	for _, s := range Metrics() {
		specs[s.Name] = s
	}
	for _, f := range families {
		s, ok := specs[f.GetName()]
		if !ok {
			t.Errorf("%s is not specified", f.GetName())
			continue
		}
		delete(specs, f.GetName())
		if kind := strings.ToLower(f.GetType().String()); kind != s.Kind {
			t.Errorf("%s is a %s, specified as %s", s.Name, kind, s.Kind)
		}
		if f.GetHelp() != s.Help {
			t.Errorf("%s: help %q", s.Name, f.GetHelp())
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		want := slices.Sorted(slices.Values(s.Labels))
		if !slices.Equal(labels, want) {
			t.Errorf("%s has labels %v, specified %v", s.Name, labels, want)
		}
	}
	for name := range specs {
		t.Errorf("%s is specified and not there", name)
	}
	for series, want := range map[string]float64{
		"lbshipd_source_read_records_total": 10, "lbshipd_target_delivered_records_total": 10,
		"lbshipd_source_lost_records_total": 3, "lbshipd_target_retries_total": 1, "lbshipd_target_failing": 0,
		"lbshipd_config_last_reload_successful": 0,
		"lbshipd_ledger_read_records":           12, "lbshipd_ledger_delivered_records": 10, "lbshipd_ledger_refused_records": 1,
		"lbshipd_ledger_lost_records": 1, "lbshipd_ledger_in_flight_records": 0, "lbshipd_ledger_difference_records": 0,
		"lbshipd_collectors_known": 3, "lbshipd_collectors_online": 2, "lbshipd_tls_bundle_not_after_timestamp_seconds": float64(ca.Cert.NotAfter.Unix()),
		"lbshipd_at_risk_bytes": 5, "lbshipd_at_risk_seconds": 3600,
	} {
		for _, f := range families {
			if f.GetName() != series {
				continue
			}
			m := f.GetMetric()[0]
			if got := m.GetCounter().GetValue() + m.GetGauge().GetValue(); got != want {
				t.Errorf("%s is %v, want %v", series, got, want)
			}
		}
	}
	h.stop(time.Minute)
}

// https://prometheus.io/docs/practices/naming/
func TestMetricNamesFollowTheConventions(t *testing.T) {
	name := regexp.MustCompile(`^lbshipd_[a-z]+(_[a-z]+)*$`)
	for _, s := range Metrics() {
		if !name.MatchString(s.Name) || !strings.HasSuffix(s.Help, ".") {
			t.Errorf("%s: name or help", s.Name)
		}
		if (s.Kind == "counter") != strings.HasSuffix(s.Name, "_total") {
			t.Errorf("%s is a %s: counters and only they end in _total", s.Name, s.Kind)
		}
		for _, unit := range []string{"_ms", "_milliseconds", "_kb", "_mb", "_percent"} {
			if strings.Contains(s.Name, unit) {
				t.Errorf("%s: seconds and bytes are the units", s.Name)
			}
		}
	}
}

func TestRemovedObjectsLeaveNoSeries(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"], h.tapes["other"] = newTape(numbered(0, 10)...), newTape()
	h.shelves["a"], h.shelves["b"] = newShelf(), newShelf()
	h.open()
	h.apply(simpleConfig("app", "a", "b"))
	h.awaitLines("a", 10)
	h.apply(simpleConfig("other", "b"))
	families, err := h.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "source" && l.GetValue() == "app" || l.GetName() == "target" && l.GetValue() == "a" {
					t.Errorf("%s still has %s=%s", f.GetName(), l.GetName(), l.GetValue())
				}
			}
		}
	}
	h.stop(time.Minute)
}
