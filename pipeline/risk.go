package pipeline

import (
	"time"

	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// riskEvery is how often inputs are asked what they are about to drop.
const riskEvery = 5 * time.Second

// What a target that does not keep up stands to lose is told when the time left
// falls below one of these, and then every riskAgain.
var (
	riskTold  = []time.Duration{time.Hour, 10 * time.Minute}
	riskAgain = 10 * time.Minute
	// riskLag is how long the oldest unanswered record must have been queued
	// for a target to count as one that does not keep up.
	riskLag = 30 * time.Second
)

// AtRisk is what a target stands to lose of a source: what it has not taken and
// the source will not keep for ever.
type AtRisk struct {
	Bytes int64         // over all inputs
	Left  time.Duration // until the first of it is likely to be dropped; below 0: not known, or there is nothing
	Soon  bool          // the target does not keep up, and the time left is below an hour
}

// riskWatch remembers what was found last, and what was told. s.mu guards it.
type riskWatch struct {
	found map[positions.Pair]AtRisk // nothing where it cannot be known
	told  map[positions.Pair]riskTale
}

// riskTale is what was said of a pair: at which threshold, and when.
type riskTale struct {
	level int
	at    time.Time
}

// askRisks finds out what is at risk, and warns.
func (s *Supervisor) askRisks(now time.Time) {
	found := map[positions.Pair]AtRisk{}
	behind := map[*target]int{}
	for _, r := range s.sourceList() {
		r.eachRun(func(run *inputRun) {
			run.risk(found)
			run.behind(behind)
		})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for pair, risk := range found {
		t := s.targets[pair.Target]
		slow := t != nil && (behind[t] > 0 || t.trouble().Class != "" || t.lag(now) > riskLag)
		risk.Soon = slow && riskLevel(risk) > 0
		found[pair] = risk
		s.tellRisk(pair, risk, now)
	}
	for pair := range s.risks.told {
		if !found[pair].Soon {
			delete(s.risks.told, pair)
		}
	}
	s.risks.found = found
}

// riskLevel counts the thresholds that the time left is below.
func riskLevel(r AtRisk) int {
	if r.Left < 0 || r.Bytes == 0 {
		return 0
	}
	level := 0
	for _, d := range riskTold {
		if r.Left < d {
			level++
		}
	}
	return level
}

// tellRisk warns when the time left has fallen below another threshold, and
// now and then while it stays there. s.mu is held.
func (s *Supervisor) tellRisk(pair positions.Pair, risk AtRisk, now time.Time) {
	if !risk.Soon {
		return
	}
	level := riskLevel(risk)
	if tale, ok := s.risks.told[pair]; ok && level <= tale.level && now.Sub(tale.at) < riskAgain {
		return
	}
	s.risks.told[pair] = riskTale{level, now}
	s.log.Warn("the source is about to drop what the target has not taken", "source", pair.Source, "target", pair.Target,
		"bytes", risk.Bytes, "in_about", risk.Left.Round(time.Second).String())
}

// risk adds what the targets stand to lose of the input.
func (r *inputRun) risk(found map[positions.Pair]AtRisk) {
	risker, ok := r.input.(sources.Risker)
	if !ok {
		return
	}
	type answer struct {
		sources.Risk
		known bool
	}
	answers := map[record.Position]answer{} // most targets are at the same place
	for _, t := range r.src.targetsNow() {
		l, ok := t.lane(r.src.cfg.Name, r.input.Origin().Input)
		if !ok {
			continue
		}
		pos := l.answeredTo()
		a, ok := answers[pos]
		if !ok {
			a.Risk, a.known = risker.Risk(pos)
			answers[pos] = a
		}
		if a.known {
			addRisk(found, positions.Pair{Source: l.key.Source, Target: l.key.Target}, a.Risk)
		}
	}
}

func addRisk(found map[positions.Pair]AtRisk, pair positions.Pair, risk sources.Risk) {
	sum, ok := found[pair]
	if !ok {
		sum.Left = -1
	}
	sum.Bytes += risk.Bytes
	if risk.Bytes > 0 && risk.Left >= 0 && (sum.Left < 0 || risk.Left < sum.Left) {
		sum.Left = risk.Left
	}
	found[pair] = sum
}

// lag is how long the oldest unanswered batch has been queued.
func (t *target) lag(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lagNow(now)
}

// lagNow is lag with t.mu held.
func (t *target) lagNow(now time.Time) time.Duration {
	var lag time.Duration
	if len(t.items) > 0 {
		lag = now.Sub(t.items[0].queued)
	}
	if t.over.backlog() {
		lag = max(lag, now.Sub(t.over.spool.Stats().Oldest))
	}
	return lag
}

// answeredTo is the position up to which the target has answered.
func (l *lane) answeredTo() record.Position {
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	return l.answered
}

// atRisk returns what was found last.
func (s *Supervisor) atRisk() map[positions.Pair]AtRisk {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.risks.found // never changed once it is there
}
