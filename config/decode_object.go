package config

import (
	"fmt"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"
)

// MaxObjectBytes bounds one object as text.
const MaxObjectBytes = 1 << 20

// Decode reads one object, YAML or JSON, and checks it as far as it stands by
// itself. name is what messages call the text. The error is a Problems.
// What only answers hold (a TLS bundle's subject, its expiry) is ignored, and
// "kind" may stand in it. In place of a secret it may hold "(hidden)", and no
// keyPem beside a certPem: Plan puts in what is stored.
func Decode(kind Kind, name string, data []byte) (Draft, error) {
	return decodeText(kind, name, data, false)
}

// decodeText is Decode; if complete, every secret must be there.
func decodeText(kind Kind, name string, data []byte, complete bool) (Draft, error) {
	whole := func(line int, message string) error { return Problems{{File: name, Line: line, Message: message}} }
	if kind.Title() == "" {
		return Draft{}, whole(1, fmt.Sprintf("unknown kind %q", cut(string(kind))))
	}
	docs, problems := parseDocuments(name, data, MaxObjectBytes)
	switch {
	case len(problems) > 0:
		return Draft{}, problems
	case len(docs) == 0:
		return Draft{}, whole(1, fmt.Sprintf("nothing in it: a %s is wanted", kind.Title()))
	case len(docs) > 1:
		return Draft{}, whole(docs[1].Line, fmt.Sprintf("a second document begins; one %s is wanted", kind.Title()))
	}
	o := objectDecoder{file: name, complete: complete}
	draft, problems := o.decode(kind, docs[0], 0)
	return draft, problems.err()
}

// objectDecoder decodes objects that stand by themselves. Their totals count
// together.
type objectDecoder struct {
	file          string
	complete      bool // secrets must be there
	strict        bool // as in a file: what answers hold beside an object's fields is not ignored
	values, bytes int
}

// decode decodes the object at n, the one of the given number in its list.
func (o *objectDecoder) decode(kind Kind, n *yaml.Node, number int) (Draft, Problems) {
	c := &Config{doc: &document{file: o.file, lines: map[path]int{"": n.Line}, bad: map[path]bool{}, first: number}}
	place := path(kind.List()).index(0)
	c.doc.lines[place] = n.Line
	list := c.list(kind)
	list.Set(reflect.MakeSlice(list.Type(), 1, 1))
	v := list.Index(0)
	setDefaults(v)
	d := decoder{c: c, doc: c.doc, values: o.values, bytes: o.bytes, kind: kind, hidden: !o.complete}
	if !o.strict {
		d.whole = place
	}
	d.value(place, n, v)
	o.values, o.bytes = d.values, d.bytes
	if s, ok := c.at(kind, 0).(*Source); ok && s.LogFormat == "" {
		delete(c.doc.lines, place.dot("logFormat")) // "" is the same as not given
	}
	c.setFormatDefaults()
	k := checker{c: c, alone: true, incomplete: !o.complete}
	k.object(kind, 0)
	k.bounds("", reflect.ValueOf(c).Elem())
	draft := Draft{Object: v.Addr().Interface().(Object), Given: renderGiven(c, place, v)}
	k.failIf(len(draft.Given) > MaxObjectBytes, place, "is %d bytes long as JSON, more than %d", len(draft.Given), MaxObjectBytes)
	if problems := append(d.problems(), k.problems...).ordered(); len(problems) > 0 {
		return Draft{}, problems
	}
	return draft, nil
}

// object checks the object of a kind and number, but for its name being unique.
func (k *checker) object(kind Kind, i int) {
	p := path(kind.List()).index(i)
	o := k.c.at(kind, i)
	k.name(p, o.ObjectName(), &unique{seen: map[string]path{}})
	switch o := o.(type) {
	case *Source:
		k.source(p, o)
	case *Target:
		k.target(p, o)
	case *TLSBundle:
		k.bundle(p, o)
	case *Format:
		k.format(p, o)
	case *Service:
		k.service(p, o)
	}
}

// list returns the list of a kind, to be read and set.
func (c *Config) list(kind Kind) reflect.Value {
	v := reflect.ValueOf(c).Elem()
	return v.Field(fieldsOf(v.Type())[kind.List()])
}

// at returns the object of a kind and number.
func (c *Config) at(kind Kind, i int) Object {
	return c.list(kind).Index(i).Addr().Interface().(Object)
}

// typeOf returns the struct of a kind.
func typeOf(kind Kind) reflect.Type { return new(Config).list(kind).Type().Elem() }

// answerFields are what answers say of any object beside what it holds; they
// are ignored when an answer is given back.
var answerFields = []string{"etag", "updated", "by"}

// bundleFields are the same of a TLS bundle, from its certificate.
var bundleFields = []string{"fingerprint", "subject", "issuer", "notBefore", "notAfter"}

// ignores reports whether an unknown field of an object that stands by itself
// is one that may be there.
func (d *decoder) ignores(p path, e entry) bool {
	if d.whole == "" || p != d.whole {
		return false
	}
	if e.key == "kind" {
		if kind, ok := ParseKind(e.value.Value); !ok || kind != d.kind {
			d.fail(p.dot("kind"), "is %s where a %s is wanted", describe(e.value, false), d.kind.Title())
		}
		return true
	}
	return slices.Contains(answerFields, e.key) || d.kind == KindTLSBundle && slices.Contains(bundleFields, e.key)
}
