package rest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/admin/rest"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/config/filestore"
	"github.com/lbshipd/lbshipd/internal/testbed"
)

// bodies is one object of each kind that stands by itself.
var bodies = map[config.Kind]string{
	config.KindTLSBundle: `{"name": "one"}`,
	config.KindFormat:    `{"name": "one", "regex": "(?P<message>.*)"}`,
	config.KindService:   `{"name": "one", "logFormat": "json"}`,
	config.KindSource:    `{"name": "one", "journald": {}}`,
	config.KindTarget:    `{"name": "one", "stdout": {}}`,
}

// others are the same objects with one thing changed.
var others = map[config.Kind]string{
	config.KindTLSBundle: `{"name": "one", "caFile": "/ca.pem"}`,
	config.KindFormat:    `{"name": "one", "regex": "x(?P<message>.*)"}`,
	config.KindService:   `{"name": "one", "logFormat": "klog"}`,
	config.KindSource:    `{"name": "one", "journald": {}, "minLevel": "error"}`,
	config.KindTarget:    `{"name": "one", "stdout": {}, "enabled": false}`,
}

// TestLife takes an object of each kind from its creation to its end, with
// everything that may go wrong on the way.
func TestLife(t *testing.T) {
	for _, kind := range config.Kinds() {
		t.Run(string(kind), func(t *testing.T) { life(t, newRig(t, nil), kind) })
		t.Run(string(kind)+" in a file", func(t *testing.T) { life(t, newRig(t, inFile(t)), kind) })
	}
}

// inFile keeps the objects in a YAML file.
func inFile(t *testing.T) func(*rest.Options) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lbshipd.yaml")
	if err := os.WriteFile(path, []byte("# Ours.\nsources: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(o *rest.Options) {
		store, err := filestore.Open(path, o.Log)
		if err != nil {
			t.Fatal(err)
		}
		o.Store = store
	}
}

func life(t *testing.T, g *rig, kind config.Kind) {
	list, one, body, other := "/"+kind.Plural(), "/"+kind.Plural()+"/one", bodies[kind], others[kind]
	if kind == config.KindTLSBundle {
		other = marshal(t, map[string]string{"name": "one", "caPem": testbed.NewCA(t, "lab").PEM})
	}
	if got := field(t, g.get(list).body, kind.List()); got != "[]" {
		t.Errorf("an empty list is %s", got)
	}
	g.must(404, request{method: "GET", path: one})
	g.must(404, request{method: "DELETE", path: one})

	g.must(200, request{method: "POST", path: list + "?dryRun=true", body: body})
	g.must(404, request{method: "GET", path: one})
	created := g.post(list, body)
	etag := created.header.Get("ETag")
	if etag == "" || field(t, created.body, "name") != `"one"` {
		t.Errorf("created: ETag %q, %s", etag, created.body)
	}
	if a := g.must(409, request{method: "POST", path: list, body: body}); code(t, a) != rest.CodeAlreadyExists {
		t.Errorf("created twice: %s", a.body)
	}
	got := g.get(one)
	if got.body != created.body || got.header.Get("ETag") != etag || got.header.Get("Last-Modified") == "" {
		t.Errorf("got %s (%v), want what was created: %s", got.body, got.header, created.body)
	}

	// The same again changes nothing, the ETag neither.
	if a := g.must(200, request{method: "PUT", path: one, body: body}); a.header.Get("ETag") != etag {
		t.Errorf("putting the same has changed the ETag from %s to %s", etag, a.header.Get("ETag"))
	}
	// What was answered can be sent back, with and without defaults.
	for _, q := range []string{"", "?defaults=false"} {
		if a := g.must(200, request{method: "PUT", path: one, body: g.get(one + q).body}); a.body != created.body {
			t.Errorf("sending back what was read%s has made it %s", q, a.body)
		}
	}
	etag = g.get(one).header.Get("ETag") // with its defaults it was another text

	a := g.must(200, request{method: "PUT", path: one + "?dryRun=true", body: other})
	if a.body == created.body {
		t.Error("the dry run does not answer what would be")
	}
	if g.get(one).body != created.body {
		t.Error("the dry run has changed something")
	}
	a = g.must(200, request{method: "PUT", path: one, body: other})
	if a.header.Get("ETag") == etag || a.body == created.body || g.get(one).body != a.body {
		t.Errorf("put: %s", a.body)
	}
	if got := field(t, g.get(list).body, kind.List()); got != "["+strings.TrimSpace(a.body)+"]" {
		t.Errorf("the list is %s", got)
	}

	g.must(200, request{method: "DELETE", path: one + "?dryRun=true"})
	g.get(one)
	if a := g.must(200, request{method: "DELETE", path: one}); strings.TrimSpace(a.body) != "{}" {
		t.Errorf("delete answers %s", a.body)
	}
	g.must(404, request{method: "GET", path: one})
	g.must(404, request{method: "DELETE", path: one})
	g.must(201, request{method: "PUT", path: one, body: body})
}

