package config

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnified gives random diffs to patch, which must make the second text of the first.
func TestUnified(t *testing.T) {
	patch, err := exec.LookPath("patch")
	if err != nil {
		t.Skip("needs patch")
	}
	random := rand.New(rand.NewPCG(1, 2))
	texts := func() (a, b string) {
		var x, y strings.Builder
		for range random.IntN(40) {
			line := fmt.Sprintf("line %d\n", random.IntN(8))
			switch random.IntN(8) {
			case 0:
				x.WriteString(line)
			case 1:
				y.WriteString(line)
			default:
				x.WriteString(line)
				y.WriteString(line)
			}
		}
		return x.String(), y.String()
	}
	for i := range 60 {
		a, b := texts()
		if i == 0 {
			// More than is compared line by line.
			a, b = strings.Repeat("a\nb\n", 3000), strings.Repeat("c\nb\n", 3000)
		}
		diff := unified(a, b)
		if (diff == "") != (a == b) {
			t.Fatalf("diff of %q and %q is %q", a, b, diff)
		}
		if diff == "" {
			continue
		}
		dir := folder(t, map[string]string{"a": a, "diff": "--- a\n+++ a\n" + diff})
		out, err := exec.Command(patch, "-s", "--no-backup-if-mismatch", "-F0", "-o", filepath.Join(dir, "b"), filepath.Join(dir, "a"), filepath.Join(dir, "diff")).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Fatalf("%v: %s\n%q\n%q\n%s", err, out, a, b, diff)
		}
		got, _, err := ReadFile(filepath.Join(dir, "b"), 1<<20)
		if err != nil || string(got) != b {
			t.Fatalf("%v: %q is %q, not %q\n%s", err, a, got, b, diff)
		}
	}
}
