package rest_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/admin/rest"
)

func applied(t testing.TB, a answer) (out rest.Applied) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
	return out
}

// did writes what was done in short.
func did(a rest.Applied) string {
	var parts []string
	for _, c := range a.Changes {
		parts = append(parts, c.Action+" "+string(c.Kind)+"/"+c.Name)
	}
	return strings.Join(parts, ", ")
}

// TestApply: many objects as one change.
func TestApply(t *testing.T) {
	g := newRig(t, nil)
	const all = `{"sources":[{"name":"app","file":{"paths":["/a.log"]},"logFormat":"regex:own"}],"formats":[{"name":"own","regex":"(?P<message>.*)"}],
		"targets":[{"name":"siem","rsyslog":{"address":"h:6514","tlsBundle":"siem"}},{"name":"console","stdout":{}}],"tlsBundles":[{"name":"siem"}]}`
	const everything = "create tls-bundle/siem, create format/own, create source/app, create target/console, create target/siem"
	if a := applied(t, g.post("/apply?dryRun=true", all)); sorted(did(a)) != sorted(everything) || !a.DryRun || a.Revision != 0 {
		t.Errorf("dry run: %s, %+v", did(a), a)
	}
	if n := len(g.store.objects); n != 0 {
		t.Errorf("the dry run has stored %d objects", n)
	}
	a := applied(t, g.post("/apply?reason=first", all))
	if sorted(did(a)) != sorted(everything) || a.DryRun || a.Revision != 1 || !strings.Contains(a.Changes[0].Diff, "+") {
		t.Errorf("%s, %+v", did(a), a)
	}
	if a := applied(t, g.post("/apply", all)); did(a) != "" || a.Revision != 0 {
		t.Errorf("the same again has done %s", did(a))
	}

	// All or none: the good half of a bad body is not stored.
	bad := g.must(400, request{method: "POST", path: "/apply", body: `{"targets":[{"name":"good","stdout":{}},{"name":"bad","stdout":{"format":"xml"}},{"name":"Worse"}]}`})
	var e rest.Error
	if err := json.Unmarshal([]byte(bad.body), &e); err != nil || len(e.Details) < 2 {
		t.Errorf("%s", bad.body)
	}
	g.must(404, request{method: "GET", path: "/targets/good"})

	// Prune: only the kinds that the body has a list of.
	if a := applied(t, g.post("/apply?prune=true&dryRun=true", `{"targets":[{"name":"console","stdout":{}}]}`)); did(a) != "delete target/siem" {
		t.Errorf("pruning targets: %s", did(a))
	}
	if a := applied(t, g.post("/apply?prune=true&dryRun=true", `{"sources":[]}`)); did(a) != "delete source/app" {
		t.Errorf("pruning all sources: %s", did(a))
	}
	if a := applied(t, g.post("/apply?prune=true&dryRun=true", `{"sources":[],"targets":[],"formats":[],"tlsBundles":[],"services":[]}`)); len(a.Changes) != 5 {
		t.Errorf("pruning everything: %s", did(a))
	}
	if a := g.must(409, request{method: "POST", path: "/apply?prune=true", body: `{"formats":[{"name":"x","regex":"(?P<message>.*)"}]}`}); code(t, a) != rest.CodeFailedPrecondition {
		t.Errorf("pruning what is referenced: %s", a.body)
	}
	g.must(400, request{method: "POST", path: "/apply", body: `{"sources":[]}`})
	g.must(400, request{method: "POST", path: "/apply?prune=true", body: `{"sources":[],"typo":[]}`})
	g.must(400, request{method: "POST", path: "/apply?prune=true", body: `{"sources":{}}`})
	// A heading with nothing below it is no wish to delete all.
	if a := g.must(400, request{method: "POST", path: "/apply?prune=true", body: `{"sources":null,"targets":[{"name":"console","stdout":{}}]}`}); !strings.Contains(a.body, "sources: is empty: write []") {
		t.Error(a.body)
	}
	g.must(400, request{method: "POST", path: "/apply?prune=true", body: `{"sources":null}`})

	// As YAML, of several documents.
	if a := applied(t, g.must(200, request{method: "POST", path: "/apply", contentType: "application/yaml; charset=UTF-8", body: "targets:\n- {name: more, stdout: {}}\n---\nkind: service\nname: own\nlogFormat: json\n"})); did(a) != "create service/own, create target/more" && did(a) != "create target/more, create service/own" {
		t.Errorf("YAML: %s", did(a))
	}
	if a := g.must(400, request{method: "POST", path: "/apply", contentType: "application/yaml", body: "targets:\n- name: more\n  stdout: {}\n  bogus: 1\n"}); !strings.Contains(a.body, "(line 4)") {
		t.Errorf("the line is not told: %s", a.body)
	}

	// Back to the beginning.
	if a := applied(t, g.post("/history/1/rollback?dryRun=true", "{}")); !a.DryRun || len(a.Changes) != 2 {
		t.Errorf("rollback: %s", did(a))
	}
	if a := applied(t, g.post("/history/1/rollback?reason=back", "")); a.Revision != 3 || len(a.Changes) != 2 {
		t.Errorf("rollback: %+v", a)
	}
	g.must(404, request{method: "GET", path: "/targets/more"})
	g.must(404, request{method: "POST", path: "/history/99/rollback"})
	g.must(400, request{method: "POST", path: "/history/1/rollback", body: `{"id":2}`})
	if h := g.get("/history").body; !strings.Contains(h, `"reason":"back"`) || !strings.Contains(h, `"author":"ada"`) {
		t.Errorf("history: %s", h)
	}
}

