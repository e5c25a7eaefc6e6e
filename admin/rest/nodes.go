package rest

import (
	"errors"

	"github.com/lbshipd/lbshipd/config"
)

// CollectorList is the answer of GET /collectors.
type CollectorList struct {
	// The nodes' reports, by the nodes' names.
	Collectors []config.Collector `json:"collectors"`
	// Leads to the next page; left out on the last one.
	NextPageToken string `json:"nextPageToken,omitempty"`
}

// Whoami is the answer of GET /whoami.
type Whoami struct {
	// The token's subject, or the user of the Unix socket.
	Name string `json:"name"`
	// How that was proved: token or socket.
	Via string `json:"via"`
	// viewer, editor or admin.
	Role string `json:"role"`
	// The version of the daemon that answers.
	Version string `json:"version"`
}

func (c *call) whoami() (reply, error) {
	return reply{body: Whoami{c.who.Name, c.who.Via, c.who.Role.String(), c.Version}}, nil
}

func (c *call) collectors() ([]config.Collector, error) {
	if c.Collectors == nil {
		return nil, unmet("nodes do not report to this daemon: start it with --config FILE or with --etcd-endpoints")
	}
	all, err := c.Collectors.Collectors(c.within())
	for i := range all {
		// Clients go through these without asking whether they are there.
		if all[i].UnhealthyComponents == nil {
			all[i].UnhealthyComponents = []config.UnhealthyComponent{}
		}
		if all[i].FailingExporters == nil {
			all[i].FailingExporters = []string{}
		}
	}
	return all, err
}

func (c *call) listCollectors() (reply, error) {
	all, err := c.collectors()
	if err != nil {
		return reply{}, err
	}
	from, to, next, err := c.page("collectors", len(all), func(i int) string { return all[i].ID })
	if err != nil {
		return reply{}, err
	}
	return c.tagged(CollectorList{append([]config.Collector{}, all[from:to]...), next})
}

func (c *call) getCollector() (reply, error) {
	all, err := c.collectors()
	if err != nil {
		return reply{}, err
	}
	for i := range all {
		if all[i].ID == c.arg {
			return c.tagged(all[i])
		}
	}
	return reply{}, notFound("node %q has not reported, or was forgotten", c.arg)
}

func (c *call) forgetCollector() (reply, error) {
	c.audit.name = c.arg
	if err := c.noBody(); err != nil {
		return reply{}, err
	}
	if _, err := c.collectors(); c.Collectors == nil {
		return reply{}, err
	}
	c.told = true
	err := c.Collectors.Forget(c.within(), c.arg)
	if errors.Is(err, config.ErrNotFound) {
		return reply{}, notFound("node %q has not reported, or was forgotten", c.arg)
	}
	return reply{body: struct{}{}}, err
}
