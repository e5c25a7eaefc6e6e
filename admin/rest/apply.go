package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/lbshipd/lbshipd/config"
)

func (c *call) apply() (reply, error) {
	if err := c.noConditions(); err != nil {
		return reply{}, err
	}
	b, err := c.readBody()
	if err != nil {
		return reply{}, err
	}
	kinds, empty, bare := listedKinds(b)
	pruning := c.query.is(paramPrune, false)
	for _, kind := range bare {
		if pruning && !kinds[kind] {
			// A heading with all below it commented out, or a template that had nothing to put there.
			return reply{}, invalid("%s: is empty: write [] if all of them are to be deleted, or leave it out", kind.List())
		}
	}
	var changes []config.Change
	if !pruning || !empty {
		if changes, err = config.DecodeAll(b.name, b.data); err != nil {
			return reply{}, err
		}
	}
	for _, change := range changes {
		kinds[change.Kind] = true
	}
	for _, kind := range config.Kinds() {
		if kinds[kind] && c.who.Role < writer(kind) {
			return reply{}, forbidden(c.who, writer(kind))
		}
	}
	if pruning {
		if changes, err = c.prune(changes, kinds); err != nil {
			return reply{}, err
		}
	}
	written, err := c.write(changes)
	if err != nil {
		return reply{}, err
	}
	return c.applied(written), nil
}

// prune adds the deletion of what is stored, of one of the kinds, and not
// among the changes.
func (c *call) prune(changes []config.Change, kinds map[config.Kind]bool) ([]config.Change, error) {
	store, err := c.store()
	if err != nil {
		return nil, err
	}
	all, err := store.List(c.within())
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		given := slices.ContainsFunc(changes, func(change config.Change) bool { return change.Kind == o.Kind && change.Name == o.Name })
		if kinds[o.Kind] && !given {
			// With its ETag: what somebody has written since is not deleted unseen.
			changes = append(changes, config.Change{Kind: o.Kind, Name: o.Name, IfMatch: o.Etag})
		}
	}
	return changes, nil
}

// listedKinds returns the kinds of which there is a list in the body, and whether these
// lists are all that is in it and all are empty, which says something only if what is
// not there is to be deleted; bare are those with a heading and nothing, not even []. What cannot
// be read is DecodeAll's to say.
func listedKinds(b body) (kinds map[config.Kind]bool, empty bool, bare []config.Kind) {
	kinds, empty = map[config.Kind]bool{}, true
	field := func(name string, noItems, null bool) {
		kind, ok := config.ParseKind(name)
		list := ok && kind.List() == name
		if list && null {
			bare = append(bare, kind)
			return
		}
		empty = empty && list && noItems && !kinds[kind]
		if list {
			kinds[kind] = true
		}
	}
	if b.name == jsonBody {
		var fields map[string]json.RawMessage
		empty = json.Unmarshal(b.data, &fields) == nil
		for name, value := range fields {
			var items []json.RawMessage
			field(name, json.Unmarshal(value, &items) == nil && items != nil && len(items) == 0, string(value) == "null")
		}
		return kinds, empty && len(kinds) > 0, bare
	}
	for _, doc := range yamlDocuments(b.data) {
		if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
			empty = false
			continue
		}
		fields := doc.Content[0].Content
		for i := 0; i+1 < len(fields); i += 2 {
			field(fields[i].Value, fields[i+1].Kind == yaml.SequenceNode && len(fields[i+1].Content) == 0, fields[i+1].Tag == "!!null")
		}
	}
	return kinds, empty && len(kinds) > 0, bare
}

// yamlDocuments returns the documents of a text, none if it cannot be read.
func yamlDocuments(data []byte) (docs []yaml.Node) {
	defer func() {
		if recover() != nil { // the library panics on some broken input
			docs = nil
		}
	}()
	for dec := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc yaml.Node
		switch err := dec.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return docs
		case err != nil:
			return nil
		}
		docs = append(docs, doc)
	}
}

// RevisionList is the answer of GET /history.
type RevisionList struct {
	// The last changes, newest first, at most 50.
	Revisions []config.Revision `json:"revisions"`
}

func (c *call) history() (reply, error) {
	store, err := c.store()
	if err != nil {
		return reply{}, err
	}
	revisions, err := store.History(c.within())
	if err != nil {
		return reply{}, err
	}
	if revisions == nil {
		revisions = []config.Revision{}
	}
	for i := range revisions {
		if revisions[i].Changes == nil {
			revisions[i].Changes = []config.RevisionChange{}
		}
	}
	return reply{body: RevisionList{revisions}}, nil
}

func (c *call) rollback() (reply, error) {
	c.audit.name = c.arg
	if err := c.noConditions(); err != nil {
		return reply{}, err
	}
	if err := c.noBody(); err != nil {
		return reply{}, err
	}
	store, err := c.store()
	if err != nil {
		return reply{}, err
	}
	id, err := strconv.ParseInt(c.arg, 10, 64)
	if err != nil {
		return reply{}, notFound("there is no revision %s", c.arg)
	}
	c.told = true
	written, err := store.Rollback(c.within(), id, c.writeOptions())
	c.audit.made(written.Revision)
	switch {
	case errors.Is(err, config.ErrNotFound):
		return reply{}, notFound("revision %d is not known, or not any more: GET %s/history lists those that are", id, Prefix)
	case err != nil:
		return reply{}, err
	}
	return c.applied(written), nil
}
