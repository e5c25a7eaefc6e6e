package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// fullDrafts are the objects of fullYAML, each by itself.
func fullDrafts(t testing.TB) []Change {
	t.Helper()
	changes, err := DecodeAll("full.yaml", []byte(expand(t, fullText)))
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// TestDecodeIsParse: an object by itself is what it is in a whole file.
func TestDecodeIsParse(t *testing.T) {
	c := full(t)
	seen := 0
	for _, kind := range Kinds() {
		for i := range c.list(kind).Len() {
			want := c.at(kind, i)
			for _, change := range fullDrafts(t) {
				if change.Kind == kind && change.Name == want.ObjectName() {
					seen++
					if diff := cmp.Diff(want, change.Draft.Object); diff != "" {
						t.Errorf("%s %s: in a file - / by itself +\n%s", kind, change.Name, diff)
					}
				}
			}
		}
	}
	if seen != 9 {
		t.Errorf("%d objects were compared", seen)
	}
}

// TestGiven holds Given against what was written, letter by letter.
func TestGiven(t *testing.T) {
	for _, c := range []struct {
		kind       Kind
		text, want string
	}{
		{KindSource, "journald: {}\nname: a", `{"name":"a","journald":{}}`},
		{KindSource, `{"minLevel":"warn","name":"a","enabled":true,"journald":{"units":["ssh"]}}`,
			`{"name":"a","enabled":true,"journald":{"units":["ssh"]},"minLevel":"warning"}`},
		{KindSource, "name: a\njournald: {units: []}\nlogFormat: ''\nlabels: {b: 007, a: <x>}\nminLevel: ''",
			`{"name":"a","journald":{},"labels":{"a":"<x>","b":"007"}}`},
		{KindTarget, "name: a\nloki: {url: 'https://x', batchWait: 0s, batchBytes: 1048576, streamLabels: []}",
			`{"name":"a","loki":{"url":"https://x","streamLabels":[],"batchBytes":"1MiB","batchWait":"0s"}}`},
		{KindTarget, "name: a\nrsyslog: {address: 'x:1', structuredDataId: ''}", `{"name":"a","rsyslog":{"address":"x:1","structuredDataId":""}}`},
		{KindTarget, "name: a\nloki: {url: 'https://x', basicAuth: {username: u, password: s3cret}}",
			`{"name":"a","loki":{"url":"https://x","basicAuth":{"username":"u","password":"s3cret"}}}`},
		{KindTLSBundle, `{"name":"a","keyPem":"(hidden)","certFile":"/c","subject":"x","etag":"1","by":"y","kind":"tls-bundle"}`,
			`{"name":"a","keyPem":"(hidden)","certFile":"/c"}`},
		{KindSource, `{"name":"a","file":{"paths":["/\ud83d\ude00\/x"],"maxHeldFiles":7}}`, `{"name":"a","file":{"paths":["/😀/x"],"maxHeldFiles":7}}`},
	} {
		d, err := Decode(c.kind, "x", []byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if string(d.Given) != c.want {
			t.Errorf("%s\nis  %s\nnot %s", c.text, d.Given, c.want)
		}
		again, err := Decode(c.kind, "y", d.Given)
		if err != nil || string(again.Given) != c.want {
			t.Errorf("%s is not read as it was written: %s, %v", c.want, again.Given, err)
		}
		if diff := cmp.Diff(d.Object, again.Object, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s is another when it is read again\n%s", c.want, diff)
		}
	}
}

// TestDecodeRefuses: what is wrong is said with the object, the field and the line.
func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct {
		kind       Kind
		text, want string
	}{
		{"pipeline", "{}", `x:1: unknown kind "pipeline"`},
		{KindSource, "", "x:1: nothing in it: a source is wanted"},
		{KindSource, "null", "x:1: nothing in it: a source is wanted"},
		{KindSource, "name: a\njournald: {}\n---\nname: b", "x:4: a second document begins; one source is wanted"},
		{KindSource, "[]", "x:1: source number 1: must be fields (name: value), is a list"},
		{KindSource, `{"name":"a","journald":{}`, "x:1: not valid YAML: did not find expected ',' or '}'"},
		{KindSource, "{\n\"name\": \"a\",\n\"journal\": {}}",
			`x:1: source "a": exactly one of journald and file must be given, none is` + "\n" + `x:3: source "a": journal: unknown field, did you mean "journald"?`},
		{KindSource, "{\"name\": \"a\",\n\"journald\": {},\n\"name\": \"b\"}", `x:3: source "a": name: given twice, first on line 1`},
		{KindSource, `{"name":"A","journald":{"units":[5,{"a":1}]}}`, `x:1: source "A": journald.units[1]: must be a text, is a mapping` + "\n" +
			`x:1: source "A": name: "A" must be 1 to 63 of a-z, 0-9, ".", "_" and "-", and begin with a letter or digit`},
		{KindSource, `{"name":"a","file":{"paths":["/x"],"maxLineBytes":true,"maxHeldFiles":"1"},"enabled":"true"}`,
			`x:1: source "a": file.maxLineBytes: must be a size such as 65536, 64KiB or 1MiB, is true` + "\n" +
				`x:1: source "a": file.maxHeldFiles: must be a whole number, is the text "1"` + "\n" +
				`x:1: source "a": enabled: must be true or false, is the text "true"`},
		{KindSource, `{"name":"a","journald":{},"kind":"target"}`, `x:1: source "a": kind: is the text "target" where a source is wanted`},
		{KindSource, `{"name":"a","journald":{},"fingerprint":"x"}`, `x:1: source "a": fingerprint: unknown field (known: name`},
		{KindSource, `{"name":"a","journald":{"etag":"x"}}`, `x:1: source "a": journald.etag: unknown field`},
		{KindSource, `{"journald":{}}`, `x:1: source number 1: name: is missing`},
		{KindSource, `{"name":"a","journald":{},"logFormat":"regex:A B"}`, `logFormat: there is no format "A B"`},
		{KindTarget, `{"name":"a","loki":{"url":"https://x","bearerToken":{"s3cret":1}}}`, `loki.bearerToken: must be a text, is a mapping`},
		{KindTLSBundle, `{"name":"a","keyPem":"s3cret"}`, `keyPem: holds no private key`},
		{KindService, `{"name":"a"}`, `x:1: service "a": logFormat: is missing`},
		{KindFormat, `{"name":"a","regex":"("}`, `x:1: format "a": regex: missing closing ): ` + "`(`"},
		{KindSource, strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65), "x:1: lists and mappings are nested more than 64 deep"},
		{KindSource, strings.Repeat(`{a: `, 65) + "1" + strings.Repeat("}", 65), "x:1: lists and mappings are nested more than 64 deep"},
		{KindSource, strings.Repeat(`[`, 1<<19), "x:1: lists and mappings are nested more than 64 deep"},
		{KindSource, `{"name":"` + strings.Repeat("x", MaxObjectBytes), "x:1: is 1048585 bytes long, more than 1048576"},
		{KindSource, "{\"name\":\"\x00\"}", "x:1: control character 0x00"},
	} {
		_, err := Decode(c.kind, "x", []byte(c.text))
		var problems Problems
		if !errors.As(err, &problems) || !strings.HasPrefix(err.Error(), c.want) && !(strings.Count(c.want, "x:1") == 0 && strings.Contains(err.Error(), c.want)) {
			t.Errorf("%.100s\nis  %.500v\nnot %s", c.text, err, c.want)
		}
		if strings.Contains(fmt.Sprint(err), "s3cret") {
			t.Errorf("a secret is in %v", err)
		}
	}
}

