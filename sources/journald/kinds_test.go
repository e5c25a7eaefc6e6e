package journald

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

func TestEveryKindOfFile(t *testing.T) {
	t.Parallel()
	for _, compress := range []byte{0, compressedXZ, compressedLZ4, compressedZstd} {
		for _, compact := range []bool{false, true} {
			for _, keyed := range []bool{false, true} {
				name := fmt.Sprintf("compress=%d compact=%v keyed=%v", compress, compact, keyed)
				t.Run(name, func(t *testing.T) {
					dir := t.TempDir()
					path := filepath.Join(dir, "system.journal")
					newJournalWriter(t, compress, compact, keyed, name).writeSome(path, 350)
					if out, err := exec.Command("journalctl", "--verify", "--file", path).CombinedOutput(); err != nil {
						t.Fatalf("journalctl --verify: %v: %s", err, out)
					}
					want := journalctl(t, "--file", path, "-o", "export")
					if n := bytes.Count(want, []byte("__CURSOR=")); n != 350 {
						t.Fatalf("journalctl shows %d entries", n)
					}
					sameOutput(t, inspect(t, InspectOptions{Files: []string{path}}), want)
					sameOutput(t, inspect(t, InspectOptions{Files: []string{path}, Units: []string{"unit3", "unit1?*"}}),
						journalctl(t, "--file", path, "-o", "export", "-u", "unit3", "-u", "unit1?*"))
				})
			}
		}
	}
}

func TestJSONAndCat(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fabricate(t, dir, "system.journal", 400, 0, testbed.JournalLayout{Compact: true, Compress: true})
	sameOutput(t, inspect(t, InspectOptions{Directories: []string{dir}, Output: "cat"}), journalctl(t, "-D", dir, "-o", "cat"))
	got := parseJSON(t, inspect(t, InspectOptions{Directories: []string{dir}, Output: "json"}))
	want := parseJSON(t, journalctl(t, "-D", dir, "-o", "json"))
	if len(want) != 400 {
		t.Fatalf("journalctl shows %d entries", len(want))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("journalctl (-) and ours (+) differ:\n%.3000s", diff)
	}
	// Byte for byte too: only the order of an object's fields is journalctl's own.
	if a, b := len(inspect(t, InspectOptions{Directories: []string{dir}, Output: "json"})), len(journalctl(t, "-D", dir, "-o", "json")); a != b {
		t.Errorf("ours is %d bytes long, journalctl's %d", a, b)
	}
}

func parseJSON(t testing.TB, b []byte) (objects []map[string]any) {
	t.Helper()
	for line := range bytes.Lines(b) {
		var o map[string]any
		if err := json.Unmarshal(line, &o); err != nil {
			t.Fatalf("%v: %.200q", err, line)
		}
		objects = append(objects, o)
	}
	return objects
}

func TestJSONThreshold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var export []byte
	for i, n := range []int{4086, 4087, 4088, 4089, 5000} {
		export = testbed.AppendExport(export, testStart+uint64(i), uint64(i)+1, testBoot,
			testbed.Field{Name: "MESSAGE", Value: string(bytes.Repeat([]byte{'x'}, n))},
			testbed.Field{Name: "ODD", Value: "quote \" backslash \\ tab \t bell \a del \x7f slash / nel \u0085 nonchar \ufdd0 \ufffe"},
			testbed.Field{Name: "TEXT", Value: "quote \" backslash \\ tab \t slash / <&> \u2028 é"},
			testbed.Field{Name: "LINES", Value: "a\nb\r\n"})
	}
	testbed.FabricateJournal(t, filepath.Join(dir, "a.journal"), bytes.NewReader(export), testbed.JournalLayout{})
	got := parseJSON(t, inspect(t, InspectOptions{Directories: []string{dir}, Output: "json"}))
	want := parseJSON(t, journalctl(t, "-D", dir, "-o", "json"))
	if diff := cmp.Diff(want, got); diff != "" || len(want) != 5 {
		t.Errorf("journalctl (-) and ours (+) differ:\n%.3000s", diff)
	}
	sameOutput(t, inspect(t, InspectOptions{Directories: []string{dir}}), journalctl(t, "-D", dir, "-o", "export"))
}

func TestUnitNamesAsJournalctlTakesThem(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"foo": "foo.service", "foo.socket": "foo.socket", "foo.bar": "foo.bar.service", "a@b": "a@b.service",
		"/home/x": "home-x.mount", "/dev/sda1": "dev-sda1.device", "foo*": "foo*", "fo o": `fo\x20o.service`,
		"user-1000.slice": "user-1000.slice", "/": "-.mount", "a/b": "a-b.service",
	} {
		if got, err := mangleUnit(in); got != want || err != nil {
			t.Errorf("%q becomes %q (%v), want %q", in, got, err, want)
		}
	}
}

func TestGlobs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"a*c", "abbc", true}, {"a*c", "abb", false}, {"?", "é", true}, {"a?c", "ac", false},
		{"[a-c]x", "bx", true}, {"[!a-c]x", "bx", false}, {"[]x]", "]", true}, {"[a", "[a", true}, {"a*b*c", "aXbYbZc", true},
		{"*.service", "foo.service", true}, {"**a", "ba", true}, {`\*`, `\x`, true}, {"[a-]", "-", true},
	} {
		if got := matchGlob(c.pattern, c.s); got != c.want {
			t.Errorf("%q on %q: %v", c.pattern, c.s, got)
		}
	}
}
