package rest

import (
	"errors"
	"net/http"

	"github.com/lbshipd/lbshipd/config"
)

// write gives changes to the Store and remembers for the audit what became of them.
func (c *call) write(changes []config.Change) (config.Written, error) {
	store, err := c.store()
	if err != nil {
		return config.Written{}, err
	}
	if err := c.mayRead(changes); err != nil {
		return config.Written{}, err
	}
	if err := c.mayGiveUp(changes); err != nil {
		return config.Written{}, err
	}
	c.told = true
	written, err := store.Write(c.within(), changes, c.writeOptions())
	c.audit.made(written.Revision)
	return written, err
}

func (c *call) writeOptions() config.WriteOptions {
	return config.WriteOptions{DryRun: c.query.is(paramDryRun, false),
		Author: config.Author{Name: c.who.Name, Via: c.who.Via, Reason: c.query.text(paramReason)}}
}

// conditionFailed makes 412 of what a Store says when a condition that the
// request had, and that held a moment ago, does not hold any more.
func (c *call) conditionFailed(change config.Change, err error) error {
	if !c.conditional() {
		return err
	}
	missing := errors.Is(err, config.ErrNotFound) && change.Draft != nil && change.Replace
	there := errors.Is(err, config.ErrExists) && change.Create
	if missing || there {
		return &failure{status: http.StatusPreconditionFailed, Code: CodeAborted, Message: err.Error()}
	}
	return err
}

// Applied is what POST /apply and a rollback have done, or would do.
type Applied struct {
	// Whether nothing was changed because that was asked for.
	DryRun bool `json:"dryRun"`
	// The number of the history's new entry; left out if nothing has changed.
	Revision int64 `json:"revision,omitempty,string"`
	// What has changed, in the order in which it was done.
	Changes []config.RevisionChange `json:"changes"`
	// What is legal but odd.
	Warnings []Detail `json:"warnings"`
}

func (c *call) applied(w config.Written) reply {
	out := Applied{DryRun: c.query.is(paramDryRun, false), Revision: w.Revision.ID, Changes: w.Revision.Changes, Warnings: details(w.Warnings)}
	if out.Changes == nil {
		out.Changes = []config.RevisionChange{}
	}
	return reply{body: out}
}
