package rest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/admin/rest"
	"github.com/lbshipd/lbshipd/config"
)

// TestHostileBodies: what is wrong is named, with its place, and nothing is stored.
func TestHostileBodies(t *testing.T) {
	const ok = `"name":"app","journald":{}`
	deep := strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65)
	for name, c := range map[string]struct {
		path, body string
		status     int
		message    string // what the answer says, among other things
	}{
		"nothing":                {"/sources", " \n", 400, "empty"},
		"null":                   {"/sources", "null", 400, ""},
		"a number":               {"/sources", "7", 400, ""},
		"a text":                 {"/sources", `"app"`, 400, ""},
		"a list":                 {"/sources", `[{` + ok + `}]`, 400, ""},
		"no name":                {"/sources", `{"journald":{}}`, 400, "name"},
		"empty name":             {"/sources", `{"name":"","journald":{}}`, 400, "name"},
		"name of another kind":   {"/sources", `{"name":["a"],"journald":{}}`, 400, "name"},
		"upper case":             {"/sources", `{"name":"App","journald":{}}`, 400, "a-z"},
		"path in the name":       {"/sources", `{"name":"../targets/a","journald":{}}`, 400, "a-z"},
		"NUL in the name":        {"/sources", `{"name":"a\u0000","journald":{}}`, 400, "name"},
		"neither":                {"/sources", `{"name":"app"}`, 400, "journald and file"},
		"both":                   {"/sources", `{"name":"app","journald":{},"file":{"paths":["/a"]}}`, 400, "journald"},
		"null for an object":     {"/sources", `{"name":"app","journald":null}`, 400, "journald"},
		"unknown format":         {"/sources", `{"name":"app","journald":{},"logFormat":"jsno"}`, 400, "did you mean"},
		"unknown field":          {"/sources", `{` + ok + `,"minlevel":"info"}`, 400, "minLevel"},
		"field in upper case":    {"/sources", `{"Name":"app","journald":{}}`, 400, "Name"},
		"merge key":              {"/sources", `{"<<":{"name":"app"},"journald":{}}`, 400, "<<"},
		"prototype":              {"/sources", `{` + ok + `,"__proto__":{"enabled":false}}`, 400, "__proto__"},
		"wrong kind":             {"/sources", `{"kind":"target",` + ok + `}`, 400, "kind"},
		"twice":                  {"/sources", `{"name":"app","name":"app","journald":{}}`, 400, "given twice"},
		"twice within":           {"/targets", `{"name":"a","loki":{"url":"http://a","url":"http://b"}}`, 400, "loki.url: is given twice"},
		"trailing object":        {"/sources", `{` + ok + `}{` + ok + `}`, 400, "top-level"},
		"NaN":                    {"/sources", `{"name":"app","file":{"paths":["/a"],"maxHeldFiles":NaN}}`, 400, "column 53"},
		"too large a number":     {"/sources", `{"name":"app","file":{"paths":["/a"],"maxHeldFiles":1e999}}`, 400, "maxHeldFiles"},
		"negative size":          {"/targets", `{"name":"a","stdout":{},"queueBytes":-1}`, 400, "queueBytes"},
		"size out of bounds":     {"/targets", `{"name":"a","stdout":{},"queueBytes":"1TiB"}`, 400, "queueBytes"},
		"overflowing size":       {"/targets", `{"name":"a","stdout":{},"queueBytes":99999999999999999999}`, 400, "queueBytes"},
		"boolean as a text":      {"/targets", `{"name":"a","stdout":{},"enabled":"false"}`, 400, "enabled"},
		"number for a boolean":   {"/targets", `{"name":"a","stdout":{},"enabled":0}`, 400, "enabled"},
		"not UTF-8":              {"/sources", "{\"name\":\"app\",\"journald\":{\"units\":[\"\xff\"]}}", 400, "not UTF-8"},
		"half a surrogate":       {"/sources", `{"name":"app","journald":{"units":["\ud800"]}}`, 400, "journald.units[0]"},
		"too deep":               {"/sources", deep, 400, "64 deep"},
		"100000 deep":            {"/sources", strings.Repeat(`{"a":`, 100000), 400, "deep"},
		"lists, 1000000 deep":    {"/apply", strings.Repeat(`[`, 1000000), 400, "deep"},
		"cut":                    {"/sources", `{"name":"app","journald":{}`, 400, "unexpected end"},
		"comment":                {"/sources", `{` + ok + `} // app`, 400, "top-level"},
		"YAML as JSON":           {"/sources", "name: app\njournald: {}\n", 400, "not valid JSON"},
		"HTML":                   {"/sources", "<html>", 400, "not valid JSON"},
		"many fields":            {"/sources", `{` + ok + manyFields(20000) + `}`, 400, ""},
		"many labels":            {"/sources", `{` + ok + `,"labels":{"a":"b"` + manyFields(10000) + `}}`, 400, "labels"},
		"too large":              {"/sources", `{"name":"` + strings.Repeat("a", rest.MaxBody) + `"}`, 413, "2MiB"},
		"far too large":          {"/sources", strings.Repeat(" ", 8<<20), 413, "2MiB"},
		"no such bundle":         {"/targets", `{"name":"a","rsyslog":{"address":"h:1","tlsBundle":"none"}}`, 400, "none"},
		"password in the URL":    {"/targets", `{"name":"a","loki":{"url":"http://ada:Wjq7secret@h:1"}}`, 400, ""},
		"hidden without a store": {"/targets", `{"name":"a","loki":{"url":"http://h:1","bearerToken":"(hidden)"}}`, 400, "bearerToken"},
		"key without its cert":   {"/tls-bundles", `{"name":"a","keyPem":"x"}`, 400, ""},
		"key that is none":       {"/tls-bundles", `{"name":"a","certPem":"x","keyPem":"Wjq7secret"}`, 400, ""},
		"no regex":               {"/formats", `{"name":"a"}`, 400, "regex"},
		"bad regex":              {"/formats", `{"name":"a","regex":"("}`, 400, "regex"},
		"exploding regex":        {"/formats", `{"name":"a","regex":"((((((a{1000}){1000}){1000}){1000}){1000}){1000}){1000}"}`, 400, "regex"},
		"no format":              {"/services", `{"name":"a"}`, 400, "logFormat"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, nil)
			a := g.send(request{method: "POST", path: c.path, body: c.body})
			if a.status != c.status || !strings.Contains(a.body, c.message) {
				t.Errorf("%d %s, want %d and %q", a.status, a.body, c.status, c.message)
			}
			if strings.Contains(a.body+g.log.take(), "Wjq7secret") {
				t.Errorf("a secret is told: %s", a.body)
			}
			if len(a.body) > 200<<10 {
				t.Errorf("the answer is %d bytes long", len(a.body))
			}
			if len(g.store.objects) > 0 {
				t.Error("something was stored")
			}
		})
	}
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"f%d":"x"`, i)
	}
	return b.String()
}

// TestNameOfThePath: a body is for the object of its path.
func TestNameOfThePath(t *testing.T) {
	g := newRig(t, nil)
	for _, body := range []string{`{"name":"other","journald":{}}`, `{"journald":{}}`, `{"name":"","journald":{}}`, ``} {
		a := g.must(400, request{method: "PUT", path: "/sources/app", body: body, contentType: "application/json"})
		if !strings.Contains(a.body, "name") && body != "" {
			t.Errorf("%s: %s", body, a.body)
		}
	}
	if a := g.must(400, request{method: "PUT", path: "/sources/app", body: `{"name":"other","journald":{}}`}); !strings.Contains(a.body, "that of the path") {
		t.Errorf("another name: %s", a.body)
	}
	if len(g.store.objects) > 0 {
		t.Error("something was stored")
	}
}

// TestContentTypes: what a web page could send without its user's will, curl's default, and
// what is not said are refused.
func TestContentTypes(t *testing.T) {
	const body = `{"name":"app","journald":{}}`
	for contentType, status := range map[string]int{
		"application/json": 200, "application/json; charset=utf-8": 200, "application/JSON;charset=UTF-8": 200, "application/yaml": 200,
		"-": 415, "text/plain": 415, "application/x-www-form-urlencoded": 415, "multipart/form-data; boundary=x": 415, "text/json": 415, "application/json; charset=utf-16": 415,
		"application/json, text/plain": 415, "application/": 415, ";": 415, "application/json-patch+json": 415, "application/merge-patch+json": 415, "*/*": 415, "application/json; charset=utf-8; charset=utf-16": 415,
	} {
		g := newRig(t, nil)
		if a := g.send(request{method: "POST", path: "/sources?dryRun=true", body: body, contentType: contentType}); a.status != status {
			t.Errorf("%q: %d %s", contentType, a.status, a.body)
		}
	}
	g := newRig(t, nil)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(body))
	_ = z.Close()
	g.must(415, request{method: "POST", path: "/sources", body: packed.String(), header: map[string]string{"Content-Encoding": "gzip"}})
	// Where there is nothing to be said.
	g.post("/targets", `{"name":"a","stdout":{}}`)
	g.must(415, request{method: "POST", path: "/targets/a/test", body: "{}", contentType: "text/plain"})
	g.must(400, request{method: "POST", path: "/targets/a/test", body: `{"a":1}`})
	g.must(400, request{method: "POST", path: "/targets/a/test", body: `0`})
	g.must(200, request{method: "POST", path: "/targets/a/test", body: " { } "})
	g.must(400, request{method: "DELETE", path: "/targets/a", body: `{"name":"b"}`})
}

// TestLyingAboutTheLength: a body that is longer than it may be is not read to its end, if it
// says so and if it does not, and one that ends too early is no object.
func TestLyingAboutTheLength(t *testing.T) {
	g := newRig(t, nil)
	raw := func(head string, body io.Reader) string {
		c, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprintf(c, "POST %s/sources HTTP/1.1\r\nHost: x\r\n%s: admin\r\nContent-Type: application/json\r\n%s\r\n\r\n", rest.Prefix, roleHeader, head)
		go func() {
			_, _ = io.Copy(c, body)
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
		}()
		answer, _ := io.ReadAll(c) // the server may reset what it does not read
		return string(answer)
	}
	// 1 TB that is announced and never comes.
	if a := raw("Content-Length: 1000000000000", strings.NewReader("")); !strings.HasPrefix(a, "HTTP/1.1 413 ") {
		t.Errorf("announced: %.200s", a)
	}
	// Chunks without end.
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 1<<20, strings.Repeat(" ", 1<<20))
	if a := raw("Transfer-Encoding: chunked", strings.NewReader(chunk+chunk+chunk)); !strings.HasPrefix(a, "HTTP/1.1 413 ") {
		t.Errorf("chunked: %.200s", a)
	}
	if a := raw("Content-Length: 100", strings.NewReader(`{"name":"a","journald":{}}`)); !strings.HasPrefix(a, "HTTP/1.1 400 ") {
		t.Errorf("cut: %.200s", a)
	}
	if len(g.store.objects) > 0 {
		t.Error("something was stored")
	}
}

// TestNothingToWorkOn: an API without a store says how there would be one.
func TestNothingToWorkOn(t *testing.T) {
	g := newRig(t, func(o *rest.Options) { o.Store, o.Collectors, o.Test = nil, nil, nil })
	for _, e := range rest.Endpoints() {
		if e.Path == "/whoami" || e.Path == "/openapi.json" {
			continue
		}
		q := request{method: e.Method, path: strings.NewReplacer("{name}", "one", "{id}", "7").Replace(e.Path)}
		switch {
		case e.Body == "Config":
			q.body = `{"sources":[{"name":"one","journald":{}}]}`
		case e.Body != "" && e.Body != "*":
			q.body = bodies[e.Kind]
		}
		if a := g.must(409, q); code(t, a) != rest.CodeFailedPrecondition || !strings.Contains(a.body, "--etcd-endpoints") {
			t.Errorf("%s %s: %s", q.method, q.path, a.body)
		}
	}
	g.get("/whoami")
	g = newRig(t, func(o *rest.Options) { o.Test = nil })
	g.post("/targets", `{"name":"a","stdout":{}}`)
	g.must(409, request{method: "POST", path: "/targets/a/test"})
}

// TestStoreFails: what is wrong inside is for the log and not for the client.
func TestStoreFails(t *testing.T) {
	const inner = "etcd at https://10.1.2.3:2379, user lbshipd"
	for _, c := range []struct {
		err          error
		status, code int
		told         bool
	}{
		{fmt.Errorf("%s: %w", inner, config.ErrUnavailable), 503, rest.CodeUnavailable, false},
		{fmt.Errorf("%s: %w", inner, context.DeadlineExceeded), 503, rest.CodeUnavailable, false},
		{fmt.Errorf("%s: %w", inner, context.Canceled), 503, rest.CodeUnavailable, false},
		{errors.New(inner), 500, rest.CodeInternal, false},
		{fmt.Errorf("the file /etc/lbshipd.yaml: %w", config.ErrReadOnly), 409, rest.CodeFailedPrecondition, true},
		{fmt.Errorf("target %q: %w", "x", config.ErrStale), 409, rest.CodeAborted, true},
	} {
		g := newRig(t, nil)
		g.store.err = c.err
		for _, q := range []request{{method: "GET", path: "/sources"}, {method: "GET", path: "/sources/app"}, {method: "POST", path: "/sources", body: bodies[config.KindSource]},
			{method: "DELETE", path: "/sources/app"}, {method: "POST", path: "/apply", body: `{"sources":[{"name":"a","journald":{}}]}`}, {method: "GET", path: "/history"}, {method: "GET", path: "/collectors"}} {
			if c.told && q.method == "GET" {
				continue
			}
			a := g.must(c.status, q)
			if code(t, a) != c.code || strings.Contains(a.body, "10.1.2.3") {
				t.Errorf("%s %s with %v: %s", q.method, q.path, c.err, a.body)
			}
			if c.status == 503 && a.header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
			if log := g.log.take(); !c.told && !strings.Contains(log, "10.1.2.3") {
				t.Errorf("the log does not say what is wrong: %s", log)
			}
		}
	}
}

// A client is told whether a change that the store did not answer for may have been made, and before
// it stops waiting.
func TestWhatBecameOfAChange(t *testing.T) {
	const unchanged, perhaps = "nothing was changed", "may have been made or not"
	unclear := fmt.Errorf("etcd: %w (%w)", config.ErrUnavailable, config.ErrUnclear)
	post := request{method: "POST", path: "/sources", body: bodies[config.KindSource]}
	for _, c := range []struct {
		what      string
		err, werr error
		q         request
		want, not string
	}{
		{"nothing was sent", config.ErrUnavailable, nil, post, unchanged, perhaps},
		{"it was refused", nil, config.ErrUnavailable, post, unchanged, perhaps},
		{"nobody knows", nil, unclear, post, perhaps, unchanged},
		{"nobody knows", nil, unclear, request{method: "POST", path: "/apply", body: `{"sources":[{"name":"a","journald":{}}]}`}, perhaps, unchanged},
		{"it took too long", nil, context.DeadlineExceeded, post, perhaps, unchanged},
		{"nothing was to change", nil, unclear, request{method: "POST", path: "/sources?dryRun=true", body: bodies[config.KindSource]}, "try again later", "chang"},
		{"something was asked", config.ErrUnavailable, nil, request{method: "GET", path: "/sources"}, "try again later", "chang"},
	} {
		g := newRig(t, nil)
		g.store.err, g.store.werr = c.err, c.werr
		if a := g.must(503, c.q); !strings.Contains(a.body, c.want) || strings.Contains(a.body, c.not) {
			t.Errorf("%s: %s %s: %s", c.what, c.q.method, c.q.path, a.body)
		}
		if left := time.Until(g.store.deadline); c.err != nil && (left <= 0 || left > client.DefaultTimeout-time.Second) {
			t.Errorf("%s: the store has %v, and clients wait %v", c.what, left, client.DefaultTimeout)
		}
	}
}

// TestPanic: a mistake of ours is answered with 500, logged with where it is, and harms no other request.
func TestPanic(t *testing.T) {
	g := newRig(t, func(o *rest.Options) {
		o.Test = func(context.Context, *config.Target, *config.TLSBundle) any { panic("Wjq7secret") }
	})
	g.post("/targets", `{"name":"a","stdout":{}}`)
	a := g.must(http.StatusInternalServerError, request{method: "POST", path: "/targets/a/test"})
	log := g.log.take()
	if !strings.Contains(log, "hostile_test.go") || strings.Contains(log+a.body, "Wjq7secret") {
		t.Errorf("log: %s", log)
	}
	g.get("/targets")
}
