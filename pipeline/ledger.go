package pipeline

import (
	"maps"
	"sync"

	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/sinks"
)

// book is the part of the ledger of one target that is in memory: what is in
// flight. What is settled is in the store, with the positions.
//
// The sum is made to be able to fail. What was read is counted by what the
// readers say, when a lane is given it. What was delivered is what the
// target answered for, less what it refused. What is in flight is what the
// batches hold that wait for an answer.
type book struct {
	store *positions.Store

	mu    sync.Mutex // of every lane of the target, so that the sum holds at any moment
	rows  map[string]*bookRow
	moves []positions.Move // used again and again
}

// bookRow is the book's count for one source. The book's mu guards it.
type bookRow struct {
	read    int64 // all that the target's lanes were given, that of former daemons included
	spooled entry // the sum of what is in the spool and not answered
}

// row finds or makes the row of a source. The book is locked.
func (b *book) row(source, target string) *bookRow {
	r := b.rows[source]
	if r == nil {
		stored := b.store.Counts(positions.Pair{Source: source, Target: target})
		r = &bookRow{read: stored.Read}
		b.rows[source] = r
	}
	return r
}

// settle takes in the target's answer for the items.
func (t *target) settle(done []item, res *sinks.Result) {
	refused, excess := attribute(done, res.Refused)
	sent := 0
	for i := range done {
		sent += len(done[i].batch.Records)
	}
	if excess > 0 || res.Delivered+res.RefusedRecords() != sent {
		t.metrics.miscounted.Inc()
		t.log.Error("the target's answer does not add up: the ledger counts as delivered what was not refused",
			"records", sent, "delivered", res.Delivered, "refused", res.RefusedRecords(), "refused_of_other_sources", excess)
	}
	b := &t.book
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range done {
		l := done[i].lane
		var r []positions.Refused
		if refused != nil {
			r = refused[i]
		}
		if done[i].spooled() {
			b.answered(t.name, &done[i], r)
			continue
		}
		if mark, moved := l.tracker.ack(done[i].seq, r); moved {
			l.answered = mark.position
			b.moves = append(b.moves, positions.Move{Key: l.key, Position: mark.position, Counts: mark.counts})
		}
	}
	// All of an answer in one step: which batch the refused records were in is not known.
	b.settle()
}

// settle puts the collected moves into the store. The book is locked.
func (b *book) settle() {
	b.store.Settle(b.moves)
	clear(b.moves)
	b.moves = b.moves[:0]
}

// attribute finds out how many records of each item were refused, nil if none
// were. A refusal names the source and not the batch: the first batches of the
// source take it. A record that lbshipd itself has added is no record of the
// source: it takes what no other can have. excess counts what is left over.
func attribute(done []item, refusals []sinks.Refusal) (refused [][]positions.Refused, excess int) {
	if len(refusals) == 0 {
		return nil, 0
	}
	refused = make([][]positions.Refused, len(done))
	room := make([]int, len(done))
	own := map[string]int{}
	for i := range done {
		room[i] = len(done[i].batch.Records) - done[i].own
		own[done[i].source()] += done[i].own
		own[""] += done[i].own
	}
	for _, r := range refusals {
		left := r.Records
		for i := range done {
			// A sink that does not name the source: the first one it can be.
			if r.Source != "" && r.Source != done[i].source() || left == 0 || room[i] == 0 {
				continue
			}
			n := min(left, room[i])
			refused[i] = append(refused[i], positions.Refused{Reason: r.Reason, Records: int64(n)})
			room[i] -= n
			left -= n
		}
		mine := min(left, own[r.Source])
		own[r.Source] -= mine
		excess += left - mine
	}
	return refused, excess
}

// LedgerRow is one row of the ledger as it stands at this moment:
// Read = Delivered + Filtered + refused + lost + InFlight, unless something is wrong.
type LedgerRow struct {
	positions.Pair
	positions.Counts
	InFlight int64 // queued, sent and not answered, or held back
	Running  bool  // source and target are at work
}

// Difference is what does not add up: 0.
func (r *LedgerRow) Difference() int64 { return r.Read - r.Settled() - r.InFlight }

// ledger returns the rows of the target by source.
func (t *target) ledger() map[string]*LedgerRow {
	b := &t.book
	b.mu.Lock()
	defer b.mu.Unlock()
	rows := map[string]*LedgerRow{}
	for source, r := range b.rows {
		pair := positions.Pair{Source: source, Target: t.name}
		row := &LedgerRow{Pair: pair, Counts: b.store.Counts(pair)}
		row.Read = r.read
		rows[source] = row
		c := r.spooled.counts
		c.Read = 0 // as for what is pending
		row.Counts.Add(&c)
		row.InFlight += r.spooled.records
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, l := range t.lanes {
		l.addTo(rows[k.source])
	}
	return rows
}

// addTo adds what is pending. The book is locked.
func (l *lane) addTo(row *LedgerRow) {
	for i := range l.tracker.pending {
		p := &l.tracker.pending[i]
		c := p.counts
		c.Read = 0 // counted when the lane was given it
		row.Counts.Add(&c)
		if !p.done {
			row.InFlight += p.records
		}
	}
	held := l.join.lines()
	row.Read += held
	row.InFlight += held
}

// Ledger returns every row, sorted by source and target: those of what runs,
// and those that are stored of what does not.
func (s *Supervisor) Ledger() []LedgerRow {
	sourceNames, targets := s.atWork()
	live := map[positions.Pair]bool{}
	var list []LedgerRow
	for name, t := range targets {
		var rows map[string]*LedgerRow
		if t != nil {
			rows = t.ledger()
		}
		for source := range sourceNames {
			pair := positions.Pair{Source: source, Target: name}
			row := rows[source]
			if row == nil {
				row = &LedgerRow{Pair: pair, Counts: s.store.Counts(pair)}
			}
			row.Running, row.Counts = true, row.Counts.Clone()
			live[pair] = true
			list = append(list, *row)
		}
	}
	for _, stored := range s.store.Ledger() {
		if !live[stored.Pair] {
			list = append(list, LedgerRow{Pair: stored.Pair, Counts: stored.Counts})
		}
	}
	sortLedger(list)
	return list
}

// atWork names the sources and targets of the running configuration, also while
// they are being replaced; what has not begun is nil.
func (s *Supervisor) atWork() (map[string]bool, map[string]*target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sourceNames, targetNames := names(s.cfg)
	targets := map[string]*target{}
	for name, enabled := range targetNames {
		if enabled {
			targets[name] = nil
		}
	}
	maps.Copy(targets, s.leaving)
	maps.Copy(targets, s.targets)
	for name := range s.sources {
		sourceNames[name] = true
	}
	maps.DeleteFunc(sourceNames, func(_ string, enabled bool) bool { return !enabled })
	return sourceNames, targets
}