func TestDecodeAll(t *testing.T) {
	changes, err := DecodeAll("x", []byte(`
kind: service
name: s
logFormat: json
---
sources: [{name: a, journald: {}}, {name: b, file: {paths: [/b]}}]
targets:
---
- {name: c, loki: {url: "https://x"}}
- {kind: tlsBundle, name: d, caFile: /x}
- tlsBundles: [{name: e, caFile: /x}]
---
name: f
regex: (?P<message>.)
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		got = append(got, string(c.Kind)+"/"+c.Name)
		if c.Draft == nil || c.Draft.Object.Kind() != c.Kind || c.Draft.Object.ObjectName() != c.Name || c.Create || c.Replace || c.IfMatch != "" {
			t.Errorf("change %+v", c)
		}
	}
	want := []string{"service/s", "source/a", "source/b", "target/c", "tls-bundle/d", "tls-bundle/e", "format/f"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for text, want := range map[string]string{
		"":                            "x:1: there is no object in it",
		"sources: []":                 "x:1: there is no object in it",
		"5":                           "x:1: must be an object or lists of objects (sources: ...), is a number",
		"- 5\n- [a]":                  "x:1: must be an object or lists of objects (sources: ...), is a number\nx:2: must be an object or lists of objects (sources: ...), is a list",
		"name: a\nlogFormat: json":    "x:1: an object of which it is not clear what it is: add kind: (one of tls-bundle, format, service, source, target)",
		"kind: pod\nname: a":          `x:1: kind: is the text "pod" (known: tls-bundle, format, service, source, target)`,
		"name: a\nloki: {}\nfile: {}": "x:1: an object of which it is not clear what it is",
		"sources: [{name: a, journald: {}}]\nsource: []": `x:2: source: unknown field, did you mean "sources"?`,
		"sources: {}": "x:1: sources: must be a list (- ... for each item), is a mapping",
		"sources:\n- {name: a, journald: {}}\n- {name: a, journald: {}}":               `x:3: source "a": stands on line 2 already`,
		"sources:\n- {name: a, journald: {}}\n- {journald: {}}\n- {name: c}":           "x:3: source number 2: name: is missing\nx:4: source \"c\": exactly one",
		"kind: source\nname: a\njournald: {}\n---\nkind: source\nname: b\njournal: {}": `x:5: source "b": exactly one`,
		"sources: []\nsources: []": "x:2: sources: given twice, first on line 1",
		"sources:\n" + strings.Repeat("- {journald: {}, name: 0}\n", maxObjects+1): `x:3: source "0": stands on line 2 already`,
	} {
		_, err := DecodeAll("x", []byte(text))
		var problems Problems
		if !errors.As(err, &problems) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.200s\nis  %.300v\nnot %s", text, err, want)
		}
	}
}

// TestBombsOfObjects: aliases that stand for much end as an error.
func TestBombsOfObjects(t *testing.T) {
	list := "[" + strings.Repeat("a,", maxItems) + "]"
	_, err := DecodeAll("x", []byte("- &x {name: a, journald: {units: "+list+"}}\n"+strings.Repeat("- *x\n", maxObjects-1)))
	if err == nil || !strings.Contains(err.Error(), "more than 200000 values") {
		t.Errorf("%.300v", err)
	}
	var b strings.Builder
	for i := range maxObjects + 1 {
		fmt.Fprintf(&b, `{"kind":"source","name":"s%d","journald":{}}`, i)
	}
	if _, err := DecodeAll("x", []byte(b.String())); err == nil || err.Error() != "x:1: sources: more than 1000 of them" {
		t.Errorf("%.300v", err)
	}
}

// TestSecrets: every secret is found, by its path, and nothing else.
func TestSecrets(t *testing.T) {
	found := map[string]string{}
	for _, c := range fullDrafts(t) {
		sealed, err := Secrets(c.Kind, c.Draft.Given, func(path, value string) (string, error) {
			found[string(c.Kind)+"/"+c.Name+"/"+path] = value
			return "sealed \"" + path, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(sealed) || strings.Contains(string(sealed), "hunter") || strings.Contains(string(sealed), "PRIVATE") {
			t.Errorf("%s", sealed)
		}
		opened, err := Secrets(c.Kind, sealed, func(path, value string) (string, error) {
			if value != "sealed \""+path {
				t.Errorf("%s is %q", path, value)
			}
			return found[string(c.Kind)+"/"+c.Name+"/"+path], nil
		})
		if err != nil || string(opened) != string(c.Draft.Given) {
			t.Errorf("%v\n%s\n%s", err, opened, c.Draft.Given)
		}
	}
	key := parts()["KEY"]
	if diff := cmp.Diff(map[string]string{"target/a/loki.bearerToken": "hunter2", "target/b/loki.basicAuth.password": "hunter3", "tls-bundle/b/keyPem": key}, found); diff != "" {
		t.Error(diff)
	}
	fails := errors.New("no key")
	if _, err := Secrets(KindTLSBundle, []byte(`{"keyPem":"x"}`), func(string, string) (string, error) { return "", fails }); !errors.Is(err, fails) {
		t.Errorf("got %v", err)
	}
	for _, text := range []string{"", "[]", "{", "{}{}", "5", "name: a"} {
		if _, err := Secrets(KindTarget, []byte(text), nil); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
