package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const planText = `
sources:
- {name: a, journald: {}}
- {name: b, journald: {}, logFormat: regex:f}
- {name: c, journald: {identifiers: [mine]}}
- {name: d, journald: {identifiers: [gftl]}}
targets:
- {name: a, loki: {url: "https://x", basicAuth: {username: u, password: s3cret}}}
- {name: b, rsyslog: {address: "x:1", tlsBundle: b}}
tlsBundles:
- name: b
  certPem: |
@CERT@
  keyPem: |
@KEY@
- {name: free, caFile: x}
formats:
- {name: f, regex: '(?P<message>.*)'}
- {name: g, regex: '(?P<message>.*)'}
services:
- {name: mine, logFormat: klog}
- {name: gftl, logFormat: auto}
- {name: viaformat, logFormat: regex:g}
`

// draft makes a Change of one object, written as people write it.
func draft(t testing.TB, kind Kind, text string) Change {
	t.Helper()
	d, err := Decode(kind, "draft", []byte(expand(t, text)))
	if err != nil {
		t.Fatal(err)
	}
	return Change{Kind: kind, Name: d.Object.ObjectName(), Draft: &d}
}

func with(c Change, f func(*Change)) Change { f(&c); return c }

func create(c *Change)  { c.Create = true }
func replace(c *Change) { c.Replace = true }
func match(etag string) func(*Change) {
	return func(c *Change) { c.IfMatch = etag }
}

// find returns an object by KIND/NAME.
func find(objects []Stored, id string) *Stored {
	for i := range objects {
		if string(objects[i].Kind)+"/"+objects[i].Name == id {
			return &objects[i]
		}
	}
	return nil
}

