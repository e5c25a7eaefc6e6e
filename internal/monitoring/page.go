package monitoring

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
)

//go:embed monitoring.md
var pageHead string

// label is a template's reference to one of the alert's labels.
var label = regexp.MustCompile(`{{ \$labels\.([a-z_]+) }}`)

// placeholders has a template say TARGET where it names the target.
func placeholders(text string) string {
	return label.ReplaceAllStringFunc(text, func(s string) string { return strings.ToUpper(label.FindStringSubmatch(s)[1]) })
}

// Page returns docs/monitoring.md: how to install all this, and the runbook.
func Page() []byte {
	var b strings.Builder
	b.WriteString(pageHead)
	b.WriteString("\n| alert | severity | for | what is wrong |\n|---|---|---|---|\n")
	for _, a := range Alerts() {
		fmt.Fprintf(&b, "| [%s](%s) | %s | %s | %s |\n", a.Name, a.URL(""), a.Severity, a.For, summary(&a))
	}
	for _, g := range Groups() {
		fmt.Fprintf(&b, "\n## %s\n", g.Title)
		for _, r := range g.Rules {
			fmt.Fprintf(&b, "\nRecorded each minute: `%s` is `%s`.\n", r.Record, r.Expr)
		}
		for i := range g.Alerts {
			writeAlert(&b, &g.Alerts[i])
		}
	}
	return []byte(b.String())
}

// summary is the alert's, without what only a firing one can say.
func summary(a *Alert) string {
	text, _, _ := strings.Cut(placeholders(a.Summary), " in {{")
	return text
}

func writeAlert(b *strings.Builder, a *Alert) {
	fmt.Fprintf(b, "\n### %s\n\n", a.Name)
	lasting := "fires at once"
	if a.For != "" {
		lasting = "fires when it has held for " + a.For
	}
	fmt.Fprintf(b, "%s. **%s**, %s.\n\n", summary(a), a.Severity, lasting)
	fmt.Fprintf(b, "- **What it means**: %s\n- **In danger**: %s\n- **First**: `%s`\n- **Remedy**: %s\n\n",
		placeholders(a.Means), placeholders(a.Danger), placeholders(a.First), placeholders(a.Remedy))
	fmt.Fprintf(b, "```\n%s\n```\n", a.Expr)
}
