package rest

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/lbshipd/lbshipd/admin/auth"
	"github.com/lbshipd/lbshipd/config"
)

// mayRead refuses changes by which the daemon would read a file for who asks, or send what is in
// one to another place: with a target of his own an editor could have any file of the node sent to
// himself as its token. Such fields are an admin's to write. What is there
// already, and goes where it went, may be given back.
func (c *call) mayRead(changes []config.Change) error {
	if c.who.Role >= auth.Admin {
		return nil
	}
	var out []Detail
	for _, change := range changes {
		// Of what is new to the daemon first: most objects name no files.
		if change.Draft == nil || len(config.NewFiles(config.Stored{}, *change.Draft)) == 0 {
			continue
		}
		have, err := c.stored(change.Kind, change.Name)
		if err != nil {
			return err
		}
		if have == nil {
			have = &config.Stored{}
		}
		for _, field := range config.NewFiles(*have, *change.Draft) {
			out = append(out, Detail{Object: change.Kind.Title() + fmt.Sprintf(" %q", change.Name), Field: field,
				Message: fmt.Sprintf("only an admin may name a file of the node whose contents are to be sent, or change where they are sent, and %q has the role %v", c.who.Name, c.who.Role)})
		}
	}
	if len(out) == 0 {
		return nil
	}
	return &failure{status: http.StatusForbidden, Code: CodePermissionDenied, Message: summary(out), Details: out}
}

// mayGiveUp refuses changes by which the daemon has no use any more for a file that an admin has
// named: what no object names, a source of who asks could read and send to him.
func (c *call) mayGiveUp(changes []config.Change) error {
	targets := slices.DeleteFunc(slices.Clone(changes), func(change config.Change) bool { return change.Kind != config.KindTarget })
	if c.who.Role >= auth.Admin || len(targets) == 0 {
		return nil
	}
	store, err := c.store()
	if err != nil {
		return err
	}
	all, err := store.List(c.within())
	if err != nil {
		return err
	}
	have := map[string]config.Stored{}
	for _, s := range all {
		if s.Kind == config.KindTarget {
			have[s.Name] = s
		}
	}
	var out []Detail
	for _, change := range targets {
		for _, field := range config.GivenUp(have[change.Name], change.Draft) {
			out = append(out, Detail{Object: change.Kind.Title() + fmt.Sprintf(" %q", change.Name), Field: field,
				Message: fmt.Sprintf("only an admin may take away a file of the node that is kept from sources while a target names it, and %q has the role %v; "+
					"the target can be disabled instead", c.who.Name, c.who.Role)})
		}
	}
	if len(out) == 0 {
		return nil
	}
	return &failure{status: http.StatusForbidden, Code: CodePermissionDenied, Message: summary(out), Details: out}
}
