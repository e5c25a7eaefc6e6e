package monitoring

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func docs(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every field of every alert is there: who is woken at three needs all of it.
func TestAlertsAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range Alerts() {
		if seen[a.Name] || !regexp.MustCompile(`^Lbshipd([A-Z][a-z]+)+$`).MatchString(a.Name) {
			t.Errorf("%s: not a name, or twice", a.Name)
		}
		seen[a.Name] = true
		if a.Severity != Critical && a.Severity != Warning {
			t.Errorf("%s: severity %q", a.Name, a.Severity)
		}
		for field, text := range map[string]string{"Expr": a.Expr, "Summary": a.Summary, "Description": a.Description,
			"Means": a.Means, "Danger": a.Danger, "First": a.First, "Remedy": a.Remedy} {
			if len(text) < 10 || text != strings.TrimSpace(text) {
				t.Errorf("%s: %s is %q", a.Name, field, text)
			}
		}
		if strings.HasSuffix(a.Summary, ".") || strings.Contains(a.Summary, "\n") || !strings.HasSuffix(a.Means, ".") {
			t.Errorf("%s: the summary is a line, what it means are sentences", a.Name)
		}
	}
	for _, word := range regexp.MustCompile(`Lbshipd[A-Z]\w+`).FindAllString(string(Page()), -1) {
		if !seen[word] {
			t.Errorf("the page names %s, which is no alert", word)
		}
	}
}

// runbook_url points to a heading that is there.
func TestRunbooksHaveAPlaceOnThePage(t *testing.T) {
	page := docs(t, "monitoring.md")
	for _, a := range Alerts() {
		anchor, found := strings.CutPrefix(a.URL(RunbookBase), RunbookBase+"#")
		if !found || !strings.Contains(page, "\n### "+a.Name+"\n") || anchor != strings.ToLower(a.Name) {
			t.Errorf("%s: %s", a.Name, a.URL(RunbookBase))
		}
	}
	if !strings.HasSuffix(RunbookBase, "/docs/monitoring.md") || !strings.Contains(page, "sed -i 's|"+RunbookBase+"|") {
		t.Errorf("the page does not say how %s is replaced", RunbookBase)
	}
}

// What a runbook tells to run is a command of lbshipd's, with flags that it has.
func TestRunbooksNameCommandsThatExist(t *testing.T) {
	reference := docs(t, "command-line.md")
	commands := 0
	for _, a := range Alerts() {
		for _, command := range regexp.MustCompile("(?:`|^)(lbshipd [^`]*)").FindAllStringSubmatch(a.First+"\n"+a.Runbook(), -1) {
			words := strings.Fields(placeholders(strings.SplitN(command[1], "\n", 2)[0]))
			commands++
			if !known(reference, words) {
				t.Errorf("%s: docs/command-line.md has no %q", a.Name, strings.Join(words, " "))
			}
		}
	}
	if commands < 20 {
		t.Errorf("only %d commands were found", commands)
	}
}

// known reports whether the reference has a section for the command, and there, or among
// what all commands have, its flags.
func known(reference string, words []string) bool {
	for n := min(3, len(words)); n > 1; n-- {
		_, section, found := strings.Cut(reference, "\n## "+strings.Join(words[:n], " ")+"\n")
		if !found {
			continue
		}
		section, _, _ = strings.Cut(section, "\n## ")
		for _, w := range words[n:] {
			flag, _, _ := strings.Cut(w, "=")
			if strings.HasPrefix(flag, "--") && !strings.Contains(section, "`"+flag+"`") {
				return false
			}
		}
		return true
	}
	return false
}

func TestKnownCommands(t *testing.T) {
	reference := docs(t, "command-line.md")
	for text, want := range map[string]bool{"lbshipd status --output json": true, "lbshipd test target X": true, "lbshipd inspect spool --verify": true,
		"lbshipd status --verify": false, "lbshipd heal": false} {
		if known(reference, strings.Fields(text)) != want {
			t.Errorf("%s: want %v", text, want)
		}
	}
}