func code(t testing.TB, a answer) int {
	t.Helper()
	var e rest.Error
	if err := json.Unmarshal([]byte(a.body), &e); err != nil {
		t.Fatal(err)
	}
	return e.Code
}

// TestConditions goes through RFC 9110 section 13.1 for each method.
func TestConditions(t *testing.T) {
	t.Run("memory", func(t *testing.T) { conditions(t, func() *rig { return newRig(t, nil) }) })
	t.Run("file", func(t *testing.T) { conditions(t, func() *rig { return newRig(t, inFile(t)) }) })
}

func conditions(t *testing.T, rig func() *rig) {
	const stale, body, other = `"stale"`, `{"name":"app","journald":{}}`, `{"name":"app","journald":{},"minLevel":"error"}`
	for _, c := range []struct {
		method, there        string // whether it is there: "yes" or "no"
		ifMatch, ifNoneMatch string // NOW stands for the ETag
		status               int
	}{
		{"PUT", "yes", "NOW", "", 200}, {"PUT", "yes", stale, "", 412}, {"PUT", "yes", "*", "", 200}, {"PUT", "yes", "", "*", 412},
		{"PUT", "yes", `"x", NOW ,"y"`, "", 200}, {"PUT", "yes", "W/NOW", "", 412}, {"PUT", "yes", "", "NOW", 412}, {"PUT", "yes", "", stale, 200}, {"PUT", "yes", "", "W/NOW", 412},
		{"PUT", "no", stale, "", 412}, {"PUT", "no", "*", "", 412}, {"PUT", "no", "", "*", 201}, {"PUT", "no", "", stale, 201}, {"PUT", "no", "", "", 201},
		{"PUT", "yes", "NOW", "*", 412}, {"PUT", "yes", "*", stale, 200},
		{"DELETE", "yes", "NOW", "", 200}, {"DELETE", "yes", stale, "", 412}, {"DELETE", "yes", "*", "", 200}, {"DELETE", "no", "*", "", 404}, {"DELETE", "no", stale, "", 404}, {"DELETE", "yes", "", "*", 412},
		{"GET", "yes", "", "NOW", 304}, {"GET", "yes", "", "W/NOW", 304}, {"GET", "yes", "", "*", 304}, {"GET", "yes", "", stale, 200}, {"GET", "no", "", "*", 404}, {"GET", "yes", "", `"x",NOW`, 304},
		{"PUT", "yes", "NOW,", "", 200}, {"PUT", "yes", "now", "", 400}, {"PUT", "yes", `"x`, "", 400}, {"PUT", "yes", `"x" "y"`, "", 400}, {"PUT", "yes", `w/"x"`, "", 400}, {"GET", "yes", "", "x", 400}, {"DELETE", "yes", "x", "", 400},
	} {
		g := rig()
		now := `"gone"`
		if c.there == "yes" {
			now = g.post("/sources", body).header.Get("ETag")
		}
		q := request{method: c.method, path: "/sources/app", header: map[string]string{}}
		if c.method == "PUT" {
			q.body = other
		}
		for name, text := range map[string]string{"If-Match": c.ifMatch, "If-None-Match": c.ifNoneMatch} {
			if text != "" {
				q.header[name] = strings.ReplaceAll(text, "NOW", now)
			}
		}
		if a := g.send(q); a.status != c.status {
			t.Errorf("%+v: %d %s", c, a.status, a.body)
		} else if a.status == 412 && code(t, a) != rest.CodeAborted {
			t.Errorf("%+v: %s", c, a.body)
		}
	}
	g := rig()
	for _, path := range []string{"/apply", "/history/1/rollback", "/sources"} {
		g.must(400, request{method: "POST", path: path, body: `{"name":"a","journald":{}}`, header: map[string]string{"If-Match": `"1"`}})
	}
}

