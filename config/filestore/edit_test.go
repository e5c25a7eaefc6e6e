package filestore

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lbshipd/lbshipd/config"
)

var update = flag.Bool("update", false, "write what is found into the files of testdata; then read the difference")

// objectsOf reads a file's objects.
func objectsOf(t testing.TB, text []byte) []config.Stored {
	t.Helper()
	objects, err := config.ParseObjects("x.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range objects {
		if s.Err != nil {
			t.Fatal(s.Err)
		}
	}
	return objects
}

// editOf makes the changes that a text asks for: "delete KIND NAME" lines, and
// what config.DecodeAll takes.
func editOf(t testing.TB, text []byte, wanted string) ([]byte, error) {
	t.Helper()
	var changes []config.Change
	var rest []string
	for _, line := range strings.Split(wanted, "\n") {
		var kind, name string
		if n, _ := fmt.Sscanf(line, "delete %s %s", &kind, &name); n == 2 {
			k, _ := config.ParseKind(kind)
			changes = append(changes, config.Change{Kind: k, Name: name})
			continue
		}
		rest = append(rest, line)
	}
	if given := strings.TrimSpace(strings.Join(rest, "\n")); given != "" {
		more, err := config.DecodeAll("wanted", []byte(given))
		if err != nil {
			t.Fatal(err)
		}
		changes = append(changes, more...)
	}
	objects := objectsOf(t, text)
	after, effective, _, err := config.Plan(objects, changes)
	if err != nil {
		t.Fatal(err)
	}
	out, err := edit(text, objects, after, effective)
	if err == nil && !holds(out, after) {
		t.Errorf("holds something else\n%s", out)
	}
	return out, err
}

// TestEdit holds edited files against what they are to be, letter by letter. A file of testdata/edit
// holds cases: "=== NAME", the file, "--- change", what is changed, "--- want", the file after it.
func TestEdit(t *testing.T) {
	files, err := filepath.Glob("testdata/edit/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		must(t, err)
		var rewritten strings.Builder
		for _, c := range strings.Split("\n"+string(data), "\n=== ")[1:] {
			name, rest, _ := strings.Cut(c, "\n")
			text, rest, _ := strings.Cut(rest, "\n--- change\n")
			change, want, _ := strings.Cut(rest+"\n", "\n--- want\n")
			want = strings.TrimSuffix(want, "\n")
			got, err := editOf(t, []byte(text+"\n"), change)
			if err != nil {
				got = []byte(err.Error() + "\n")
			}
			rewritten.WriteString("=== " + name + "\n" + text + "\n--- change\n" + strings.TrimSuffix(change, "\n") + "\n--- want\n" + string(got))
			t.Run(name, func(t *testing.T) {
				if diff := cmp.Diff(strings.TrimRight(want, "\n"), strings.TrimRight(string(got), "\n")); diff != "" && !*update {
					t.Errorf("want - / got +\n%s\n%s", diff, got)
				}
			})
		}
		if *update {
			must(t, os.WriteFile(file, []byte(rewritten.String()), 0o644))
		}
	}
}

// TestEditLineBreaks: a file keeps its line breaks, its byte order mark, and an end without one.
func TestEditLineBreaks(t *testing.T) {
	for _, text := range []string{
		"sources:\r\n- name: a # x\r\n  journald: {}\r\ntargets:\r\n# end\r\n- {name: b, stdout: {}}",
		"\ufeffsources:\n- name: a # x\n  journald: {}\ntargets:\n# end\n- {name: b, stdout: {}}",
		"sources: # \u2028# x\n- name: a # x\n  journald: {}\ntargets:\n# end \u0085- {name: b, stdout: {}}\n\n\n",
	} {
		got, err := editOf(t, []byte(text), "sources: [{name: a, journald: {}, minLevel: info}]\ntargets: [{name: c, stdout: {format: json}}]")
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		newline := "\n"
		if strings.Contains(text, "\r") {
			newline = "\r\n"
		}
		want := strings.Replace(text, "journald: {}", "journald: {}"+newline+"  minLevel: info", 1)
		want = strings.Replace(want, "- {name: b, stdout: {}}", "- {name: b, stdout: {}}"+strings.Join([]string{"", "- name: c", "  stdout:", "    format: json"}, newline), 1)
		if string(got) != want {
			t.Errorf("%q\nis  %q\nnot %q", text, got, want)
		}
	}
}

// TestEditNothing leaves every example as it is.
func TestEditNothing(t *testing.T) {
	files, err := filepath.Glob("../../docs/examples/*.yaml")
	must(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		objects := objectsOf(t, text)
		out, err := edit(text, objects, objects, nil)
		if err != nil || !bytes.Equal(text, out) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