func sorted(list string) string {
	parts := strings.Split(list, ", ")
	counts := map[string]int{}
	for _, p := range parts {
		counts[p]++
	}
	text, _ := json.Marshal(counts) // sorts by name
	return string(text)
}

// TestApplyNeedsTheRightToAllOfIt: an editor cannot write TLS bundles by way of apply.
func TestApplyNeedsTheRightToAllOfIt(t *testing.T) {
	g := newRig(t, nil)
	g.post("/tls-bundles", `{"name":"siem"}`)
	for body, status := range map[string]int{
		`{"targets":[{"name":"a","stdout":{}}]}`:                                                200,
		`{"targets":[{"name":"b","stdout":{}}],"tlsBundles":[{"name":"b"}]}`:                    403,
		`{"targets":[{"name":"c","stdout":{}}],"tlsBundles":[]}`:                                403, // with prune it would delete them
		`{"sources":[{"name":"c","journald":{}}],"services":[{"name":"x","logFormat":"json"}]}`: 200,
		`{"tlsBundles":[{"name":"siem"}]}`:                                                      403,
		`{"kind":"tls-bundle","name":"d"}`:                                                      403,
		`[{"kind":"target","name":"d","stdout":{}},{"kind":"tls-bundle","name":"d"}]`:           403,
	} {
		for i, path := range []string{"/apply", "/apply?prune=true&dryRun=true"} {
			if a := g.send(request{method: "POST", path: path, role: "editor", body: body}); a.status != status {
				t.Errorf("%d %s: %d %s", i, body, a.status, a.body)
			}
		}
		g.must(403, request{method: "POST", path: "/apply", role: "viewer", body: body})
	}
	for _, name := range []string{"b", "c"} {
		g.must(404, request{method: "GET", path: "/targets/" + name})
	}
	if n := strings.Count(g.get("/tls-bundles").body, `"name"`); n != 1 {
		t.Errorf("%d TLS bundles", n)
	}
}

// TestPruneDoesNotDeleteUnseen: what is written while apply looks around is not deleted by it.
func TestPruneDoesNotDeleteUnseen(t *testing.T) {
	g := newRig(t, nil)
	g.post("/targets", `{"name":"old","stdout":{}}`)
	g.store.before = func() {
		g.must(200, request{method: "PUT", path: "/targets/old", body: `{"name":"old","stdout":{"format":"json"}}`})
	}
	if a := g.send(request{method: "POST", path: "/apply?prune=true", body: `{"targets":[{"name":"new","stdout":{}}]}`}); a.status != 409 || code(t, a) != rest.CodeAborted {
		t.Errorf("%d %s", a.status, a.body)
	}
	g.get("/targets/old")
}

// TestManyChanges: a line of the audit log stays a line.
func TestManyChanges(t *testing.T) {
	g := newRig(t, nil)
	var items []string
	for i := range 150 {
		items = append(items, `{"name":"s`+strconv.Itoa(i)+`","journald":{}}`)
	}
	if a := applied(t, g.post("/apply", `{"sources":[`+strings.Join(items, ",")+`]}`)); len(a.Changes) != 150 {
		t.Errorf("%d changes", len(a.Changes))
	}
	if log := g.log.take(); !strings.Contains(log, "and more") || strings.Count(log, "create source/") != 100 {
		t.Errorf("audit: %s", log)
	}
}
