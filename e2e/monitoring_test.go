package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// watched is a Prometheus that scrapes a daemon and has the rules that are shipped, in a
// hurry: what is to hold for minutes has to hold for a second.
type watched struct {
	t *testing.T
	*testbed.Prometheus
}

func watch(t *testing.T, admin string) *watched {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "packaging", "prometheus", "lbshipd.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	hurried := regexp.MustCompile(`(?m)^( +for:) \w+$`).ReplaceAll(text, []byte("$1 1s"))
	if string(hurried) == string(text) {
		t.Fatal("no rule waits")
	}
	rules := write(t, filepath.Join(t.TempDir(), "rules.yml"), string(hurried))
	return &watched{t, testbed.StartPrometheus(t, fmt.Sprintf(`
global: {scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: storage
    static_configs: [{targets: [%q]}]
`, rules, admin))}
}

// ask has the API answer, which must not be an error.
func (w *watched) ask(path string, parameters url.Values, answer any) {
	w.t.Helper()
	body, err := w.Get(path, parameters)
	if err != nil {
		w.t.Fatalf("%s %v: %v", path, parameters, err)
	}
	if err := json.Unmarshal(body, answer); err != nil {
		w.t.Fatalf("%s: %v in %.300s", path, err, body)
	}
}

// alert is one that is pending or firing.
type alert struct {
	State               string
	Labels, Annotations map[string]string
}

// firing returns an alert that fires, by its name.
func (w *watched) firing(name string) (alert, bool) {
	w.t.Helper()
	var answer struct{ Data struct{ Alerts []alert } }
	w.ask("/api/v1/alerts", nil, &answer)
	for _, a := range answer.Data.Alerts {
		if a.Labels["alertname"] == name && a.State == "firing" {
			return a, true
		}
	}
	return alert{}, false
}

func (w *watched) await(name string, labels map[string]string, words string) {
	w.t.Helper()
	var a alert
	await(w.t, name, func() bool {
		var fires bool
		a, fires = w.firing(name)
		return fires
	})
	for label, want := range labels {
		if a.Labels[label] != want {
			w.t.Errorf("%s has %s=%q, want %q", name, label, a.Labels[label], want)
		}
	}
	if said := a.Annotations["summary"] + " " + a.Annotations["description"]; !strings.Contains(said, words) {
		w.t.Errorf("%s says %q, want %q", name, said, words)
	}
	if !strings.Contains(a.Annotations["runbook"], "\nFirst: ") {
		w.t.Errorf("%s has the runbook %q", name, a.Annotations["runbook"])
	}
}

// A real Prometheus takes the rules and the dashboards' queries, and says what is wrong
// with a real daemon: a dead target, a certificate about to expire, its own end; and that a renewed certificate is one.
func TestPrometheusSeesADeadTarget(t *testing.T) {
	t.Parallel()
	ca := testbed.NewCA(t, "monitoring")
	cert := ca.Issue(t, testbed.CertOptions{CommonName: "node", Starts: -47 * time.Hour, Lasts: 48 * time.Hour})
	certFile, keyFile := cert.Files(t, t.TempDir(), "node")
	logs := t.TempDir()
	dead := testbed.ClosedPort(t)
	conf := write(t, filepath.Join(t.TempDir(), "lbshipd.yaml"), fmt.Sprintf(`
sources:
  - {name: app, file: {paths: [%q]}, logFormat: raw, startAt: beginning}
targets:
  - {name: console, stdout: {}}
  - {name: siem, rsyslog: {address: %q, serverName: siem.test, tlsBundle: node}}
tlsBundles:
  - {name: node, certFile: %q, keyFile: %q}
`, logs+"/*.log", dead, certFile, keyFile))
	write(t, filepath.Join(logs, "app.log"), strings.Repeat("a line of the log\n", 100))
	d := start(t, nil, "--config", conf, "--data-dir", t.TempDir())
	w := watch(t, d.admin)

	w.await("LbshipdTargetFailing", map[string]string{"job": "storage", "instance": d.admin, "target": "siem", "severity": "warning"},
		d.admin+" cannot send to target siem Sends have failed for 10 minutes, with an error of the class connect.")
	w.await("LbshipdCertificateExpiresSoon", map[string]string{"bundle": "node", "part": "cert", "severity": "critical"}, "It expires in 59m")
	w.rulesWork()
	w.dashboardsWork(d.admin)

	renewed := ca.Issue(t, testbed.CertOptions{CommonName: "node", Lasts: 30 * 24 * time.Hour})
	write(t, certFile, renewed.CertPEM)
	write(t, keyFile, renewed.KeyPEM)
	await(t, "the alert to end once the certificate is renewed", func() bool { _, fires := w.firing("LbshipdCertificateExpiresSoon"); return !fires })

	d.cmd.Process.Kill()
	w.await("LbshipdDown", map[string]string{"instance": d.admin, "severity": "critical"}, d.admin+" cannot be scraped")
}

