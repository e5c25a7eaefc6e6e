package collector

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/pipeline"
	"github.com/lbshipd/lbshipd/positions"
)

var (
	noon    = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	node    = Node{config.Node{Name: "node1", Labels: map[string]string{"rack": "a"}}, "1.2"}
	refused = errors.New("connect: connection refused")
)

func target(name string, err error) pipeline.TargetStatus {
	t := pipeline.TargetStatus{Name: name, Kind: "loki", Err: err}
	if err != nil {
		t.Class, t.Since = "connect", noon.Add(-time.Minute)
	}
	return t
}

func TestHealth(t *testing.T) {
	good, bad := target("good", nil), target("bad", refused)
	pair := positions.Pair{Source: "app", Target: "good"}
	spool := good
	spool.Spool = pipeline.SpoolStatus{On: true, Full: true}
	broken := good
	broken.Spool, broken.Dead, broken.Start = pipeline.SpoolStatus{On: true, Err: refused}, refused, refused
	for name, c := range map[string]struct {
		st         pipeline.Status // Applied is set, unless it is "nothing" that runs
		health     string
		why        string
		store      string
		components string // LocalIDs with their states
	}{
		"nothing yet":         {pipeline.Status{}, "UNKNOWN", "no configuration is running yet", "REMOTECFG_UNSPECIFIED", ""},
		"nothing, refused":    {pipeline.Status{Refused: errors.New("a typo")}, "UNKNOWN", "no configuration is running: a typo", "REMOTECFG_UP", "configuration refused"},
		"nothing, store away": {pipeline.Status{Refused: fmt.Errorf("reading: %w", config.ErrUnavailable)}, "UNKNOWN", "cannot be reached", "REMOTECFG_DOWN", ""},
		"stopped":             {pipeline.Status{Stopped: true, Targets: []pipeline.TargetStatus{bad}}, "UNKNOWN", "lbshipd was stopped", "REMOTECFG_UP", "target/bad failing"},

		"no targets":         {pipeline.Status{}, "HEALTHY", "", "REMOTECFG_UP", ""},
		"all well":           {pipeline.Status{Targets: []pipeline.TargetStatus{good, good}}, "HEALTHY", "", "REMOTECFG_UP", ""},
		"cached":             {pipeline.Status{Targets: []pipeline.TargetStatus{good}, Cached: true}, "HEALTHY", "", "REMOTECFG_DOWN", ""},
		"gone since":         {pipeline.Status{Targets: []pipeline.TargetStatus{good}, Away: noon, AwayErr: refused}, "HEALTHY", "", "REMOTECFG_DOWN", ""},
		"one of two fails":   {pipeline.Status{Targets: []pipeline.TargetStatus{bad, good}}, "DEGRADED", "", "REMOTECFG_UP", "target/bad failing"},
		"all fail":           {pipeline.Status{Targets: []pipeline.TargetStatus{bad, bad}}, "ERROR", "no target takes records", "REMOTECFG_UP", "target/bad failing, target/bad failing"},
		"all, and a typo":    {pipeline.Status{Targets: []pipeline.TargetStatus{bad}, Refused: errors.New("a typo\non line 2")}, "ERROR", "the newest configuration is not running: a typo on line 2", "REMOTECFG_UP", "configuration refused, target/bad failing"},
		"refused":            {pipeline.Status{Targets: []pipeline.TargetStatus{good}, Refused: errors.New("a typo")}, "DEGRADED", "the newest configuration is not running: a typo", "REMOTECFG_UP", "configuration refused"},
		"a source":           {pipeline.Status{Targets: []pipeline.TargetStatus{good}, Sources: []pipeline.SourceStatus{{Name: "app"}, {Name: "sys", Err: refused}}}, "DEGRADED", "", "REMOTECFG_UP", "source/sys failing"},
		"no targets, one of": {pipeline.Status{Sources: []pipeline.SourceStatus{{Name: "sys", Err: refused}}}, "DEGRADED", "", "REMOTECFG_UP", "source/sys failing"},
		"positions":          {pipeline.Status{Targets: []pipeline.TargetStatus{good}, SaveErr: refused}, "DEGRADED", "", "REMOTECFG_UP", "positions failing"},
		"rejected":           {pipeline.Status{Rejected: []config.Rejected{{Kind: "tls-bundle", Name: "b", Reason: "x"}}}, "DEGRADED", "", "REMOTECFG_UP", "tls-bundle/b rejected"},
		"a full spool":       {pipeline.Status{Targets: []pipeline.TargetStatus{spool}}, "DEGRADED", "", "REMOTECFG_UP", "target/good/spool full"},
		"files of a target":  {pipeline.Status{Targets: []pipeline.TargetStatus{broken}}, "DEGRADED", "", "REMOTECFG_UP", "target/good/dead-letters failing, target/good/spool failing, target/good/start failing"},
		"at risk": {pipeline.Status{Targets: []pipeline.TargetStatus{good}, Ledger: []pipeline.LedgerRow{{Pair: pair, Running: true}},
			AtRisk: map[positions.Pair]pipeline.AtRisk{pair: {Soon: true, Bytes: 5, Left: time.Minute}}}, "DEGRADED", "", "REMOTECFG_UP", "source/app/target/good at risk"},
		"at risk, not soon": {pipeline.Status{Targets: []pipeline.TargetStatus{good}, Ledger: []pipeline.LedgerRow{{Pair: pair, Running: true}},
			AtRisk: map[positions.Pair]pipeline.AtRisk{pair: {Bytes: 5, Left: time.Hour}}}, "HEALTHY", "", "REMOTECFG_UP", ""},
		"a fault": {pipeline.Status{Ledger: []pipeline.LedgerRow{{Pair: pair, Counts: positions.Counts{Read: 1}}}}, "DEGRADED", "", "REMOTECFG_UP", "source/app/target/good/ledger broken"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.HasPrefix(name, "nothing") {
				c.st.Applied = noon
			}
			got, _ := From(&c.st, Before{}, node, noon)
			var components []string
			for _, u := range got.UnhealthyComponents {
				components = append(components, u.LocalID+" "+u.State)
				if u.Name == "" || u.Message == "" || u.UpdatedTime.IsZero() || strings.Contains(u.Message, "\n") {
					t.Errorf("%+v", u)
				}
			}
			if got.PipelineHealth != c.health || !strings.Contains(got.PipelineError, c.why) || (c.why == "") != (got.PipelineError == "") || got.RemotecfgStatus != c.store ||
				strings.Join(components, ", ") != c.components {
				t.Errorf("%s %q %s %q, want %s %q %s %q", got.PipelineHealth, got.PipelineError, got.RemotecfgStatus, components, c.health, c.why, c.store, c.components)
			}
			// What a reader of /-/healthy is told of, is a component, and the other way round.
			away := c.st.Cached || !c.st.Away.IsZero() || errors.Is(c.st.Refused, config.ErrUnavailable)
			if told := len(c.st.Reasons()); !away && told != len(components) {
				t.Errorf("%d reasons (%q) and %d components", told, c.st.Reasons(), len(components))
			}
			if int(got.TotalExporters) != len(c.st.Targets) || got.FailingExporters == nil || got.UnhealthyComponents == nil {
				t.Errorf("%+v", got)
			}
		})
	}
}

