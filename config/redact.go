package config

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// RedactedYAML writes c as YAML with its defaults, for people and reports. No
// secret is in it: each is "(hidden)", and a private key is told by the SHA-256
// of its public key. What was read from a file is shown as the file's path.
func (c *Config) RedactedYAML() ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(render(reflect.ValueOf(c).Elem())); err != nil {
		return nil, fmt.Errorf("writing the configuration as YAML: %w", err)
	}
	return out.Bytes(), nil
}

// RedactedJSON writes c as RedactedYAML does, as JSON.
func (c *Config) RedactedJSON() ([]byte, error) {
	var out bytes.Buffer
	if err := writeJSON(&out, render(reflect.ValueOf(c).Elem())); err != nil {
		return nil, fmt.Errorf("writing the configuration as JSON: %w", err)
	}
	return out.Bytes(), nil
}

// render turns a struct into a YAML node, without what is zero and has no
// default (which would be taken in its place).
func render(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := range v.NumField() {
		f, t := v.Field(i), v.Type().Field(i)
		name := jsonName(t)
		if name == "" || f.IsZero() && t.Tag.Get("default") == "" || fromFile(v, t.Name) {
			continue
		}
		if f.Kind() == reflect.Pointer && f.IsNil() {
			continue
		}
		value := renderValue(f)
		if s, ok := f.Interface().(Secret); ok && t.Name == "KeyPem" {
			value = text(keyNote(s))
		}
		if b, ok := v.Interface().(TLSBundle); ok && t.Name == "KeyFile" && b.KeyPem != "" {
			value.LineComment = "# " + keyNote(b.KeyPem)
		}
		n.Content = append(n.Content, text(name), value)
	}
	return n
}

// fromFile reports whether the contents of a field were read from a file that
// another field of v names: caPem from caFile, password from passwordFile.
func fromFile(v reflect.Value, field string) bool {
	file := v.FieldByName(strings.TrimSuffix(field, "Pem") + "File")
	return file.IsValid() && file.Kind() == reflect.String && file.Len() > 0
}

func renderValue(v reflect.Value) *yaml.Node {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, _ := m.MarshalText() // ours, none of which fails
		return text(string(b))
	}
	switch v.Kind() {
	case reflect.Pointer:
		return renderValue(v.Elem())
	case reflect.Struct:
		return render(v)
	case reflect.Bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(v.Bool())}
	case reflect.Int:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprint(v.Int())}
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			n.Content = append(n.Content, renderValue(v.Index(i)))
		}
		return n
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode}
		labels, _ := v.Interface().(map[string]string)
		for _, key := range sortedKeys(labels) {
			n.Content = append(n.Content, text(key), text(labels[key]))
		}
		return n
	}
	return text(v.String())
}

func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

// keyNote says which private key it is without saying anything of it.
func keyNote(s Secret) string {
	key, err := privateKey(s.Reveal())
	if err != nil {
		return s.String()
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return s.String()
	}
	return hidden[:len(hidden)-1] + ", sha-256 of its public key " + Fingerprint(sha256.Sum256(der)) + ")"
}

// Fingerprint writes a SHA-256 as RFC 5425 section 4.2.2 does, without the
// name of the algorithm.
func Fingerprint(sum [sha256.Size]byte) string {
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}

// writeJSON writes a node as JSON, in the node's order.
func writeJSON(out *bytes.Buffer, n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return writeScalar(out, n)
	}
	brackets, step := "[]", 1
	if n.Kind == yaml.MappingNode {
		brackets, step = "{}", 2
	}
	out.WriteByte(brackets[0])
	for i := 0; i < len(n.Content); i += step {
		if i > 0 {
			out.WriteByte(',')
		}
		if step == 2 {
			if err := writeScalar(out, n.Content[i]); err != nil {
				return err
			}
			out.WriteByte(':')
		}
		if err := writeJSON(out, n.Content[i+step-1]); err != nil {
			return err
		}
	}
	out.WriteByte(brackets[1])
	return nil
}

func writeScalar(out *bytes.Buffer, n *yaml.Node) error {
	switch n.Tag {
	case "!!bool", "!!int", "!!float", "!!null": // ours, or from JSON
		out.WriteString(n.Value)
		return nil
	}
	return quoteJSON(out, n.Value)
}
