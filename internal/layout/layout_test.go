// Package layout holds the test that imports run downward only, as section 3
// of docs/design.md says.
package layout

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/lbshipd/lbshipd/"

// allowed says which of our houses each house may import; its own rooms always.
var allowed = map[string][]string{
	"record":    {},
	"internal":  {},
	"parse":     {"record"},
	"config":    {"record", "internal"},
	"positions": {"record", "internal"},
	"spool":     {"record"},
	"sources":   {"record", "config", "positions", "internal"},
	"sinks":     {"record", "config", "internal"},
	"pipeline":  {"record", "config", "positions", "deadletters", "spool", "sources", "parse", "sinks", "internal"},
	"admin":     {"record", "config", "positions", "pipeline", "internal"},
	"cmd":       {"record", "config", "positions", "deadletters", "spool", "sources", "parse", "sinks", "pipeline", "admin", "internal"},

	"deadletters": {"record", "internal"},
	"packaging":   {},
}

// exceptions are files that are tools and test rigs, not parts of the daemon.
func exempt(path string) bool {
	return strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "internal/testbed/") || strings.HasPrefix(path, "internal/docgen/")
}

func TestImportsRunDownward(t *testing.T) {
	root := filepath.Join("..", "..")
	checked := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() {
			if rel == "e2e" || rel == "bench" || rel == "bin" || rel == ".git" || d.Name() == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || exempt(rel) {
			return nil
		}
		checked++
		house, _, _ := strings.Cut(rel, "/")
		rule, ok := allowed[house]
		if !ok {
			t.Errorf("%s: %s is no house of docs/design.md section 3", rel, house)
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range file.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			ours, ok := strings.CutPrefix(name, module)
			if !ok {
				continue
			}
			other, _, _ := strings.Cut(ours, "/")
			if other != house && !slices.Contains(rule, other) {
				t.Errorf("%s imports %s: %s may import %v of ours", rel, ours, house, rule)
			}
			if strings.HasPrefix(ours, "internal/testbed") || strings.HasPrefix(ours, "internal/docgen") {
				t.Errorf("%s imports %s, which is for tests and tools", rel, ours)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < 10 {
		t.Errorf("only %d files were looked at", checked)
	}
}