// A state keeps the time since when it lasts, over as many reports as there are.
func TestStatesKeepTheirTimes(t *testing.T) {
	st := pipeline.Status{Applied: noon, SaveErr: refused, Targets: []pipeline.TargetStatus{target("bad", refused)}}
	first, _ := From(&st, Before{}, node, noon)
	second, _ := From(&st, Before{Components: first.UnhealthyComponents}, node, noon.Add(time.Hour))
	if !slices.Equal(second.UnhealthyComponents, first.UnhealthyComponents) || !first.UnhealthyComponents[0].UpdatedTime.Equal(noon) {
		t.Errorf("%v becomes %v", first.UnhealthyComponents, second.UnhealthyComponents)
	}
	if since := first.UnhealthyComponents[1].UpdatedTime; !since.Equal(noon.Add(-time.Minute)) {
		t.Errorf("the target fails since %v", since)
	}
	// What was well in between begins anew, and so does another state.
	st.SaveErr = nil
	well, _ := From(&st, Before{Components: second.UnhealthyComponents}, node, noon.Add(2*time.Hour))
	st.SaveErr = refused
	again, _ := From(&st, Before{Components: well.UnhealthyComponents}, node, noon.Add(3*time.Hour))
	if got := again.UnhealthyComponents[0]; got.LocalID != "positions" || !got.UpdatedTime.Equal(noon.Add(3*time.Hour)) {
		t.Errorf("%+v", got)
	}
	st.SaveErr, st.Targets[0] = nil, pipeline.TargetStatus{Name: "bad", Spool: pipeline.SpoolStatus{Full: true}}
	full, _ := From(&st, Before{}, node, noon)
	st.Targets[0].Spool = pipeline.SpoolStatus{Err: refused}
	other, _ := From(&st, Before{Components: full.UnhealthyComponents}, node, noon.Add(time.Hour))
	if got := other.UnhealthyComponents; len(got) != 1 || !got[0].UpdatedTime.Equal(noon.Add(time.Hour)) {
		t.Errorf("%+v", got)
	}
}

func TestDeltas(t *testing.T) {
	of := func(failed, refused, lost int64) pipeline.Status {
		return pipeline.Status{Applied: noon, Totals: map[string]pipeline.Totals{
			"loki": {SendFailed: failed - 1, Refused: refused, Lost: lost}, "rsyslog": {SendFailed: 1, Refused: 1000, Lost: 1000}}}
	}
	before := Before{}
	for i, c := range []struct {
		st                             pipeline.Status
		failedDelta, failed, dropDelta int64
	}{
		{of(5, 2, 1), 5, 5, 3},
		{of(5, 2, 1), 0, 5, 0},
		{of(7, 2, 5), 2, 7, 4},
		{of(2, 1, 0), 2, 2, 1}, // restarted: all of it is new
	} {
		got, counts := From(&c.st, before, node, noon)
		if got.ExporterSendFailedDelta != c.failedDelta || got.ExporterSendFailedTotal != c.failed || got.LokiDroppedEntriesDelta != c.dropDelta {
			t.Errorf("report %d: %d of %d, %d, want %+v", i, got.ExporterSendFailedDelta, got.ExporterSendFailedTotal, got.LokiDroppedEntriesDelta, c)
		}
		before.Counts = counts
	}
}

