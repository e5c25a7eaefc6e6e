package rest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/lbshipd/lbshipd/config"
)

// store returns the Store, or says how there would be one.
func (c *call) store() (config.Store, error) {
	if c.Store == nil {
		return nil, unmet("this daemon has no configuration that could be read or changed here: start it with --config FILE or with --etcd-endpoints")
	}
	return c.Store, nil
}

// objects returns all objects of the path's kind, by name.
func (c *call) objects() ([]config.Stored, error) {
	store, err := c.store()
	if err != nil {
		return nil, err
	}
	all, err := store.List(c.within())
	if err != nil {
		return nil, err
	}
	var out []config.Stored
	for _, o := range all {
		if o.Kind == c.kind {
			out = append(out, o)
		}
	}
	return out, nil
}

// stored returns one object, nil if it is not there.
func (c *call) stored(kind config.Kind, name string) (*config.Stored, error) {
	store, err := c.store()
	if err != nil {
		return nil, err
	}
	all, err := store.List(c.within())
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Kind == kind && all[i].Name == name {
			return &all[i], nil
		}
	}
	return nil, nil
}

// render writes an object for an answer.
func (c *call) render(o config.Stored) (json.RawMessage, error) {
	if o.Object == nil || !c.query.is(paramDefaults, true) {
		return config.RenderGiven(o)
	}
	return config.Render(o.Object)
}

func (c *call) list() (reply, error) {
	objects, err := c.objects()
	if err != nil {
		return reply{}, err
	}
	names := func(i int) string { return objects[i].Name }
	from, to, next, err := c.page(c.kind.Plural(), len(objects), names)
	if err != nil {
		return reply{}, err
	}
	items := make([]json.RawMessage, 0, to-from)
	rejected := []config.Rejected{}
	for _, o := range objects[from:to] {
		if o.Err != nil {
			rejected = append(rejected, config.Rejected{Kind: o.Kind, Name: o.Name, Reason: o.Err.Error()})
		}
		text, err := c.render(o)
		if err != nil && o.Err != nil {
			continue // it cannot be shown: that it is there, and why, is in the answer
		}
		if err != nil {
			return reply{}, err
		}
		items = append(items, text)
	}
	body := map[string]any{c.kind.List(): items}
	if next != "" {
		body["nextPageToken"] = next
	}
	if len(rejected) > 0 {
		body["rejected"] = rejected
	}
	etags := make([]string, 0, to-from)
	for _, o := range objects[from:to] {
		etags = append(etags, o.Etag)
	}
	return c.tagged(body, etags...)
}

// page cuts what limit and pageToken ask for out of n things that are in the
// order of their names. A token holds the last name that was given out.
func (c *call) page(what string, n int, name func(int) string) (from, to int, next string, err error) {
	prefix := "1/" + what + "/"
	if token := c.query.text(paramToken); token != "" {
		text, err := base64.RawURLEncoding.DecodeString(token)
		last, ok := strings.CutPrefix(string(text), prefix)
		if err != nil || !ok {
			return 0, 0, "", invalid("the parameter pageToken is not one that a list of %s has answered", what)
		}
		for from < n && name(from) <= last {
			from++
		}
	}
	to = n
	if limit := c.query.number(paramLimit); limit > 0 && n-from > limit {
		to = from + limit
		next = base64.RawURLEncoding.EncodeToString([]byte(prefix + name(to-1)))
	}
	return from, to, next, nil
}

func (c *call) get() (reply, error) {
	o, err := c.stored(c.kind, c.arg)
	if err != nil {
		return reply{}, err
	}
	if o == nil {
		return reply{}, notFound("there is no %s %q", Noun(c.kind), c.arg)
	}
	out := reply{etag: o.Etag, modified: o.Updated}
	text, err := c.render(*o)
	if err != nil && o.Err != nil {
		return out, unmet("the %s %q that is stored cannot be read: replace or delete it (%v)", Noun(c.kind), c.arg, o.Err)
	}
	if o.Err != nil {
		out.warnings = config.Problems{{Message: "cannot be used: " + o.Err.Error()}}
	}
	if err != nil {
		return reply{}, err
	}
	out.body = text
	return c.unlessKnown(out)
}

func (c *call) create() (reply, error) {
	d, err := c.draft()
	if err != nil {
		return reply{}, err
	}
	if err := c.noConditions(); err != nil {
		return reply{}, err
	}
	return c.writeOne(config.Change{Kind: c.kind, Name: d.Object.ObjectName(), Draft: d, Create: true})
}

func (c *call) put() (reply, error) {
	c.audit.name = c.arg
	d, err := c.draft()
	if err != nil {
		return reply{}, err
	}
	if name := d.Object.ObjectName(); name != c.arg {
		const message = "is another one than that of the path; objects cannot be renamed"
		return reply{}, &failure{status: http.StatusBadRequest, Code: CodeInvalidArgument, Message: "name: " + message,
			Details: []Detail{{Field: "name", Message: message}}}
	}
	change := config.Change{Kind: c.kind, Name: c.arg, Draft: d}
	if err := c.conditions(&change); err != nil {
		return reply{}, err
	}
	return c.writeOne(change)
}

func (c *call) delete() (reply, error) {
	c.audit.name = c.arg
	if err := c.noBody(); err != nil {
		return reply{}, err
	}
	change := config.Change{Kind: c.kind, Name: c.arg, Replace: true}
	if err := c.conditions(&change); err != nil {
		return reply{}, err
	}
	return c.writeOne(change)
}

// writeOne makes one change and answers with the object as it is now.
func (c *call) writeOne(change config.Change) (reply, error) {
	c.audit.name = change.Name
	written, err := c.write([]config.Change{change})
	if err != nil {
		return reply{}, c.conditionFailed(change, err)
	}
	out := reply{warnings: written.Warnings, body: struct{}{}}
	if change.Draft == nil {
		return out, nil
	}
	for _, made := range written.Revision.Changes {
		if made.Action == "create" && c.r.Method == http.MethodPut {
			out.status = http.StatusCreated // RFC 9110 section 9.3.4
		}
	}
	now := func() *config.Stored {
		for i := range written.Objects {
			if o := &written.Objects[i]; o.Kind == change.Kind && o.Name == change.Name {
				return o
			}
		}
		return nil
	}()
	if now == nil { // nothing has changed
		if now, err = c.stored(change.Kind, change.Name); err != nil {
			return out, err
		}
	}
	if now == nil { // deleted by somebody else since
		now = &config.Stored{Kind: change.Kind, Name: change.Name, Draft: *change.Draft}
	}
	out.etag, out.modified = now.Etag, now.Updated
	out.body, err = c.render(*now)
	return out, err
}
