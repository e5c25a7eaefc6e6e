package ctl

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/config"
)

// editor makes an editor of shell scripts, the next one each time that it is run.
// What each was given is kept as seen.1, seen.2, ... in dir.
func editor(t *testing.T, scripts ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for i, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("script.%d", i+1)), []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	main := fmt.Sprintf(`#!/bin/sh
cd %q
n=$(($(cat n 2>/dev/null || echo 0) + 1))
echo $n > n
cp "$2" seen.$n
stat -c '%%a %%n' "$2" "$(dirname "$2")" > modes.$n
[ "$1" = --flag ] || exit 3
f="$2" . ./script.$n
`, dir)
	path := filepath.Join(dir, "my editor.sh")
	if err := os.WriteFile(path, []byte(main), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VISUAL", "")
	t.Setenv("EDITOR", `"`+path+`" --flag`)
	t.Setenv("TMPDIR", t.TempDir())
	return dir
}

func seen(t *testing.T, dir string, n int) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("seen.%d", n)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// runs returns how often the editor was run.
func runs(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "n"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// nothingLeft checks that no text stays behind.
func nothingLeft(t *testing.T) {
	t.Helper()
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

var keptIn = regexp.MustCompile(`kept in (\S+\.yaml)`)

// kept returns the text that a command says it has kept, which only its owner can read.
func kept(t *testing.T, says string) string {
	t.Helper()
	found := keptIn.FindStringSubmatch(says)
	if found == nil {
		t.Fatalf("no path is said: %s", says)
	}
	info, err := os.Stat(found[1])
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	text, err := os.ReadFile(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func newEdited(t *testing.T) *rig {
	g := newRig(t)
	g.must("create", "target", "loki", "--loki-url", "http://localhost:3100", "--loki-bearer-token", "@"+file(t, "token", "s3cret"))
	return g
}

func TestEdit(t *testing.T) {
	g := newEdited(t)
	// As editors do, the file is written anew, readable by all.
	dir := editor(t, `sed 's,3100,&/push,' "$f" > new; chmod 644 new; mv new "$f"`)
	if out := g.must("edit", "target", "loki"); out != "target/loki updated\n" {
		t.Error(out)
	}
	g.wantGiven(config.KindTarget, "loki", `{"name":"loki","loki":{"url":"http://localhost:3100/push","bearerToken":"s3cret"}}`)
	want := fmt.Sprintf(header, "target/loki") + "\nname: loki\nloki:\n  url: http://localhost:3100\n  bearerToken: (hidden)\n"
	if text := seen(t, dir, 1); text != want {
		t.Errorf("the editor was given\n%s\nwant\n%s", text, want)
	}
	modes, _ := os.ReadFile(filepath.Join(dir, "modes.1"))
	if lines := strings.Split(string(modes), "\n"); !strings.HasPrefix(lines[0], "600 ") || !strings.HasPrefix(lines[1], "700 ") {
		t.Errorf("modes %s", modes)
	}
	nothingLeft(t)
}

func TestEditWithoutAChange(t *testing.T) {
	g := newEdited(t)
	for _, script := range []string{"true", `echo >> "$f"`, `sed -i /^#/d "$f"`} {
		editor(t, script)
		if out := g.must("edit", "target/loki"); out != "target/loki unchanged\n" {
			t.Errorf("%s: %s", script, out)
		}
		nothingLeft(t)
	}
	if revisions, err := g.store.History(t.Context()); err != nil || len(revisions) != 1 {
		t.Errorf("something was written: %v %v", revisions, err)
	}
}

// What is wrong comes back with its reason, and the text as it was written.
func TestEditIsOpenedAgainOnErrors(t *testing.T) {
	g := newEdited(t)
	dir := editor(t, `echo 'queueBites: 16MiB' >> "$f"`, `sed -i s/queueBites/queueBytes/ "$f"; sed -i 's/tenant/x/; s/bearerToken:.*/&\n  tlsBundle: missing/' "$f"`, `sed -i '/^ *tlsBundle/d' "$f"`)
	r := g.run("edit", "target", "loki")
	if r.code != 0 || !strings.HasSuffix(r.out, "target/loki updated\n") {
		t.Fatalf("%+v", r)
	}
	if text := seen(t, dir, 2); !strings.Contains(text, "# loki.yaml:") || !strings.Contains(text, `did you mean "queueBytes"?`) || !strings.Contains(text, "\nqueueBites: 16MiB\n") {
		t.Error(text)
	}
	if text := seen(t, dir, 3); !strings.Contains(text, "missing") || strings.Contains(text, "did you mean") || strings.Count(text, "# Save and leave") != 1 {
		t.Error(text)
	}
	g.wantGiven(config.KindTarget, "loki", `{"name":"loki","loki":{"url":"http://localhost:3100","bearerToken":"s3cret"},"queueBytes":"16MiB"}`)
	nothingLeft(t)
}

// An editor that cannot put it right is not run for ever, and nothing is lost.
func TestEditKeepsWhatIsGivenUp(t *testing.T) {
	g := newEdited(t)
	dir := editor(t, `echo 'color: red' >> "$f"; chmod 644 "$f"`, "true")
	r := g.run("edit", "target", "loki")
	wantFailure(t, r, 1, "given up", "lbshipd apply")
	if text := kept(t, r.err); !strings.Contains(text, "color: red") || runs(t, dir) != "2" {
		t.Errorf("%s runs: %s", runs(t, dir), text)
	}

	editor(t, `echo 'color: red' >> "$f"; chmod 644 "$f"; exit 1`)
	r = g.run("edit", "target", "loki")
	wantFailure(t, r, 1, "ended with an error")
	if text := kept(t, r.err); !strings.Contains(text, "color: red") {
		t.Error(text)
	}

	// As sed would, in the notes too.
	dir = editor(t, `sed -i 's/^name: loki/nome: loki/; s/name/nome/' "$f"`, `sed -i 's/"name"/"nome"/' "$f"`, `sed -i 's/"name"/"nome"/' "$f"`)
	wantFailure(t, g.run("edit", "target", "loki"), 1, "given up")
	if runs(t, dir) != "2" {
		t.Errorf("%s runs of an editor that changes the notes alone", runs(t, dir))
	}

	editor(t, "exit 1")
	wantFailure(t, g.run("edit", "target", "loki"), 1, "ended with an error", "VISUAL or EDITOR")
	nothingLeft(t)

	editor(t, `: > "$f"`)
	wantFailure(t, g.run("edit", "target", "loki"), 1, "the text is empty", "lbshipd delete target loki")

	editor(t, `sed -i 's/^name: loki/name: other/' "$f"`, "true")
	wantFailure(t, g.run("edit", "target", "loki"), 1, "given up")

	t.Setenv("EDITOR", "/nonexistent/editor")
	wantFailure(t, g.run("edit", "target", "loki"), 1, "/nonexistent/editor", "VISUAL or EDITOR")
	g.fails(1, []string{`"nobody"`}, "edit", "target", "nobody")
	g.fails(2, []string{"takes one KIND NAME"}, "edit", "target")
	g.wantGiven(config.KindTarget, "loki", `{"name":"loki","loki":{"url":"http://localhost:3100","bearerToken":"s3cret"}}`)
}

// The store goes away while one writes: what was written is kept.
func TestEditKeepsWhatCannotBeStored(t *testing.T) {
	g := newEdited(t)
	editor(t, `sed -i s,3100,3100/push, "$f"`)
	g.store.err = config.ErrUnavailable
	r := g.run("edit", "target", "loki")
	wantFailure(t, r, 1, "cannot be reached")
	if text := kept(t, r.err); !strings.Contains(text, "/push") {
		t.Error(text)
	}
}

// Somebody else is faster: one sees what they have done, and decides.
func TestEditOfWhatIsChangedMeanwhile(t *testing.T) {
	g := newEdited(t)
	g.store.before = func() { g.must("update", "target", "loki", "--queue-bytes", "32MiB") }
	dir := editor(t, `sed -i s,3100,3100/push, "$f"`, `sed -i 's/^  url.*/&\n  tenantId: mine/' "$f"`)
	if r := g.run("edit", "target", "loki"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	if text := seen(t, dir, 2); !strings.Contains(text, "# somebody else has changed it") || !strings.Contains(text, "# queueBytes: 32MiB\n") || !strings.Contains(text, "\n  url: http://localhost:3100/push\n") {
		t.Error(text)
	}
	g.wantGiven(config.KindTarget, "loki", `{"name":"loki","loki":{"url":"http://localhost:3100/push","tenantId":"mine","bearerToken":"s3cret"}}`)
	nothingLeft(t)
}
