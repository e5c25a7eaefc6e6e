package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// Equal lines that carry no time are all there in Loki, which keeps one of
// those that have the same stream, time and text.
func TestEqualLinesAllArriveAtLoki(t *testing.T) {
	t.Parallel()
	loki := testbed.StartLoki(t, testbed.LokiOptions{})
	dir := t.TempDir()
	const n = 10000
	log := write(t, filepath.Join(dir, "app.log"), strings.Repeat("connection lost\n", n))
	conf := write(t, filepath.Join(dir, "lbshipd.yaml"), fmt.Sprintf(`
sources:
  - {name: app, file: {paths: [%q]}, startAt: beginning}
targets:
  - {name: loki, loki: {url: %q}}
`, log, loki.URL))
	d := start(t, nil, "--config", conf, "--data-dir", t.TempDir())
	await(t, "all lines to be delivered", func() bool {
		return d.metric(`lbshipd_target_delivered_records_total{target="loki"}`) == fmt.Sprint(n)
	})
	if got := len(loki.Query(t, testbed.LokiQuery{})); got != n {
		t.Errorf("Loki has %d of %d lines", got, n)
	}
}
