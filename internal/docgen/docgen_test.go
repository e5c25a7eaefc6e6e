package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/config"
)

func TestPagesAreFresh(t *testing.T) {
	if err := run(true); err != nil {
		t.Error(err)
	}
}

// TestExamplesParse parses the example of every object.
func TestExamplesParse(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := readObjects(filepath.Join(root, "config", "objects.go"))
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) < 10 {
		t.Errorf("only %d objects", len(objects))
	}
	for _, o := range objects {
		if _, err := config.Parse(o.name, []byte(o.example)); err != nil {
			t.Error(err)
		}
	}
}

// TestUndocumentedIsAnError: what a page needs and the code does not say must
// not be left out silently.
func TestUndocumentedIsAnError(t *testing.T) {
	for name, text := range map[string]string{
		"no doc comment":   "package p\n\ntype A struct {\n\t// Text.\n\tB string `json:\"b\"`\n}\n",
		"no example":       "package p\n\n// A is.\ntype A struct {\n\t// Text.\n\tB string `json:\"b\"`\n}\n",
		"undocumented":     "package p\n\n// A is.\n//\n//\ta: b\ntype A struct {\n\tB string `json:\"b\"`\n}\n",
		"no name in files": "package p\n\n// A is.\n//\n//\ta: b\ntype A struct {\n\t// Text.\n\tB string `default:\"b\"`\n}\n",
	} {
		file := filepath.Join(t.TempDir(), "x.go")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readObjects(file); err == nil || !strings.Contains(err.Error(), "doc comment") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWordsAreThoseOfTheCode holds the words that doc comments list against
// those that the code takes.
func TestWordsAreThoseOfTheCode(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	page, err := configuration(root)
	if err != nil {
		t.Fatal(err)
	}
	for field, words := range map[string][]string{"logFormat": config.LogFormats(), "facility": config.Facilities()} {
		_, row, found := strings.Cut(string(page), "| `"+field+"` |")
		if !found {
			t.Fatalf("%s is not on the page", field)
		}
		row, _, _ = strings.Cut(row, "\n")
		row = strings.Replace(row, "local0 to local7", "local0 local1 local2 local3 local4 local5 local6 local7", 1)
		listed := map[string]bool{}
		for _, word := range strings.FieldsFunc(row, func(r rune) bool { return strings.ContainsRune(" ,.:|", r) }) {
			listed[word] = true
		}
		for _, word := range words {
			if !listed[word] {
				t.Errorf("%s takes %q, which its doc comment does not list", field, word)
			}
		}
	}
}
