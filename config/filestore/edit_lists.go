package filestore

import (
	"bytes"
	"encoding/json"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lbshipd/lbshipd/config"
)

// itemLimit returns the line before which an item of a list of objects ends.
func (e *editor) itemLimit(list *yaml.Node, number int) int {
	if number+1 < len(list.Content) {
		return e.dashLine(list, number+1)
	}
	// The next list of the file.
	for i := 0; i+1 < len(e.root.Content); i += 2 {
		if e.root.Content[i+1] == list && i+2 < len(e.root.Content) {
			return e.root.Content[i+2].Line
		}
	}
	return e.endLimit()
}

// dashLine returns the line on which an item's dash stands.
func (e *editor) dashLine(list *yaml.Node, number int) int {
	item := list.Content[number]
	line := item.Line
	for ; line > list.Line; line-- {
		at := e.lineStart(line) + list.Column - 1
		if at < e.lineEnd(line) && e.text[at] == '-' && e.onlySpaceBefore(at, line) {
			break
		}
	}
	return line
}

// remove takes an item out of a list.
func (e *editor) remove(list *yaml.Node, number int) error {
	if list.Style&yaml.FlowStyle != 0 {
		return e.removeFlow(list, number)
	}
	first := e.dashLine(list, number)
	last := e.lastLine(first, e.itemLimit(list, number), list.Column-1)
	e.splice(e.lineStart(first), e.lineStart(last+1), "")
	return nil
}

// removeFlow takes an item and a comma out of a list in brackets.
func (e *editor) removeFlow(list *yaml.Node, number int) error {
	from := e.offset(list.Content[number])
	to, ok := e.itemEnd(list.Content[number])
	if !ok {
		return errShared
	}
	if number+1 < len(list.Content) {
		e.splice(from, e.offset(list.Content[number+1]), "")
		return nil
	}
	if number > 0 {
		if from, ok = e.itemEnd(list.Content[number-1]); !ok {
			return errShared
		}
	}
	e.splice(from, to, "")
	return nil
}

// itemEnd returns where an item of a list in brackets ends.
func (e *editor) itemEnd(item *yaml.Node) (int, bool) {
	at := e.offset(item)
	if item.Kind == yaml.AliasNode {
		return at + 1 + len(item.Value), true
	}
	return e.flowEnd(at)
}

// replaceItem writes an object anew, all of it.
func (e *editor) replaceItem(list *yaml.Node, number int, is *yaml.Node) error {
	if list.Style&yaml.FlowStyle != 0 {
		item := list.Content[number]
		to, ok := e.itemEnd(item)
		if !ok {
			return errShared
		}
		text, err := e.flowText(is, e.isJSON(e.offset(list)))
		if err != nil {
			return err
		}
		e.splice(e.offset(item), to, text)
		return nil
	}
	first := e.dashLine(list, number)
	last := e.lastLine(first, e.itemLimit(list, number), list.Column-1)
	text, err := itemText(list.Column-1, is)
	if err != nil {
		return err
	}
	e.splice(e.lineStart(first), e.lineEnd(last), text)
	return nil
}

// itemText writes an object with its dash.
func itemText(indent int, n *yaml.Node) (string, error) {
	text, err := blockText(indent+2, n)
	if err != nil {
		return "", err
	}
	return strings.Repeat(" ", indent) + "- " + text[indent+2:], nil
}

// add appends a new object to its list, which may be nil: it is not in the file then.
func (e *editor) add(c config.Change, list *yaml.Node) error {
	n, err := parseGiven(c.Draft.Given)
	if err != nil {
		return err
	}
	switch {
	case list == nil:
		return e.addList(c.Kind.List(), n)
	case list.Kind == yaml.SequenceNode && list.Style&yaml.FlowStyle != 0:
		return e.addFlow(list, n)
	case list.Kind == yaml.SequenceNode && len(list.Content) > 0:
		number := len(list.Content) - 1
		last := e.lastLine(e.dashLine(list, number), e.itemLimit(list, number), list.Column-1)
		text, err := itemText(list.Column-1, n)
		if err != nil {
			return err
		}
		at := e.lineEnd(last)
		e.splice(at, at, "\n"+text)
		return nil
	case list.Kind == yaml.ScalarNode && list.Value == "":
		return e.addToHeading(c.Kind.List(), n)
	}
	return errShared
}

