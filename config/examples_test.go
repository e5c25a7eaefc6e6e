package config

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// TestExamples parses docs/examples without the files that they name, which
// are not here: there is nothing wrong with them, and nothing odd.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../docs/examples/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Parse(file, data)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if len(c.Warnings()) > 0 {
			t.Errorf("warnings:\n%v", c.Warnings())
		}
	}
}

// TestEverythingIsEverything looks for every field in everything.yaml. Fields
// that stand in its comments, because another is there in their place, are
// listed here.
func TestEverythingIsEverything(t *testing.T) {
	data, err := os.ReadFile("../docs/examples/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("everything.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	commented := map[string]bool{"bearerToken": true, "password": true, "caPem": true, "certPem": true, "keyPem": true}
	given := map[string]bool{}
	for p := range c.doc.lines {
		given[withoutNumbers(string(p))] = true
	}
	var walk func(at string, typ reflect.Type)
	walk = func(at string, typ reflect.Type) {
		for i := range typ.NumField() {
			name := jsonName(typ.Field(i))
			if name == "" {
				continue
			}
			if !given[at+name] && !commented[name] {
				t.Errorf("%s%s is not in it", at, name)
			}
			inner, list := typ.Field(i).Type, ""
			if inner.Kind() == reflect.Slice {
				list = "[]"
			}
			if inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				walk(at+name+list+".", inner)
			}
		}
	}
	walk("", reflect.TypeFor[Config]())
}

// withoutNumbers turns sources[3].name into sources[].name.
func withoutNumbers(p string) string {
	var out []byte
	for i := range len(p) {
		if p[i] < '0' || p[i] > '9' {
			out = append(out, p[i])
		}
	}
	return string(out)
}
