package ctl

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/sinks"
)

const twoDocuments = `
sources:
  - name: app
    file: {paths: [/var/log/app.log]}
---
targets:
  - name: loki
    loki:
      url: http://localhost:3100
      basicAuth: {username: me, password: hunter2}
`

func TestApply(t *testing.T) {
	g := newRig(t)
	path := file(t, "a.yaml", twoDocuments)
	if r := g.run("diff", "-f", path); r.code != 1 || !strings.Contains(r.out, "source/app created (dry run") || !strings.Contains(r.out, "  +    - /var/log/app.log\n") {
		t.Errorf("%+v", r)
	}
	out := g.must("apply", "-f", path)
	if !strings.Contains(out, "source/app created\n") || !strings.Contains(out, "target/loki created\n") || strings.Contains(out, "hunter2") {
		t.Error(out)
	}
	g.wantGiven(config.KindTarget, "loki", `{"name":"loki","loki":{"url":"http://localhost:3100","basicAuth":{"username":"me","password":"hunter2"}}}`)
	if r := g.run("diff", "-f", path); r.code != 0 || r.out != "nothing changes\n" {
		t.Errorf("%+v", r)
	}
	if out := g.must("apply", "-f", path); out != "nothing changes\n" {
		t.Error(out)
	}

	// A secret that differs is shown as changed, never as what it is or was.
	changed := strings.Replace(twoDocuments, "hunter2", "correct-horse", 1)
	r := g.runWith(changed, "diff", "-f", "-")
	if r.code != 1 || !strings.Contains(r.out, "target/loki updated") || strings.Contains(r.out+r.err, "hunter2") || strings.Contains(r.out+r.err, "correct-horse") {
		t.Errorf("%+v", r)
	}
	var done client.Applied
	if out := g.runWith(changed, "apply", "-f", "-", "-o", "json").out; json.Unmarshal([]byte(out), &done) != nil || len(done.Changes) != 1 || strings.Contains(out, "horse") {
		t.Error(out)
	}
	if given := g.given(config.KindTarget, "loki"); !strings.Contains(given, "correct-horse") {
		t.Error(given)
	}
}

