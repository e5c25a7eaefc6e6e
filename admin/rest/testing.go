package rest

import (
	"github.com/lbshipd/lbshipd/config"
)

// test tests a target as it is stored, enabled or not.
func (c *call) test() (reply, error) {
	c.audit.name = c.arg
	if err := c.noBody(); err != nil {
		return reply{}, err
	}
	store, err := c.store()
	if err != nil {
		return reply{}, err
	}
	objects, err := store.List(c.within())
	if err != nil {
		return reply{}, err
	}
	return c.testOf(objects, c.arg)
}

// testDraft tests a target that is not stored, or not in this form.
func (c *call) testDraft() (reply, error) {
	d, err := c.draft()
	if err != nil {
		return reply{}, err
	}
	name := d.Object.ObjectName()
	c.audit.name = name
	store, err := c.store()
	if err != nil {
		return reply{}, err
	}
	objects, err := store.List(c.within())
	if err != nil {
		return reply{}, err
	}
	changes := []config.Change{{Kind: config.KindTarget, Name: name, Draft: d}}
	if err := c.mayRead(changes); err != nil {
		return reply{}, err
	}
	after, _, _, err := config.Plan(objects, changes)
	if err != nil {
		return reply{}, err
	}
	return c.testOf(after, name)
}

// testOf tests one target of those that there are.
func (c *call) testOf(objects []config.Stored, name string) (reply, error) {
	if c.Test == nil {
		return reply{}, unmet("this daemon cannot test targets")
	}
	there := false
	for _, o := range objects {
		there = there || o.Kind == config.KindTarget && o.Name == name
	}
	if !there {
		return reply{}, notFound("there is no target %q", name)
	}
	all, rejected := config.Assemble(objects)
	for _, r := range rejected {
		if r.Kind == config.KindTarget && r.Name == name {
			return reply{}, unmet("target %q cannot be used, and so cannot be tested: %s", name, r.Reason)
		}
	}
	for i := range all.Targets {
		if t := &all.Targets[i]; t.Name == name {
			return reply{body: c.Test(c.r.Context(), t, all.TLSBundle(t))}, nil
		}
	}
	return reply{}, unmet("target %q cannot be used, and so cannot be tested", name)
}
