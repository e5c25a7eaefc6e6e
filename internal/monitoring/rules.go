package monitoring

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// RunbookBase is where runbook_url points to; whoever keeps the page elsewhere
// replaces it in the rules file (docs/monitoring.md says how).
const RunbookBase = "https://github.com/lbshipd/lbshipd/blob/main/docs/monitoring.md"

const rulesHead = `# Prometheus rules for lbshipd, with their runbooks. Made from the code by "make docs"; do not edit.
# What each alert means: docs/monitoring.md (in the packages: /usr/share/doc/lbshipd/monitoring.md).
# To have runbook_url point to a page of your own: sed -i 's|%s|URL|' FILE
`

// The rules file as Prometheus reads it.
type (
	ruleFile struct {
		Groups []ruleGroup `yaml:"groups"`
	}
	ruleGroup struct {
		Name  string `yaml:"name"`
		Rules []rule `yaml:"rules"`
	}
	rule struct {
		Record      string            `yaml:"record,omitempty"`
		Alert       string            `yaml:"alert,omitempty"`
		Expr        string            `yaml:"expr"`
		For         string            `yaml:"for,omitempty"`
		Labels      map[string]string `yaml:"labels,omitempty"`
		Annotations *annotations      `yaml:"annotations,omitempty"`
	}
	annotations struct {
		Summary     string `yaml:"summary"`
		Description string `yaml:"description"`
		Runbook     string `yaml:"runbook"`
		RunbookURL  string `yaml:"runbook_url"`
	}
)

// RulesFile returns packaging/prometheus/lbshipd.rules.yml.
func RulesFile() ([]byte, error) {
	var file ruleFile
	for _, g := range Groups() {
		group := ruleGroup{Name: g.Name}
		for _, r := range g.Rules {
			group.Rules = append(group.Rules, rule{Record: r.Record, Expr: r.Expr})
		}
		for i := range g.Alerts {
			a := &g.Alerts[i]
			group.Rules = append(group.Rules, rule{Alert: a.Name, Expr: a.Expr, For: a.For, Labels: map[string]string{"severity": a.Severity},
				Annotations: &annotations{a.Summary, a.Description, a.Runbook(), a.URL(RunbookBase)}})
		}
		file.Groups = append(file.Groups, group)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, rulesHead, RunbookBase)
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(file); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}
