package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// stored makes what a store would hold of a text as DecodeAll takes it. Objects
// have the Etag "1".
func stored(t testing.TB, text string) []Stored {
	t.Helper()
	changes, err := DecodeAll("stored", []byte(expand(t, text)))
	if err != nil {
		t.Fatal(err)
	}
	var out []Stored
	for _, c := range changes {
		out = append(out, Stored{Kind: c.Kind, Name: c.Name, Draft: *c.Draft, Etag: "1"})
	}
	return out
}

// TestAssembleIsParse: what is assembled is what the file would be.
func TestAssembleIsParse(t *testing.T) {
	want := full(t)
	got, rejected := Assemble(stored(t, fullText))
	if len(rejected) > 0 {
		t.Fatalf("%v", rejected)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Errorf("parsed - assembled +\n%s", diff)
	}
	for i := range want.Sources {
		if !SourceEqual(&want.Sources[i], &got.Sources[i], want.Formats, got.Formats) {
			t.Errorf("source %d differs", i)
		}
	}
	for i := range want.Targets {
		if !TargetEqual(&want.Targets[i], &got.Targets[i], want.TLSBundles, got.TLSBundles) {
			t.Errorf("target %d differs", i)
		}
	}
	got.SetDefaults()
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
}

// TestAssembleGivenZeroStays: SetDefaults and Validate change nothing, and warnings are those of Parse.
func TestAssembleGivenZeroStays(t *testing.T) {
	text := `
sources: [{name: j, journald: {}, enabled: false}]
targets: [{name: l, loki: {url: "http://x", batchWait: 0s, streamLabels: [], bearerToken: x}}]
tlsBundles: [{name: b, caFile: x}]
`
	want, err := Parse("", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got, rejected := Assemble(stored(t, text))
	got.SetDefaults()
	if l := got.Targets[0].Loki; len(rejected) > 0 || l.BatchWait != 0 || len(l.StreamLabels) != 0 || got.Sources[0].IsEnabled() {
		t.Errorf("%v: a default took its place: %+v", rejected, l)
	}
	messages := func(p Problems) (out []string) {
		for _, w := range p {
			out = append(out, w.Object+w.Field+w.Message)
		}
		return out
	}
	if diff := cmp.Diff(messages(want.Warnings()), messages(got.Warnings()), cmpopts.SortSlices(strings.Compare)); diff != "" || len(want.Warnings()) != 3 {
		t.Errorf("warnings: parsed - assembled +\n%s\n%v", diff, want.Warnings())
	}
}

// rejections are what was rejected, as KIND/NAME: REASON.
func rejections(rejected []Rejected) (out []string) {
	for _, r := range rejected {
		out = append(out, fmt.Sprintf("%s/%s: %s", r.Kind, r.Name, r.Reason))
	}
	return out
}

// names lists the objects of a Config.
func names(c *Config) (out []string) {
	for _, kind := range Kinds() {
		for i := range c.list(kind).Len() {
			out = append(out, string(kind)+"/"+c.at(kind, i).ObjectName())
		}
	}
	return out
}

// TestAssembleRejects: what cannot be used is left out, with what cannot do without it, and nothing else.
func TestAssembleRejects(t *testing.T) {
	objects := stored(t, `
sources:
- {name: a, journald: {}}
- {name: b, journald: {}, logFormat: regex:gone}
- {name: c, journald: {}, logFormat: regex:bad}
- {name: d, journald: {identifiers: [svc]}}
- {name: e, journald: {}, logFormat: regex:fine}
targets:
- {name: a, stdout: {}}
- {name: b, loki: {url: "https://x", tlsBundle: gone}}
- {name: c, rsyslog: {address: "x:1", tlsBundle: nokey}}
- {name: d, rsyslog: {address: "x:1", tlsBundle: fine}}
- {name: h, loki: {url: "https://x", bearerToken: (hidden)}}
tlsBundles:
- {name: fine, caFile: x}
- {name: nokey, certFile: x}
formats:
- {name: fine, regex: '(?P<message>.*)'}
services:
- {name: svc, logFormat: regex:gone}
- {name: etcd, logFormat: logfmt}
`)
	objects = append(objects,
		Stored{Kind: KindFormat, Name: "bad", Err: Problems{{File: "x", Line: 1, Object: `format "bad"`, Field: "regx", Message: "unknown field"}, {Message: "and more"}}},
		Stored{Kind: KindSource, Name: "nil"},
		Stored{Kind: KindSource, Name: "typednil", Draft: Draft{Object: (*Source)(nil)}},
		Stored{Kind: KindSource, Name: "kind", Draft: Draft{Object: &Target{Name: "kind"}}},
		Stored{Kind: KindSource, Name: "other", Draft: Draft{Object: &Source{Name: "name"}}},
		Stored{Kind: "pipeline", Name: "p"},
		Stored{Kind: KindSource, Name: "a", Draft: Draft{Object: &Source{Name: "a"}}},
		Stored{Kind: KindTarget, Name: "unread", Err: errors.New("sealed with a key that is not here")},
	)
	c, rejected := Assemble(objects)
	want := []string{
		`pipeline/p: unknown kind "pipeline"`,
		`tls-bundle/nokey: has a certificate but no key: give keyPem or keyFile`,
		`format/bad: regx: unknown field; and more`,
		`service/svc: logFormat: there is no format "gone" (known: fine, builtin)`,
		`source/b: logFormat: there is no format "gone" (known: fine, builtin)`,
		`source/c: logFormat: format "bad" cannot be used: regx: unknown field; and more`,
		`source/kind: is a target and not a source`,
		`source/nil: is empty`,
		`source/other: name: is "name" and not "other"`,
		`source/typednil: is empty`,
		`target/b: loki.tlsBundle: there is no TLS bundle "gone" (known: fine)`,
		`target/c: rsyslog.tlsBundle: TLS bundle "nokey" cannot be used: has a certificate but no key: give keyPem or keyFile`,
		`target/h: loki.bearerToken: is what a listing shows in place of a secret, not the secret`,
		`target/unread: sealed with a key that is not here`,
	}
	if diff := cmp.Diff(want, rejections(rejected)); diff != "" {
		t.Error(diff)
	}
	left := []string{"tls-bundle/fine", "format/fine", "service/etcd", "source/a", "source/d", "source/e", "target/a", "target/d"}
	if diff := cmp.Diff(left, names(c)); diff != "" {
		t.Error(diff)
	}
	if got := c.Sources[1].LogFormat; got != "raw" {
		t.Errorf("the source of a service that cannot be used has the format %s", got)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

// TestAssembleFormats: services that are stored decide, not those that were there when a source was decoded.
func TestAssembleFormats(t *testing.T) {
	objects := stored(t, `
sources:
- {name: a, journald: {identifiers: [mine]}}
- {name: b, journald: {identifiers: [etcd]}}
- {name: c, journald: {identifiers: [mine]}, logFormat: raw}
targets: [{name: a, stdout: {}}]
services: [{name: mine, logFormat: klog}, {name: etcd, logFormat: json}]
`)
	c, _ := Assemble(objects)
	if got := [3]string{c.Sources[0].LogFormat, c.Sources[1].LogFormat, c.Sources[2].LogFormat}; got != [3]string{"klog", "json", "raw"} {
		t.Errorf("formats are %v", got)
	}
	listed := WithServices(objects)
	for i, want := range []string{"klog", "json", "raw"} {
		if got := listed[i].Object.(*Source).LogFormat; got != want {
			t.Errorf("source %d is listed as %s", i, got)
		}
	}
	if got := objects[0].Object.(*Source).LogFormat; got != "raw" {
		t.Errorf("the given objects were changed: %s", got)
	}
}

func TestAssembleTooMany(t *testing.T) {
	var objects []Stored
	for i := range maxObjects + 2 {
		objects = append(objects, Stored{Kind: KindFormat, Name: fmt.Sprint(i), Draft: Draft{Object: &Format{Name: fmt.Sprint(i), Regex: "(?P<a>.)"}}})
	}
	c, rejected := Assemble(objects)
	want := []string{"format/1000: there are more than 1000 formats", "format/1001: there are more than 1000 formats"}
	if diff := cmp.Diff(want, rejections(rejected)); diff != "" || len(c.Formats) != maxObjects {
		t.Errorf("%d formats\n%s", len(c.Formats), diff)
	}
}

// TestResolveEach: a file that cannot be read, or holds the wrong thing, harms what needs it.
func TestResolveEach(t *testing.T) {
	p := parts()
	dir := folder(t, map[string]string{"ca.pem": p["CA"], "token": "tok\n", "noca": "x", "cert": p["CERT"], "otherkey": p["OTHERKEY"]})
	c, rejected := Assemble(stored(t, `
sources: [{name: x, journald: {}}]
targets:
- {name: a, loki: {url: "https://l", tlsBundle: fine, bearerTokenFile: token}}
- {name: b, loki: {url: "https://l", tlsBundle: missing}}
- {name: c, loki: {url: "https://l", tlsBundle: wrong}}
- {name: d, loki: {url: "https://l", bearerTokenFile: nope}}
- {name: e, rsyslog: {address: "x:1", tlsBundle: pair}}
- {name: f, loki: {url: "https://l", basicAuth: {username: u, passwordFile: /}}}
- {name: g, stdout: {}}
tlsBundles:
- {name: fine, caFile: ca.pem}
- {name: missing, caFile: nope}
- {name: wrong, caFile: noca}
- {name: pair, certFile: cert, keyFile: otherkey}
`))
	if len(rejected) > 0 {
		t.Fatal(rejected)
	}
	before := names(c)
	out, rejected := c.ResolveEach(dir, ReadFile)
	nope := filepath.Join(dir, "nope") + ": no such file or directory"
	want := []string{
		"tls-bundle/missing: caFile: " + nope,
		"tls-bundle/pair: keyFile: is not the key of the certificate",
		`tls-bundle/wrong: caFile: holds no certificate in PEM form ("-----BEGIN CERTIFICATE-----")`,
		`target/b: loki.tlsBundle: TLS bundle "missing" cannot be used: caFile: ` + nope,
		`target/c: loki.tlsBundle: TLS bundle "wrong" cannot be used: caFile: holds no certificate in PEM form ("-----BEGIN CERTIFICATE-----")`,
		"target/d: loki.bearerTokenFile: " + nope,
		`target/e: rsyslog.tlsBundle: TLS bundle "pair" cannot be used: keyFile: is not the key of the certificate`,
		"target/f: loki.basicAuth.passwordFile: /: is a folder, not a file",
	}
	if diff := cmp.Diff(want, rejections(rejected)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"tls-bundle/fine", "source/x", "target/a", "target/g"}, names(out)); diff != "" {
		t.Error(diff)
	}
	if l := out.Targets[0].Loki; l.BearerToken.Reveal() != "tok" || out.TLSBundle(&out.Targets[0]).CAPem != p["CA"] {
		t.Errorf("files are not read: %+v", l)
	}
	if diff := cmp.Diff(before, names(c)); diff != "" || c.Targets[0].Loki.BearerToken != "" {
		t.Errorf("the Config itself was changed: %s", diff)
	}
	if _, err := out.Resolve(dir); err != nil {
		t.Error(err)
	}
	if whole, rejected := out.ResolveEach(dir, ReadFile); len(rejected) > 0 || len(whole.Targets) != 2 {
		t.Errorf("resolving again: %v", rejected)
	}
}

func TestForNode(t *testing.T) {
	c, err := Parse("x.yaml", []byte(`
sources:
- {name: all, journald: {}}
- {name: named, journald: {}, nodes: [n1, "m*"]}
- {name: labeled, journald: {}, nodeSelector: {role: r, zone: z}}
- {name: both, journald: {}, nodes: [n1], nodeSelector: {role: r}}
- {name: empty, journald: {}, nodes: [], nodeSelector: {role: ""}}
targets:
- {name: a, stdout: {}, nodes: ["n?"]}
- {name: b, stdout: {}, nodeSelector: {role: r}}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		node Node
		want string
	}{
		{Node{Name: "n1"}, "source/all source/named target/a"},
		{Node{Name: "m22"}, "source/all source/named"},
		{Node{Name: "N1"}, "source/all"},
		{Node{Name: "x", Labels: map[string]string{"role": "r"}}, "source/all target/b"},
		{Node{Name: "x", Labels: map[string]string{"role": "r", "zone": "z"}}, "source/all source/labeled target/b"},
		{Node{Name: "n1", Labels: map[string]string{"role": "r", "zone": "y"}}, "source/all source/named source/both target/a target/b"},
		{Node{Name: "x", Labels: map[string]string{"role": ""}}, "source/all source/empty"},
	} {
		part := c.ForNode(x.node)
		if got := strings.Join(names(part), " "); got != x.want {
			t.Errorf("%+v: %s\nnot %s", x.node, got, x.want)
		}
		part.SetDefaults()
		if err := part.Validate(); err != nil {
			t.Errorf("%+v: %v", x.node, err)
		}
	}
	if len(c.Sources) != 5 || len(c.Targets) != 2 {
		t.Error("the Config itself was changed")
	}
	if w := c.ForNode(Node{Name: "y"}).Warnings().Error(); !strings.Contains(w, "targets: none is for this node (y): nothing is sent") || strings.Contains(w, "sources") {
		t.Errorf("warnings: %s", w)
	}
	whole := full(t)
	whole.Sources[0].Nodes, whole.Sources[0].NodeSelector, whole.Targets[0].Nodes, whole.Targets[0].NodeSelector = nil, nil, nil, nil
	if whole.ForNode(Node{Name: "any"}) != whole {
		t.Error("a Config of which nothing is left out is copied")
	}
}

func TestNodeCheck(t *testing.T) {
	for _, n := range []Node{{Name: "a"}, {Name: "A-1.b_c"}, {Name: "a", Labels: map[string]string{"a.b/c": "", "x": "Y1"}}} {
		if err := n.Check(); err != nil {
			t.Errorf("%+v: %v", n, err)
		}
	}
	for _, n := range []Node{{}, {Name: "a/b"}, {Name: "-a"}, {Name: strings.Repeat("a", 254)}, {Name: "a", Labels: map[string]string{"": "x"}},
		{Name: "a", Labels: map[string]string{"x": "a b"}}, {Name: "a", Labels: map[string]string{"x": strings.Repeat("a", 64)}}} {
		if n.Check() == nil {
			t.Errorf("%+v is taken", n)
		}
	}
}

// TestHash: the same for the same objects in any order, another for any change, and nothing of a secret in it.
func TestHash(t *testing.T) {
	objects := stored(t, fullText)
	want := Hash(objects)
	reversed := stored(t, fullText)
	for i := range reversed {
		reversed[i] = objects[len(objects)-1-i]
	}
	if Hash(reversed) != want || len(want) != 64 {
		t.Errorf("%s and %s", want, Hash(reversed))
	}
	for i := range objects {
		changed := stored(t, fullText)
		changed[i].Etag = "2"
		if Hash(changed) == want {
			t.Errorf("the Etag of object %d changes nothing", i)
		}
		if i < len(objects)-1 && Hash(changed[:len(changed)-1]) == want {
			t.Error("one object less changes nothing")
		}
	}
	secret := strings.Replace(fullText, "hunter2", "hunter4", 1)
	if Hash(stored(t, secret)) != want {
		t.Error("a secret is in the hash: it could be guessed from it")
	}
	if Hash(stored(t, strings.Replace(fullText, "tenantId: t", "tenantId: u", 1))) == want {
		t.Error("a field changes nothing")
	}
}
