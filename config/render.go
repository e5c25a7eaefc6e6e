package config

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Render writes one object as JSON for people and the API, with its defaults
// and without secrets: "(hidden)" stands for each; a TLS bundle's keyPem is
// left out, and fingerprint, subject, issuer, notBefore, notAfter of its
// certificate are in.
func Render(o Object) ([]byte, error) {
	if isNil(o) {
		return nil, errors.New("writing an object as JSON: there is none")
	}
	n := objectNode("", reflect.ValueOf(o).Elem(), func(p path, s Secret) string {
		if p == "keyPem" {
			return ""
		}
		return s.String()
	}, nil)
	if b, ok := o.(*TLSBundle); ok {
		n.Content = append(n.Content, certificateFacts(b.CertPem)...)
	}
	return nodeJSON(n)
}

// isNil reports whether there is no object, or a pointer to none.
func isNil(o Object) bool { return o == nil || reflect.ValueOf(o).IsNil() }

// RenderGiven does what Render does, but only with what was given. Of an
// object that cannot be used it shows what is not a secret for sure.
func RenderGiven(s Stored) ([]byte, error) {
	n, err := redactedGiven(s.Kind, s.Name, s.Given)
	if err != nil {
		return nil, err
	}
	if s.Kind == KindTLSBundle {
		n.Content = append(n.Content, certificateFacts(valueOf(n, "certPem"))...)
	}
	return nodeJSON(n)
}

// renderGiven writes what was given of the object at p, secrets in clear.
func renderGiven(c *Config, p path, v reflect.Value) []byte {
	given := func(p path) bool { _, ok := c.doc.lines[p]; return ok }
	data, _ := nodeJSON(objectNode(p, v, func(_ path, s Secret) string { return s.Reveal() }, given)) // of valid texts
	return data
}

// objectNode turns a struct into a node, without what is empty and has no
// default (which would be taken in its place), and without what is not given.
// secret says what stands for a secret; nothing leaves it out.
func objectNode(p path, v reflect.Value, secret func(path, Secret) string, given func(path) bool) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := range v.NumField() {
		f, t := v.Field(i), v.Type().Field(i)
		place := p.dot(jsonName(t))
		switch {
		case jsonName(t) == "", given != nil && !given(place), fromFile(v, t.Name), isEmpty(f) && t.Tag.Get("default") == "":
			continue
		case f.Kind() == reflect.Pointer && f.IsNil():
			continue
		}
		value := (*yaml.Node)(nil)
		if s, ok := f.Interface().(Secret); ok {
			shown := secret(place, s)
			if shown == "" {
				continue
			}
			value = text(shown)
		} else if f.Kind() == reflect.Pointer && f.Elem().Kind() == reflect.Struct {
			value = objectNode(place, f.Elem(), secret, given)
		} else {
			value = renderValue(f)
		}
		n.Content = append(n.Content, text(jsonName(t)), value)
	}
	return n
}

func isEmpty(v reflect.Value) bool {
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
		return v.Len() == 0
	}
	return v.IsZero()
}

// redactedGiven reads given (Draft.Given) and leaves nothing in it that is a
// secret, or may be one: unknown fields, and values of the wrong kind.
func redactedGiven(kind Kind, name string, given []byte) (*yaml.Node, error) {
	if kind.Title() == "" {
		return nil, fmt.Errorf("writing an object as JSON: unknown kind %q", cut(string(kind)))
	}
	docs, err := parseJSON(given)
	if err != nil || len(docs) != 1 || docs[0].Kind != yaml.MappingNode {
		return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{text("name"), text(name)}}, nil
	}
	redact(docs[0], typeOf(kind))
	return docs[0], nil
}

// redact hides what is in n, a mapping, and is not plainly a value of t that is no secret.
func redact(n *yaml.Node, t reflect.Type) {
	fields := fieldsOf(t)
	kept := n.Content[:0]
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		number, known := fields[key.Value]
		if key.Value == "keyPem" {
			continue
		}
		switch {
		case !known:
			value = text(hidden)
		case !redactField(value, t.Field(number).Type):
			value = text(hidden)
		case key.Value == "url" && strings.Contains(value.Value, "@"):
			value = text(hidden) // a password in a URL, which is refused
		}
		kept = append(kept, key, value)
	}
	n.Content = kept
}

// redactField reports whether value may be shown as one of type t, once what
// is secret in it is hidden.
func redactField(value *yaml.Node, t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	scalars := func(items []*yaml.Node) bool {
		return !slices.ContainsFunc(items, func(n *yaml.Node) bool { return n.Kind != yaml.ScalarNode })
	}
	switch {
	case t == reflect.TypeFor[Secret]():
		return false
	case t.Kind() == reflect.Struct:
		if value.Kind == yaml.MappingNode {
			redact(value, t)
		}
		return value.Kind == yaml.MappingNode
	case t.Kind() == reflect.Slice:
		return value.Kind == yaml.SequenceNode && scalars(value.Content)
	case t.Kind() == reflect.Map:
		return value.Kind == yaml.MappingNode && scalars(value.Content)
	}
	return value.Kind == yaml.ScalarNode
}

// valueOf returns the text of a field of a mapping, "" if it has none.
func valueOf(n *yaml.Node, field string) string {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == field && n.Content[i+1].Kind == yaml.ScalarNode {
			return n.Content[i+1].Value
		}
	}
	return ""
}

// certificateFacts says what the first certificate of a PEM text is, as fields and values.
func certificateFacts(certPem string) []*yaml.Node {
	if certPem == "" {
		return nil
	}
	certs, err := certificates(certPem)
	if err != nil {
		return nil
	}
	c := certs[0]
	return []*yaml.Node{
		text("fingerprint"), text(certificateFingerprint(c)),
		text("subject"), text(c.Subject.String()),
		text("issuer"), text(c.Issuer.String()),
		text("notBefore"), text(c.NotBefore.UTC().Format(time.RFC3339)),
		text("notAfter"), text(c.NotAfter.UTC().Format(time.RFC3339)),
	}
}

// certificateFingerprint writes a certificate's SHA-256 as fingerprints takes it.
func certificateFingerprint(c *x509.Certificate) string {
	return "sha-256:" + Fingerprint(sha256.Sum256(c.Raw))
}

func nodeJSON(n *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	if err := writeJSON(&out, n); err != nil {
		return nil, fmt.Errorf("writing an object as JSON: %w", err)
	}
	return out.Bytes(), nil
}

// quoteJSON writes a text as JSON, with <, > and & as they are.
func quoteJSON(out *bytes.Buffer, s string) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return err
	}
	out.Truncate(out.Len() - 1) // a line break
	return nil
}
