package monitoring

import (
	"cmp"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// A test of rules as promtool reads it.
type (
	unitTests struct {
		RuleFiles          []string   `yaml:"rule_files"`
		EvaluationInterval string     `yaml:"evaluation_interval"`
		Tests              []unitTest `yaml:"tests"`
	}
	unitTest struct {
		Name           string      `yaml:"name"`
		Interval       string      `yaml:"interval"`
		InputSeries    []series    `yaml:"input_series"`
		AlertRuleTests []alertTest `yaml:"alert_rule_test"`
	}
	series struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	}
	alertTest struct {
		EvalTime  string  `yaml:"eval_time"`
		Alertname string  `yaml:"alertname"`
		ExpAlerts []fired `yaml:"exp_alerts"`
	}
	fired struct {
		ExpLabels      map[string]string `yaml:"exp_labels"`
		ExpAnnotations map[string]string `yaml:"exp_annotations"`
	}
)

// rulesOnDisk has the rules as they are shipped in a folder, and returns it.
func rulesOnDisk(t *testing.T) (dir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "packaging", "prometheus", "lbshipd.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rules.yml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// promtool runs it in dir, and returns what it says.
func promtool(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	binary, err := testbed.PrometheusBinary("promtool")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestPromtoolTakesTheRules(t *testing.T) {
	if out, err := promtool(t, rulesOnDisk(t), "check", "rules", "--lint=all", "--lint-fatal", "rules.yml"); err != nil {
		t.Errorf("promtool check rules: %v\n%s", err, out)
	}
}

// Each alert fires when it should, with the words that it should, and does not when not.
func TestAlertsFire(t *testing.T) {
	files := map[string]*unitTests{}
	byName := map[string]*Alert{}
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, a := range Alerts() {
		byName[a.Name] = &a
	}
	for _, c := range alertCases {
		a := byName[c.alert]
		if a == nil {
			t.Fatalf("a test is for %s, which is no alert", c.alert)
		}
		every := cmp.Or(c.every, "1m")
		u := unitTest{Name: c.alert + ": " + c.when, Interval: every, AlertRuleTests: []alertTest{{EvalTime: c.at, Alertname: c.alert}}}
		for _, name := range slices.Sorted(maps.Keys(c.series)) {
			u.InputSeries = append(u.InputSeries, series{name, c.series[name]})
		}
		if c.labels == nil {
			quiet[c.alert] = true
		} else {
			fires[c.alert] = true
			u.AlertRuleTests[0].ExpAlerts = []fired{{withSeverity(a, c.labels), said(a, c)}}
		}
		name := c.alert + "." + every + ".test.yml"
		if files[name] == nil {
			files[name] = &unitTests{RuleFiles: []string{c.alert + ".yml"}, EvaluationInterval: every}
		}
		files[name].Tests = append(files[name].Tests, u)
	}
	for name := range byName {
		if !fires[name] || !quiet[name] {
			t.Errorf("%s: want a test in which it fires (%v) and one in which it does not (%v)", name, fires[name], quiet[name])
		}
	}
	dir := rulesOnDisk(t)
	alone(t, dir)
	args := []string{"test", "rules"}
	for name, file := range files {
		args = append(args, name)
		writeYAML(t, filepath.Join(dir, name), file)
	}
	if out, err := promtool(t, dir, args...); err != nil {
		t.Errorf("promtool test rules: %v\n%s", err, out)
	}
}

// alone writes a file for each of the rules' alerts, with what its group records: promtool
// evaluates all that it is given, each minute of each test.
func alone(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var all ruleFile
	if err := yaml.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	for _, g := range all.Groups {
		var recorded []rule
		for _, r := range g.Rules {
			if r.Record != "" {
				recorded = append(recorded, r)
				continue
			}
			writeYAML(t, filepath.Join(dir, r.Alert+".yml"), ruleFile{[]ruleGroup{{g.Name, append(slices.Clone(recorded), r)}}})
		}
	}
}

func writeYAML(t *testing.T, path string, value any) {
	t.Helper()
	text, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func withSeverity(a *Alert, labels map[string]string) map[string]string {
	all := maps.Clone(labels)
	all["severity"] = a.Severity
	return all
}

// said is what a firing alert says: its own words, the placeholders of the runbook
// filled in.
func said(a *Alert, c alertCase) map[string]string {
	fill := func(text string) string {
		return label.ReplaceAllStringFunc(text, func(s string) string { return c.labels[label.FindStringSubmatch(s)[1]] })
	}
	return map[string]string{"summary": c.summary, "description": c.description, "runbook": fill(a.Runbook()), "runbook_url": RunbookBase + "#" + strings.ToLower(a.Name)}
}
