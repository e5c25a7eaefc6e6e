package monitoring

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// shipped reads a dashboard as it is installed; what these types do not know is an error.
func shipped(t *testing.T, name string) (*dashboard, []variable, string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "packaging", "grafana", name))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&d); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var variables []variable
	for _, raw := range d.Templating.List {
		again, _ := json.Marshal(raw)
		var v variable
		if err := json.Unmarshal(again, &v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		variables = append(variables, v)
	}
	return &d, variables, string(text)
}

var boards = []string{"lbshipd-overview.json", "lbshipd-node.json"}

func TestDashboardsAreOfGrafanasSchema(t *testing.T) {
	for _, name := range boards {
		d, _, _ := shipped(t, name)
		if d.UID+".json" != name || len(d.UID) > 40 || !regexp.MustCompile(`^[a-z-]+$`).MatchString(d.UID) {
			t.Errorf("%s: uid %q", name, d.UID)
		}
		if d.SchemaVersion < 36 || d.Title == "" || d.Timezone != "browser" || !slices.Contains(d.Tags, "lbshipd") {
			t.Errorf("%s: %+v", name, d)
		}
		ids, titles := map[int]bool{}, map[string]bool{}
		section := ""
		for _, p := range d.Panels {
			if p.ID < 1 || ids[p.ID] {
				t.Errorf("%s: %q has the id %d, as another one", name, p.Title, p.ID)
			}
			ids[p.ID] = true
			if p.Type == "row" {
				section = p.Title
				if p.Datasource != nil || len(p.Targets) > 0 || p.Collapsed == nil || *p.Collapsed || p.Panels == nil || p.GridPos.W != columns || p.GridPos.H != 1 {
					t.Errorf("%s: row %q: %+v", name, p.Title, p)
				}
				continue
			}
			if p.Title == "" || titles[section+p.Title] || !slices.Contains([]string{"timeseries", "stat", "table"}, p.Type) {
				t.Errorf("%s: panel %q in %q, a %s", name, p.Title, section, p.Type)
			}
			titles[section+p.Title] = true
			checkTargets(t, name, p)
		}
	}
}

func checkTargets(t *testing.T, name string, p *panel) {
	t.Helper()
	if len(p.Targets) == 0 || *p.Datasource != *prometheus || p.FieldConfig.Defaults.Unit == "" && p.Type != "table" {
		t.Errorf("%s: %q: without queries, data source or unit", name, p.Title)
	}
	refs := map[string]bool{}
	for _, q := range p.Targets {
		if refs[q.RefID] || q.RefID == "" || *q.Datasource != *prometheus || q.Expr == "" {
			t.Errorf("%s: %q: query %+v", name, p.Title, q)
		}
		refs[q.RefID] = true
		// A figure of now is asked for once, a graph over its time.
		if graph := p.Type == "timeseries"; q.Range != graph || q.Instant == graph || (q.Format == "table") != (p.Type == "table") {
			t.Errorf("%s: %q is a %s with query %+v", name, p.Title, p.Type, q)
		}
		if p.Type == "timeseries" && q.LegendFormat == "" {
			t.Errorf("%s: %q: %s without a legend", name, p.Title, q.Expr)
		}
	}
}

// No two panels cover the same place, and none is beyond the edge.
func TestPanelsDoNotOverlap(t *testing.T) {
	for _, name := range boards {
		d, _, _ := shipped(t, name)
		taken := map[[2]int]string{}
		for _, p := range d.Panels {
			g := p.GridPos
			if g.X < 0 || g.Y < 0 || g.W < 1 || g.H < 1 || g.X+g.W > columns {
				t.Errorf("%s: %q is at %+v", name, p.Title, g)
			}
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other, is := taken[[2]int{x, y}]; is {
						t.Fatalf("%s: %q and %q overlap at %d, %d", name, p.Title, other, x, y)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
		}
	}
}

// Each variable that is used is defined, before it is used by another one; and each that is
// defined is used.
func TestVariables(t *testing.T) {
	reference := regexp.MustCompile(`\$\{?(\w+)`)
	for _, name := range boards {
		d, variables, _ := shipped(t, name)
		known, used := map[string]bool{}, map[string]bool{}
		use := func(where, text string) {
			for _, m := range reference.FindAllStringSubmatch(text, -1) {
				if strings.HasPrefix(m[1], "__") {
					continue // Grafana's own
				}
				if used[m[1]] = true; !known[m[1]] {
					t.Errorf("%s: %s uses $%s, which is not defined there", name, where, m[1])
				}
			}
		}
		for _, v := range variables {
			use("variable "+v.Name, v.Definition)
			if v.Type == "query" && (v.Datasource == nil || *v.Datasource != *prometheus) {
				t.Errorf("%s: variable %s has no data source", name, v.Name)
			}
			known[v.Name] = true
		}
		for _, want := range []string{"datasource", "cluster", "job", "node", "target", "source"} {
			if !known[want] {
				t.Errorf("%s has no variable %s", name, want)
			}
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				use(p.Title, q.Expr)
				use(p.Title, q.Datasource.UID)
			}
		}
		for v := range known {
			if !used[v] {
				t.Errorf("%s: nothing uses $%s", name, v)
			}
		}
	}
}

// What a runbook tells to look at is there.
func TestRunbooksNamePanelsThatExist(t *testing.T) {
	titles := map[string]bool{}
	for _, name := range boards {
		d, _, _ := shipped(t, name)
		for _, p := range d.Panels {
			titles[p.Title] = true
		}
	}
	found := 0
	named := regexp.MustCompile(`(?:panels?|table|and) "([^"]+)"`)
	for _, a := range Alerts() {
		for _, m := range named.FindAllStringSubmatch(a.Runbook(), -1) {
			if found++; !titles[m[1]] {
				t.Errorf("%s: no dashboard has a panel %q", a.Name, m[1])
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d panels are named", found)
	}
}

func TestThresholdsAreInOrder(t *testing.T) {
	for _, limits := range [][]float64{nil, {1}, {60, 600}, {14400, 3600}} {
		steps := colored(limits).Steps
		if len(steps) != len(limits)+1 || steps[0].Value != nil {
			t.Errorf("%v: %+v", limits, steps)
		}
		for i := 2; i < len(steps); i++ {
			if *steps[i-1].Value >= *steps[i].Value {
				t.Errorf("%v: %+v", limits, steps)
			}
		}
	}
}
