// Package collector makes the report of a node out of what its pipeline says,
// and hands it in: when it starts, when its health changes, and every minute.
package collector

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/oneline"
	"github.com/lbshipd/lbshipd/pipeline"
)

// Limits of a report, so that it fits where it is stored whatever is wrong.
const (
	maxListed  = 200 // components, and rejected objects
	maxMessage = 512 // bytes
)

// remotecfgUnspecified is said before there was any configuration.
const remotecfgUnspecified = "REMOTECFG_UNSPECIFIED"

// Node is what a node says of itself.
type Node struct {
	config.Node
	Version string // of lbshipd
}

// Counts are totals of which reports give the differences.
type Counts struct {
	SendFailed  int64 // sends that failed, of all targets
	LokiDropped int64 // records that Loki targets refused, or that were lost on the way to them
}

// since returns what has been added to before. A total that went down began
// anew: all of it has been added.
func (c Counts) since(before Counts) Counts {
	d := Counts{c.SendFailed - before.SendFailed, c.LokiDropped - before.LokiDropped}
	if d.SendFailed < 0 {
		d.SendFailed = c.SendFailed
	}
	if d.LokiDropped < 0 {
		d.LokiDropped = c.LokiDropped
	}
	return d
}

// Before is what was reported before.
type Before struct {
	Counts     Counts                      // totals of the last report that was stored
	Components []config.UnhealthyComponent // of the last report that was made: they keep their times
}

// From makes the report of a node whose pipeline says st at the time now. It
// also returns the totals behind the report, for the Before of the next one. What it
// leaves empty is made where reports are read (LastSeen, AlloyStatus).
//
// PipelineHealth is UNKNOWN while no configuration runs; ERROR if there are
// targets and all of them are failing; DEGRADED if some are, or anything else is not as it
// should be: every such thing is one of UnhealthyComponents; else HEALTHY.
func From(st *pipeline.Status, b Before, n Node, now time.Time) (config.Collector, Counts) {
	now = now.UTC()
	counts := totals(st)
	added := counts.since(b.Counts)
	c := config.Collector{
		ID: n.Name, Version: n.Version, NodeLabels: n.Labels,
		ConfigHash: st.Hash, RemotecfgStatus: remotecfg(st), PipelineCheckedAt: now,
		ExporterSendFailedDelta: added.SendFailed, ExporterSendFailedTotal: counts.SendFailed, LokiDroppedEntriesDelta: added.LokiDropped,
		UnhealthyComponents: components(st, b.Components, now), FailingExporters: []string{}, TotalExporters: int32(len(st.Targets)),
		Rejected: rejected(st),
	}
	for i := range st.Sources {
		src := &st.Sources[i]
		s := config.CollectorSource{Name: src.Name, Rate: src.Rate}
		if src.Err != nil {
			s.Error = words(src.Err.Error())
		}
		c.Sources = append(c.Sources, s)
	}
	for i := range st.Targets {
		t := &st.Targets[i]
		c.ExporterQueueSize += t.Queued
		if t.Err != nil {
			c.FailingExporters = append(c.FailingExporters, t.Name)
		}
		c.Targets = append(c.Targets, served(st, t))
	}
	c.PipelineHealth, c.PipelineError = health(st, &c)
	return c, counts
}

// Unasked is the report c of a pipeline that cannot be asked any more: what it
// said last, and that this is so.
func Unasked(c config.Collector, why string) config.Collector {
	c.PipelineHealth, c.PipelineError = config.HealthUnknown, why
	c.ExporterSendFailedDelta, c.LokiDroppedEntriesDelta = 0, 0
	return c
}

func totals(st *pipeline.Status) Counts {
	var c Counts
	for kind, t := range st.Totals {
		c.SendFailed += t.SendFailed
		if kind == "loki" {
			c.LokiDropped += t.Refused + t.Lost
		}
	}
	return c
}

func health(st *pipeline.Status, c *config.Collector) (health, why string) {
	switch {
	case st.Stopped:
		return config.HealthUnknown, "lbshipd was stopped"
	case st.Applied.IsZero() && st.Refused != nil:
		return config.HealthUnknown, words("no configuration is running: " + st.Refused.Error())
	case st.Applied.IsZero():
		return config.HealthUnknown, "no configuration is running yet"
	}
	if st.Refused != nil {
		why = words("the newest configuration is not running: " + st.Refused.Error())
	}
	switch {
	case len(c.FailingExporters) > 0 && len(c.FailingExporters) == len(st.Targets):
		return config.HealthError, cmp.Or(why, "no target takes records")
	case len(c.UnhealthyComponents) > 0:
		return config.HealthDegraded, why
	}
	return config.HealthHealthy, why
}

func rejected(st *pipeline.Status) []config.Rejected {
	list := slices.Clone(st.Rejected)
	if more := len(list) - maxListed; more > 0 {
		list = append(list[:maxListed-1], config.Rejected{Reason: fmt.Sprintf("and %d more", more+1)})
	}
	for i := range list {
		list[i].Reason = words(list[i].Reason)
	}
	return list
}

// served says how a target is served.
func served(st *pipeline.Status, t *pipeline.TargetStatus) config.CollectorTarget {
	s := config.CollectorTarget{Name: t.Name, Rate: t.Rate, LagSeconds: t.Lag.Seconds(), BehindInputs: t.Behind}
	if t.Err != nil {
		s.Error = words(t.Err.Error())
	}
	for i := range st.Ledger {
		row := &st.Ledger[i]
		risk, known := st.AtRisk[row.Pair]
		if !known || !row.Running || row.Target != t.Name {
			continue
		}
		if s.AtRiskBytes == nil {
			s.AtRiskBytes = new(int64)
		}
		*s.AtRiskBytes += risk.Bytes
		if left := risk.Left.Seconds(); risk.Left >= 0 && (s.AtRiskSeconds == nil || left < *s.AtRiskSeconds) {
			s.AtRiskSeconds = &left
		}
	}
	return s
}

func words(text string) string { return oneline.Of(text, maxMessage) }

// remotecfg says whether the configuration store is reached.
func remotecfg(st *pipeline.Status) string {
	switch {
	case st.Cached, !st.Away.IsZero(), errors.Is(st.Refused, config.ErrUnavailable):
		return config.RemotecfgDown
	case st.Applied.IsZero() && st.Refused == nil:
		return remotecfgUnspecified
	}
	return config.RemotecfgUp
}
