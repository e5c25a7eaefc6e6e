package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that docs/reliability.md names is there, in the file it names.
func TestTestsNamedInReliabilityExist(t *testing.T) {
	t.Parallel()
	root := ".."
	page, err := os.ReadFile(filepath.Join(root, "docs", "reliability.md"))
	if err != nil {
		t.Fatal(err)
	}
	where := map[string]string{} // by name of the test, the files that have it
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(text, -1) {
			where[string(m[1])] += " " + filepath.ToSlash(strings.TrimPrefix(path, root+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test\\w+)` \\(([\\w/.]+)\\)").FindAllSubmatch(page, -1)
	for _, m := range named {
		if !strings.Contains(where[string(m[1])]+" ", " "+string(m[2])+"/") {
			t.Errorf("docs/reliability.md names %s in %s; it is in%s", m[1], m[2], where[string(m[1])])
		}
	}
	all := regexp.MustCompile(`\bTest[A-Z]\w+`).FindAll(page, -1)
	if len(named) != len(all) || len(named) < 16 {
		t.Errorf("docs/reliability.md names %d tests, %d of them as `Name` (folder)", len(all), len(named))
	}
}
