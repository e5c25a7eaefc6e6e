package ctl

import (
	_ "embed"
	"reflect"
	"strings"
	"unicode"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
)

// types are what the kinds are made of.
var types = map[config.Kind]reflect.Type{
	config.KindTLSBundle: reflect.TypeFor[config.TLSBundle](),
	config.KindFormat:    reflect.TypeFor[config.Format](),
	config.KindService:   reflect.TypeFor[config.Service](),
	config.KindSource:    reflect.TypeFor[config.Source](),
	config.KindTarget:    reflect.TypeFor[config.Target](),
}

// shape is how a field is written as a flag.
type shape string

// The shapes; each is what help calls the flag's value.
const (
	shapeText     shape = "text"
	shapeBool     shape = "bool"
	shapeNumber   shape = "number"
	shapeSize     shape = "size"
	shapeDuration shape = "duration"
	shapeLevel    shape = "level"
	shapeList     shape = "list"
	shapeLabels   shape = "name=value"
	shapeSecret   shape = "@file"
	shapePEM      shape = "file"
	shapePart     shape = "part" // an object of its own, such as spool, with its defaults
)

// field is one field of a kind, or a part of it that holds fields.
type field struct {
	path  []string // names in JSON: loki, basicAuth, password
	flag  string   // loki-basic-auth-password
	alias string   // another name that people try, or ""
	shape shape
	text  string // what it means
	def   string // its default
	// Required fields make the part that they are in: it has no flag of its own.
	required bool
}

// json is the field's name in messages: loki.basicAuth.password.
func (f *field) json() string { return strings.Join(f.path, ".") }

// fieldsOf returns the fields of a kind but its name, in their order.
func fieldsOf(kind config.Kind) []field { return walk(types[kind], nil) }

func walk(t reflect.Type, above []string) (fields []field) {
	for i := range t.NumField() {
		sf := t.Field(i)
		name, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if name == "" || !sf.IsExported() || name == "name" && len(above) == 0 {
			continue
		}
		f := field{path: append(append([]string{}, above...), name), text: meaning(t.Name() + "." + name),
			def: sf.Tag.Get("default"), required: !strings.Contains(options, "omitempty")}
		typ := sf.Type
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		f.shape = shapeOf(typ, name)
		f.flag, f.alias = flagName(&f, t)
		if f.shape != shapePart {
			fields = append(fields, f)
			continue
		}
		inner := walk(typ, f.path)
		if !needsMore(inner, len(f.path)+1) {
			fields = append(fields, f)
		}
		fields = append(fields, inner...)
	}
	return fields
}

// needsMore reports whether a part cannot stand with its defaults alone.
func needsMore(inner []field, depth int) bool {
	for i := range inner {
		if len(inner[i].path) != depth {
			continue
		}
		// Of address and addresses one is required, which no tag can say.
		if inner[i].required || inner[i].path[depth-1] == "addresses" {
			return true
		}
	}
	return false
}

func shapeOf(t reflect.Type, name string) shape {
	switch {
	case t == reflect.TypeFor[config.Secret]() && strings.HasSuffix(name, "Pem"):
		return shapePEM
	case t == reflect.TypeFor[config.Secret]():
		return shapeSecret
	case t == reflect.TypeFor[config.Bytes]():
		return shapeSize
	case t == reflect.TypeFor[config.Duration]():
		return shapeDuration
	case t == reflect.TypeFor[record.Level]():
		return shapeLevel
	}
	switch t.Kind() {
	case reflect.Struct:
		return shapePart
	case reflect.Bool:
		return shapeBool
	case reflect.Int:
		return shapeNumber
	case reflect.Slice:
		return shapeList
	case reflect.Map:
		return shapeLabels
	}
	if strings.HasSuffix(name, "Pem") {
		return shapePEM
	}
	return shapeText
}

// flagName makes the flag of a field: its path in JSON with dashes. A PEM text
// is given as a file, so that its flag is --ca; the field that is a path on the
// nodes (caFile) is --ca-path then, as --ca-file is for the connection. One label
// at a time is given: --label.
func flagName(f *field, in reflect.Type) (flag, alias string) {
	flag = kebab(f.json())
	switch {
	case f.shape == shapePEM:
		return strings.TrimSuffix(flag, "-pem"), flag
	case strings.HasSuffix(flag, "-file") && hasField(in, strings.TrimSuffix(f.path[len(f.path)-1], "File")+"Pem"):
		return strings.TrimSuffix(flag, "-file") + "-path", ""
	case f.shape == shapeLabels && strings.HasSuffix(flag, "s"):
		return strings.TrimSuffix(flag, "s"), flag
	case f.shape == shapeList && strings.HasSuffix(flag, "ches"):
		return flag, strings.TrimSuffix(flag, "es")
	case f.shape == shapeList && strings.HasSuffix(flag, "s") && !strings.HasSuffix(flag, "addresses"):
		return flag, strings.TrimSuffix(flag, "s")
	}
	return flag, ""
}

func hasField(t reflect.Type, name string) bool {
	for i := range t.NumField() {
		if have, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); have == name {
			return true
		}
	}
	return false
}

// kebab writes loki.basicAuth as loki-basic-auth.
func kebab(path string) string {
	var b strings.Builder
	for _, r := range path {
		switch {
		case r == '.':
			b.WriteByte('-')
		case unicode.IsUpper(r):
			b.WriteByte('-')
			b.WriteRune(unicode.ToLower(r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// meanings is made by internal/docgen of the doc comments in config: a line
// TYPE.FIELD, a tab, and the first sentence.
//
//go:embed fields.txt
var meanings string

// meaning returns what a field means, "" if nothing is said.
func meaning(name string) string {
	for line := range strings.Lines(meanings) {
		if rest, ok := strings.CutPrefix(line, name+"\t"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}
