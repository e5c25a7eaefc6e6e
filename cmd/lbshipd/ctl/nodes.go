package ctl

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
	"github.com/lbshipd/lbshipd/config"
)

// shortHash is how much of a configuration's hash tells it apart.
const shortHash = 8

// collectorColumns are what get collectors shows.
var collectorColumns = []column{
	cell("NODE", "id"), {title: "STATUS", cell: func(t tree) string { return word(t.text("alloyStatus"), "ALLOY_") }},
	{title: "HEALTH", cell: func(t tree) string { return health(t.text("alloyStatus"), t.text("pipelineHealth")) }},
	{title: "LAST-SEEN", cell: lastSeen}, {title: "CONFIG", cell: func(t tree) string { return short(t.text("configHash")) }},
	{title: "TARGETS", cell: targetsOK}, {title: "PROBLEM", cell: problem},
	wide(column{title: "STORE", cell: func(t tree) string { return word(t.text("remotecfgStatus"), "REMOTECFG_") }}),
	wide(cell("QUEUED", "exporterQueueSize")), wide(cell("VERSION", "version")), wide(cell("LABELS", "nodeLabels")),
}

// problem is what is said of the whole, else of the first of what is not as it should be.
func problem(t tree) string {
	if text := t.text("pipelineError"); text != "" {
		return text
	}
	all, _ := t.at("unhealthyComponents").([]any)
	if len(all) == 0 {
		return ""
	}
	first, _ := all[0].(map[string]any)
	text := tree(first).text("localId") + ": " + tree(first).text("message")
	if more := len(all) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}

// word writes ALLOY_ONLINE as online.
func word(value, prefix string) string { return strings.ToLower(strings.TrimPrefix(value, prefix)) }

// health is not known of a node that does not report any more.
func health(status, health string) string {
	if status == config.AlloyOffline {
		return ""
	}
	return strings.ToLower(health)
}

func short(hash string) string {
	if len(hash) > shortHash {
		return hash[:shortHash]
	}
	return hash
}

// lastSeen is in full minutes, or --watch would show each report.
func lastSeen(t tree) string {
	at, err := time.Parse(time.RFC3339, t.text("lastSeen"))
	if err != nil || at.IsZero() {
		return "never"
	}
	if d := time.Since(at); d >= time.Minute {
		return ago(at, at.Add(d.Truncate(time.Minute)))
	}
	return "just now"
}

func targetsOK(t tree) string {
	total := t.text("totalExporters")
	if total == "" {
		total = "0"
	}
	failing, _ := t.at("failingExporters").([]any)
	if len(failing) > 0 {
		return fmt.Sprintf("%d of %s failing", len(failing), total)
	}
	return total
}

// PrintNodes shows what all nodes report: lbshipd status --all. It returns
// whether all is well.
func PrintNodes(ctx context.Context, w io.Writer, api *client.Client, asJSON bool) (ok bool, err error) {
	nodes, err := api.Collectors(ctx)
	if err != nil {
		return false, err
	}
	slices.SortFunc(nodes, func(a, b client.Collector) int { return strings.Compare(a.ID, b.ID) })
	advice := adviceFor(nodes, time.Now())
	if asJSON {
		items := []json.RawMessage{}
		for i := range nodes {
			items = append(items, nodes[i].JSON)
		}
		o := output{form: outJSON}
		return len(advice) == 0, o.printValue(w, map[string]any{"collectors": items})
	}
	return len(advice) == 0, printNodes(w, nodes, advice, time.Now())
}

func printNodes(w io.Writer, nodes []client.Collector, advice []string, now time.Time) error {
	if len(nodes) == 0 {
		_, err := fmt.Fprintln(w, "No node has reported yet.")
		return err
	}
	fmt.Fprintf(w, "%s: %s\n\n", screen.Count(len(nodes), "node"), tally(nodes))
	t := &screen.Table{}
	t.Add("NODE", "STATUS", "HEALTH", "LAST SEEN", "CONFIG", "VERSION")
	for i := range nodes {
		n := &nodes[i]
		t.Add(n.ID, word(n.AlloyStatus, "ALLOY_"), health(n.AlloyStatus, n.PipelineHealth), ago(n.LastSeen, now), short(n.ConfigHash), n.Version)
	}
	if err := t.Flush(w); err != nil {
		return err
	}
	if err := printNodeSources(w, nodes); err != nil {
		return err
	}
	if err := printNodeTargets(w, nodes); err != nil {
		return err
	}
	if len(advice) == 0 {
		_, err := fmt.Fprintln(w, "\nAll is well.")
		return err
	}
	fmt.Fprintln(w, "\nWhat to look at:")
	for _, text := range advice {
		fmt.Fprintln(w, "  "+screen.OneLine(text))
	}
	return nil
}

// tally counts the nodes by what is to be done about them.
func tally(nodes []client.Collector) string {
	counts := map[string]int{}
	var order []string
	for i := range nodes {
		state := word(nodes[i].AlloyStatus, "ALLOY_")
		if nodes[i].AlloyStatus == config.AlloyOnline {
			state = strings.ToLower(nodes[i].PipelineHealth)
		}
		if counts[state]++; counts[state] == 1 {
			order = append(order, state)
		}
	}
	slices.Sort(order)
	var parts []string
	for _, state := range order {
		parts = append(parts, fmt.Sprintf("%d %s", counts[state], screen.OneLine(state)))
	}
	return strings.Join(parts, ", ")
}