// The names and forms that clients of this API know.
func TestShape(t *testing.T) {
	app, sys := positions.Pair{Source: "app", Target: "siem"}, positions.Pair{Source: "sys", Target: "siem"}
	siem := target("siem", errors.New("tls: \x1b[31mthe certificate\nexpired"))
	siem.Queued, siem.Lag, siem.Behind, siem.Rate = 1<<40, 90*time.Second, 2, 12.5
	idle := target("loki", nil)
	idle.Queued = 2
	st := pipeline.Status{Applied: noon, Hash: "5f2c", Rejected: []config.Rejected{{Kind: "target", Name: "x", Reason: "loki.color: there is no such setting"}},
		Totals:  map[string]pipeline.Totals{"loki": {SendFailed: 1 << 60, Refused: 3, Lost: 4}},
		Sources: []pipeline.SourceStatus{{Name: "app", Kind: "file", Rate: 20}},
		Targets: []pipeline.TargetStatus{idle, siem},
		Ledger:  []pipeline.LedgerRow{{Pair: app, Running: true}, {Pair: sys, Running: true}},
		AtRisk:  map[positions.Pair]pipeline.AtRisk{app: {Bytes: 100, Left: 90 * time.Minute}, sys: {Bytes: 20, Left: 2 * time.Hour}},
	}
	c, _ := From(&st, Before{Counts: Counts{1, 1}}, node, noon)
	c.LastSeen, c.AlloyStatus = noon, config.AlloyOnline
	got, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "id": "node1",
  "lastSeen": "2026-11-20T12:00:00Z",
  "alloyStatus": "ALLOY_ONLINE",
  "configHash": "5f2c",
  "remotecfgStatus": "REMOTECFG_UP",
  "pipelineHealth": "DEGRADED",
  "unhealthyComponents": [
    {
      "localId": "target/siem",
      "name": "siem",
      "state": "failing",
      "message": "tls: [31mthe certificate expired",
      "updatedTime": "2026-11-20T11:59:00Z"
    },
    {
      "localId": "target/x",
      "name": "x",
      "state": "rejected",
      "message": "loki.color: there is no such setting",
      "updatedTime": "2026-11-20T12:00:00Z"
    }
  ],
  "pipelineCheckedAt": "2026-11-20T12:00:00Z",
  "pipelineError": "",
  "exporterSendFailedDelta": "1152921504606846975",
  "lokiDroppedEntriesDelta": "6",
  "failingExporters": [
    "siem"
  ],
  "totalExporters": 2,
  "exporterSendFailedTotal": "1152921504606846976",
  "exporterQueueSize": "1099511627778",
  "version": "1.2",
  "nodeLabels": {
    "rack": "a"
  },
  "rejected": [
    {
      "kind": "target",
      "name": "x",
      "reason": "loki.color: there is no such setting"
    }
  ],
  "sources": [
    {
      "name": "app",
      "rate": 20
    }
  ],
  "targets": [
    {
      "name": "loki",
      "rate": 0,
      "lagSeconds": 0,
      "behindInputs": 0
    },
    {
      "name": "siem",
      "rate": 12.5,
      "lagSeconds": 90,
      "behindInputs": 2,
      "atRiskBytes": 120,
      "atRiskSeconds": 5400,
      "error": "tls: [31mthe certificate expired"
    }
  ]
}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var back config.Collector
	if err := json.Unmarshal(got, &back); err != nil || back.ExporterQueueSize != c.ExporterQueueSize || back.ExporterSendFailedDelta != c.ExporterSendFailedDelta {
		t.Errorf("read back: %+v, %v", back, err)
	}
}

// However much is wrong, a report fits into etcd's 1.5 MiB.
func TestReportsAreBounded(t *testing.T) {
	st := pipeline.Status{Applied: noon}
	for i := range 1000 {
		st.Rejected = append(st.Rejected, config.Rejected{Kind: "target", Name: fmt.Sprint("t", i), Reason: strings.Repeat("é\n", 5000)})
		st.Targets = append(st.Targets, target(fmt.Sprint("u", i), errors.New(strings.Repeat("x", 5000))))
	}
	c, _ := From(&st, Before{}, node, noon)
	text, err := json.Marshal(c)
	if err != nil || len(text) > 1<<20 || len(c.UnhealthyComponents) != maxListed || len(c.Rejected) != maxListed {
		t.Errorf("%d bytes, %d components, %d rejected, error %v", len(text), len(c.UnhealthyComponents), len(c.Rejected), err)
	}
	if last := c.UnhealthyComponents[maxListed-1]; last.Message != "and 1801 more" {
		t.Errorf("%+v", last)
	}
	if last := c.Rejected[maxListed-1]; last.Reason != "and 801 more" {
		t.Errorf("%+v", last)
	}
}
