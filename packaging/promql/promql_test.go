// Package promql holds the tests of what is shipped for Prometheus and Grafana: every
// expression is parsed by Prometheus's own parser, and every metric and label in it is
// held against docs/metrics.md, which a test of its own holds against /metrics.
package promql

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.yaml.in/yaml/v2"
)

// newChecker knows the metrics of the reference page, those that all Go programs
// have, and those that Prometheus makes.
func newChecker(t *testing.T) *checker {
	t.Helper()
	c := &checker{metrics: map[string]set{"up": setOf(scraped...)}, used: set{}}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `(lbshipd_[a-z_]+)` \\| (counter|gauge|histogram) \\| ([a-z, ]*) \\|")
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		names := append([]string(nil), scraped...)
		for name := range strings.SplitSeq(m[3], ",") {
			if name = strings.TrimSpace(name); name != "" {
				names = append(names, name)
			}
		}
		if m[2] != "histogram" {
			c.metrics[m[1]] = setOf(names...)
			continue
		}
		c.metrics[m[1]+"_sum"], c.metrics[m[1]+"_count"] = setOf(names...), setOf(names...)
		c.metrics[m[1]+"_bucket"] = setOf(append(names, "le")...)
	}
	if len(c.metrics) < 60 {
		t.Fatalf("docs/metrics.md names only %d metrics", len(c.metrics))
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		c.metrics[f.GetName()] = setOf(scraped...)
		c.metrics[f.GetName()+"_sum"] = setOf(scraped...)
	}
	return c
}

// rules is the rules file.
type rules struct {
	Groups []struct {
		Rules []struct {
			Record, Alert, Expr string
			Labels, Annotations map[string]string
		}
	}
}

func readRules(t *testing.T) rules {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "prometheus", "lbshipd.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var r rules
	if err := yaml.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	ofAlert  = regexp.MustCompile(`\$labels\.(\w+)`)
	inAlert  = regexp.MustCompile(`printf "([^"]*)"`)
	inQuery  = regexp.MustCompile(`\.Labels\.(\w+)`)
	inLegend = regexp.MustCompile(`{{\s*(\w+)\s*}}`)
)

// checkRules also makes what the rules record known.
func checkRules(t *testing.T, c *checker) {
	t.Helper()
	count := 0
	alerts := setOf(append([]string{"alertname", "alertstate", "severity"}, scraped...)...)
	for _, g := range readRules(t).Groups {
		for _, r := range g.Rules {
			count++
			have, err := c.check(r.Expr)
			if err != nil {
				t.Errorf("%s%s: %v", r.Record, r.Alert, err)
				continue
			}
			if r.Record != "" {
				c.metrics[r.Record] = have
				continue
			}
			for name := range have {
				alerts[name] = true
			}
			for _, text := range r.Annotations {
				for _, m := range ofAlert.FindAllStringSubmatch(text, -1) {
					if !have[m[1]] {
						t.Errorf("%s: the text %q names a label that it does not have: %s", r.Alert, text, have)
					}
				}
				for _, m := range inAlert.FindAllStringSubmatch(text, -1) {
					found, err := c.check(strings.ReplaceAll(m[1], "%q", `"x"`))
					if err != nil {
						t.Errorf("%s: %v", r.Alert, err)
					}
					for _, l := range inQuery.FindAllStringSubmatch(text, -1) {
						if !found[l[1]] {
							t.Errorf("%s: the query in %q has no label %s", r.Alert, text, l[1])
						}
					}
				}
			}
		}
	}
	if count < 20 {
		t.Errorf("only %d rules were found", count)
	}
	c.metrics["ALERTS"] = alerts
}

func TestRulesNameWhatThereIs(t *testing.T) { checkRules(t, newChecker(t)) }

func TestDashboardsNameWhatThereIs(t *testing.T) {
	c := newChecker(t)
	checkRules(t, c)
	files, err := filepath.Glob(filepath.Join("..", "grafana", "*.json"))
	if err != nil || len(files) != 2 {
		t.Fatalf("the dashboards are %v (%v)", files, err)
	}
	for _, file := range files {
		checkDashboard(t, c, file)
	}
	for name := range c.metrics {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if strings.HasPrefix(name, "lbshipd") && !c.used[name] && !c.used[base+"_bucket"] {
			t.Errorf("%s is on no dashboard and in no rule", name)
		}
	}
}

func checkDashboard(t *testing.T, c *checker, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	values := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := values.FindStringSubmatch(v.Definition)
		if m == nil {
			t.Errorf("%s: variable %s is %q", file, v.Name, v.Definition)
			continue
		}
		if have, err := c.check(m[1]); err != nil || !have[m[2]] {
			t.Errorf("%s: variable %s: %s is not among %s (%v)", file, v.Name, m[2], have, err)
		}
	}
	count := 0
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			count++
			have, err := c.check(q.Expr)
			if err != nil {
				t.Errorf("%s: %q: %v", file, p.Title, err)
				continue
			}
			for _, m := range inLegend.FindAllStringSubmatch(q.LegendFormat, -1) {
				if !have[m[1]] {
					t.Errorf("%s: %q: the legend %q names a label that is not there: %s", file, p.Title, q.LegendFormat, have)
				}
			}
		}
	}
	if count < 30 {
		t.Errorf("%s: only %d queries were found", file, count)
	}
}

// The checker sees what Prometheus lets pass in silence.
func TestCheckerFindsFaults(t *testing.T) {
	for text, want := range map[string]string{
		`lbshipd_target_lag_second`:                                            "there is no metric",
		`lbshipd_target_lag_seconds{source="a"}`:                               "has no label source",
		`sum by (reason) (lbshipd_target_lag_seconds)`:                         "there is no label reason",
		`max without (class) (lbshipd_target_lag_seconds)`:                     "there is no label class",
		`lbshipd_at_risk_bytes and lbshipd_target_lag_seconds`:                 "nothing says on which",
		`lbshipd_at_risk_bytes and on (source) lbshipd_target_lag_seconds`:     "joined on source",
		`histogram_quantile(0.9, lbshipd_target_request_duration_seconds_sum)`: "without le",
		`sum(rate(lbshipd_target_sent_bytes_total))`:                           "expected type range vector",
	} {
		if _, err := newChecker(t).check(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
