package ctl

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
	"github.com/lbshipd/lbshipd/config"
)

// shown is what main makes of an error's text.
func shown(text string) string { return screen.Lines(text) }

// nodesOf is lbshipd status --all.
func nodesOf(t *testing.T, socket string, asJSON bool) result {
	t.Helper()
	api, err := client.New(client.Options{Endpoint: "unix:" + socket})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	ok, err := PrintNodes(t.Context(), &out, api, asJSON)
	switch {
	case err != nil:
		return result{1, out.String(), err.Error()}
	case !ok:
		return result{code: 1, out: out.String()}
	}
	return result{out: out.String()}
}

// nodesForTest are a healthy node and some that are not.
func nodesForTest(now time.Time) []config.Collector {
	none, much, soon := int64(0), int64(50<<20), 1800.0
	ok := func(id string) config.Collector {
		return config.Collector{ID: id, LastSeen: now.Add(-2 * time.Second), AlloyStatus: config.AlloyOnline, ConfigHash: "3f2a91c04d5e6f70", RemotecfgStatus: config.RemotecfgUp,
			PipelineHealth: config.HealthHealthy, TotalExporters: 2, Version: "1.2.3", NodeLabels: map[string]string{"rack": "7"},
			Sources: []config.CollectorSource{{Name: "app", Rate: 1234.4}},
			Targets: []config.CollectorTarget{{Name: "loki", Rate: 1200, AtRiskBytes: &none}, {Name: "siem", Rate: 0.5}}}
	}
	degraded := ok("node-2")
	degraded.PipelineHealth, degraded.FailingExporters, degraded.ExporterQueueSize = config.HealthDegraded, []string{"siem"}, 1234
	degraded.PipelineError = "target siem: connection refused"
	degraded.Targets = []config.CollectorTarget{{Name: "loki", LagSeconds: 1.5, BehindInputs: 3, AtRiskBytes: &much, AtRiskSeconds: &soon},
		{Name: "siem", LagSeconds: 301, BehindInputs: 1, Error: "connecting to logs:6514: connection refused"}}
	degraded.Sources = []config.CollectorSource{{Name: "app", Error: "permission denied"}}
	degraded.UnhealthyComponents = []config.UnhealthyComponent{{LocalID: "target/siem", State: "failing"}, {LocalID: "source/app", State: "failing", Message: "permission denied"}}
	rejecting := ok("node-3")
	rejecting.PipelineHealth, rejecting.ConfigHash = config.HealthDegraded, "77b1"
	rejecting.Rejected = []config.Rejected{{Kind: config.KindTarget, Name: "otlp", Reason: `unknown field "otlp"`}}
	rejecting.UnhealthyComponents = []config.UnhealthyComponent{{LocalID: "target/otlp", State: "rejected", Message: `unknown field "otlp"`}}
	cut := ok("node-4")
	cut.RemotecfgStatus = config.RemotecfgDown
	gone := ok("node-5")
	gone.AlloyStatus, gone.LastSeen = config.AlloyOffline, now.Add(-72*time.Hour)
	unknown := ok("node-6")
	unknown.PipelineHealth, unknown.PipelineError, unknown.Targets = config.HealthUnknown, "the pipeline does not answer", nil
	return []config.Collector{ok("node-1"), degraded, rejecting, cut, gone, unknown}
}

var seconds = regexp.MustCompile(`[0-9.]+s ago *`)

// atTwo makes what was seen some seconds ago seen 2 s ago, in the same columns: the two
// seconds are over by the time they are shown, on a busy machine by some tenths.
func atTwo(table string) string {
	return seconds.ReplaceAllStringFunc(table, func(cell string) string {
		if !strings.HasSuffix(cell, " ") {
			return "2s ago"
		}
		return fmt.Sprintf("%-*s", len(cell), "2s ago")
	})
}

func TestStatusOfAllNodes(t *testing.T) {
	g := newRig(t)
	if r := nodesOf(t, g.socket, false); r.code != 0 || r.out != "No node has reported yet.\n" {
		t.Errorf("%+v", r)
	}
	g.store.nodes = nodesForTest(time.Now())
	r := nodesOf(t, g.socket, false)
	if r.code != 1 {
		t.Errorf("exit code %d", r.code)
	}
	golden(t, "nodes.txt", atTwo(r.out))
	g.store.nodes = g.store.nodes[:1]
	if r := nodesOf(t, g.socket, false); r.code != 0 || !bytes.HasSuffix([]byte(r.out), []byte("\nAll is well.\n")) {
		t.Errorf("%+v", r)
	}
	// Two that differ: neither is the usual one.
	g.store.nodes = append(g.store.nodes, g.store.nodes[0])
	g.store.nodes[1].ID, g.store.nodes[1].ConfigHash = "node-9", "other"
	if r := nodesOf(t, g.socket, false); r.code != 1 || !bytes.Contains([]byte(r.out), []byte("the nodes run different configurations")) {
		t.Errorf("%+v", r)
	}
}
