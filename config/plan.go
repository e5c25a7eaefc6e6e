package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Plan returns what objects become with the changes, all checked: conditions
// (ErrExists, ErrNotFound, ErrStale), each changed object (Problems), what it
// names and what names it (ErrReferenced), and all limits. What is wrong with
// objects that are not touched is no reason to refuse. Secrets that the draft
// gives as "(hidden)" keep their value, and so does a keyPem that is left out
// beside the same certPem. The Changes that come back have complete drafts,
// without those that change nothing.
//
// Of a draft only Given counts; its Object is made anew. In after, the changed objects have
// no Etag, Updated and By: those are the store's. after is ordered by kind and name, and has
// gone through WithServices.
func Plan(objects []Stored, changes []Change) (after []Stored, effective []Change, warnings Problems, err error) {
	p := planner{state: map[key]Stored{}, before: map[key]Stored{}, touched: map[key]bool{}}
	for _, s := range objects {
		p.state[key{s.Kind, s.Name}], p.before[key{s.Kind, s.Name}] = s, s
	}
	for _, c := range changes {
		p.change(c)
	}
	if err := p.err(); err != nil {
		return nil, nil, nil, err
	}
	after = p.after()
	p.check(after)
	p.references(after)
	p.limits()
	if err := p.err(); err != nil {
		return nil, nil, nil, err
	}
	return after, p.effective(after), p.warnings.ordered(), nil
}

// planner makes changes to objects in memory.
type planner struct {
	before, state map[key]Stored
	touched       map[key]bool
	order         []key // of those that have changed
	problems      Problems
	errors        []error // of the conditions
	warnings      Problems
}

// err returns what is wrong: everything if it is several things.
func (p *planner) err() error {
	if len(p.errors) == 0 {
		return p.problems.ordered().err()
	}
	if len(p.problems) == 0 {
		return errors.Join(p.errors...)
	}
	return errors.Join(append(p.errors, p.problems.ordered())...)
}

func (p *planner) problem(k key, field, format string, args ...any) {
	p.problems = append(p.problems, Problem{Object: k.String(), Field: field, Message: fmt.Sprintf(format, args...)})
}

// change makes one change, or notes why it cannot be made.
func (p *planner) change(c Change) {
	k := key{c.Kind, c.Name}
	if c.Kind.Title() == "" {
		p.problems = append(p.problems, Problem{Message: fmt.Sprintf("unknown kind %q", cut(string(c.Kind)))})
		return
	}
	if p.touched[k] {
		p.problem(k, "", "is changed twice in one step")
		return
	}
	p.touched[k] = true
	have, exists := p.state[k]
	if err := condition(c, have, exists); err != nil {
		p.errors = append(p.errors, fmt.Errorf("%s: %w", k, err))
		return
	}
	if c.Draft == nil {
		if exists {
			delete(p.state, k)
			p.order = append(p.order, k)
		}
		return
	}
	draft, err := complete(k, *c.Draft, have)
	if err != nil {
		p.problems = append(p.problems, err...)
		return
	}
	if exists && have.Err == nil && bytes.Equal(have.Given, draft.Given) {
		return
	}
	p.state[k] = Stored{Kind: c.Kind, Name: c.Name, Draft: draft}
	p.order = append(p.order, k)
}

// condition checks what must hold of the object before the change.
func condition(c Change, have Stored, exists bool) error {
	switch {
	case c.Create && exists:
		return ErrExists
	case c.Replace && !exists:
		return ErrNotFound
	case c.IfMatch != "" && (!exists || c.IfMatch != have.Etag):
		return ErrStale
	}
	return nil
}

// after returns all objects in order.
func (p *planner) after() []Stored {
	out := make([]Stored, 0, len(p.state))
	for _, s := range p.state {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Stored) int { return compareKeys(key{a.Kind, a.Name}, key{b.Kind, b.Name}) })
	return WithServices(out)
}

// check holds the changed objects against the names of all.
func (p *planner) check(after []Stored) {
	c, numbers := &Config{settled: true}, map[key]int{}
	for _, s := range after {
		if s.Kind.Title() == "" {
			continue
		}
		list := c.list(s.Kind)
		numbers[key{s.Kind, s.Name}] = list.Len()
		if unusable(s) == "" {
			list.Set(reflect.Append(list, reflect.ValueOf(s.Object).Elem()))
			continue
		}
		list.Set(reflect.Append(list, reflect.Zero(list.Type().Elem())))
		list.Index(list.Len() - 1).FieldByName("Name").SetString(s.Name)
	}
	k := checker{c: c}
	for _, changed := range p.order {
		if i, ok := numbers[changed]; ok {
			k.object(changed.kind, i)
		}
	}
	p.problems = append(p.problems, k.problems...)
	p.warnings = k.warnings
	p.namesUnusable(after)
}

// namesUnusable warns of changed objects that name one that is there and cannot be used.
func (p *planner) namesUnusable(after []Stored) {
	for _, s := range after {
		if unusable(s) == "" {
			continue
		}
		for _, user := range users(key{s.Kind, s.Name}, after, p.before) {
			if slices.Contains(p.order, user) {
				p.warnings = append(p.warnings, Problem{Object: user.String(), Message: fmt.Sprintf("names %s, which cannot be used", key{s.Kind, s.Name})})
			}
		}
	}
}

// references refuses to delete what is named by what stays.
func (p *planner) references(after []Stored) {
	for _, k := range p.order {
		if _, there := p.state[k]; there {
			continue
		}
		if by := users(k, after, p.before); len(by) > 0 {
			p.errors = append(p.errors, fmt.Errorf("%s: %w by %s", k, ErrReferenced, listKeys(by)))
		}
	}
}

func listKeys(keys []key) string {
	const most = 5
	var parts []string
	for i, k := range keys {
		if i == most {
			return strings.Join(parts, ", ") + fmt.Sprintf(" and %d more", len(keys)-most)
		}
		parts = append(parts, k.String())
	}
	return strings.Join(parts, ", ")
}

// maxAllBytes bounds what was given of all objects together. Every node holds them all, and a
// database that is full takes no writes of anybody.
const maxAllBytes = 32 << 20

// limits refuses more than there may be, but not less than there was.
func (p *planner) limits() {
	if was, is := givenBytes(p.before), givenBytes(p.state); is > maxAllBytes && is > was {
		p.problems = append(p.problems, Problem{Message: fmt.Sprintf("all objects together would be %d bytes, more than %d", is, maxAllBytes)})
	}
	for _, kind := range Kinds() {
		was, is := 0, 0
		for k := range p.before {
			if k.kind == kind {
				was++
			}
		}
		for k := range p.state {
			if k.kind == kind {
				is++
			}
		}
		if is > maxObjects && is > was {
			p.problems = append(p.problems, Problem{Field: kind.List(), Message: fmt.Sprintf("would be %d, more than %d", is, maxObjects)})
		}
	}
}

func givenBytes(objects map[key]Stored) (sum int) {
	for _, s := range objects {
		sum += len(s.Given)
	}
	return sum
}

// effective returns the changes that change something.
func (p *planner) effective(after []Stored) []Change {
	drafts := make(map[key]Draft, len(after))
	for _, s := range after {
		drafts[key{s.Kind, s.Name}] = s.Draft
	}
	var out []Change
	for _, k := range p.order {
		change := Change{Kind: k.kind, Name: k.name}
		if draft, there := drafts[k]; there {
			change.Draft = &draft
		}
		have, existed := p.before[k]
		change.Create, change.Replace, change.IfMatch = !existed, existed, have.Etag
		out = append(out, change)
	}
	return out
}
