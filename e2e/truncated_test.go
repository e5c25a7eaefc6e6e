package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// A line above maxLineBytes arrives cut, counted, and marked at every target.
func TestLongLineArrivesCutAndMarked(t *testing.T) {
	t.Parallel()
	loki := testbed.StartLoki(t, testbed.LokiOptions{})
	siem := testbed.StartRsyslog(t, testbed.RsyslogOptions{})
	logs := t.TempDir()
	conf := write(t, filepath.Join(t.TempDir(), "lbshipd.yaml"), fmt.Sprintf(`
sources:
  - name: app
    file: {paths: [%q], maxLineBytes: 1KiB}
    startAt: beginning
targets:
  - name: loki
    loki: {url: %q, structuredMetadata: [truncated]}
  - name: siem
    rsyslog: {address: %q, protocol: tcp}
  - name: console
    stdout: {format: json}
`, logs+"/*.log", loki.URL, siem.Address))
	appendTo(t, filepath.Join(logs, "a.log"), "short\n%s\nafter\n", strings.Repeat("x", 5000))
	d := start(t, nil, "--config", conf, "--data-dir", t.TempDir())
	messages := siem.Wait(t, 3)
	cut := strings.Repeat("x", 1024)
	for i, want := range []string{"short", cut, "after"} {
		marked := strings.Contains(messages[i].StructuredData, `truncated="true"`)
		if messages[i].Msg != want || marked != (want == cut) {
			t.Errorf("rsyslog has %+v", messages[i])
		}
	}
	await(t, "three lines in Loki", func() bool { return len(loki.Query(t, testbed.LokiQuery{Query: `{source="app"}`})) == 3 })
	for _, e := range loki.Query(t, testbed.LokiQuery{Query: `{source="app"}`}) {
		if (e.Metadata["truncated"] == "true") != (e.Line == cut) {
			t.Errorf("Loki has %q with %v", e.Line, e.Metadata)
		}
	}
	await(t, "three lines on the console", func() bool { return strings.Count(d.stdout.String(), "\n") == 3 })
	if n := strings.Count(d.stdout.String(), `"truncated":true,"line":"xxx`); n != 1 {
		t.Errorf("console has %s", &d.stdout)
	}
	if v := d.metric(`lbshipd_source_truncated_records_total{source="app"}`); v != "1" {
		t.Errorf("lbshipd_source_truncated_records_total is %q", v)
	}
	d.stop()
}
