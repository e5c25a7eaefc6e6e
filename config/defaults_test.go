package config

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestDefaults holds what is set against the default tags, field by field, in
// a Config that was parsed and in one that was made in code.
func TestDefaults(t *testing.T) {
	parsed, err := Parse("x.yaml", []byte(`
sources: [{name: j, journald: {}}, {name: f, file: {paths: [/a]}}]
targets: [{name: l, loki: {url: "https://x"}}, {name: r, rsyslog: {address: "x:1"}}, {name: s, stdout: {}}]
`))
	if err != nil {
		t.Fatal(err)
	}
	made := &Config{
		Sources: []Source{{Name: "j", Journald: &JournaldSource{}}, {Name: "f", File: &FileSource{Paths: []string{"/a"}}}},
		Targets: []Target{
			{Name: "l", Loki: &LokiTarget{URL: "https://x"}}, {Name: "r", Rsyslog: &RsyslogTarget{Address: "x:1"}},
			{Name: "s", Stdout: &StdoutTarget{}},
		},
	}
	made.SetDefaults()
	if err := made.Validate(); err != nil {
		t.Errorf("defaults are not valid: %v", err)
	}
	if diff := cmp.Diff(made.Sources, parsed.Sources); diff != "" {
		t.Errorf("sources made in code - / parsed +\n%s", diff)
	}
	if diff := cmp.Diff(made.Targets, parsed.Targets); diff != "" {
		t.Errorf("targets made in code - / parsed +\n%s", diff)
	}
	checked := 0
	for _, s := range made.Sources {
		checked += checkTags(t, reflect.ValueOf(s))
	}
	for _, s := range made.Targets {
		checked += checkTags(t, reflect.ValueOf(s))
	}
	if checked < 20 {
		t.Errorf("only %d defaults were looked at", checked)
	}
	if got := [2]string{made.Sources[0].LogFormat, made.Sources[1].LogFormat}; got != [2]string{"raw", "auto"} {
		t.Errorf("log formats are %v", got)
	}
}

// checkTags compares fields with their default tags, as text.
func checkTags(t *testing.T, v reflect.Value) (checked int) {
	t.Helper()
	for i := range v.NumField() {
		f, field := v.Field(i), v.Type().Field(i)
		if f.Kind() == reflect.Pointer && !f.IsNil() {
			f = f.Elem()
		}
		if f.Kind() == reflect.Struct {
			checked += checkTags(t, f)
		}
		want := field.Tag.Get("default")
		if want == "" || field.Name == "LogFormat" {
			continue
		}
		got := fmt.Sprint(f.Interface())
		if list, ok := f.Interface().([]string); ok {
			got = ""
			for i, item := range list {
				if i > 0 {
					got += ", "
				}
				got += item
			}
		}
		if got != want {
			t.Errorf("%s.%s is %s, its tag says %s", v.Type().Name(), field.Name, got, want)
		}
		checked++
	}
	return checked
}

// TestTags reads every min, max and default tag, so that a bad one is found
// here; and holds the text of logFormat's against the code.
func TestTags(t *testing.T) {
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			inner := f.Type
			for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct && f.IsExported() {
				walk(inner)
			}
			switch f.Type {
			case reflect.TypeFor[Bytes](), reflect.TypeFor[Duration]():
				least, most := tagNumber(f.Type, f.Tag.Get("min")), tagNumber(f.Type, f.Tag.Get("max"))
				if n := tagNumber(f.Type, f.Tag.Get("default")); n < least || n > most {
					t.Errorf("%s.%s: default is out of bounds", typ.Name(), f.Name)
				}
			}
		}
	}
	walk(reflect.TypeFor[Config]())
	f, _ := reflect.TypeFor[Source]().FieldByName("LogFormat")
	if want := fmt.Sprintf("%s for journald, %s for file", defaultJournaldFormat, defaultFileFormat); f.Tag.Get("default") != want {
		t.Errorf("tag of logFormat is %q, want %q", f.Tag.Get("default"), want)
	}
}

// TestGivenZeroStays: what is given as zero is not replaced by a default.
func TestGivenZeroStays(t *testing.T) {
	c, err := Parse("x.yaml", []byte(`
sources: [{name: j, journald: {}, enabled: false}]
targets:
  - {name: l, loki: {url: "https://x", batchWait: 0s, streamLabels: []}}
  - {name: r, rsyslog: {address: "x:1", structuredDataId: ""}}
`))
	if err != nil {
		t.Fatal(err)
	}
	c.SetDefaults()
	l := c.Targets[0].Loki
	if l.BatchWait != 0 || len(l.StreamLabels) != 0 || *c.Targets[1].Rsyslog.StructuredDataID != "" || c.Sources[0].IsEnabled() {
		t.Errorf("a default took its place: %+v", l)
	}
	text, err := c.RedactedYAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("y.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Targets {
		if !TargetEqual(&c.Targets[i], &again.Targets[i], nil, nil) {
			t.Errorf("target %d is another after writing and reading it:\n%s", i, text)
		}
	}
}

func TestBytesAndDurations(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "1": 1, "1B": 1, "1KiB": 1024, "8 MiB": 8 << 20, "3GiB": 3 << 30, "0012KiB": 12 << 10} {
		got, err := ParseBytes(text)
		if err != nil || got != want {
			t.Errorf("%q is %d, %v", text, got, err)
		}
		if again, err := ParseBytes(got.String()); err != nil || again != got {
			t.Errorf("%q is written %q, which is %d, %v", text, got, again, err)
		}
	}
	for text, want := range map[string]string{"500ms": "500ms", "60s": "1m", "90s": "1m30s", "3600s": "1h", "0": "0s", "1h1s": "1h0m1s", "10m": "10m"} {
		got, err := ParseDuration(text)
		if err != nil || got.String() != want {
			t.Errorf("%q is %s, %v", text, got, err)
		}
		if again, err := time.ParseDuration(got.String()); err != nil || Duration(again) != got {
			t.Errorf("%q is written %q, which is %v, %v", text, got, again, err)
		}
	}
	var b Bytes
	for _, text := range []string{`65536`, `"64KiB"`} {
		if err := b.UnmarshalJSON([]byte(text)); err != nil || b != 65536 {
			t.Errorf("JSON %s is %d, %v", text, b, err)
		}
	}
}