// rulesWork checks that each rule was evaluated without an error.
func (w *watched) rulesWork() {
	w.t.Helper()
	type rule struct{ Name, Health, LastError string }
	var answer struct {
		Data struct{ Groups []struct{ Rules []rule } }
	}
	count := 0
	await(w.t, "all rules to be evaluated", func() bool {
		w.ask("/api/v1/rules", nil, &answer)
		count = 0
		for _, g := range answer.Data.Groups {
			for _, r := range g.Rules {
				if r.Health == "unknown" {
					return false
				}
				if count++; r.Health != "ok" {
					w.t.Errorf("%s: %s", r.Name, r.LastError)
				}
			}
		}
		return true
	})
	if count < 20 {
		w.t.Errorf("there are only %d rules", count)
	}
}

// absent are metrics, or conditions on them, that a daemon does not show without losses,
// refusals, etcd, failover, a known end of what is at risk, and so on.
var absent = regexp.MustCompile(`at_risk|ledger_(refused|lost|gaps|unsized)|source_(gaps|lost|skipped)|target_(refused|lost|adjusted|address|spool_errors|dead_letters)|` +
	`collectors_|source_spoke|retries_total|duration_seconds_bucket|(== 0|== 1|> 0)\b`)

// dashboardsWork asks what the dashboards ask, as Grafana would.
func (w *watched) dashboardsWork(instance string) {
	w.t.Helper()
	for _, name := range []string{"lbshipd-overview.json", "lbshipd-node.json"} {
		text, err := os.ReadFile(filepath.Join("..", "packaging", "grafana", name))
		if err != nil {
			w.t.Fatal(err)
		}
		var d struct {
			Panels []struct {
				Title   string
				Targets []struct {
					Expr  string
					Range bool
				}
			}
		}
		if err := json.Unmarshal(text, &d); err != nil {
			w.t.Fatal(err)
		}
		chosen := strings.NewReplacer(`instance="$node"`, fmt.Sprintf("instance=%q", instance), "$__rate_interval", "1m", "$cluster", ".*", "$job", ".+", "$node", ".+", "$source", ".+", "$target", ".+")
		asked, shown := 0, 0
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				asked++
				some := func() bool { return w.series(chosen.Replace(q.Expr), q.Range) > 0 }
				if !absent.MatchString(q.Expr) { // a rate needs two scrapes
					await(w.t, fmt.Sprintf("%s: %q to show %s", name, p.Title, q.Expr), some)
				}
				if some() {
					shown++
				}
			}
		}
		if shown < 20 || asked < 30 {
			w.t.Errorf("%s: of %d queries %d show something", name, asked, shown)
		}
	}
}

// series asks one query and returns how many series it has.
func (w *watched) series(expr string, over bool) int {
	w.t.Helper()
	var answer struct {
		Data struct{ Result []json.RawMessage }
	}
	now := time.Now()
	if !over {
		w.ask("/api/v1/query", url.Values{"query": {expr}}, &answer)
		return len(answer.Data.Result)
	}
	w.ask("/api/v1/query_range", url.Values{"query": {expr}, "step": {"1"}, "start": {fmt.Sprint(now.Add(-time.Minute).Unix())}, "end": {fmt.Sprint(now.Unix())}}, &answer)
	return len(answer.Data.Result)
}
