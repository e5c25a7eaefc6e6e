package rest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/lbshipd/lbshipd/admin/auth"
	"github.com/lbshipd/lbshipd/admin/rest"
	"github.com/lbshipd/lbshipd/config"
)

// TestDocument validates the document that is served as OpenAPI 3.1, and holds it against
// the table that the server routes by.
func TestDocument(t *testing.T) {
	g := newRig(t, nil)
	a := g.get("/openapi.json")
	if !strings.Contains(a.body, `"version": "1.2.3"`) {
		t.Error("the document does not tell the daemon's version")
	}
	doc, err := openapi3.NewLoader().LoadFromData([]byte(a.body))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	operations, ids := 0, map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			operations++
			if ids[op.OperationID] {
				t.Errorf("two operations are called %s", op.OperationID)
			}
			ids[op.OperationID] = true
			if op.Summary == "" || op.Description == "" {
				t.Errorf("%s %s says nothing of itself", method, path)
			}
		}
	}
	if operations != len(rest.Endpoints()) {
		t.Errorf("%d operations for %d endpoints", operations, len(rest.Endpoints()))
	}
	for _, e := range rest.Endpoints() {
		item := doc.Paths.Value(rest.Prefix + e.Path)
		if item == nil || item.GetOperation(e.Method) == nil {
			t.Errorf("%s %s is not in the document", e.Method, e.Path)
		}
	}
}

// TestEveryFieldIsDocumented: what the objects hold, the document tells.
func TestEveryFieldIsDocumented(t *testing.T) {
	g := newRig(t, nil)
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct{ Description string }
			}
		}
	}
	if err := json.Unmarshal([]byte(g.get("/openapi.json").body), &doc); err != nil {
		t.Fatal(err)
	}
	for _, kind := range config.Kinds() {
		s := doc.Components.Schemas[rest.Schema(kind)]
		if len(s.Properties) == 0 {
			t.Errorf("%s has no fields", rest.Schema(kind))
		}
		for name, p := range s.Properties {
			if p.Description == "" {
				t.Errorf("%s.%s has no description", rest.Schema(kind), name)
			}
		}
	}
}

// TestPaths: what is not a path as it stands in the document leads nowhere, whatever it
// would be once somebody had cleaned or decoded it.
func TestPaths(t *testing.T) {
	g := newRig(t, nil)
	for _, path := range []string{
		"", "/", "/nothing", "/sources/", "//sources", "/sources//", "/./sources", "/x/../sources", "/sources/app/..",
		"/sources/%61pp", "/sources/a%2fb", "/sources/..%2ftargets", "/sources/%2e%2e/targets", "/sources/app%00", "/sources/app%20",
		"/Sources", "/SOURCES/app", "/sources/App", "/sources/-app", "/sources/.app", "/source", "/tlsBundles", "/tls_bundles",
		"/sources/" + strings.Repeat("a", 64), "/sources/app;x=1", "/sources/app/test", "/targets/app/test/test", "/targets//test",
		"/collectors/..", "/collectors/a%2fb", "/collectors/" + strings.Repeat("a", 254), "/history/0/rollback", "/history/-1/rollback", "/history/1e3/rollback",
		"/history/99999999999999999999/rollback", "/history/01/rollback", "/sources/\u00e4", "/sources/app\\", "/openapi.json/", "/openapi.JSON", "/sources/app.json/",
	} {
		for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
			a := g.send(request{method: method, path: path})
			if a.status != 404 {
				t.Errorf("%s %q is answered with %d: %s", method, path, a.status, a.body)
			}
		}
	}
	if a := g.send(request{method: "GET", path: "/../../../../status"}); a.status != 404 {
		t.Errorf("out of the prefix: %d", a.status)
	}
}