func TestPlan(t *testing.T) {
	e := draft(t, KindSource, "{name: e, journald: {}}")
	sameA := draft(t, KindSource, `{"journald":{},"name":"a"}`)
	newA := draft(t, KindSource, "{name: a, journald: {}, minLevel: info}")
	cases := map[string]struct {
		changes   []Change
		effective string // KIND/NAME, of what is changed
		is        error  // or the condition that does not hold
		message   string // of the error
	}{
		"nothing":                {nil, "", nil, ""},
		"create":                 {[]Change{with(e, create)}, "source/e", nil, ""},
		"either, new":            {[]Change{e}, "source/e", nil, ""},
		"either, there":          {[]Change{newA}, "source/a", nil, ""},
		"replace":                {[]Change{with(newA, replace)}, "source/a", nil, ""},
		"create what is there":   {[]Change{with(newA, create)}, "", ErrExists, `source "a": there is an object of this name already`},
		"replace what is not":    {[]Change{with(e, replace)}, "", ErrNotFound, `source "e": there is no such object`},
		"match":                  {[]Change{with(newA, match("1"))}, "source/a", nil, ""},
		"stale":                  {[]Change{with(newA, match("2"))}, "", ErrStale, `source "a": the object was changed meanwhile`},
		"match what is not":      {[]Change{with(e, match("1"))}, "", ErrStale, ""},
		"the same":               {[]Change{sameA}, "", nil, ""},
		"the same, create":       {[]Change{with(sameA, create)}, "", ErrExists, ""},
		"delete":                 {[]Change{{Kind: KindSource, Name: "a"}}, "source/a", nil, ""},
		"delete what is not":     {[]Change{{Kind: KindSource, Name: "zz"}}, "", nil, ""},
		"must delete what isn't": {[]Change{{Kind: KindSource, Name: "zz", Replace: true}}, "", ErrNotFound, ""},
		"delete, stale":          {[]Change{{Kind: KindSource, Name: "a", IfMatch: "2"}}, "", ErrStale, ""},
		"all or none":            {[]Change{e, with(newA, create)}, "", ErrExists, ""},
		"two conditions":         {[]Change{with(e, replace), with(newA, create)}, "", ErrExists, `source "e": there is no such object`},
		"twice":                  {[]Change{e, e}, "", nil, `source "e": is changed twice in one step`},
		"unknown kind":           {[]Change{{Kind: "pod", Name: "x"}}, "", nil, `unknown kind "pod"`},
		"another name":           {[]Change{with(e, func(c *Change) { c.Name = "x" })}, "", nil, `source "x": name: is "e", and the object to be written is "x"`},
		"no JSON":                {[]Change{{Kind: KindSource, Name: "x", Draft: &Draft{Given: []byte("{")}}}, "", nil, `source "x": looking for secrets: the object is not valid JSON`},
		"empty draft":            {[]Change{{Kind: KindSource, Name: "x", Draft: &Draft{}}}, "", nil, `source "x": `},
		"invalid":                {[]Change{{Kind: KindSource, Name: "x", Draft: &Draft{Given: []byte(`{"name":"x","journal":{}}`)}}}, "", nil, `source "x": journal: unknown field, did you mean "journald"?`},

		"names no format":        {[]Change{draft(t, KindSource, "{name: e, journald: {}, logFormat: regex:nope}")}, "", nil, `source "e": logFormat: there is no format "nope"`},
		"names a new format":     {[]Change{draft(t, KindSource, "{name: e, journald: {}, logFormat: regex:n}"), draft(t, KindFormat, "{name: n, regex: '(?P<a>.)'}")}, "source/e format/n", nil, ""},
		"service names none":     {[]Change{draft(t, KindService, "{name: e, logFormat: regex:nope}")}, "", nil, `service "e": logFormat: there is no format "nope"`},
		"names no bundle":        {[]Change{draft(t, KindTarget, "{name: e, rsyslog: {address: 'x:1', tlsBundle: fre}}")}, "", nil, `target "e": rsyslog.tlsBundle: there is no TLS bundle "fre", did you mean "free"?`},
		"names a deleted bundle": {[]Change{draft(t, KindTarget, "{name: e, rsyslog: {address: 'x:1', tlsBundle: free}}"), {Kind: KindTLSBundle, Name: "free"}}, "", nil, `there is no TLS bundle "free"`},

		"delete a bundle in use":        {[]Change{{Kind: KindTLSBundle, Name: "b"}}, "", ErrReferenced, `TLS bundle "b": the object is still referenced by target "b"`},
		"delete a bundle and its user":  {[]Change{{Kind: KindTLSBundle, Name: "b"}, {Kind: KindTarget, Name: "b"}}, "tls-bundle/b target/b", nil, ""},
		"delete a bundle not in use":    {[]Change{{Kind: KindTLSBundle, Name: "free"}}, "tls-bundle/free", nil, ""},
		"delete a format of a source":   {[]Change{{Kind: KindFormat, Name: "f"}}, "", ErrReferenced, `format "f": the object is still referenced by source "b"`},
		"delete a format of a service":  {[]Change{{Kind: KindFormat, Name: "g"}}, "", ErrReferenced, `format "g": the object is still referenced by service "viaformat"`},
		"delete a service of a source":  {[]Change{{Kind: KindService, Name: "mine"}}, "", ErrReferenced, `service "mine": the object is still referenced by source "c"`},
		"delete a service known anyway": {[]Change{{Kind: KindService, Name: "gftl"}}, "service/gftl", nil, ""},
		"delete a service, say format":  {[]Change{{Kind: KindService, Name: "mine"}, draft(t, KindSource, "{name: c, journald: {identifiers: [mine]}, logFormat: raw}")}, "service/mine source/c", nil, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before := stored(t, planText)
			after, effective, _, err := Plan(before, c.changes)
			if c.is != nil || c.message != "" {
				if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.message) {
					t.Errorf("got %v, want %v %s", err, c.is, c.message)
				}
				var problems Problems
				if c.is == nil && !errors.As(err, &problems) {
					t.Errorf("no Problems but %T", err)
				}
				if after != nil || effective != nil {
					t.Error("something comes with an error")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range effective {
				got = append(got, string(e.Kind)+"/"+e.Name)
				if (find(after, got[len(got)-1]) != nil) != (e.Draft != nil) {
					t.Errorf("%s is not there after it, or is", got[len(got)-1])
				}
				if (find(before, got[len(got)-1]) == nil) != e.Create || e.Create == e.Replace {
					t.Errorf("conditions of %+v", e)
				}
			}
			if strings.Join(got, " ") != c.effective {
				t.Errorf("changed %v, want %s", got, c.effective)
			}
			for i := range before {
				id := string(before[i].Kind) + "/" + before[i].Name
				if strings.Contains(c.effective+" ", id+" ") {
					continue
				}
				if now := find(after, id); now == nil || now.Etag != "1" || string(now.Given) != string(before[i].Given) {
					t.Errorf("%s was not to be changed, and is %+v", id, now)
				}
			}
		})
	}
}

