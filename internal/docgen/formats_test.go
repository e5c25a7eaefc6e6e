package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/parse"
)

// docs/formats.md is written by hand; no format may be missing on it.
func TestEveryFormatIsOnItsPage(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "formats.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range parse.Names() {
		if !strings.Contains(string(page), "| `"+name+"` ") {
			t.Errorf("docs/formats.md has no row for %s", name)
		}
	}
}
