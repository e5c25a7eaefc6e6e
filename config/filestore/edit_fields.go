package filestore

import (
	"bytes"
	"strings"

	"go.yaml.in/yaml/v3"
)

// update changes the fields of a mapping that differ between what was given and
// what is to be given. limit is the line before which the mapping ends.
func (e *editor) update(m, was, is *yaml.Node, limit int) error {
	if m.Kind != yaml.MappingNode || len(m.Content) == 0 {
		return errShared
	}
	if m.Style&yaml.FlowStyle != 0 {
		return e.replaceFlow(m, is)
	}
	for i := 0; i+1 < len(was.Content); i += 2 {
		name := was.Content[i].Value
		if e.field(is, name) != nil {
			continue
		}
		number := fieldNumber(m, name)
		if number < 0 {
			return errShared // it comes from somewhere else
		}
		if err := e.removeField(m, number, limit); err != nil {
			return err
		}
	}
	previous := -1
	for i := 0; i+1 < len(is.Content); i += 2 {
		name, value := is.Content[i], is.Content[i+1]
		old, number := e.field(was, name.Value), fieldNumber(m, name.Value)
		if !sameNode(old, value) {
			if err := e.setField(m, number, previous, name, old, value, limit); err != nil {
				return err
			}
		}
		if number >= 0 {
			previous = number
		}
	}
	return nil
}

// setField writes one field: in its place, if it has a number, else behind the
// field with the number previous, or at the end.
func (e *editor) setField(m *yaml.Node, number, previous int, name, old, value *yaml.Node, limit int) error {
	if number < 0 {
		if previous < 0 {
			previous = len(m.Content) - 2
		}
		indent := m.Content[0].Column - 1
		last := e.lastLine(m.Content[previous].Line, fieldLimit(m, previous, limit), indent)
		text, err := block(indent, name, value)
		if err != nil {
			return err
		}
		at := e.lineEnd(last)
		e.splice(at, at, "\n"+text)
		return nil
	}
	have, inner := m.Content[number+1], fieldLimit(m, number, limit)
	if have.Kind == yaml.MappingNode && len(have.Content) > 0 && have.Anchor == "" && old != nil && old.Kind == yaml.MappingNode && len(value.Content) > 0 && value.Kind == yaml.MappingNode {
		return e.update(have, old, value, inner)
	}
	return e.replaceField(m, number, name, value, inner)
}

// fieldLimit returns the line before which a field of a mapping ends.
func fieldLimit(m *yaml.Node, number, limit int) int {
	if number+2 < len(m.Content) {
		return m.Content[number+2].Line
	}
	return limit
}

// replaceField writes a value in the place of another one.
func (e *editor) replaceField(m *yaml.Node, number int, name, value *yaml.Node, limit int) error {
	key, have := m.Content[number], m.Content[number+1]
	indent := key.Column - 1
	last := e.lastLine(key.Line, limit, indent)
	if have.Line == key.Line {
		from := e.offset(have)
		if to, ok := e.valueEnd(from, have.Line); ok && to > e.lineStart(last) {
			if have.Style&yaml.FlowStyle != 0 {
				value = flow(value)
			}
			if text, ok := oneLine(value); ok {
				e.splice(from, to, text) // and the comment behind it stays
				return nil
			}
		}
	}
	text, err := block(indent, name, value)
	if err != nil {
		return err
	}
	e.splice(e.offset(key), e.lineEnd(last), strings.TrimLeft(text, " "))
	return nil
}

// removeField takes a field out of a mapping.
func (e *editor) removeField(m *yaml.Node, number, limit int) error {
	key := m.Content[number]
	from := e.offset(key)
	if e.onlySpaceBefore(from, key.Line) {
		last := e.lastLine(key.Line, fieldLimit(m, number, limit), key.Column-1)
		e.splice(e.lineStart(key.Line), e.lineStart(last+1), "")
		return nil
	}
	// Behind the dash: the next field moves there.
	if number+2 >= len(m.Content) || m.Content[number+2].Line == key.Line {
		return errShared
	}
	e.splice(from, e.offset(m.Content[number+2]), "")
	return nil
}

// replaceFlow writes a mapping in brackets anew.
func (e *editor) replaceFlow(m, is *yaml.Node) error {
	from := e.offset(m)
	to, ok := e.flowEnd(from)
	if !ok {
		return errShared // an anchor or a tag before it
	}
	text, err := e.flowText(is, e.isJSON(from))
	if err != nil {
		return err
	}
	e.splice(from, to, text)
	return nil
}

// isJSON reports whether the mapping in brackets at at is written as in JSON,
// with quotes around its names.
func (e *editor) isJSON(at int) bool {
	rest := bytes.TrimLeft(e.text[at:], "{[ \t\r\n")
	return len(rest) > 0 && rest[0] == '"' || len(rest) > 0 && (rest[0] == '}' || rest[0] == ']') && e.text[0] == '{'
}

// flowText writes a value in brackets, on one line.
func (e *editor) flowText(n *yaml.Node, asJSON bool) (string, error) {
	if asJSON {
		return jsonText(n)
	}
	text, ok := oneLine(flow(n))
	if !ok {
		return jsonText(n)
	}
	return text, nil
}

// flow returns a copy of a value that is written in brackets.
func flow(n *yaml.Node) *yaml.Node {
	out := *n
	out.Content = nil
	for _, inner := range n.Content {
		out.Content = append(out.Content, flow(inner))
	}
	switch {
	case n.Kind != yaml.ScalarNode:
		out.Style = yaml.FlowStyle
	case strings.ContainsAny(n.Value, "\n\r"):
		out.Style = yaml.DoubleQuotedStyle
	}
	return &out
}

// oneLine writes a value on one line, if it can be.
func oneLine(n *yaml.Node) (string, bool) {
	if n.Kind != yaml.ScalarNode && n.Style&yaml.FlowStyle == 0 && len(n.Content) > 0 {
		return "", false
	}
	text, err := yaml.Marshal(n)
	out := strings.TrimSuffix(string(text), "\n")
	return out, err == nil && !strings.Contains(out, "\n")
}

// block writes a field over as many lines as it takes, indented.
func block(indent int, name, value *yaml.Node) (string, error) {
	return blockText(indent, &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{name, value}})
}

// blockText writes a mapping or list, indented, without the last line break.
func blockText(indent int, n *yaml.Node) (string, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(n); err != nil {
		return "", err
	}
	var b strings.Builder
	for i, line := range strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n") {
		if i > 0 {
			b.WriteByte('\n')
		}
		if line != "" {
			b.WriteString(strings.Repeat(" ", indent))
		}
		b.WriteString(line)
	}
	return b.String(), nil
}
