package main

import (
	"fmt"
	"strings"

	"github.com/lbshipd/lbshipd/admin"
	"github.com/lbshipd/lbshipd/pipeline"
	"github.com/lbshipd/lbshipd/sinks"
)

// metrics writes the page of the admin port: endpoints and metrics.
func metrics(string) ([]byte, error) {
	var b strings.Builder
	b.WriteString(`# Admin port: endpoints and metrics

Made from the code by ` + "`make docs`" + `; do not edit. A test holds what /metrics serves against this page.

## Endpoints

| path | answer |
|---|---|
`)
	for _, e := range admin.Endpoints() {
		fmt.Fprintf(&b, "| `GET %s` | %s |\n", e.Path, e.Help)
	}
	b.WriteString(`
## Metrics

Counters count since the start of the daemon. The ledger (lbshipd_ledger_*) is kept across restarts, and for each source and target, on every scrape,

    read = delivered + filtered + refused + lost + in flight

Its values are gauges: after a crash they go back to what was saved last, and what was in flight is read and counted again. Beside these there are the
usual go_ and process_ metrics.

| metric | kind | labels | meaning |
|---|---|---|---|
`)
	for _, m := range pipeline.Metrics() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Kind, strings.Join(m.Labels, ", "), m.Help)
	}
	fmt.Fprintf(&b, "\nThe label `class` (and `outcome`, beside `ok`) is one of: %s.\n", strings.Join(sinks.ErrorClasses(), ", "))
	return []byte(b.String()), nil
}
