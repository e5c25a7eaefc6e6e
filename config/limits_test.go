package config

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// parseError returns what is wrong with a configuration.
func parseError(t *testing.T, text string) string {
	t.Helper()
	_, err := Parse("x.yaml", []byte(text))
	if err == nil {
		t.Fatal("nothing is wrong with it")
	}
	var problems Problems
	if !errors.As(err, &problems) || len(problems) == 0 {
		t.Fatalf("error is a %T", err)
	}
	return err.Error()
}

func wantError(t *testing.T, text, want string) {
	t.Helper()
	if got := parseError(t, text); !strings.Contains(got, want) {
		t.Errorf("got %.300s\nwant %s", got, want)
	}
}

func TestLimits(t *testing.T) {
	many := func(item string, n int) string { return strings.Repeat(item, n) }
	objects := func(n int) string {
		var b strings.Builder
		b.WriteString("sources:\n")
		for i := range n {
			fmt.Fprintf(&b, "- {name: s%d, journald: {}}\n", i)
		}
		return b.String()
	}
	if _, err := Parse("x.yaml", []byte(objects(maxObjects))); err != nil {
		t.Errorf("%d sources: %.200s", maxObjects, err)
	}
	wantError(t, objects(maxObjects+1), `x.yaml:1: sources: has 1001 items, more than 1000`)
	wantError(t, "sources: [{name: x, journald: {units: ["+many("a,", maxItems+1)+"]}}]", "journald.units: has 1001 items, more than 1000")
	wantError(t, "sources: []\n#"+many("x", MaxFileBytes), "more than 4194304")
	wantError(t, "sources: [{name: x, timeZone: "+many("x", maxText+1)+"}]", "timeZone: is 65537 bytes long, more than 65536")
	wantError(t, "tlsBundles: [{name: x, caPem: "+many("x", maxPEM+1)+"}]", "caPem: is 1048577 bytes long, more than 1048576")
	wantError(t, "formats: [{name: x, regex: '(?P<x>"+many("x", maxRegex)+")'}]", "regex: is 4103 bytes long, more than 4096")
	wantError(t, "targets: [{name: x, loki: {url: 'https://"+many("x", maxURL)+"'}}]", "url: URL is 2056 bytes long, more than 2048")
	wantError(t, "sources: [{name: x, journald: {units: [\""+many("x", 256)+"\"]}}]", "units[0]: unit is 256 bytes long")

	got := strings.Split(parseError(t, "sources:\n"+many("- 5\n", maxObjects)), "\n")
	if len(got) != maxProblems+1 || got[maxProblems] != "x.yaml:502: 500 more problems from here on" {
		t.Errorf("%d lines, the last is %q", len(got), got[len(got)-1])
	}
}

// What an alias brings in many times is wrong once.
func TestMistakesAreSaidOnce(t *testing.T) {
	var b strings.Builder
	b.WriteString("sources:\n- {name: s0, journald: {}, labels: &l0 {a: b}}\n")
	for i := 1; i <= 12; i++ {
		fmt.Fprintf(&b, "- {name: s%d, journald: {}, labels: &l%d {<<: [*l%d, *l%d]}}\n", i, i, i-1, i-1)
	}
	seen := map[string]bool{}
	for line := range strings.SplitSeq(parseError(t, b.String()), "\n") {
		if seen[line] {
			t.Fatalf("said again: %s", line)
		}
		seen[line] = true
	}
}

// TestBombs parses texts that are small and stand for something large.
func TestBombs(t *testing.T) {
	var laughs strings.Builder
	laughs.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&laughs, "a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), i-1)
	}
	list := "[" + strings.Repeat("a,", maxItems) + "]"
	bombs := map[string]struct{ text, want string }{
		"laughs":          {laughs.String() + "sources: *a11", `x.yaml:12: source number 1: must be fields (name: value), is a list`},
		"wide aliases":    {"x: &x {name: a, journald: {units: " + list + "}}\nsources: [" + strings.Repeat("*x,", maxObjects) + "]", "more than 200000 values"},
		"long aliases":    {"x: &x " + strings.Repeat("a", maxText) + "\nsources: [{name: a, journald: {units: [" + strings.Repeat("*x,", maxItems) + "]}}]", "more than 200000 values or 33554432 bytes"},
		"merges":          {"x: &x {" + strings.Repeat("a: b, ", maxItems) + "}\nsources: [{<<: [" + strings.Repeat("*x,", 10*maxItems) + "]}]", "more than 200000 values"},
		"deep list":       {strings.Repeat("[", 1<<20), "exceeded max depth"},
		"deep mapping":    {strings.Repeat("{a: ", 1<<20), "exceeded max depth"},
		"deep indents":    {deepIndents(2000), "unknown field"},
		"deep in a field": {"sources: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "is a list"},
	}
	for name, bomb := range bombs {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got := parseError(t, bomb.text)
			runtime.ReadMemStats(&after)
			if strings.Count(got, bomb.want) != 1 {
				t.Errorf("got %.300s\nwant once %s", got, bomb.want)
			}
			if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 400 {
				t.Errorf("%d MiB were allocated for %d bytes", used, len(bomb.text))
			}
		})
	}
}

func deepIndents(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// FuzzParse demands of any input: no panic, and problems that say where.
func FuzzParse(f *testing.F) {
	for _, c := range caseTexts(f) {
		f.Add([]byte(c))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("x.yaml", data)
		if err != nil {
			lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + 1
			lines += strings.Count(string(data), "\u0085") + strings.Count(string(data), "\u2028") + strings.Count(string(data), "\u2029")
			var problems Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("error is a %T", err)
			}
			for _, p := range problems {
				if p.Line < 1 || p.Line > lines || p.Message == "" || p.File != "x.yaml" || strings.ContainsAny(p.String(), "\n\r") {
					t.Fatalf("problem %+v of %d lines", p, lines)
				}
			}
			return
		}
		// What is accepted survives being written and read again. Secrets do not.
		for i := range c.Targets {
			if l := c.Targets[i].Loki; l != nil && (l.BearerToken != "" || l.BasicAuth != nil) {
				return
			}
		}
		if len(c.TLSBundles) > 0 {
			return
		}
		text, err := c.RedactedYAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("again", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		for i := range c.Sources {
			if !SourceEqual(&c.Sources[i], &again.Sources[i], c.Formats, again.Formats) {
				t.Fatalf("source %d differs\n%s", i, text)
			}
		}
		for i := range c.Targets {
			if !TargetEqual(&c.Targets[i], &again.Targets[i], c.TLSBundles, again.TLSBundles) {
				t.Fatalf("target %d differs\n%s", i, text)
			}
		}
	})
}
