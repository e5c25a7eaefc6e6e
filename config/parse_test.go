package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what is found into the files of testdata; then read the difference")

// TestBad holds configurations that are wrong or odd against the exact lines
// that a user sees. A file of testdata/cases holds cases: "=== NAME", the
// configuration, "--- want", the lines.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var rewritten strings.Builder
		for _, c := range strings.Split("\n"+string(data), "\n=== ")[1:] {
			name, rest, _ := strings.Cut(c, "\n")
			text, want, found := strings.Cut(rest, "\n--- want\n")
			if !found && !*update {
				t.Fatalf("%s: %s has no want", file, name)
			}
			text = expand(t, text+"\n")
			got := strings.ReplaceAll(outcome(text), soon(t), "@SOONDATE@")
			rewritten.WriteString("=== " + name + "\n" + strings.TrimSuffix(rest[:len(rest)-len(want)], "\n--- want\n") + "\n--- want\n" + got + "\n")
			t.Run(name, func(t *testing.T) {
				if diff := cmp.Diff(strings.TrimSpace(want), got); diff != "" && !*update {
					t.Errorf("want - / got +\n%s", diff)
				}
			})
		}
		if *update {
			if err := os.WriteFile(file, []byte(rewritten.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// outcome is what a user sees of a configuration.
func outcome(text string) string {
	c, err := Parse("x.yaml", []byte(text))
	if err != nil {
		return err.Error()
	}
	if len(c.Warnings()) == 0 {
		return "fine"
	}
	var b strings.Builder
	for _, w := range c.Warnings() {
		b.WriteString("warning: " + w.String() + "\n")
	}
	return strings.TrimSpace(b.String())
}

// caseTexts returns the configurations of all cases.
func caseTexts(t testing.TB) (texts []string) {
	files, _ := filepath.Glob("testdata/cases/*.txt")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range strings.Split("\n"+string(data), "\n=== ")[1:] {
			_, rest, _ := strings.Cut(c, "\n")
			text, _, _ := strings.Cut(rest, "\n--- want\n")
			texts = append(texts, expand(t, text+"\n"))
		}
	}
	return texts
}
