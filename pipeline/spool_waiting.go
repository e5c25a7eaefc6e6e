package pipeline

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/spool"
)

// A spool whose target is disabled waits for as long as it takes. One whose
// target is not configured any more waits for keepSpool, as long as positions
// are kept, and is then removed, and what it held is counted as lost. A clock that
// jumps must not do that: this daemon must have missed the target for keepMissed as well.
const (
	keepSpool  = 30 * 24 * time.Hour
	keepMissed = 24 * time.Hour
)

// spoolExpired is the reason of what was in a spool that nobody came for.
const spoolExpired = "spool_expired"

// lookAtSpools tells of the spools whose targets do not run, and removes those
// that nobody will come for. It is called for each configuration and every hour.
func (s *Supervisor) lookAtSpools(now time.Time) {
	s.swapping.Lock()
	defer s.swapping.Unlock()
	if s.dataDir == "" {
		return
	}
	names, err := spool.Targets(filepath.Join(s.dataDir, "spool"))
	if err != nil {
		s.log.Warn("the spools cannot be looked at", "error", err)
		return
	}
	s.mu.Lock()
	configured, running := map[string]bool{}, map[string]bool{}
	for i := range s.cfg.Targets {
		configured[s.cfg.Targets[i].Name] = true
	}
	for name := range s.targets {
		running[name] = true
	}
	s.mu.Unlock()
	for _, name := range names {
		if running[name] {
			delete(s.missed, name)
			continue
		}
		s.tendSpool(name, configured[name], now)
	}
}

// tendSpool looks at one spool whose target does not run.
func (s *Supervisor) tendSpool(name string, configured bool, now time.Time) {
	dir := s.spoolDir(name)
	if spool.RemoveEmpty(dir) {
		return
	}
	rep, err := spool.Inspect(dir, false, nil)
	if err != nil {
		s.log.Warn("the spool of a target that does not run cannot be looked at", "target", name, "error", err)
		return
	}
	m := s.metrics.spool(name)
	m.spoolBytes.Set(float64(rep.Bytes))
	m.spoolRecords.Set(float64(rep.Unanswered))
	if configured {
		delete(s.missed, name)
		s.log.Warn("the spool of a disabled target keeps records until it is enabled", "target", name, "records", rep.Unanswered, "bytes", rep.Bytes)
		return
	}
	since, known := s.missed[name]
	if !known {
		since = now
		s.missed[name] = now
	}
	if now.Sub(since) >= keepMissed && time.Since(spool.Changed(dir)) >= keepSpool {
		s.expireSpool(name)
		return
	}
	s.log.Warn("the spool of a target that is not configured any more keeps records until the target is back; after 30 days they are given up",
		"target", name, "records", rep.Unanswered, "bytes", rep.Bytes, "path", dir)
}

// expireSpool removes a spool and counts what it held as lost.
func (s *Supervisor) expireSpool(name string) {
	dir := s.spoolDir(name)
	sp, err := spool.Open(dir, spool.Options{})
	if err != nil {
		s.log.Warn("a spool that nobody came for cannot be opened", "target", name, "error", err)
		return
	}
	lost := sp.Stats().Records
	counts := map[string]*positions.Counts{}
	sp.Each(func(h spool.Head) {
		e := entryOf(&h)
		c := counts[h.Origin.Source]
		if c == nil {
			c = new(positions.Counts)
			counts[h.Origin.Source] = c
		}
		c.Add(&e.counts)
		c.AddLost(positions.Lost{Reason: spoolExpired, Records: e.records})
	})
	if err := errors.Join(sp.Close(), os.RemoveAll(dir)); err != nil {
		s.log.Warn("a spool that nobody came for cannot be removed", "target", name, "error", err)
		return
	}
	var moves []positions.Move
	for source, c := range counts {
		moves = append(moves, positions.Move{Key: positions.Key{Source: source, Target: name}, Counts: *c})
	}
	s.store.Settle(moves)
	s.metrics.counter(specLostTarget, name, spoolExpired).Add(float64(lost))
	delete(s.missed, name)
	s.log.Error("nobody came for the spool of a target that is not configured any more: it is removed", "target", name, "reason", spoolExpired, "records", lost)
}
