package ctl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
)

// tree is an object as JSON has it: what is not known here is kept.
type tree map[string]any

// parseTree reads an object.
func parseTree(text []byte) (tree, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	t := tree{}
	if err := d.Decode(&t); err != nil {
		return nil, fmt.Errorf("reading the daemon's object: %w", err)
	}
	return t, nil
}

func (t tree) bytes() ([]byte, error) { return json.Marshal(t) }

// at returns what stands at a path, nil if nothing does.
func (t tree) at(path ...string) any {
	var v any = map[string]any(t)
	for _, step := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[step]
	}
	return v
}

// text is at for what is to be shown.
func (t tree) text(path ...string) string { return plain(t.at(path...)) }

// plain writes a value in one line: a list with commas, labels by name.
func plain(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return x
	case []any:
		return join(slices.Values(x), func(item any) string { return plain(item) })
	case map[string]any:
		return join(slices.Values(slices.Sorted(maps.Keys(x))), func(key string) string { return key + "=" + plain(x[key]) })
	}
	return fmt.Sprint(v)
}

func join[T any](items func(func(T) bool), text func(T) string) string {
	var b bytes.Buffer
	for item := range items {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(text(item))
	}
	return b.String()
}

// apply makes changes.
func (t tree) apply(edits []edit) {
	for _, e := range edits {
		t.edit(e)
	}
}

func (t tree) edit(e edit) {
	last := len(e.path) - 1
	m := map[string]any(t)
	for _, step := range e.path[:last] {
		inner, ok := m[step].(map[string]any)
		if !ok && e.remove {
			return
		}
		if !ok {
			inner = map[string]any{}
			m[step] = inner
		}
		m = inner
	}
	_, isPart := e.value.(map[string]any)
	have, there := m[e.path[last]].(map[string]any)
	switch {
	case e.remove:
		delete(m, e.path[last])
	case isPart && there && have != nil: // --spool of what has one: it stays as it is
	default:
		m[e.path[last]] = e.value
	}
}

// sameAt reports whether a and b hold the same where edits want to change something.
func sameAt(a, b tree, edits []edit) bool {
	for _, e := range edits {
		if !reflect.DeepEqual(a.at(e.path...), b.at(e.path...)) {
			return false
		}
	}
	return true
}

// toYAML writes JSON as YAML, its fields in the same order.
func toYAML(text []byte) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(screen.JSON(text), &doc); err != nil { // JSON is YAML, but for control characters
		return nil, fmt.Errorf("writing as YAML: %w", err)
	}
	plainStyle(&doc)
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(&doc); err != nil {
		return nil, fmt.Errorf("writing as YAML: %w", err)
	}
	return out.Bytes(), nil
}

// plainStyle takes JSON's brackets and quotes away where YAML needs none.
func plainStyle(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		n.SetString(n.Value)
	}
	if len(n.Content) == 0 && n.Kind != yaml.ScalarNode {
		n.Style = yaml.FlowStyle // {} and []
	}
	for _, inner := range n.Content {
		plainStyle(inner)
	}
}
