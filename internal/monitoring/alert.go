// Package monitoring holds what people watch lbshipd with: the alerts for
// Prometheus with their runbooks, and the dashboards for Grafana. Made of it are the
// files of packaging/prometheus and packaging/grafana and docs/monitoring.md, so
// that an alert and what is written of it cannot drift apart.
package monitoring

import (
	"slices"
	"strings"
)

// Severities of an Alert.
const (
	// Critical is for at once, at night too: records are lost or will be within the hour,
	// or nobody can know whether they are.
	Critical = "critical"
	// Warning is for the next working hours.
	Warning = "warning"
)

// Alert is one alert with its runbook. Summary, Description and the texts of the
// runbook are templates of Prometheus.
type Alert struct {
	Name     string // CamelCase, beginning with Lbshipd; its anchor in docs/monitoring.md is this in lower case
	Severity string
	For      string // how long Expr must hold; empty: not at all
	Expr     string // PromQL

	Summary     string // one line: what is wrong where
	Description string // the figures

	Means  string // what it means
	Danger string // what is in danger, and until when
	First  string // the first command to run, on the node that the alert names
	Remedy string // what to do
}

// Rule is a recording rule that alerts are made of.
type Rule struct {
	Record string
	Expr   string
}

// Group is a group of rules that are evaluated together.
type Group struct {
	Name   string // in the rules file
	Title  string // on the page
	Rules  []Rule
	Alerts []Alert
}

// Groups returns all rules, in the order of the page.
func Groups() []Group {
	return []Group{
		{Name: "lbshipd-targets", Title: "Targets", Alerts: targetAlerts},
		{Name: "lbshipd-losses", Title: "Losses", Alerts: lossAlerts},
		{Name: "lbshipd-sources", Title: "Sources", Rules: sourceRules, Alerts: sourceAlerts},
		{Name: "lbshipd-nodes", Title: "Nodes and their configuration", Alerts: nodeAlerts},
	}
}

// Alerts returns the alerts of all groups.
func Alerts() []Alert {
	var all []Alert
	for _, g := range Groups() {
		all = slices.Concat(all, g.Alerts)
	}
	return all
}

// Runbook returns the text for the alert's annotation.
func (a *Alert) Runbook() string {
	return "What it means: " + a.Means + "\nIn danger: " + a.Danger + "\nFirst: " + a.First + "\nRemedy: " + a.Remedy
}

// URL returns where the alert is on the page at base.
func (a *Alert) URL(base string) string { return base + "#" + strings.ToLower(a.Name) }

// fresh is an expression for what was added within the last hour to a counter
// whose series begin when they count for the first time. increase() does not see that first
// time: it needs two samples. A daemon that was restarted within the hour begins at
// nothing, so that all that it has counted is fresh. Where nobody scraped the node an hour ago
// (Prometheus was down), the last figure before that counts, not all since the daemon's start.
func fresh(counter string) string {
	before := counter + " offset 1h or last_over_time(" + counter + "[1d] offset 1h) unless on (job, instance) process_start_time_seconds offset 1h"
	return counter + " - (" + before + " or 0 * " + counter + ") > 0\n" +
		"or\n" + counter + " > 0 and on (job, instance) time() - process_start_time_seconds < 3600"
}
