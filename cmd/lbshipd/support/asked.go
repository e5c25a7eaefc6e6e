package support

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/config"
)

// asked is the daemon's admin port. Once it did not answer it is not asked any more.
type asked struct {
	client *client.Client
	err    error
}

func (g *gatherer) connect() {
	socket := g.settings.Socket
	g.asked.client, g.asked.err = g.o.Connect(socket)
}

func (a *asked) ask(ctx context.Context, f func(context.Context) error) error {
	if a.err != nil {
		return a.err
	}
	err := f(ctx)
	if errors.As(err, new(*client.UnreachableError)) || errors.Is(err, context.DeadlineExceeded) {
		a.err = errors.New("the daemon is not asked: it did not answer before")
	}
	return err
}

// page is a part that is one page of the admin port.
func (g *gatherer) page(ctx context.Context, path string) (body []byte, err error) {
	err = g.asked.ask(ctx, func(ctx context.Context) error {
		body, err = g.asked.client.Page(ctx, path)
		return err
	})
	return body, err
}

func (g *gatherer) status(ctx context.Context, w *writer) error {
	body, err := g.page(ctx, "/status")
	if err == nil {
		w.indented(body)
	}
	return err
}

func (g *gatherer) metrics(ctx context.Context, w *writer) error {
	body, err := g.page(ctx, "/metrics")
	w.Write(body)
	return err
}

func (g *gatherer) daemonVersion(ctx context.Context, w *writer) error {
	body, err := g.page(ctx, "/version")
	if err == nil {
		w.indented(body)
	}
	return err
}

func (g *gatherer) goroutines(ctx context.Context, w *writer) error {
	body, err := g.page(ctx, "/debug/goroutines")
	w.Write(body)
	return err
}

// objects writes all objects, each kind by itself: an API that refuses one may give another.
func (g *gatherer) objects(ctx context.Context, w *writer) error {
	type list struct {
		Objects  []json.RawMessage `json:"objects"`
		Rejected []config.Rejected `json:"rejected,omitempty"`
	}
	all := map[string]list{}
	for _, kind := range config.Kinds() {
		err := g.asked.ask(ctx, func(ctx context.Context) error {
			found, err := g.asked.client.List(ctx, kind, client.WithDefaults)
			if err != nil {
				return err
			}
			l := list{Objects: []json.RawMessage{}, Rejected: found.Rejected}
			for _, o := range found.Objects {
				l.Objects = append(l.Objects, o.JSON)
			}
			all[kind.List()] = l
			return nil
		})
		if err != nil && len(all) == 0 {
			return err
		}
		w.miss(kind.Plural(), err)
	}
	return w.json(all)
}

func (g *gatherer) collectors(ctx context.Context, w *writer) error {
	return g.asked.ask(ctx, func(ctx context.Context) error {
		found, err := g.asked.client.Collectors(ctx)
		if err != nil {
			return err
		}
		all := make([]json.RawMessage, len(found))
		for i := range found {
			all[i] = found[i].JSON
		}
		return w.json(all)
	})
}

// history is the daemon's, or else that of its data directory.
func (g *gatherer) history(ctx context.Context, w *writer) error {
	var revisions []config.Revision
	err := g.asked.ask(ctx, func(ctx context.Context) (err error) {
		revisions, err = g.asked.client.History(ctx)
		return err
	})
	if err == nil {
		return w.json(revisions)
	}
	stored, storedErr := storedHistory(g.settings.DataDir)
	if storedErr != nil {
		return errors.Join(err, storedErr)
	}
	w.miss("the daemon's, that of the data directory is in its place", err)
	return w.json(stored)
}
