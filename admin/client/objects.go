package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"

	"github.com/lbshipd/lbshipd/config"
)

// Object is one object as the daemon gives it: without secrets.
type Object struct {
	Kind config.Kind
	Name string
	JSON json.RawMessage
	Etag string // empty if it came in a list
	// Warnings are what is legal but odd, as far as the daemon said so with this object.
	Warnings []string
}

// View says how much of an object is wanted.
type View int

const (
	// WithDefaults is each field, those that were not given with their default.
	WithDefaults View = iota
	// AsGiven is what was written.
	AsGiven
)

func (v View) query() url.Values {
	q := url.Values{}
	if v == AsGiven {
		q.Set("defaults", "false")
	}
	return q
}

// Write says how something is to be written.
type Write struct {
	// DryRun has everything checked and nothing changed.
	DryRun bool
	// IfMatch is the etag that the object must have; empty: any. It is for single objects.
	IfMatch string
	// Reason is what the history is to say of why; may be empty.
	Reason string
}

func (w Write) query() url.Values {
	q := url.Values{}
	if w.DryRun {
		q.Set("dryRun", "true")
	}
	if w.Reason != "" {
		q.Set("reason", w.Reason)
	}
	return q
}

func objectPath(kind config.Kind, name string) string {
	return "/" + kind.Plural() + "/" + url.PathEscape(name)
}

// Get returns one object.
func (c *Client) Get(ctx context.Context, kind config.Kind, name string, v View) (Object, error) {
	return c.object(ctx, kind, name, call{method: http.MethodGet, path: objectPath(kind, name), query: v.query()})
}

// Create writes an object that is not there yet.
func (c *Client) Create(ctx context.Context, kind config.Kind, name string, body []byte, w Write) (Object, error) {
	return c.object(ctx, kind, name, call{method: http.MethodPost, path: "/" + kind.Plural(), query: w.query(), body: body})
}

// Replace writes an object over the one that is there.
func (c *Client) Replace(ctx context.Context, kind config.Kind, name string, body []byte, w Write) (Object, error) {
	return c.object(ctx, kind, name, call{method: http.MethodPut, path: objectPath(kind, name), query: w.query(), body: body, ifMatch: w.IfMatch})
}

// Delete removes an object.
func (c *Client) Delete(ctx context.Context, kind config.Kind, name string, w Write) (warnings []string, err error) {
	a, err := c.send(ctx, call{method: http.MethodDelete, path: objectPath(kind, name), query: w.query(), ifMatch: w.IfMatch})
	return a.warnings, err
}

func (c *Client) object(ctx context.Context, kind config.Kind, name string, r call) (Object, error) {
	o := Object{Kind: kind, Name: name}
	a, err := c.ask(ctx, r, &o.JSON)
	o.Etag, o.Warnings = a.etag, a.warnings
	return o, err
}

// ErrNotModified says that a list is what it was when its etag was given.
var ErrNotModified = errors.New("nothing has changed")

// maxPages bounds how often a list is asked for its next page.
const maxPages = 2000

// Objects is a list of one kind.
type Objects struct {
	// Objects are by name.
	Objects []Object
	// Rejected are those that cannot be used, and why; some may not be among the Objects.
	Rejected []config.Rejected
	// Etag changes with the list; empty if the daemon gives none.
	Etag string
}

// List returns all objects of a kind, page by page.
func (c *Client) List(ctx context.Context, kind config.Kind, v View) (Objects, error) {
	return c.ListChanged(ctx, kind, v, "")
}

// ListChanged is List, unless the list is the one of etag: then the error is ErrNotModified.
func (c *Client) ListChanged(ctx context.Context, kind config.Kind, v View, etag string) (Objects, error) {
	l, err := c.list(ctx, "/"+kind.Plural(), kind.List(), v.query(), etag)
	if err != nil {
		return Objects{}, err
	}
	all, err := objects(kind, l.items)
	return Objects{Objects: all, Rejected: l.rejected, Etag: l.etag}, err
}

func objects(kind config.Kind, items []json.RawMessage) ([]Object, error) {
	list := make([]Object, 0, len(items))
	for _, item := range items {
		var o struct {
			Name string `json:"name"`
		}
		if err := json.Unmarshal(item, &o); err != nil {
			return nil, fmt.Errorf("the daemon's list of %s: %w", kind.Plural(), err)
		}
		list = append(list, Object{Kind: kind, Name: o.Name, JSON: item})
	}
	return list, nil
}

// pages is what the pages of a list hold.
type pages struct {
	items    []json.RawMessage
	rejected []config.Rejected
	etag     string // only if it has one page
}

// list gathers the pages of a list.
func (c *Client) list(ctx context.Context, path, field string, query url.Values, etag string) (all pages, err error) {
	query = maps.Clone(query)
	for page := 0; page < maxPages; page++ {
		var body map[string]json.RawMessage
		a, err := c.ask(ctx, call{method: http.MethodGet, path: path, query: query, ifNoneMatch: etag}, &body)
		if err != nil {
			return pages{}, err
		}
		if a.status == http.StatusNotModified {
			return pages{}, ErrNotModified
		}
		var some pages
		var next string
		if err := errors.Join(decode(body[field], &some.items), decode(body["rejected"], &some.rejected), decode(body["nextPageToken"], &next)); err != nil {
			return pages{}, fmt.Errorf("the daemon's list of %s: %w", field, err)
		}
		all.items, all.rejected = append(all.items, some.items...), append(all.rejected, some.rejected...)
		if next == "" {
			if page == 0 {
				all.etag = a.etag
			}
			return all, nil
		}
		if next == query.Get("pageToken") {
			break
		}
		etag = ""
		query.Set("pageToken", next)
	}
	return pages{}, fmt.Errorf("the daemon's list of %s does not end", field)
}