func TestApplyDirectoriesAndPrune(t *testing.T) {
	g := newRig(t)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.yaml": "services: [{name: a, logFormat: json}]", "b.json": `{"services":[{"name":"b","logFormat":"json"}]}`, "notes.txt": "not: [yaml",
		".hidden.yaml": "not: [yaml", "deeper/c.yml": "services: [{name: c, logFormat: json}]", ".git/d.yaml": "not: [yaml",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g.must("create", "source", "stays", "--journald")
	g.must("create", "service", "old", "--log-format", "json")
	if out := g.must("apply", "-f", dir); strings.Contains(out, "service/c") || strings.Contains(out, "deleted") || strings.Count(out, "created") != 2 {
		t.Error(out)
	}
	if out := g.must("apply", "-f", dir, "--recursive", "--prune", "--dry-run"); !strings.Contains(out, "service/c created (dry run") || !strings.Contains(out, "service/old deleted (dry run") {
		t.Error(out)
	}
	g.must("apply", "-R", "-f", dir, "--prune")
	if out := g.must("get", "all", "-o", "name"); out != "service/a\nservice/b\nservice/c\nsource/stays\n" {
		t.Error(out)
	}
	// An empty list is a list; nothing else is touched.
	if r := g.runWith("services: []\nsources: [{name: stays, journald: {}}]", "apply", "-f", "-", "--prune"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	if out := g.must("get", "all", "-o", "name"); out != "source/stays\n" {
		t.Error(out)
	}
}

func TestApplyRefusesWhatIsWrong(t *testing.T) {
	g := newRig(t)
	bad := file(t, "bad.yaml", "sources:\n  - name: app\n    file: {paths: [/x]}\n    minLvel: info\n---\ntargets:\n  - name: x\n")
	worse := file(t, "worse.yaml", "sources: [")
	r := g.run("apply", "-f", bad, "-f", worse)
	wantFailure(t, r, 1, bad+":4:", `did you mean "minLevel"?`, bad+":7:", worse+":1:")
	a, b := file(t, "a.yaml", "services: [{name: s, logFormat: json}]"), file(t, "b.yaml", "services: [{name: s, logFormat: raw}]")
	g.fails(1, []string{b + ": service/s is in " + a + " as well"}, "apply", "-f", a, "-f", b)
	g.fails(1, []string{"no such file"}, "apply", "-f", "/nonexistent")
	g.fails(1, []string{"holds no *.yaml"}, "apply", "-f", t.TempDir())
	g.fails(2, []string{"did you mean", "-f x.yaml"}, "apply", "x.yaml")
	g.fails(2, []string{"-f FILE"}, "diff")
	// A heading with nothing below it is no wish to delete all.
	bare := file(t, "bare.yaml", "services: [{name: s, logFormat: json}]\nsources:\n#  - name: app\n")
	g.fails(1, []string{bare + ": sources: is empty", "write []"}, "apply", "-f", bare, "--prune", "--dry-run")
	// What that advises works in a file of its own, too; without --prune it would do nothing.
	none := file(t, "none.yaml", "sources: []\n")
	g.must("apply", "-f", none, "--prune", "--dry-run")
	g.fails(1, []string{none + ":1: there is no object in it"}, "apply", "-f", none, "--dry-run")
	for _, wrong := range []string{"sources: []\nsources: []\n", "sources: []\ntragets: []\n", "sources: []\n---\n5\n", "sources: {}\n"} {
		g.fails(1, []string{"wrong.yaml:"}, "apply", "-f", file(t, "wrong.yaml", wrong), "--prune", "--dry-run")
	}
	g.must("apply", "-f", bare, "--dry-run")
	g.must("apply", "-f", bare, "-f", file(t, "more.yaml", "sources: [{name: app, journald: {}}]"), "--prune", "--dry-run")
	// What diff cannot tell is not what differs.
	g.fails(2, []string{"did you mean \"minLevel\"?"}, "diff", "-f", bad)
	g.fails(2, []string{"no such file"}, "diff", "-f", "/nonexistent")
	wantFailure(t, run(t.Context(), "", "diff", "-f", b, "--endpoint", "unix:/nonexistent"), 2, "there is no such socket")
	wantFailure(t, g.runWith("targets: [{name: siem, rsyslog: {address: 'h:1', tlsBundle: missing}}]", "diff", "-f", "-"), 2, "missing")
	g.fails(2, []string{"-f - is given twice"}, "apply", "-f", "-", "-f", "-")
	// What only the daemon can know.
	lonely := file(t, "lonely.yaml", "targets: [{name: siem, rsyslog: {address: 'h:1', tlsBundle: missing}}]")
	g.fails(1, []string{"missing"}, "apply", "-f", lonely)
	if len(g.must("get", "all", "-o", "name")) > 0 {
		t.Error("something was stored")
	}
	// A viewer may look, and is told how to do more.
	g.fails(1, []string{"viewer", "lbshipd whoami"}, "apply", "-f", a, "--jwt", "viewer")
}

func TestHistoryAndRollback(t *testing.T) {
	g := newRig(t)
	if r := g.run("history"); r.code != 0 || !strings.Contains(r.err, "Nothing has been changed yet") {
		t.Errorf("%+v", r)
	}
	g.must("create", "source", "app", "--journald")
	g.must("update", "source", "app", "--min-level", "info", "-J", "editor", "--reason", "less noise")
	out := g.must("history")
	if lines := strings.Split(out, "\n"); len(lines) != 4 || !strings.HasPrefix(lines[0], "ID   TIME") || !strings.HasPrefix(lines[1], "2 ") || !strings.Contains(lines[1], "ada (token)") ||
		!strings.HasSuffix(lines[1], "updated source/app: less noise") || !strings.Contains(lines[2], "root (socket)") {
		t.Error(out)
	}
	if out := g.must("history", "2"); !strings.Contains(out, "2: ") || !strings.Contains(out, "\nsource/app updated\n") || !strings.Contains(out, "reason: less noise\n") || !strings.Contains(out, "  +minLevel: info\n") {
		t.Error(out)
	}
	if out := g.must("history", "-o", "json"); !json.Valid([]byte(out)) || !strings.Contains(out, `"revisions"`) {
		t.Error(out)
	}
	if out := g.must("rollback", "1", "--dry-run"); !strings.Contains(out, "source/app updated (dry run") || !strings.Contains(out, "  -minLevel: info\n") {
		t.Error(out)
	}
	g.must("rollback", "1")
	g.wantGiven(config.KindSource, "app", `{"name":"app","journald":{}}`)
	g.fails(1, []string{"99 is not known", "lbshipd history"}, "history", "99")
	g.fails(1, []string{"99 is not known", "lbshipd history lists"}, "rollback", "99")
	g.fails(2, []string{"no ID"}, "rollback", "last")
	g.fails(2, []string{"takes one ID"}, "rollback")
}

func TestTestOfATarget(t *testing.T) {
	g := newRig(t)
	g.must("create", "target", "siem", "--rsyslog-address", "h:1", "--rsyslog-protocol", "tcp")
	g.report = sinks.TestReport{OK: true, Steps: []sinks.Step{{Name: "dns", OK: true, Message: "h is 10.0.0.1", Seconds: 0.0123}, {Name: "tcp", OK: true, Seconds: 1.5}}}
	golden(t, "test-ok.txt", g.must("test", "target", "siem"))
	g.report = sinks.TestReport{Steps: []sinks.Step{{Name: "dns", OK: true, Message: "h is 10.0.0.1"}, {Name: "tcp", Message: "connection refused"}}}
	r := g.run("test", "target", "siem")
	if r.code != 1 {
		t.Errorf("%+v", r)
	}
	golden(t, "test-failed.txt", r.out)
	if r := g.run("test", "target/siem", "-o", "json"); r.code != 1 || !json.Valid([]byte(r.out)) {
		t.Errorf("%+v", r)
	}
	g.fails(1, []string{`"nobody"`}, "test", "target", "nobody")
	g.fails(2, []string{"only targets"}, "test", "source", "app")
	g.fails(2, []string{"takes one KIND NAME"}, "test", "target")
}

func TestWhoAmI(t *testing.T) {
	g := newRig(t)
	if out := g.must("whoami"); out != "root (socket), role admin, at unix:"+g.socket+" (lbshipd 1.2.3)\n" {
		t.Error(out)
	}
	token := file(t, "token", "viewer\n")
	if out := g.must("whoami", "--jwt", "@"+token, "-o", "yaml"); out != "name: ada\nvia: token\nrole: viewer\nversion: 1.2.3\n" {
		t.Error(out)
	}
	t.Setenv(envJWT, "@"+token)
	if out := g.must("whoami"); !strings.HasPrefix(out, "ada (token), role viewer") {
		t.Error(out)
	}
	t.Setenv(envJWT, "s3cret")
	r := g.run("whoami")
	wantFailure(t, r, 1, "Get a new one", "as root")
	if strings.Contains(r.err, "s3cret") {
		t.Error(r.err)
	}
	g.fails(2, []string{"no arguments"}, "whoami", "x")
}
