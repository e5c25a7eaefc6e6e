package config

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// fullYAML gives every field of every object.
func fullYAML(t *testing.T) string { return expand(t, fullText) }

const fullText = `
sources:
  - name: a
    enabled: true
    journald: {units: [u], identifiers: [i], matches: [A=b], directory: /d, fields: [F]}
    logFormat: regex:f
    minLevel: info
    labels: {k: v}
    startAt: beginning
    silentAfter: 1h
    timeZone: UTC
    nodes: ["n*"]
    nodeSelector: {role: r}
  - name: b
    file: {paths: [/p], exclude: [/e], maxLineBytes: 2KiB, maxHeldBytes: 2GiB, maxHeldFiles: 7, maxHeldAge: 2h}
targets:
  - name: a
    enabled: true
    queueBytes: 2MiB
    nodes: [n1]
    nodeSelector: {role: r}
    loki:
      url: https://l
      tenantId: t
      tlsBundle: b
      serverName: s
      bearerToken: hunter2
      labels: {k: v}
      streamLabels: [source]
      structuredMetadata: [pid]
      batchBytes: 2KiB
      batchWait: 1s
      timeout: 1s
  - name: b
    loki: {url: "https://l", basicAuth: {username: u, password: hunter3}}
  - name: c
    rsyslog:
      address: r:1
      protocol: tls
      tlsBundle: b
      serverName: s
      fingerprints: ["sha-1:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00:11:22:33"]
      framing: octet-counting
      facility: mail
      appName: a
      structuredData: [f]
      structuredDataId: a@1
      maxMessageBytes: 1KiB
      timeout: 1s
  - name: d
    stdout: {format: json}
tlsBundles:
  - name: b
    caPem: |
@CA@
    certPem: |
@CERT@
    keyPem: |
@KEY@
formats:
  - {name: f, regex: "(?P<time>.)", timeLayout: "15"}
services:
  - {name: v, logFormat: regex:f}
`

func full(t *testing.T) *Config {
	t.Helper()
	c, err := Parse("full.yaml", []byte(fullYAML(t)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func sourcesEqual(a, b *Config, i int) bool {
	return SourceEqual(&a.Sources[i], &b.Sources[i], a.Formats, b.Formats)
}

func targetsEqual(a, b *Config, i int) bool {
	return TargetEqual(&a.Targets[i], &b.Targets[i], a.TLSBundles, b.TLSBundles)
}

// TestEqual changes every field of every source and target, one at a time:
// that one is another, and all others are equal still.
func TestEqual(t *testing.T) {
	a := full(t)
	changed := 0
	for i := range a.Sources {
		if !sourcesEqual(a, full(t), i) {
			t.Errorf("source %d is not equal to itself", i)
		}
		for _, n := range leaves(reflect.ValueOf(&a.Sources[i]).Elem(), "") {
			b := full(t)
			change(t, reflect.ValueOf(&b.Sources[i]).Elem(), n)
			if sourcesEqual(a, b, i) != forNodes(n) {
				t.Errorf("source %d: %s changed, equal: %v", i, n, !forNodes(n))
			}
			if !sourcesEqual(a, b, 1-i) {
				t.Errorf("source %d is another because of source %d", 1-i, i)
			}
			changed++
		}
	}
	for i := range a.Targets {
		if !targetsEqual(a, full(t), i) {
			t.Errorf("target %d is not equal to itself", i)
		}
		for _, n := range leaves(reflect.ValueOf(&a.Targets[i]).Elem(), "") {
			b := full(t)
			change(t, reflect.ValueOf(&b.Targets[i]).Elem(), n)
			if targetsEqual(a, b, i) != forNodes(n) {
				t.Errorf("target %d: %s changed, equal: %v", i, n, !forNodes(n))
			}
			changed++
		}
	}
	if changed < 40 {
		t.Errorf("only %d fields were changed", changed)
	}
}

// forNodes reports whether a field says where an object is at work, which is
// nothing that a reload restarts it for.
func forNodes(leaf string) bool { return leaf == ".Nodes" || leaf == ".NodeSelector" }

// leaves lists the fields of v that hold something, with the way to them.
func leaves(v reflect.Value, at string) (names []string) {
	for i := range v.NumField() {
		f, name := v.Field(i), at+"."+v.Type().Field(i).Name
		switch {
		case f.Kind() == reflect.Pointer && !f.IsNil() && f.Elem().Kind() == reflect.Struct:
			names = append(names, leaves(f.Elem(), name)...)
		case f.Kind() != reflect.Pointer || f.Type().Elem().Kind() != reflect.Struct:
			names = append(names, name)
		}
	}
	return names
}

// change makes one field another.
func change(t *testing.T, v reflect.Value, way string) {
	t.Helper()
	for _, step := range strings.Split(way, ".")[1:] {
		for v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		v = v.FieldByName(step)
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Bool:
		v.SetBool(false)
	case reflect.Int64, reflect.Int:
		v.SetInt(v.Int() + 1)
	case reflect.Uint8:
		v.SetUint(v.Uint() + 1)
	case reflect.Slice:
		v.Set(reflect.ValueOf([]string{"other"}))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"k": "other"}))
	default:
		t.Fatalf("%s is a %s, which this test cannot change", way, v.Kind())
	}
}

