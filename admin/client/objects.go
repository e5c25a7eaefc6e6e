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
	// IfMatch is the etag that the object must have; empty: any.
	IfMatch string
}

func (w Write) query() url.Values {
	q := url.Values{}
	if w.DryRun {
		q.Set("dryRun", "true")
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
func (c *Client) Delete(ctx context.Context, kind config.Kind, name string, w Write) error {
	_, err := c.send(ctx, call{method: http.MethodDelete, path: objectPath(kind, name), query: w.query(), ifMatch: w.IfMatch})
	return err
}

func (c *Client) object(ctx context.Context, kind config.Kind, name string, r call) (Object, error) {
	o := Object{Kind: kind, Name: name}
	a, err := c.ask(ctx, r, &o.JSON)
	o.Etag = a.etag
	return o, err
}

// ErrNotModified says that a list is what it was when its etag was given.
var ErrNotModified = errors.New("nothing has changed")

// maxPages bounds how often a list is asked for its next page.
const maxPages = 10_000

// List returns all objects of a kind, page by page, by name.
func (c *Client) List(ctx context.Context, kind config.Kind, v View) ([]Object, error) {
	items, _, err := c.list(ctx, "/"+kind.Plural(), kind.List(), v.query(), "")
	if err != nil {
		return nil, err
	}
	return objects(kind, items)
}

// ListChanged is List, unless the list is the one of etag: then the error is
// ErrNotModified. It returns the list's etag, "" if the daemon gives none.
func (c *Client) ListChanged(ctx context.Context, kind config.Kind, v View, etag string) ([]Object, string, error) {
	items, etag, err := c.list(ctx, "/"+kind.Plural(), kind.List(), v.query(), etag)
	if err != nil {
		return nil, etag, err
	}
	list, err := objects(kind, items)
	return list, etag, err
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

// list gathers the pages of a list. Its etag holds only if it has one page.
func (c *Client) list(ctx context.Context, path, field string, query url.Values, etag string) (items []json.RawMessage, newEtag string, err error) {
	query = maps.Clone(query)
	for page := 0; ; page++ {
		var body map[string]json.RawMessage
		a, err := c.ask(ctx, call{method: http.MethodGet, path: path, query: query, ifNoneMatch: etag}, &body)
		if err != nil {
			return nil, "", err
		}
		if a.status == http.StatusNotModified {
			return nil, etag, ErrNotModified
		}
		var some []json.RawMessage
		var next string
		if err := errors.Join(decode(body[field], &some), decode(body["nextPageToken"], &next)); err != nil {
			return nil, "", fmt.Errorf("the daemon's list of %s: %w", field, err)
		}
		items = append(items, some...)
		if next == "" && page == 0 {
			return items, a.etag, nil
		}
		if next == "" {
			return items, "", nil
		}
		if page == maxPages || next == query.Get("pageToken") {
			return nil, "", fmt.Errorf("the daemon's list of %s does not end", field)
		}
		etag = ""
		query.Set("pageToken", next)
	}
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
	Changes  []config.RevisionChange `json:"changes"`
	Warnings []Detail                `json:"warnings"`
}

// Apply makes all objects of body what body says, in one step. The body is
// {"sources":[...], "targets":[...], ...}. With prune, what it does not hold is deleted.
func (c *Client) Apply(ctx context.Context, body []byte, prune, dryRun bool) (Applied, error) {
	q := Write{DryRun: dryRun}.query()
	if prune {
		q.Set("prune", "true")
	}
	var done Applied
	_, err := c.ask(ctx, call{method: http.MethodPost, path: "/apply", query: q, body: body}, &done)
	return done, err
}

// History returns the last changes, newest first.
func (c *Client) History(ctx context.Context) ([]config.Revision, error) {
	items, _, err := c.list(ctx, "/history", "revisions", url.Values{}, "")
	if err != nil {
		return nil, err
	}
	list := make([]config.Revision, len(items))
	for i := range items {
		if err := json.Unmarshal(items[i], &list[i]); err != nil {
			return nil, fmt.Errorf("the daemon's history: %w", err)
		}
	}
	return list, nil
}

// Rollback makes all objects what they were after the revision id.
func (c *Client) Rollback(ctx context.Context, id int64, dryRun bool) (Applied, error) {
	var done Applied
	_, err := c.ask(ctx, call{method: http.MethodPost, path: "/history/" + strconv.FormatInt(id, 10) + "/rollback",
		query: Write{DryRun: dryRun}.query()}, &done)
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
	items, etag, err := c.list(ctx, "/collectors", "collectors", url.Values{}, etag)
	if err != nil {
		return nil, etag, err
	}
	list := make([]Collector, len(items))
	for i := range items {
		list[i].JSON = items[i]
		if err := json.Unmarshal(items[i], &list[i].Collector); err != nil {
			return nil, "", fmt.Errorf("the daemon's list of collectors: %w", err)
		}
	}
	return list, etag, nil
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
}

// WhoAmI asks who we are.
func (c *Client) WhoAmI(ctx context.Context) (Identity, error) {
	var id Identity
	_, err := c.ask(ctx, call{method: http.MethodGet, path: "/whoami"}, &id)
	return id, err
}
