package rest

import (
	"fmt"
	"net/http"

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