// TestConditionIsTheStores: what another one writes between our look and our
// write makes the condition fail all the same.
func TestConditionIsTheStores(t *testing.T) {
	const body, ours, theirs = `{"name":"app","journald":{}}`, `{"name":"app","journald":{},"minLevel":"error"}`, `{"name":"app","journald":{},"minLevel":"info"}`
	for name, c := range map[string]struct {
		there               bool
		method, key, value  string
		meanwhile, theyWant string
	}{
		"changed":           {true, "PUT", "If-Match", "NOW", "PUT", theirs},
		"deleted":           {true, "PUT", "If-Match", "*", "DELETE", ""},
		"deleted, ETag":     {true, "PUT", "If-Match", "NOW", "DELETE", ""},
		"created":           {false, "PUT", "If-None-Match", "*", "PUT", theirs},
		"deleted and ours":  {true, "DELETE", "If-Match", "NOW", "PUT", theirs},
		"changed, not ours": {true, "PUT", "If-None-Match", `"x"`, "PUT", theirs},
	} {
		g := newRig(t, nil)
		now := ""
		if c.there {
			now = g.post("/sources", body).header.Get("ETag")
		}
		g.store.before = func() { g.send(request{method: c.meanwhile, path: "/sources/app", body: c.theyWant}) }
		q := request{method: c.method, path: "/sources/app", header: map[string]string{c.key: strings.ReplaceAll(c.value, "NOW", now)}}
		if c.method == "PUT" {
			q.body = ours
		}
		if a := g.send(q); a.status != 412 {
			t.Errorf("%s meanwhile: %d %s", name, a.status, a.body)
		}
		if a := g.send(request{method: "GET", path: "/sources/app"}); a.status == 200 && field(t, a.body, "minLevel") != `"info"` {
			t.Errorf("%s meanwhile: theirs was overwritten: %s", name, a.body)
		}
	}
}

// TestPages reads a list page by page while it is written: whoever is there all
// the time is seen exactly once.
func TestPages(t *testing.T) {
	g := newRig(t, nil)
	want := []string{}
	for i := range 25 {
		name := fmt.Sprintf("s%02d", i)
		g.post("/sources", `{"name":"`+name+`","journald":{}}`)
		want = append(want, name)
	}
	read := func(limit int, meanwhile func(page int)) (names []string, pages int) {
		for token := ""; ; pages++ {
			path := fmt.Sprintf("/sources?limit=%d", limit)
			if token != "" {
				path += "&pageToken=" + token
			}
			var body struct {
				Sources       []struct{ Name string }
				NextPageToken string
			}
			if err := json.Unmarshal([]byte(g.get(path).body), &body); err != nil {
				t.Fatal(err)
			}
			for _, s := range body.Sources {
				names = append(names, s.Name)
			}
			if len(body.Sources) > limit {
				t.Fatalf("a page of %d has %d", limit, len(body.Sources))
			}
			if token = body.NextPageToken; token == "" {
				return names, pages + 1
			}
			meanwhile(pages)
		}
	}
	if got, pages := read(10, func(int) {}); !slices.Equal(got, want) || pages != 3 {
		t.Errorf("%d pages of %v", pages, got)
	}
	if got, pages := read(25, func(int) {}); !slices.Equal(got, want) || pages != 1 {
		t.Errorf("%d pages of %v", pages, got)
	}
	got, _ := read(5, func(page int) {
		// Before and behind the page, and the very one that it has ended with.
		g.post("/sources", fmt.Sprintf(`{"name":"a%d","journald":{}}`, page))
		g.post("/sources", fmt.Sprintf(`{"name":"z%d","journald":{}}`, page))
		if page == 0 {
			g.must(200, request{method: "DELETE", path: "/sources/s04"})
		}
	})
	for _, name := range want {
		if n := len(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s != name })); n != 1 {
			t.Errorf("%s was seen %d times", name, n)
		}
	}
	if !slices.IsSorted(got) {
		t.Errorf("not in order: %v", got)
	}
}

