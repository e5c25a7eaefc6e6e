package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lbshipd/lbshipd/record"
)

// scalar decodes a single value.
func (d *decoder) scalar(p path, n *yaml.Node, v reflect.Value) {
	_, secret := v.Interface().(Secret)
	if isNull(n) {
		d.bad(p, "is empty: give a value, \"\" if it is to be empty, or leave it out")
		return
	}
	if n.Kind != yaml.ScalarNode {
		d.bad(p, "must be %s, is %s", wanted(v), describe(n, secret))
		return
	}
	tag := n.ShortTag()
	number := tag == "!!int" || tag == "!!float"
	switch v.Interface().(type) {
	case bool:
		if tag != "!!bool" || (n.Value != "true" && n.Value != "false") {
			d.bad(p, "must be true or false, is %s", describe(n, false))
			return
		}
		v.SetBool(n.Value == "true")
	case Bytes:
		if !number && tag != "!!str" {
			d.bad(p, "must be %s, is %s", wanted(v), describe(n, false))
			return
		}
		size, err := ParseBytes(n.Value)
		d.set(p, v, size, err)
	case int:
		number, err := strconv.Atoi(n.Value)
		if tag != "!!int" || err != nil {
			d.bad(p, "must be %s, is %s", wanted(v), describe(n, false))
			return
		}
		v.SetInt(int64(number))
	case Duration:
		span, err := ParseDuration(n.Value)
		d.set(p, v, span, err)
	case record.Level:
		level, err := parseLevel(n.Value)
		d.set(p, v, level, err)
	default:
		d.text(p, n, v, secret)
	}
}

func (d *decoder) set(p path, v reflect.Value, value any, err error) {
	if err != nil {
		d.bad(p, "%v", err)
		return
	}
	v.Set(reflect.ValueOf(value))
}

// text takes the text of a scalar as it stands in the file, so that a label
// 007 or 1.10 needs no quotes.
func (d *decoder) text(p path, n *yaml.Node, v reflect.Value, secret bool) {
	most := maxText
	if strings.HasSuffix(string(p), "Pem") {
		most = maxPEM
	}
	switch {
	case len(n.Value) > most:
		d.bad(p, "is %d bytes long, more than %d", len(n.Value), most)
	case secret && !d.hidden && isHidden(n.Value):
		d.bad(p, "is what a listing shows in place of a secret, not the secret")
	default:
		v.SetString(n.Value)
	}
}

// wanted says what a scalar field takes.
func wanted(v reflect.Value) string {
	switch v.Interface().(type) {
	case bool:
		return "true or false"
	case Bytes:
		return "a size such as 65536, 64KiB or 1MiB"
	case int:
		return "a whole number"
	case Duration:
		return "a time span such as 500ms, 2s or 1m"
	case record.Level:
		return "a level"
	}
	return "a text"
}

// describe says what a node is, with its value unless that may be a secret.
func describe(n *yaml.Node, secret bool) string {
	if secret || n.Kind != yaml.ScalarNode {
		return kindOf(n)
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "the number " + cut(n.Value)
	case "!!bool":
		return n.Value
	}
	return "the text " + strconv.Quote(cut(n.Value))
}

// kindOf says what a node is without its value.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "a number"
	case "!!null":
		return "empty"
	}
	return "a text"
}

var simpleStep = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// stepName is how a key is written in a path.
func stepName(key string) string {
	if simpleStep.MatchString(key) {
		return key
	}
	return strconv.Quote(cut(key))
}

// fieldsOf maps the JSON names of a struct's fields to their numbers.
func fieldsOf(t reflect.Type) map[string]int {
	fields := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		if name := jsonName(t.Field(i)); name != "" {
			fields[name] = i
		}
	}
	return fields
}

// jsonName returns the name of a field in files, "" if it is not for them.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func namesOf(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		if name := jsonName(t.Field(i)); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// belongsIn says where an unknown field of t may have been meant to be.
func belongsIn(key string, t reflect.Type) string {
	for i := range t.NumField() {
		inner := t.Field(i).Type
		if inner.Kind() != reflect.Pointer || inner.Elem().Kind() != reflect.Struct {
			continue
		}
		if slices.Contains(namesOf(inner.Elem()), key) {
			return fmt.Sprintf(" here; it belongs into %q", jsonName(t.Field(i)))
		}
	}
	return didYouMean(key, namesOf(t))
}
