//go:build !appliance

package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
)

// pages are README.md and the pages of docs/, by their path from the root of the module.
func pages(t *testing.T) map[string]string {
	t.Helper()
	root := filepath.Join("..", "..")
	paths, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(paths) < 10 {
		t.Fatalf("%d pages, %v", len(paths), err)
	}
	out := map[string]string{}
	for _, path := range append(paths, filepath.Join(root, "README.md")) {
		name, _ := filepath.Rel(root, path)
		out[name] = readText(t, path)
	}
	return out
}

var (
	link     = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.*)$`)
	explicit = regexp.MustCompile(`<a (?:id|name)="([^"]+)">`)
	markup   = regexp.MustCompile("\\[([^]]*)\\]\\([^)]*\\)")
	fence    = regexp.MustCompile("(?ms)^ *```([a-z]*)\n(.*?)^ *```")
	code     = regexp.MustCompile("`[^`\n]*`")
	inline   = regexp.MustCompile("`(lbshipd [^`\n]+)`")
)

// anchors are what links to a page may name: its headings as GitHub writes them, and marks.
func anchors(text string) map[string]bool {
	out := map[string]bool{}
	for _, m := range explicit.FindAllStringSubmatch(text, -1) {
		out[m[1]] = true
	}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(markup.ReplaceAllString(m[1], "$1")))
		for n, name := 1, slug; ; n++ {
			if !out[name] {
				out[name] = true
				break
			}
			name = fmt.Sprintf("%s-%d", slug, n)
		}
	}
	return out
}

// Every relative link leads to a file that is there, and to a heading in it.
func TestLinksOfTheDocsLeadSomewhere(t *testing.T) {
	checked := 0
	all := pages(t)
	for page, text := range all {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(fence.ReplaceAllString(text, ""), ""), -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %s is no link: %v", page, m[1], err)
				continue
			}
			if u.Scheme != "" {
				continue
			}
			checked++
			to := page
			if u.Path != "" {
				to = filepath.Join(filepath.Dir(page), u.Path)
			}
			if _, err := os.Stat(filepath.Join("..", "..", to)); err != nil {
				t.Errorf("%s: %s leads nowhere: %v", page, m[1], err)
				continue
			}
			if u.Fragment != "" && strings.HasSuffix(to, ".md") {
				target, ok := all[to]
				if !ok {
					target = readText(t, filepath.Join("..", "..", to))
				}
				if !anchors(target)[u.Fragment] {
					t.Errorf("%s: %s: %s has no heading #%s", page, m[1], to, u.Fragment)
				}
			}
		}
	}
	if checked < 30 {
		t.Errorf("only %d links were checked", checked)
	}
}

// commandsOf are the command lines of lbshipd in a page: in blocks of code, where those that show output as well
// (console) begin commands with $, and in the running text.
func commandsOf(text string) (lines []string) {
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		body := strings.ReplaceAll(m[2], "\\\n", " ")
		for line := range strings.Lines(body) {
			line = strings.TrimSpace(line)
			command, isCommand := strings.CutPrefix(line, "$ ")
			if m[1] == "console" && !isCommand {
				continue
			}
			lines = append(lines, command)
		}
	}
	for _, m := range inline.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		lines = append(lines, m[1])
	}
	return lines
}

// parts takes the commands of a shell's line apart.
var parts = regexp.MustCompile(`\s#\s.*$|&&|\|\||[|;]|\$\(`)

var variable = regexp.MustCompile(`^[A-Z_]+=`)

// wrong says what of a command line does not exist; ok is false if it is none of lbshipd's.
func wrong(line string) (problem string, ok bool) {
	words := strings.Fields(line)
	for len(words) > 0 && (words[0] == "sudo" || words[0] == "exec" || variable.MatchString(words[0])) {
		words = words[1:]
	}
	if len(words) == 0 || words[0] != "lbshipd" && words[0] != "bin/lbshipd" && words[0] != "/usr/bin/lbshipd" {
		return "", false
	}
	words = slices.DeleteFunc(words[1:], func(w string) bool { return w == "..." || strings.HasPrefix(w, ">") || strings.HasPrefix(w, "2>") })
	c, rest, err := newRoot().Find(words)
	if err != nil {
		return err.Error(), true
	}
	c.InitDefaultHelpFlag()
	first := true
	for _, w := range rest {
		w = strings.TrimRight(w, `)"'.,:]`)
		switch {
		case strings.HasPrefix(w, "--") && len(w) > 2:
			name, _, _ := strings.Cut(w[2:], "=")
			if c.Flags().Lookup(name) == nil && c.InheritedFlags().Lookup(name) == nil {
				return fmt.Sprintf("%s has no flag --%s", c.CommandPath(), name), true
			}
		case strings.HasPrefix(w, "-") && len(w) > 1 && !strings.HasPrefix(w, "--"):
			if c.Flags().ShorthandLookup(w[1:2]) == nil {
				return fmt.Sprintf("%s has no flag %s", c.CommandPath(), w[:2]), true
			}
		case first && c.HasAvailableSubCommands() && !slices.ContainsFunc(c.Commands(), func(s *cobra.Command) bool { return s.Name() == w }):
			return fmt.Sprintf("%s has no command %q", c.CommandPath(), w), true
		}
		first = false
	}
	return "", true
}

// Every command line in the docs names a command that there is, with flags that it has.
func TestCommandsOfTheDocsExist(t *testing.T) {
	checked := 0
	for page, text := range pages(t) {
		if page == filepath.Join("docs", "command-line.md") {
			continue // made from the commands
		}
		for _, line := range commandsOf(text) {
			for _, command := range parts.Split(line, -1) {
				problem, ok := wrong(strings.TrimSpace(command))
				if ok {
					checked++
				}
				if problem != "" {
					t.Errorf("%s: %s: %s", page, line, problem)
				}
			}
		}
	}
	if checked < 60 {
		t.Errorf("only %d command lines were checked", checked)
	}
}

// The checks themselves find what is wrong.
func TestWrongCommandsAndAnchorsAreSeen(t *testing.T) {
	for line, want := range map[string]string{
		"lbshipd stauts":                        `has no command "stauts"`,
		"sudo lbshipd status --nope":            "no flag --nope",
		"lbshipd create pod x":                  `has no command "pod"`,
		"lbshipd replay -x":                     "no flag -x",
		"LBSHIPD_JWT=x lbshipd status --all":    "",
		"lbshipd create target x --loki-url=y":  "",
		"lbshipd inspect positions -o json ...": "",
	} {
		problem, ok := wrong(line)
		if !ok || want == "" && problem != "" || !strings.Contains(problem, want) {
			t.Errorf("%s: %q, want %q", line, problem, want)
		}
	}
	if _, ok := wrong("systemctl status lbshipd"); ok {
		t.Error("that is no command of ours")
	}
	got := anchors("# What `does` it do?\n## Same\n## Same\n<a id=\"x\"></a>\n```\n# no heading\n```\n")
	for _, want := range []string{"what-does-it-do", "same", "same-1", "x"} {
		if !got[want] {
			t.Errorf("no anchor %s in %v", want, got)
		}
	}
	if got["no-heading"] {
		t.Error("a remark in a block of code is taken for a heading")
	}
}