// TestListETag: a list's ETag changes with what is in it, and with a secret
// that is not seen.
func TestListETag(t *testing.T) {
	g := newRig(t, nil)
	const one = `{"name":"loki","loki":{"url":"http://127.0.0.1:3100","bearerToken":"%s"}}`
	g.post("/targets", fmt.Sprintf(one, "first"))
	before := g.get("/targets").header.Get("ETag")
	if a := g.send(request{method: "GET", path: "/targets", header: map[string]string{"If-None-Match": before}}); a.status != 304 || a.body != "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	g.must(200, request{method: "PUT", path: "/targets/loki", body: fmt.Sprintf(one, "second")})
	a := g.send(request{method: "GET", path: "/targets", header: map[string]string{"If-None-Match": before}})
	if a.status != 200 || a.header.Get("ETag") == before {
		t.Errorf("after a secret has changed: %d, ETag %s", a.status, a.header.Get("ETag"))
	}
}

// TestRejected: an object that is stored and cannot be used is told, and harms no other.
func TestRejected(t *testing.T) {
	g := newRig(t, nil)
	g.post("/sources", `{"name":"good","journald":{}}`)
	bad := func(name, given string) config.Stored {
		return config.Stored{Kind: config.KindSource, Name: name, Etag: "7", Draft: config.Draft{Given: []byte(given)},
			Err: config.Problems{{Object: `source "` + name + `"`, Field: "logFormat", Message: `"jsno" is not known`}}}
	}
	g.store.objects = append(g.store.objects, bad("other", `{"name":"other","journald":{},"logFormat":"jsno"}`), bad("worse", `{"name`))
	g.unusable = true
	a := g.send(request{method: "GET", path: "/sources"})
	if a.status != 200 || !strings.Contains(a.body, `"good"`) || !strings.Contains(field(t, a.body, "rejected"), "is not known") || !strings.Contains(field(t, a.body, "rejected"), `"worse"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := g.send(request{method: "GET", path: "/sources/other"}); a.status != 200 || !strings.Contains(a.body, "jsno") || !strings.Contains(a.header.Get("Warning"), "is not known") {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	// It can be mended and deleted.
	g.must(200, request{method: "PUT", path: "/sources/other", body: `{"name":"other","journald":{}}`})
	g.must(200, request{method: "DELETE", path: "/sources/worse"})
	if a := g.get("/sources"); strings.Contains(a.body, "rejected") {
		t.Errorf("still rejected: %s", a.body)
	}
}

// A file that somebody has broken by hand: which one it is, and where.
func TestBrokenFileIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lbshipd.yaml")
	if err := os.WriteFile(path, []byte("sources: []\ntargets: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := newRig(t, func(o *rest.Options) {
		store, err := filestore.Open(path, o.Log)
		if err != nil {
			t.Fatal(err)
		}
		o.Store = store
	})
	for _, r := range []request{{method: "GET", path: "/sources"}, {method: "POST", path: "/sources", body: `{"name": "a", "journald": {}}`}} {
		if got := g.must(400, r); !strings.Contains(got.body, "("+path+":") {
			t.Errorf("%s: %s", r.method, got.body)
		}
	}
}
