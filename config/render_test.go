package config

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// hide makes every secret of a value what Render shows of it: "(hidden)", and
// nothing of a keyPem.
func hide(v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		switch {
		case v.Type().Field(i).Name == "KeyPem":
			f.SetString("")
		case f.Type() == reflect.TypeFor[Secret]() && f.Len() > 0:
			f.SetString(hidden)
		case f.Kind() == reflect.Pointer && !f.IsNil() && f.Elem().Kind() == reflect.Struct:
			hide(f.Elem())
		}
	}
}

// copyOf decodes a draft again.
func copyOf(t *testing.T, c Change) Draft {
	t.Helper()
	d, err := Decode(c.Kind, "copy", c.Draft.Given)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// checkRender demands that d is the same, but for secrets, when it is rendered and decoded
// again, with its defaults and without.
func checkRender(t *testing.T, c Change) {
	t.Helper()
	rendered, err := Render(c.Draft.Object)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode(c.Kind, "rendered", rendered)
	if err != nil {
		t.Errorf("%v\n%s", err, rendered)
		return
	}
	want := copyOf(t, c).Object
	hide(reflect.ValueOf(want).Elem())
	if diff := cmp.Diff(want, again.Object, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s\nwas - is +\n%s", rendered, diff)
	}
	given, err := RenderGiven(Stored{Kind: c.Kind, Name: c.Name, Draft: *c.Draft})
	if err != nil {
		t.Fatal(err)
	}
	again, err = Decode(c.Kind, "given", given)
	if err != nil {
		t.Errorf("%v\n%s", err, given)
		return
	}
	if diff := cmp.Diff(want, again.Object, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s\nwas - is +\n%s", given, diff)
	}
	hiddenGiven, err := Secrets(c.Kind, c.Draft.Given, func(path, _ string) (string, error) {
		if path == "keyPem" {
			return "", nil
		}
		return hidden, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(string(hiddenGiven), `,"keyPem":""`, "", 1); want != string(again.Given) {
		t.Errorf("given\n%s\nis\n%s", want, again.Given)
	}
	for _, text := range [][]byte{rendered, given} {
		for _, secret := range []string{"hunter", "PRIVATE KEY", strings.Split(parts()["KEY"], "\n")[1]} {
			if strings.Contains(string(text), secret) {
				t.Errorf("%q is in %s", secret, text)
			}
		}
		if !json.Valid(text) {
			t.Errorf("no JSON: %s", text)
		}
	}
}

// TestRenderDecode checks that of every object, and of every object without
// one of its fields, or with that field empty.
func TestRenderDecode(t *testing.T) {
	missing := map[string]bool{}
	var all func(reflect.Type, string)
	all = func(typ reflect.Type, at string) {
		for i := range typ.NumField() {
			missing[at+"."+typ.Field(i).Name] = true
			if inner := typ.Field(i).Type; inner.Kind() == reflect.Pointer && inner.Elem().Kind() == reflect.Struct {
				all(inner.Elem(), at+"."+typ.Field(i).Name)
			}
		}
	}
	for _, kind := range Kinds() {
		all(typeOf(kind), string(kind))
	}
	variants := 0
	for _, c := range append(fullDrafts(t), moreDrafts(t)...) {
		checkRender(t, c)
		for _, way := range allWays(reflect.ValueOf(c.Draft.Object).Elem(), "") {
			delete(missing, string(c.Kind)+way)
			for _, empty := range []bool{false, true} {
				d := copyOf(t, c)
				clearField(reflect.ValueOf(d.Object).Elem(), way, empty)
				given := renderAll(d.Object)
				changed, err := Decode(c.Kind, "changed", given)
				if err != nil {
					continue // a field that must be there
				}
				variants++
				checkRender(t, Change{Kind: c.Kind, Name: c.Name, Draft: &changed})
			}
		}
	}
	if variants < 100 {
		t.Errorf("only %d variants", variants)
	}
	for way := range missing {
		t.Errorf("%s was in no object", way)
	}
}

// moreDrafts have the fields that fullYAML cannot have beside its others.
func moreDrafts(t testing.TB) []Change {
	t.Helper()
	changes, err := DecodeAll("more", []byte(`
targets:
- {name: m, loki: {url: "https://l", basicAuth: {username: u, passwordFile: /p}}, startAt: now, deadLetters: {maxBytes: 1MiB}, spool: {}}
- {name: n, loki: {url: "https://l", bearerTokenFile: t}}
- {name: o, rsyslog: {addresses: ["a:1", "b:2"], failbackAfter: 1m}}
tlsBundles: [{name: m, caFile: a, certFile: b, keyFile: c}]
`))
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// allWays lists the fields that hold something, those that hold fields too.
func allWays(v reflect.Value, at string) (ways []string) {
	for i := range v.NumField() {
		f, way := v.Field(i), at+"."+v.Type().Field(i).Name
		if f.IsZero() {
			continue
		}
		ways = append(ways, way)
		if f.Kind() == reflect.Pointer && f.Elem().Kind() == reflect.Struct {
			ways = append(ways, allWays(f.Elem(), way)...)
		}
	}
	return ways
}

// clearField takes a field away, or makes a list or map empty.
func clearField(v reflect.Value, way string, empty bool) {
	for _, step := range strings.Split(way, ".")[1:] {
		for v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		v = v.FieldByName(step)
	}
	switch {
	case empty && v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	case empty && v.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	case empty && v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.String:
		v.Set(reflect.ValueOf(new(string)))
	default:
		v.SetZero()
	}
}

// renderAll writes an object with all its values and secrets.
func renderAll(o Object) []byte {
	data, err := nodeJSON(objectNode("", reflect.ValueOf(o).Elem(), func(_ path, s Secret) string { return s.Reveal() }, nil))
	if err != nil {
		panic(err)
	}
	return data
}

// TestBundleFacts: an answer says of a bundle which certificate it holds.
func TestBundleFacts(t *testing.T) {
	for _, c := range fullDrafts(t) {
		if c.Kind != KindTLSBundle {
			continue
		}
		certs, err := certificates(c.Draft.Object.(*TLSBundle).CertPem)
		if err != nil {
			t.Fatal(err)
		}
		for _, render := range []func() ([]byte, error){
			func() ([]byte, error) { return Render(c.Draft.Object) },
			func() ([]byte, error) { return RenderGiven(Stored{Kind: c.Kind, Name: c.Name, Draft: *c.Draft}) },
		} {
			data, err := render()
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]string
			if err := json.Unmarshal(data, &got); err != nil {
				t.Fatal(err)
			}
			delete(got, "caPem")
			delete(got, "certPem")
			want := map[string]string{
				"name": "b", "fingerprint": certificateFingerprint(certs[0]), "subject": "CN=cert", "issuer": "CN=cert",
				"notBefore": certs[0].NotBefore.Format("2006-01-02T15:04:05Z"), "notAfter": certs[0].NotAfter.Format("2006-01-02T15:04:05Z"),
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if k := (checker{c: &Config{}}); true {
				if k.fingerprint("x", got["fingerprint"]); len(k.problems) > 0 {
					t.Errorf("%v", k.problems)
				}
			}
		}
		return
	}
	t.Error("there is no bundle")
}

// TestRenderGivenOfWhatCannotBeUsed shows what helps to mend it, and no secret
// that was put into the wrong place.
func TestRenderGivenOfWhatCannotBeUsed(t *testing.T) {
	for given, want := range map[string]string{
		`{"name":"a","loki":{"url":"https://u:s3cret@x","bearerTokn":"s3cret","batchBytes":7},"enabled":{"s3cret":1},"labels":"x","password":["s3cret"]}`: `{"name":"a","loki":{"url":"(hidden)","bearerTokn":"(hidden)","batchBytes":7},"enabled":"(hidden)","labels":"(hidden)","password":"(hidden)"}`,
		`{"name":"a","loki":"s3cret"}`:                                      `{"name":"a","loki":"(hidden)"}`,
		`{"name":"a","loki":{"basicAuth":{"password":["s3cret"]}}}`:         `{"name":"a","loki":{"basicAuth":{"password":"(hidden)"}}}`,
		`{"name":"a","loki":{"labels":{"a":"b","c":{"d":"s3cret"}}}}`:       `{"name":"a","loki":{"labels":"(hidden)"}}`,
		`{"name":"a","loki":{"labels":{"a":"b"},"structuredMetadata":[1]}}`: `{"name":"a","loki":{"labels":{"a":"b"},"structuredMetadata":[1]}}`,
		`name: s3cret`: `{"name":"n"}`,
		`["s3cret"]`:   `{"name":"n"}`,
		`{} {}`:        `{"name":"n"}`,
		``:             `{"name":"n"}`,
	} {
		got, err := RenderGiven(Stored{Kind: KindTarget, Name: "n", Draft: Draft{Given: []byte(given)}, Err: ErrNotFound})
		if err != nil || string(got) != want {
			t.Errorf("%s\nis  %s (%v)\nnot %s", given, got, err, want)
		}
	}
	if _, err := RenderGiven(Stored{Kind: "x"}); err == nil {
		t.Error("an unknown kind is taken")
	}
	for _, o := range []Object{nil, (*Source)(nil)} {
		if _, err := Render(o); err == nil {
			t.Error("nothing is rendered")
		}
	}
}
