package filestore

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/lbshipd/lbshipd/config"
)

// errShared says that a text cannot be changed in one place only.
var errShared = errors.New("what is to be changed shares its text with other objects through YAML's anchors, or is written in a way that cannot be edited in place: change the file by hand")

// edit returns text, which holds the objects before, with the changes made to it.
// What is not touched stays byte for byte as it is: comments, order, anchors,
// ways of writing. After it text holds exactly the objects of after.
//
// First only the fields that differ are written; if that does not give what it
// should (a field that comes from an anchor, for one), whole objects are.
func edit(text []byte, before, after []config.Stored, changes []config.Change) ([]byte, error) {
	given := map[id][]byte{}
	for _, s := range before {
		given[id{s.Kind, s.Name}] = s.Given
	}
	for _, whole := range []bool{false, true} {
		out, err := editAll(text, given, changes, whole)
		if err == nil && len(out) > config.MaxFileBytes {
			return nil, config.Problems{{Message: fmt.Sprintf("the configuration file would be %d bytes long, more than %d", len(out), config.MaxFileBytes)}}
		}
		if err == nil && holds(out, after) {
			return out, nil
		}
	}
	// Some fields may be written by themselves and others not.
	out := text
	for i, c := range changes {
		want := applied(before, changes[:i+1])
		done := false
		for _, whole := range []bool{false, true} {
			next, err := editAll(out, given, changes[i:i+1], whole)
			if err == nil && holds(next, want) {
				out, done = next, true
				break
			}
		}
		if !done {
			return nil, fmt.Errorf("%w: %s %q: %w", config.ErrReadOnly, c.Kind.Title(), c.Name, errShared)
		}
	}
	return out, nil
}

// id is what tells objects apart.
type id struct {
	kind config.Kind
	name string
}

// applied returns the objects with changes made to them.
func applied(objects []config.Stored, changes []config.Change) []config.Stored {
	out := slices.Clone(objects)
	for _, c := range changes {
		out = slices.DeleteFunc(out, func(s config.Stored) bool { return s.Kind == c.Kind && s.Name == c.Name })
		if c.Draft != nil {
			out = append(out, config.Stored{Kind: c.Kind, Name: c.Name, Draft: *c.Draft})
		}
	}
	return out
}

// holds reports whether a text holds exactly these objects.
func holds(text []byte, want []config.Stored) bool {
	have, err := config.ParseObjects("", text)
	if err != nil || len(have) != len(want) {
		return false
	}
	given := make(map[id][]byte, len(have))
	for _, s := range have {
		if s.Err != nil {
			return false
		}
		given[id{s.Kind, s.Name}] = s.Given
	}
	for _, s := range want {
		if text, ok := given[id{s.Kind, s.Name}]; !ok || !bytes.Equal(text, s.Given) {
			return false
		}
	}
	return true
}

// editAll makes the changes one after the other.
func editAll(text []byte, given map[id][]byte, changes []config.Change, whole bool) ([]byte, error) {
	for _, c := range changes {
		e, err := newEditor(text)
		if err != nil {
			return nil, err
		}
		if err := e.change(c, given[id{c.Kind, c.Name}], whole); err != nil {
			return nil, err
		}
		text = e.result()
	}
	return text, nil
}

// change makes one change; old is what was given of the object, nil if it is new.
func (e *editor) change(c config.Change, old []byte, whole bool) error {
	if old == nil && c.Draft == nil {
		return nil
	}
	list := e.field(e.root, c.Kind.List())
	if old == nil {
		return e.add(c, list)
	}
	if list == nil || list.Kind != yaml.SequenceNode {
		return errShared // an alias, which no list of ours is
	}
	number := slices.IndexFunc(list.Content, func(n *yaml.Node) bool {
		name := e.field(n, "name")
		return name != nil && name.Value == c.Name
	})
	if number < 0 {
		return errShared
	}
	if c.Draft == nil {
		return e.remove(list, number)
	}
	was, err := parseGiven(old)
	if err != nil {
		return err
	}
	is, err := parseGiven(c.Draft.Given)
	if err != nil {
		return err
	}
	if whole {
		return e.replaceItem(list, number, is)
	}
	item := list.Content[number]
	return e.update(item, was, is, e.itemLimit(list, number))
}

// parseGiven reads Draft.Given, JSON, as nodes that are written as people write YAML.
func parseGiven(given []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(given, &doc); err != nil || len(doc.Content) != 1 {
		return nil, fmt.Errorf("reading an object: %w", err)
	}
	n := doc.Content[0]
	unstyled(n)
	return n, nil
}

func unstyled(n *yaml.Node) {
	if n.Style = 0; n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		n.SetString(n.Value)
	}
	for _, inner := range n.Content {
		unstyled(inner)
	}
}

// field returns the value of a field that a mapping has by itself, nil if it has none.
func (e *editor) field(n *yaml.Node, name string) *yaml.Node {
	if i := fieldNumber(n, name); i >= 0 {
		return n.Content[i+1]
	}
	return nil
}

// fieldNumber returns the place of a field's name in a mapping's content, -1 if it is not there.
func fieldNumber(n *yaml.Node, name string) int {
	if n.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Kind == yaml.ScalarNode && n.Content[i].Value == name {
			return i
		}
	}
	return -1
}

// sameNode reports whether two values are written alike.
func sameNode(a, b *yaml.Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Kind == b.Kind && a.Tag == b.Tag && a.Value == b.Value && slices.EqualFunc(a.Content, b.Content, sameNode)
}
