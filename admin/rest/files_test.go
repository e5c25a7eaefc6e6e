package rest_test

import (
	"strings"
	"testing"
)

// TestFilesAreAnAdminsToName: an editor can have no file of the node sent to a place of his choice,
// and may change everything else of a target that has its token from a file.
func TestFilesAreAnAdminsToName(t *testing.T) {
	const (
		token   = `{"name":"a","loki":{"url":"https://loki:3100","bearerTokenFile":"/etc/token"}}`
		tuned   = `{"name":"a","queueBytes":"2MiB","loki":{"url":"https://loki:3100","bearerTokenFile":"/etc/token"}}`
		moved   = `{"name":"a","loki":{"url":"https://evil:3100","bearerTokenFile":"/etc/token"}}`
		shadow  = `{"name":"a","loki":{"url":"https://loki:3100","bearerTokenFile":"/etc/shadow"}}`
		pass    = `{"name":"b","loki":{"url":"https://loki:3100","basicAuth":{"username":"u","passwordFile":"/etc/shadow"}}}`
		without = `{"name":"a","loki":{"url":"https://evil:3100"}}`
	)
	put := func(body, query string) request {
		return request{method: "PUT", path: "/targets/a" + query, body: body}
	}
	post := func(path, body string) request { return request{method: "POST", path: path, body: body} }
	for name, c := range map[string]struct {
		request
		field string // of the refusal; "": none
	}{
		"tune it":            {put(tuned, ""), ""},
		"give the file up":   {put(without, ""), "loki.bearerTokenFile"},
		"delete it":          {request{method: "DELETE", path: "/targets/a"}, "loki.bearerTokenFile"},
		"delete it, dry":     {request{method: "DELETE", path: "/targets/a?dryRun=true"}, "loki.bearerTokenFile"},
		"prune it":           {post("/apply?prune=true", `{"targets":[{"name":"b","loki":{"url":"http://loki"}}]}`), "loki.bearerTokenFile"},
		"test without it":    {post("/targets/test", without), ""},
		"move it":            {put(moved, ""), "loki.bearerTokenFile"},
		"move it, dry":       {put(moved, "?dryRun=true"), "loki.bearerTokenFile"},
		"another file":       {put(shadow, ""), "loki.bearerTokenFile"},
		"a new target":       {post("/targets", pass), "loki.basicAuth.passwordFile"},
		"apply":              {post("/apply", `{"sources":[{"name":"s","journald":{}}],"targets":[`+pass+`]}`), "loki.basicAuth.passwordFile"},
		"apply, tuned":       {post("/apply?prune=true", `{"targets":[`+tuned+`]}`), ""},
		"test":               {post("/targets/test", pass), "loki.basicAuth.passwordFile"},
		"test it moved":      {post("/targets/test", moved), "loki.bearerTokenFile"},
		"test it tuned":      {post("/targets/test", tuned), ""},
		"test what is there": {post("/targets/a/test", ""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, nil)
			if a := g.send(post("/targets", token)); a.status != 200 && a.status != 201 {
				t.Fatalf("an admin is answered %d %s", a.status, a.body)
			}
			c.role = "editor"
			a := g.send(c.request)
			if c.field == "" {
				if a.status >= 300 {
					t.Errorf("answered %d %s", a.status, a.body)
				}
				return
			}
			if a.status != 403 || !strings.Contains(a.body, "only an admin may ") || !strings.Contains(a.body, `"field":"`+c.field+`"`) {
				t.Errorf("answered %d %s", a.status, a.body)
			}
			if len(g.store.objects) != 1 || len(g.store.revisions) != 1 {
				t.Error("something was written")
			}
			c.role = "admin"
			if a := g.send(c.request); a.status >= 300 {
				t.Errorf("an admin is answered %d %s", a.status, a.body)
			}
		})
	}
}

// TestKeptSecretsStay: a secret that is not known to who writes is not sent to
// where he points its target, nor is that tested; a rollback restores what was.
func TestKeptSecretsStay(t *testing.T) {
	g := newRig(t, nil)
	const (
		good  = `{"name":"a","loki":{"url":"https://loki:3100","bearerToken":"Wjq7secret"}}`
		moved = `{"name":"a","loki":{"url":"https://evil:3100","bearerToken":"(hidden)"}}`
		known = `{"name":"a","loki":{"url":"https://evil:3100","bearerToken":"Wjq8other"}}`
	)
	if a := g.send(request{method: "POST", path: "/targets", body: good}); a.status >= 300 {
		t.Fatal(a.body)
	}
	for _, q := range []request{
		{method: "PUT", path: "/targets/a", body: moved},
		{method: "PUT", path: "/targets/a?dryRun=true", body: moved},
		{method: "POST", path: "/targets/test", body: moved},
		{method: "POST", path: "/apply?prune=true", body: `{"targets":[` + moved + `]}`},
	} {
		q.role = "editor"
		if a := g.send(q); a.status != 400 || !strings.Contains(a.body, `"field":"loki.bearerToken","message":"give it again: the target's url has changed"`) {
			t.Errorf("%s %s answers %d %s", q.method, q.path, a.status, a.body)
		}
	}
	if a := g.send(request{method: "PUT", path: "/targets/a", role: "editor", body: known}); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := g.send(request{method: "POST", path: "/history/1/rollback"}); a.status != 200 || !strings.Contains(string(g.store.objects[0].Given), "Wjq7secret") {
		t.Errorf("rollback: %d %s", a.status, a.body)
	}
}
