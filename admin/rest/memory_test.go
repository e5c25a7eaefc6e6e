package rest_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lbshipd/lbshipd/config"
)

// memory is a Store and Collectors in memory, made of what all Stores are made of
// (config.Plan): what is tested here is the API.
type memory struct {
	mu        sync.Mutex
	objects   []config.Stored
	revisions []config.Revision
	snapshots map[int64][]config.Stored
	last      int64
	nodes     []config.Collector

	// before is called by Write before it does anything: what somebody else does meanwhile.
	before func()
	err    error // what every method returns
	werr   error // what Write returns

	deadline time.Time // of the last List or Write
}

func (m *memory) List(ctx context.Context) ([]config.Stored, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deadline, _ = ctx.Deadline()
	return slices.Clone(m.objects), m.err
}

func (m *memory) Write(ctx context.Context, changes []config.Change, o config.WriteOptions) (config.Written, error) {
	if f := m.before; f != nil {
		m.before = nil
		f()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deadline, _ = ctx.Deadline()
	if err := cmp.Or(m.werr, m.err); err != nil {
		return config.Written{}, err
	}
	before := m.objects
	after, effective, warnings, err := config.Plan(before, changes)
	if err != nil {
		return config.Written{}, err
	}
	now := time.Now()
	out := config.Written{Warnings: warnings, Revision: config.Revision{Time: now, Author: o.Author.Name, Via: o.Author.Via,
		Reason: o.Author.Reason, Changes: config.Diff(before, effective)}}
	if len(effective) > 0 && !o.DryRun {
		m.last++
		out.Revision.ID = m.last
	}
	for _, change := range effective {
		i := slices.IndexFunc(after, func(s config.Stored) bool { return s.Kind == change.Kind && s.Name == change.Name })
		if i < 0 {
			out.Objects = append(out.Objects, config.Stored{Kind: change.Kind, Name: change.Name})
			continue
		}
		after[i].Etag = ""
		if !o.DryRun {
			after[i].Etag, after[i].Updated, after[i].By = strconv.FormatInt(m.last, 10), now, o.Author.Name
		}
		out.Objects = append(out.Objects, after[i])
	}
	if out.Revision.ID > 0 {
		m.objects = after
		m.revisions = append([]config.Revision{out.Revision}, m.revisions...)
		if m.snapshots == nil {
			m.snapshots = map[int64][]config.Stored{}
		}
		m.snapshots[m.last] = slices.Clone(after)
	}
	return out, nil
}

func (m *memory) History(context.Context) ([]config.Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.revisions), m.err
}

func (m *memory) Rollback(ctx context.Context, id int64, o config.WriteOptions) (config.Written, error) {
	m.mu.Lock()
	then, ok := m.snapshots[id]
	now := slices.Clone(m.objects)
	m.mu.Unlock()
	if !ok {
		return config.Written{}, fmt.Errorf("revision %d: %w", id, config.ErrNotFound)
	}
	var changes []config.Change
	for _, s := range then {
		changes = append(changes, config.Change{Kind: s.Kind, Name: s.Name, Draft: &s.Draft})
	}
	for _, s := range now {
		if !slices.ContainsFunc(then, func(t config.Stored) bool { return t.Kind == s.Kind && t.Name == s.Name }) {
			changes = append(changes, config.Change{Kind: s.Kind, Name: s.Name})
		}
	}
	return m.Write(ctx, changes, o)
}

func (m *memory) Report(_ context.Context, c config.Collector) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nodes = append(m.nodes, c)
	return nil
}

func (m *memory) Collectors(context.Context) ([]config.Collector, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.nodes), m.err
}

func (m *memory) Forget(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.nodes)
	m.nodes = slices.DeleteFunc(m.nodes, func(c config.Collector) bool { return c.ID == id })
	if len(m.nodes) == n {
		return fmt.Errorf("node %q: %w", id, config.ErrNotFound)
	}
	return nil
}
