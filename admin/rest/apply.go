package rest

import (
	"bytes"
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
	changes, err := config.DecodeAll(b.name, b.data)
	if err != nil {
		return reply{}, err
	}
	kinds := listedKinds(b.data)
	for _, change := range changes {
		kinds[change.Kind] = true
	}
	for _, kind := range config.Kinds() {
		if kinds[kind] && c.who.Role < writer(kind) {
			return reply{}, forbidden(c.who, writer(kind))
		}
	}
	if c.query.is(paramPrune, false) {
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
	all, err := store.List(c.r.Context())
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

// listedKinds returns the kinds of which there is a list in the body, if only
// an empty one. What cannot be read is DecodeAll's to say.
func listedKinds(data []byte) map[config.Kind]bool {
	kinds := map[config.Kind]bool{}
	defer func() { _ = recover() }() // the library panics on some broken input
	for dec := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc yaml.Node
		if err := dec.Decode(&doc); errors.Is(err, io.EOF) || err != nil {
			return kinds
		}
		if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
			continue
		}
		for i := 0; i+1 < len(doc.Content[0].Content); i += 2 {
			for _, kind := range config.Kinds() {
				if doc.Content[0].Content[i].Value == kind.List() {
					kinds[kind] = true
				}
			}
		}
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
	revisions, err := store.History(c.r.Context())
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
	written, err := store.Rollback(c.r.Context(), id, c.writeOptions())
	c.audit.made(written.Revision)
	switch {
	case errors.Is(err, config.ErrNotFound):
		return reply{}, notFound("revision %d is not known, or not any more: GET %s/history lists those that are", id, Prefix)
	case err != nil:
		return reply{}, err
	}
	return c.applied(written), nil
}