// decode is json.Unmarshal to which a field that is not there is its zero value.
func decode(text json.RawMessage, v any) error {
	if len(text) == 0 {
		return nil
	}
	return json.Unmarshal(text, v)
}

// Applied is what several changes have done, or would do.
type Applied struct {
	DryRun   bool                    `json:"dryRun"`
	Revision int64                   `json:"revision,omitempty,string"` // of the history; 0: nothing has changed
	Changes  []config.RevisionChange `json:"changes"`
	Warnings []Detail                `json:"warnings"`
}

// Apply makes all objects of body what body says, in one step. The body is
// {"sources":[...], "targets":[...], ...}. With prune, what it does not hold is deleted.
func (c *Client) Apply(ctx context.Context, body []byte, prune bool, w Write) (Applied, error) {
	q := w.query()
	if prune {
		q.Set("prune", "true")
	}
	var done Applied
	_, err := c.ask(ctx, call{method: http.MethodPost, path: "/apply", query: q, body: body}, &done)
	return done, err
}

// History returns the last changes, newest first.
func (c *Client) History(ctx context.Context) ([]config.Revision, error) {
	l, err := c.list(ctx, "/history", "revisions", url.Values{}, "")
	if err != nil {
		return nil, err
	}
	list := make([]config.Revision, len(l.items))
	for i := range l.items {
		if err := json.Unmarshal(l.items[i], &list[i]); err != nil {
			return nil, fmt.Errorf("the daemon's history: %w", err)
		}
	}
	return list, nil
}

// Rollback makes all objects what they were after the revision id.
func (c *Client) Rollback(ctx context.Context, id int64, w Write) (Applied, error) {
	var done Applied
	_, err := c.ask(ctx, call{method: http.MethodPost, path: "/history/" + strconv.FormatInt(id, 10) + "/rollback",
		query: w.query()}, &done)
	return done, err
}

// Collectors returns what the nodes report, by name, each with its own JSON.
func (c *Client) Collectors(ctx context.Context) ([]Collector, error) {
	list, _, err := c.CollectorsChanged(ctx, "")
	return list, err
}

// Collector is what a node reports.
type Collector struct {
	config.Collector
	JSON json.RawMessage
}

// CollectorsChanged is to Collectors what ListChanged is to List.
func (c *Client) CollectorsChanged(ctx context.Context, etag string) ([]Collector, string, error) {
	l, err := c.list(ctx, "/collectors", "collectors", url.Values{}, etag)
	if err != nil {
		return nil, "", err
	}
	list := make([]Collector, len(l.items))
	for i := range l.items {
		list[i].JSON = l.items[i]
		if err := json.Unmarshal(l.items[i], &list[i].Collector); err != nil {
			return nil, "", fmt.Errorf("the daemon's list of collectors: %w", err)
		}
	}
	return list, l.etag, nil
}

// Status returns the daemon's answer of /status, for which nobody needs a token.
func (c *Client) Status(ctx context.Context) (json.RawMessage, error) {
	a, err := c.send(ctx, call{method: http.MethodGet, path: "/status", bare: true})
	return a.body, err
}

// Page returns what another path of the admin port answers, such as /metrics, as it came.
func (c *Client) Page(ctx context.Context, path string) ([]byte, error) {
	a, err := c.send(ctx, call{method: http.MethodGet, path: path, bare: true})
	return a.body, err
}

// Forget deletes the report of a node that is gone for good.
func (c *Client) Forget(ctx context.Context, id string) error {
	_, err := c.send(ctx, call{method: http.MethodDelete, path: "/collectors/" + url.PathEscape(id)})
	return err
}

// TestResult is how a target was found.
type TestResult struct {
	OK    bool       `json:"ok"`
	Steps []TestStep `json:"steps"`
}

// TestStep is one step of a test, such as TCP.
type TestStep struct {
	Name    string  `json:"name"`
	OK      bool    `json:"ok"`
	Message string  `json:"message"`
	Seconds float64 `json:"seconds"`
}

// TestTarget has the daemon connect to a target and send one marked record.
func (c *Client) TestTarget(ctx context.Context, name string) (TestResult, json.RawMessage, error) {
	var r TestResult
	a, err := c.ask(ctx, call{method: http.MethodPost, path: objectPath(config.KindTarget, name) + "/test"}, &r)
	return r, a.body, err
}

// Identity is who we are to the daemon.
type Identity struct {
	Name string `json:"name"`
	Via  string `json:"via"` // socket, token
	Role string `json:"role"`
	// Version is the daemon's.
	Version string `json:"version"`
}

// WhoAmI asks who we are.
func (c *Client) WhoAmI(ctx context.Context) (Identity, error) {
	var id Identity
	_, err := c.ask(ctx, call{method: http.MethodGet, path: "/whoami"}, &id)
	return id, err
}
