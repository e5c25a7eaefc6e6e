package collector

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/pipeline"
)

// States of components.
const (
	stateFailing  = "failing"  // a target takes no records, a source cannot be read, something cannot be written
	stateFull     = "full"     // a spool takes no more
	stateAtRisk   = "at risk"  // a source will soon drop what a target has not taken
	stateRejected = "rejected" // an object cannot be used
	stateRefused  = "refused"  // the newest configuration does not run
	stateSilent   = "silent"   // it yields nothing
	stateBroken   = "broken"   // a fault of lbshipd
)

// unhealthy is the components that are not as they should be.
type unhealthy struct {
	before []config.UnhealthyComponent
	now    time.Time
	all    []config.UnhealthyComponent
}

// add notes one that is in that state since a time: if that is zero, since it
// was noted first.
func (l *unhealthy) add(id, name, state, message string, since time.Time) {
	if since.IsZero() {
		since = l.now
		for i := range l.before {
			if b := &l.before[i]; b.LocalID == id && b.State == state {
				since = b.UpdatedTime
			}
		}
	}
	l.all = append(l.all, config.UnhealthyComponent{LocalID: id, Name: name, State: state, Message: message, UpdatedTime: since.UTC()})
}

func (l *unhealthy) failing(id, name string, err error, since time.Time) {
	if err != nil {
		l.add(id, name, stateFailing, err.Error(), since)
	}
}

// components lists, by LocalID, all that is not as it should be: what
// pipeline.Status.Reasons says too, but for the configuration store, which is no part of the pipeline.
func components(st *pipeline.Status, before []config.UnhealthyComponent, now time.Time) []config.UnhealthyComponent {
	l := unhealthy{before: before, now: now, all: []config.UnhealthyComponent{}}
	never := time.Time{}
	if st.Refused != nil && !errors.Is(st.Refused, config.ErrUnavailable) {
		l.add("configuration", "configuration", stateRefused, st.Refused.Error(), never)
	}
	for _, r := range st.Rejected {
		l.add(string(r.Kind)+"/"+r.Name, r.Name, stateRejected, r.Reason, never)
	}
	l.failing("positions", "positions", st.SaveErr, never)
	l.failing("configuration/cache", "configuration", st.CacheErr, never)
	for i := range st.Sources {
		l.failing("source/"+st.Sources[i].Name, st.Sources[i].Name, st.Sources[i].Err, never)
		if st.Sources[i].Silent {
			l.add("source/"+st.Sources[i].Name+"/silent", st.Sources[i].Name, stateSilent, "has yielded nothing for longer than its silentAfter", never)
		}
	}
	for i := range st.Targets {
		t := &st.Targets[i]
		id := "target/" + t.Name
		l.failing(id, t.Name, t.Err, t.Since)
		l.failing(id+"/spool", t.Name, t.Spool.Err, never)
		if t.Spool.Full {
			l.add(id+"/spool", t.Name, stateFull, "its spool is full: records stay at their sources", never)
		}
		l.failing(id+"/dead-letters", t.Name, t.Dead, never)
		l.failing(id+"/start", t.Name, t.Start, never)
	}
	for i := range st.Ledger {
		row := &st.Ledger[i]
		id := "source/" + row.Source + "/target/" + row.Target
		if risk := st.AtRisk[row.Pair]; row.Running && risk.Soon {
			// Without figures, which would be others each time.
			l.add(id, row.Source, stateAtRisk, "the source will soon drop what target "+row.Target+" has not taken", never)
		}
		if d := row.Difference(); d != 0 {
			l.add(id+"/ledger", row.Source, stateBroken, fmt.Sprintf("the ledger does not add up: %d records too many were read", d), never)
		}
	}
	slices.SortStableFunc(l.all, func(a, b config.UnhealthyComponent) int { return cmp.Compare(a.LocalID, b.LocalID) })
	if more := len(l.all) - maxListed; more > 0 {
		l.all = l.all[:maxListed-1]
		l.add("more", "more", stateFailing, fmt.Sprintf("and %d more", more+1), never)
	}
	for i := range l.all {
		l.all[i].Message = words(l.all[i].Message)
	}
	return l.all
}
