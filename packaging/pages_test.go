package packaging

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Pages in the package name no page that is not in it.
func TestPagesOfThePackageAreTogether(t *testing.T) {
	script, err := os.ReadFile("build.sh")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`cp docs/\{([^}]*)\}\.md`).FindSubmatch(script)
	if list == nil {
		t.Fatal("build.sh copies no pages")
	}
	pages := strings.Split(string(list[1]), ",")
	for _, page := range pages {
		text, err := os.ReadFile(filepath.Join("../docs", page+".md"))
		if err != nil {
			t.Error(err)
		}
		for _, link := range regexp.MustCompile(`\]\(([a-z-]+)\.md[)#]`).FindAllSubmatch(text, -1) {
			if !slices.Contains(pages, string(link[1])) {
				t.Errorf("%s.md names %s.md, which is not in the package", page, link[1])
			}
		}
	}
}
