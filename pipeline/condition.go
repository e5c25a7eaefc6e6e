package pipeline

import (
	"hash/maphash"
	"time"

	"github.com/lbshipd/lbshipd/config"
)

// conditionSeed makes Condition differ from run to run.
var conditionSeed = maphash.MakeSeed()

// Condition returns a number that changes when something begins or ceases to be
// as it should be, or another configuration runs: cheap enough to be asked for
// every second, whatever runs. Three things it does not know of, because they take longer
// to find out: a startAt whose place is not found, an input that cannot be read, and a ledger that does not add up.
func (s *Supervisor) Condition() uint64 {
	c, now := condition{seed: conditionSeed}, time.Now()
	for _, r := range s.sourceList() {
		c.note(r.silent(now), "silent", r.cfg.Name, "")
		r.mu.Lock()
		c.note(r.runErr != nil, "source", r.cfg.Name, "")
		r.mu.Unlock()
		if err := r.trouble(now); err != nil {
			c.note(true, "trouble", r.cfg.Name, err.Error())
		}
	}
	c.note(s.store.Err() != nil, "positions", "", "")
	c.note(s.cached() != nil, "cache", "", "")
	s.mu.Lock()
	c.note(!s.applied.IsZero(), "applied", "", s.event.Hash)
	c.note(s.stopped, "stopped", "", "")
	c.note(s.event.Cached, "cached", "", "")
	c.note(!s.storeIs.since.IsZero(), "away", "", "")
	if s.refused != nil {
		c.note(true, "refused", "", s.refused.Error())
	}
	for i := range s.event.Rejected {
		c.rejected(&s.event.Rejected[i])
	}
	for pair := range s.risks.told {
		c.note(true, "risk", pair.Source, pair.Target)
	}
	targets := s.targetList()
	s.mu.Unlock()
	for _, t := range targets {
		c.note(true, "target", t.name, "")
		t.condition(&c)
	}
	return c.sum
}

// condition adds up what is noted, in whichever order.
type condition struct {
	seed maphash.Seed
	sum  uint64
}

func (c *condition) note(is bool, what, name, detail string) {
	if !is {
		return
	}
	var h maphash.Hash
	h.SetSeed(c.seed)
	for _, text := range [...]string{what, name, detail} {
		h.WriteString(text)
		h.WriteByte(0)
	}
	c.sum += h.Sum64()
}

func (c *condition) rejected(r *config.Rejected) {
	c.note(true, "rejected", string(r.Kind), r.Name)
	c.note(true, "reason", r.Name, r.Reason)
}

func (t *target) condition(c *condition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.note(t.failure.Class != "", "failing", t.name, t.failure.Class)
	c.note(t.dead.err() != nil, "dead letters", t.name, "")
	spool := t.spoolState()
	c.note(spool.Err != nil, "spool", t.name, "")
	c.note(spool.Full, "spool full", t.name, "")
}