// TestMethods: the wrong method is told the right ones.
func TestMethods(t *testing.T) {
	g := newRig(t, nil)
	for _, c := range []struct{ path, method, allow string }{
		{"/sources", "DELETE", "GET, HEAD, POST"},
		{"/sources", "PUT", "GET, HEAD, POST"},
		{"/sources/app", "POST", "DELETE, GET, HEAD, PUT"},
		{"/sources/app", "PATCH", "DELETE, GET, HEAD, PUT"},
		{"/targets/test", "PATCH", "DELETE, GET, HEAD, POST, PUT"}, // a target may be called test
		{"/targets/siem/test", "GET", "POST"},
		{"/collectors", "POST", "GET, HEAD"},
		{"/collectors/node1", "PUT", "DELETE, GET, HEAD"},
		{"/history/1/rollback", "GET", "POST"},
		{"/apply", "PUT", "POST"},
		{"/whoami", "OPTIONS", "GET, HEAD"},
		{"/whoami", "TRACE", "GET, HEAD"},
		{"/whoami", "PROPFIND", "GET, HEAD"},
		{"/whoami", "get", "GET, HEAD"},
	} {
		a := g.must(405, request{method: c.method, path: c.path})
		if got := a.header.Get("Allow"); got != c.allow {
			t.Errorf("%s %s: Allow: %s, want %s", c.method, c.path, got, c.allow)
		}
	}
	if a := g.must(200, request{method: "HEAD", path: "/whoami"}); a.body != "" {
		t.Errorf("HEAD has a body: %s", a.body)
	}
}

// TestRoles goes through all endpoints with every role: the answer to a role that is too
// low is 403 whatever is asked for, and 401 if nobody is known to ask.
func TestRoles(t *testing.T) {
	g := newRig(t, nil)
	for _, e := range rest.Endpoints() {
		path := strings.NewReplacer("{name}", "none", "{id}", "7").Replace(e.Path)
		for _, role := range []auth.Role{0, auth.Viewer, auth.Editor, auth.Admin} {
			q := request{method: e.Method, path: path, role: role.String()}
			if role == 0 {
				q.role = "-"
			}
			a := g.send(q)
			switch {
			case role == 0 && (a.status != 401 || a.header.Get("WWW-Authenticate") != "Bearer"):
				t.Errorf("%s %s by nobody: %d", e.Method, e.Path, a.status)
			case role > 0 && (a.status == 403) != (role < e.Role):
				t.Errorf("%s %s by %v, which needs %v: %d", e.Method, e.Path, role, e.Role, a.status)
			}
		}
		// What the brief of the API says, held against the table.
		want := auth.Editor
		switch {
		case e.Method == http.MethodGet:
			want = auth.Viewer
		case e.Kind == config.KindTLSBundle, strings.HasPrefix(e.Path, "/collectors"), strings.HasPrefix(e.Path, "/history"):
			want = auth.Admin
		}
		if e.Role != want {
			t.Errorf("%s %s needs %v, want %v", e.Method, e.Path, e.Role, want)
		}
	}
}

// TestQuery: parameters are strict. One that is misspelt must not be taken for
// one that was not given.
func TestQuery(t *testing.T) {
	g := newRig(t, nil)
	for _, path := range []string{
		"/sources?limit=0", "/sources?limit=-1", "/sources?limit=1001", "/sources?limit=x", "/sources?limit=", "/sources?limit=1&limit=2", "/sources?limit=+5", "/sources?limit=007",
		"/sources?pageToken=x", "/sources?pageToken=MS90YXJnZXRzL2E", "/sources?pageToken=" + strings.Repeat("a", 600), "/sources?defaults=no", "/sources?defaults", "/sources?dryRun=true",
		"/sources?Limit=1", "/sources?limit=1;defaults=false", "/sources?%zz", "/sources?limit=%zz", "/sources?watch=true", "/whoami?x=1", "/openapi.json?x", "/sources?=", "/sources?&x",
	} {
		if a := g.send(request{method: "GET", path: path}); a.status != 400 {
			t.Errorf("GET %s: %d %s", path, a.status, a.body)
		}
	}
	for _, path := range []string{"/sources?dryrun=true", "/sources?dryRun=1", "/sources?dryRun=TRUE", "/sources?dryRun", "/sources?dryRun=true&dryRun=false", "/sources?reason=a%0ab", "/sources?reason=%ff", "/sources?reason=" + strings.Repeat("a", 201)} {
		if a := g.send(request{method: "POST", path: path, body: `{"name":"a","journald":{}}`}); a.status != 400 {
			t.Errorf("POST %s: %d %s", path, a.status, a.body)
		}
	}
	if n := len(g.store.objects); n != 0 {
		t.Errorf("%d objects were stored all the same", n)
	}
}