func TestEqualLooksBehindNames(t *testing.T) {
	a := full(t)
	for _, what := range []func(*Config){
		func(c *Config) { c.TLSBundles[0].CAPem = "x" },
		func(c *Config) { c.TLSBundles[0].CertPem = "x" },
		func(c *Config) { c.TLSBundles[0].KeyPem = "x" },
		func(c *Config) { c.TLSBundles = nil },
	} {
		b := full(t)
		what(b)
		if targetsEqual(a, b, 0) || targetsEqual(a, b, 2) {
			t.Error("the bundle changed and its targets did not")
		}
		if !targetsEqual(a, b, 1) || !targetsEqual(a, b, 3) {
			t.Error("the bundle changed and so did targets that do not name it")
		}
	}
	b := full(t)
	b.Formats[0].Regex = "(?P<time>..)"
	if sourcesEqual(a, b, 0) || !sourcesEqual(a, b, 1) {
		t.Error("the format's expression changed: its source must be another, no other source")
	}
	b = full(t)
	b.Sources[0].Enabled, b.Sources[1].File.Exclude = nil, append([]string{}, b.Sources[1].File.Exclude...)
	b.Sources[1].Labels = map[string]string{}
	if !sourcesEqual(a, b, 0) || !sourcesEqual(a, b, 1) {
		t.Error("not given and given empty are not the same")
	}
}

func TestRedacted(t *testing.T) {
	c := full(t)
	asYAML, err := c.RedactedYAML()
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := c.RedactedJSON()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(asYAML), string(asJSON), string(plain)} {
		for _, secret := range []string{"hunter", "PRIVATE KEY", strings.Split(parts()["KEY"], "\n")[1]} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in\n%s", secret, text)
			}
		}
	}
	if !strings.Contains(string(asYAML), "keyPem: (hidden, sha-256 of its public key ") {
		t.Errorf("no fingerprint of the key in\n%s", asYAML)
	}
	var y, j any
	if err := yaml.Unmarshal(asYAML, &y); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(asJSON, &j); err != nil {
		t.Fatalf("%v\n%s", err, asJSON)
	}
	j = nil // read as YAML, which JSON is: encoding/json makes a float of every number
	if err := yaml.Unmarshal(asJSON, &j); err != nil {
		t.Fatalf("%v\n%s", err, asJSON)
	}
	if !reflect.DeepEqual(y, j) {
		t.Errorf("YAML and JSON differ\n%s\n%s", asYAML, asJSON)
	}
	if _, err := Parse("again", asYAML); err == nil || strings.Count(err.Error(), "is what a listing shows") != 3 {
		t.Errorf("a listing is taken as a configuration: %v", err)
	}
}

// TestRedactedHoldsEverything writes and reads again all that is no secret.
func TestRedactedHoldsEverything(t *testing.T) {
	text := strings.NewReplacer("bearerToken: hunter2", "bearerTokenFile: /t", "password: hunter3", "passwordFile: /t").Replace(fullYAML(t))
	text = text[:strings.Index(text, "tlsBundles:")] + "tlsBundles: [{name: b, caFile: /c, certFile: /c, keyFile: /k}]\n" + text[strings.Index(text, "formats:"):]
	a, err := Parse("a", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, write := range []func() ([]byte, error){a.RedactedYAML, a.RedactedJSON} {
		out, err := write()
		if err != nil {
			t.Fatal(err)
		}
		b, err := Parse("b", out)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for i := range a.Sources {
			if !sourcesEqual(a, b, i) {
				t.Errorf("source %d differs\n%s", i, out)
			}
		}
		for i := range a.Targets {
			if !targetsEqual(a, b, i) {
				t.Errorf("target %d differs\n%s", i, out)
			}
		}
	}
}