// addToHeading writes the first object of a list of which there is only the name.
func (e *editor) addToHeading(name string, n *yaml.Node) error {
	key := e.root.Content[fieldNumber(e.root, name)]
	text, err := itemText(key.Column+1, n)
	if err != nil {
		return err
	}
	if e.root.Style&yaml.FlowStyle != 0 {
		return errShared
	}
	at := e.lineEnd(key.Line)
	e.splice(at, at, "\n"+text)
	return nil
}

// addFlow appends an object to a list in brackets. One that is empty becomes a
// list with dashes, unless all of the file is in brackets.
func (e *editor) addFlow(list, n *yaml.Node) error {
	from := e.offset(list)
	end, ok := e.flowEnd(from)
	if !ok {
		return errShared
	}
	inBrackets := e.root.Style&yaml.FlowStyle != 0
	if len(list.Content) == 0 && !inBrackets {
		text, err := itemText(e.root.Column+1, n)
		if err != nil {
			return err
		}
		from = len(bytes.TrimRight(e.text[:from], " "))
		if rest := strings.TrimSpace(string(e.text[end:e.lineEnd(list.Line)])); rest != "" && e.lineEnd(list.Line) > end {
			end = e.lineEnd(list.Line)
			text = "" + rest + "\n" + text
			e.splice(from, end, " "+text)
			return nil
		}
		e.splice(from, end, "\n"+text)
		return nil
	}
	text, err := e.flowText(n, e.isJSON(from))
	if err != nil {
		return err
	}
	if len(list.Content) == 0 {
		e.splice(from, end, "["+text+"]")
		return nil
	}
	at, ok := e.itemEnd(list.Content[len(list.Content)-1])
	if !ok {
		return errShared
	}
	e.splice(at, at, ", "+text)
	return nil
}

// addList writes a list that the file does not have yet, with one object.
func (e *editor) addList(name string, n *yaml.Node) error {
	if e.root.Style&yaml.FlowStyle != 0 {
		at := e.offset(e.root)
		asJSON := e.isJSON(at)
		text, err := e.flowText(n, asJSON)
		if err != nil {
			return err
		}
		if asJSON {
			name = `"` + name + `"`
		}
		comma := ", "
		if len(e.root.Content) == 0 {
			comma = ""
		}
		e.splice(at+1, at+1, name+": ["+text+"]"+comma)
		return nil
	}
	indent := e.root.Content[0].Column - 1
	text, err := itemText(indent+2, n)
	if err != nil {
		return err
	}
	last := e.lastLine(1, e.endLimit(), 0)
	at, before := e.lineEnd(last), "\n"
	if e.lineStart(last+1) == at {
		before = "\n" // the last line has no line break
	}
	e.splice(at, at, before+strings.Repeat(" ", indent)+name+":\n"+text)
	return nil
}

// jsonText writes a value as JSON.
func jsonText(n *yaml.Node) (string, error) {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!bool" || n.Tag == "!!int" {
			return n.Value, nil
		}
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		err := enc.Encode(n.Value)
		return strings.TrimSuffix(out.String(), "\n"), err
	case yaml.SequenceNode:
		parts := make([]string, len(n.Content))
		for i, inner := range n.Content {
			text, err := jsonText(inner)
			if err != nil {
				return "", err
			}
			parts[i] = text
		}
		return "[" + strings.Join(parts, ", ") + "]", nil
	}
	var parts []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, err := jsonText(n.Content[i])
		if err != nil {
			return "", err
		}
		value, err := jsonText(n.Content[i+1])
		if err != nil {
			return "", err
		}
		parts = append(parts, name+": "+value)
	}
	return "{" + strings.Join(parts, ", ") + "}", nil
}
