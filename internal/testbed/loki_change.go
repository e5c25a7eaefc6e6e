package testbed

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
)

// SetLimits gives limits other values and starts Loki again, at the same URL
// and with the same data. Each must have been set before, by LokiOptions.Limits
// or by this rig.
func (l *Loki) SetLimits(limits map[string]string) {
	l.tb.Helper()
	path := filepath.Join(l.dir, "loki.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		l.tb.Fatalf("reading Loki's configuration: %v", err)
	}
	for name, value := range limits {
		re := regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(name) + `: .*$`)
		if !re.Match(text) {
			l.tb.Fatalf("Loki's configuration does not set %s", name)
		}
		text = re.ReplaceAllLiteral(text, fmt.Appendf(nil, "  %s: %s", name, value))
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		l.tb.Fatalf("writing Loki's configuration: %v", err)
	}
	l.Stop()
	l.Start()
}

// Flush makes Loki write what it holds to its store, and starts it again: lines
// that are hours old are found only there.
func (l *Loki) Flush() {
	l.tb.Helper()
	res, err := l.client.Post(l.URL+"/flush", "", http.NoBody)
	if err != nil {
		l.tb.Fatalf("flushing Loki: %v", err)
	}
	res.Body.Close()
	l.Stop()
	l.Start()
}