// TestPlanKeepsSecrets: what an answer shows in place of a secret, given back, keeps it.
func TestPlanKeepsSecrets(t *testing.T) {
	before := stored(t, planText)
	for _, id := range []string{"target/a", "tls-bundle/b"} {
		s := find(before, id)
		shown, err := RenderGiven(*s)
		if err != nil {
			t.Fatal(err)
		}
		if _, effective, _, err := Plan(before, []Change{draft(t, s.Kind, string(shown))}); err != nil || len(effective) > 0 {
			t.Errorf("%s given back as it is shown: %v, %v", id, effective, err)
		}
		full, err := Render(s.Object)
		if err != nil {
			t.Fatal(err)
		}
		after, _, _, err := Plan(before, []Change{draft(t, s.Kind, string(full))})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s.Object, find(after, id).Object); diff != "" {
			t.Errorf("%s given back with its defaults is another\n%s", id, diff)
		}
	}
	after, effective, _, err := Plan(before, []Change{draft(t, KindTarget, `{name: a, loki: {url: "https://x", basicAuth: {username: v, password: "(hidden)"}}}`)})
	if err != nil || find(after, "target/a").Object.(*Target).Loki.BasicAuth.Password.Reveal() != "s3cret" || !strings.Contains(string(effective[0].Draft.Given), `"password":"s3cret"`) {
		t.Errorf("%v: %s", err, effective[0].Draft.Given)
	}
	for text, want := range map[string]string{
		`{name: b, caFile: y, certPem: "` + strings.ReplaceAll(parts()["SOON"], "\n", `\n`) + `"}`:                                                             `TLS bundle "b": has a certificate but no key`,
		`{name: b, certPem: "` + strings.ReplaceAll(parts()["CERT"], "\n", `\n`) + `", keyPem: "` + strings.ReplaceAll(parts()["OTHERKEY"], "\n", `\n`) + `"}`: ``,
	} {
		d, err := Decode(KindTLSBundle, "x", []byte(text))
		if err == nil {
			_, _, _, err = Plan(before, []Change{{Kind: KindTLSBundle, Name: "b", Draft: &d}})
		}
		if want == "" {
			want = "is not the key of the certificate"
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for _, c := range []Change{
		draft(t, KindTarget, `{name: new, loki: {url: "https://y", bearerToken: "(hidden)"}}`),
		draft(t, KindTarget, `{name: a, loki: {url: "https://y", bearerToken: "(hidden)"}}`),
		draft(t, KindTLSBundle, "{name: free, certFile: x, keyPem: '(hidden, sha-256 of its public key 00)'}"),
	} {
		if _, _, _, err := Plan(before, []Change{c}); err == nil || !strings.Contains(err.Error(), "none is stored: give the secret itself") {
			t.Errorf("%s: got %v", c.Draft.Given, err)
		}
	}
	if after, _, _, err := Plan(before, []Change{draft(t, KindTLSBundle, "name: b\ncaFile: y\ncertPem: |\n@CERT@\n")}); err != nil || find(after, "tls-bundle/b").Object.(*TLSBundle).KeyPem.Reveal() == "" {
		t.Errorf("keyPem that is left out: %v", err)
	}
}

// TestPlanLeavesTheRest: what is wrong with other objects is no reason to refuse.
func TestPlanLeavesTheRest(t *testing.T) {
	before := append(stored(t, "sources: [{name: a, journald: {}, logFormat: regex:gone}, {name: b, journald: {}}]"),
		Stored{Kind: KindTLSBundle, Name: "bad", Draft: Draft{Given: []byte(`{"name":"bad","keyPem":"sealed"}`)}, Err: Problems{{Message: "unknown field"}}, Etag: "7"},
		Stored{Kind: KindTarget, Name: "bad", Draft: Draft{Given: []byte(`{"name":"bad","loki":{"url":"https://x","bearerToken":"sealed"}}`)}, Err: errors.New("x"), Etag: "8"})
	after, effective, warnings, err := Plan(before, []Change{
		draft(t, KindSource, "{name: b, journald: {}, minLevel: info}"),
		draft(t, KindTarget, "{name: t, rsyslog: {address: 'x:1', tlsBundle: bad}}"),
	})
	if err != nil || len(effective) != 2 || len(after) != 5 {
		t.Fatalf("%v, %d, %d", err, len(effective), len(after))
	}
	if want := `target "t": names TLS bundle "bad", which cannot be used`; warnings.Error() != want {
		t.Errorf("warnings %v, want %s", warnings, want)
	}
	// A secret of what cannot be read is not kept: it may be sealed.
	if _, _, _, err := Plan(before, []Change{draft(t, KindTarget, `{name: bad, loki: {url: "https://x", bearerToken: "(hidden)"}}`)}); err == nil || !strings.Contains(err.Error(), "cannot be read here") {
		t.Errorf("a secret that cannot be read: %v", err)
	}
	// It can be mended, and deleted.
	if _, effective, _, err := Plan(before, []Change{with(draft(t, KindTarget, `{name: bad, loki: {url: "https://x"}}`), match("8")), {Kind: KindTLSBundle, Name: "bad"}}); err != nil || len(effective) != 2 {
		t.Errorf("%d changes, %v", len(effective), err)
	}
}

// TestPlanFormats: a changed service changes what the sources of it are shown with, and nothing that is stored.
func TestPlanFormats(t *testing.T) {
	after, effective, _, err := Plan(stored(t, planText), []Change{draft(t, KindService, "{name: mine, logFormat: json}")})
	if err != nil || len(effective) != 1 {
		t.Fatalf("%v, %v", effective, err)
	}
	c := find(after, "source/c")
	if got := c.Object.(*Source).LogFormat; got != "json" || strings.Contains(string(c.Given), "logFormat") || c.Etag != "1" {
		t.Errorf("%s, %s", got, c.Given)
	}
	_, effective, _, err = Plan(stored(t, planText), []Change{draft(t, KindSource, "{name: c, journald: {identifiers: [mine], units: [mine]}}")})
	if err != nil || effective[0].Draft.Object.(*Source).LogFormat != "klog" {
		t.Errorf("the draft that comes back has not the service's format (%v)", err)
	}
}

func TestPlanLimit(t *testing.T) {
	var before []Stored
	for i := range maxObjects {
		before = append(before, stored(t, fmt.Sprintf("formats: [{name: f%d, regex: '(?P<a>.)'}]", i))...)
	}
	n := draft(t, KindFormat, "{name: n, regex: '(?P<a>.)'}")
	if _, _, _, err := Plan(before, []Change{n}); err == nil || err.Error() != "formats: would be 1001, more than 1000" {
		t.Errorf("got %v", err)
	}
	if _, _, _, err := Plan(before, []Change{n, {Kind: KindFormat, Name: "f1"}}); err != nil {
		t.Error(err)
	}
}

// TestPlanLimitOfAll: nobody fills the nodes' memory or the database with objects.
func TestPlanLimitOfAll(t *testing.T) {
	long := func(name string, n int) Change {
		return draft(t, KindSource, "{name: "+name+", file: {paths: ["+strings.Repeat("/"+strings.Repeat("x", 4000)+",", n)+"]}}")
	}
	big := long("big", 250).Draft
	var before []Stored
	for i := range 33 {
		before = append(before, Stored{Kind: KindSource, Name: fmt.Sprintf("s%d", i), Draft: *big})
	}
	if _, _, _, err := Plan(before, []Change{long("n", 250)}); err == nil || !strings.Contains(err.Error(), "all objects together would be 34") {
		t.Errorf("got %v", err)
	}
	if _, _, _, err := Plan(before[:32], []Change{long("n", 1)}); err != nil {
		t.Error(err)
	}
	if _, _, _, err := Plan(append(before, before[1]), []Change{{Kind: KindSource, Name: "s1"}}); err != nil {
		t.Errorf("what makes it less is refused: %v", err)
	}
}

// TestDiff holds diffs against what people expect of them, letter by letter.
func TestDiff(t *testing.T) {
	before := stored(t, planText)
	plan := func(changes ...Change) (out []string) {
		t.Helper()
		_, effective, _, err := Plan(before, changes)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range Diff(before, effective) {
			out = append(out, c.Action+" "+string(c.Kind)+" "+c.Name+"\n"+c.Diff)
		}
		return out
	}
	got := plan(
		draft(t, KindTarget, `{name: a, enabled: false, loki: {url: "https://x", tenantId: 7, basicAuth: {username: u, password: other}}}`),
		draft(t, KindSource, "{name: e, file: {paths: [/x, '/a: b']}, labels: {x: '1', y: 'true'}}"),
		Change{Kind: KindSource, Name: "a"},
		draft(t, KindTLSBundle, "name: b\ncertPem: |\n@CERT@\ncaFile: c\n"),
	)
	want := []string{`update target a
--- targets/a
+++ targets/a
@@ -1,6 +1,8 @@
 name: a
+enabled: false
 loki:
   url: https://x
+  tenantId: "7"
   basicAuth:
     username: u
-    password: (hidden)
+    password: (hidden, changed)
`, `create source e
--- /dev/null
+++ sources/e
@@ -0,0 +1,8 @@
+name: e
+file:
+  paths:
+    - /x
+    - '/a: b'
+labels:
+  x: "1"
+  y: "true"
`, `delete source a
--- sources/a
+++ /dev/null
@@ -1,2 +0,0 @@
-name: a
-journald: {}
`}
	if diff := cmp.Diff(want, got[:3]); diff != "" {
		t.Error(diff)
	}
	if !strings.HasSuffix(got[3], "\n+caFile: c\n") || strings.Contains(got[3], "changed") || strings.Contains(got[3], "PRIVATE") {
		t.Errorf("got %s", got[3])
	}
	bad := []Stored{{Kind: KindTarget, Name: "a", Draft: Draft{Given: []byte(`{"name":"a","bearerTokn":"s3cret","loki":{"bearerToken":"s3cret"}}`)}, Err: errors.New("x")}}
	for _, c := range Diff(bad, []Change{{Kind: KindTarget, Name: "a"}, {Kind: KindTarget, Name: "nothing"}, draft(t, KindTarget, "{name: a, stdout: {}}")}) {
		if strings.Contains(c.Diff, "s3cret") || c.Name != "a" || c.Diff == "" {
			t.Errorf("%+v", c)
		}
	}
}