func printNodeSources(w io.Writer, nodes []client.Collector) error {
	t := &screen.Table{}
	t.Add("NODE", "SOURCE", "RATE", "STATE")
	rows := 0
	for i := range nodes {
		if nodes[i].AlloyStatus == config.AlloyOffline {
			continue // that is how it was
		}
		for _, x := range nodes[i].Sources {
			rows++
			t.Add(nodes[i].ID, x.Name, screen.Rate(x.Rate), cmp.Or(x.Error, "ok"))
		}
	}
	if rows == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return t.Flush(w)
}

func printNodeTargets(w io.Writer, nodes []client.Collector) error {
	t := &screen.Table{}
	t.Add("NODE", "TARGET", "RATE", "LAG", "BEHIND", "AT RISK", "STATE")
	rows := 0
	for i := range nodes {
		if nodes[i].AlloyStatus == config.AlloyOffline {
			continue // that is how it was
		}
		for _, x := range nodes[i].Targets {
			rows++
			t.Add(nodes[i].ID, x.Name, screen.Rate(x.Rate), screen.Seconds(x.LagSeconds), screen.Count(x.BehindInputs, "input"), atRisk(&x), cmp.Or(x.Error, "ok"))
		}
	}
	if rows == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return t.Flush(w)
}

func atRisk(t *config.CollectorTarget) string {
	switch {
	case t.AtRiskBytes == nil:
		return ""
	case *t.AtRiskBytes == 0:
		return "none"
	case t.AtRiskSeconds == nil:
		return screen.Size(*t.AtRiskBytes)
	}
	return screen.Size(*t.AtRiskBytes) + " in " + screen.Seconds(*t.AtRiskSeconds)
}

// riskSoon is when what is at risk is something to look at.
const riskSoon = time.Hour

// adviceFor says what is not as it should be, and what to do about it.
func adviceFor(nodes []client.Collector, now time.Time) (advice []string) {
	say := func(format string, args ...any) { advice = append(advice, fmt.Sprintf(format, args...)) }
	usual, differ := usualHash(nodes)
	if usual == "" && differ {
		say("the nodes run different configurations, as long as a change is on its way to them; if that lasts, see their logs")
	}
	for i := range nodes {
		n := &nodes[i]
		if n.AlloyStatus != config.AlloyOnline {
			say("%s: last heard of %s. Is lbshipd running there (systemctl status lbshipd)? If the node is gone for good: lbshipd delete collector %s",
				n.ID, ago(n.LastSeen, now), n.ID)
			continue // the rest of what it said is old
		}
		if n.RemotecfgStatus == config.RemotecfgDown {
			say("%s: cannot reach the configuration store; it ships on by what it knew last", n.ID)
		} else if usual != "" && n.ConfigHash != usual {
			say("%s: runs another configuration (%s) than the other nodes (%s); if that lasts, see its log", n.ID, short(n.ConfigHash), short(usual))
		}
		for _, r := range n.Rejected {
			say("%s: cannot use %s %s: %s", n.ID, r.Kind, r.Name, r.Reason)
		}
		advice = append(advice, targetAdvice(n)...)
		if known := len(n.Rejected) > 0 || len(n.UnhealthyComponents) > 0 || len(n.FailingExporters) > 0; !known && n.PipelineHealth != config.HealthHealthy {
			say("%s: %s: %s", n.ID, strings.ToLower(n.PipelineHealth), n.PipelineError)
		}
	}
	return advice
}

// targetAdvice is about the parts of one node.
func targetAdvice(n *client.Collector) (advice []string) {
	failing := map[string]bool{}
	for _, name := range n.FailingExporters {
		failing[name] = true
	}
	for i := range n.Targets {
		t := &n.Targets[i]
		switch {
		case t.Error != "" || failing[t.Name]:
			advice = append(advice, fmt.Sprintf("%s: target %s takes no records: %s. On that node: lbshipd test target %s", n.ID, t.Name, t.Error, t.Name))
		case t.AtRiskBytes != nil && *t.AtRiskBytes > 0 && t.AtRiskSeconds != nil && *t.AtRiskSeconds < riskSoon.Seconds():
			advice = append(advice, fmt.Sprintf("%s: target %s is behind: what it has not taken begins to be lost in %s. Help it, or let its sources keep more",
				n.ID, t.Name, screen.Seconds(*t.AtRiskSeconds)))
		}
		delete(failing, t.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(failing)) {
		advice = append(advice, fmt.Sprintf("%s: target %s takes no records. On that node: lbshipd test target %s", n.ID, name, name))
	}
	for _, u := range n.UnhealthyComponents {
		if name, isTarget := strings.CutPrefix(u.LocalID, "target/"); isTarget && slices.ContainsFunc(n.Targets, func(t config.CollectorTarget) bool { return t.Name == name }) {
			continue
		}
		advice = append(advice, fmt.Sprintf("%s: %s is %s: %s", n.ID, u.LocalID, u.State, u.Message))
	}
	return advice
}

// usualHash returns the hash that most nodes have, "" if none is more usual than
// all others, and whether they differ.
func usualHash(nodes []client.Collector) (usual string, differ bool) {
	counts := map[string]int{}
	for i := range nodes {
		if nodes[i].AlloyStatus == config.AlloyOnline && nodes[i].ConfigHash != "" {
			counts[nodes[i].ConfigHash]++
		}
	}
	tied := false
	for hash, n := range counts {
		switch {
		case n > counts[usual]:
			usual, tied = hash, false
		case n == counts[usual]:
			tied = true
		}
	}
	if tied {
		usual = ""
	}
	return usual, len(counts) > 1
}
