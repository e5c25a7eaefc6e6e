package positions

import (
	"cmp"
	"slices"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// Pair names one row of the ledger: a source object and a target object.
type Pair struct{ Source, Target string }

// Counts says what became of the records of one source for one target. In
// what is stored,
//
//	Read = Delivered + Filtered + RefusedRecords() + LostRecords()
//
// always holds: a record enters the stored ledger in the same step in which the
// stored position passes it. What is in flight is not in it, and is read again
// after a crash.
type Counts struct {
	Read      int64 // records that came up for the target, those known to be lost included
	Delivered int64 // records that the target took
	Filtered  int64 // records below the source's minimum level
	Refused   []Refused
	Lost      []Lost
}

// Refused counts the records that the target will never take, by reason.
type Refused struct {
	Reason  string
	Records int64
}

// Lost counts what was gone before it could be read, by reason.
type Lost struct {
	Reason  string
	Records int64 // as far as their number is known
	Bytes   int64 // as far as their number is known
	Gaps    int64 // times that something was gone
	Unsized int64 // gaps of which neither the records nor the bytes are known
}

// maxReasons bounds the reasons of one row; what comes beyond is counted as otherReason.
const (
	maxReasons  = 64
	otherReason = "other"
)

// Add adds d.
func (c *Counts) Add(d *Counts) {
	c.Read += d.Read
	c.Delivered += d.Delivered
	c.Filtered += d.Filtered
	for _, r := range d.Refused {
		c.AddRefused(r)
	}
	for _, l := range d.Lost {
		c.AddLost(l)
	}
}

// AddRefused adds refused records of one reason.
func (c *Counts) AddRefused(r Refused) {
	i := slices.IndexFunc(c.Refused, func(have Refused) bool { return have.Reason == r.Reason })
	if i < 0 && len(c.Refused) >= maxReasons && r.Reason != otherReason {
		c.AddRefused(Refused{otherReason, r.Records})
		return
	}
	if i < 0 {
		c.Refused = append(c.Refused, r)
		return
	}
	c.Refused[i].Records += r.Records
}

// AddLost adds losses of one reason.
func (c *Counts) AddLost(l Lost) {
	i := slices.IndexFunc(c.Lost, func(have Lost) bool { return have.Reason == l.Reason })
	if i < 0 && len(c.Lost) >= maxReasons && l.Reason != otherReason {
		l.Reason = otherReason
		c.AddLost(l)
		return
	}
	if i < 0 {
		c.Lost = append(c.Lost, l)
		return
	}
	have := &c.Lost[i]
	have.Records += l.Records
	have.Bytes += l.Bytes
	have.Gaps += l.Gaps
	have.Unsized += l.Unsized
}

// RefusedRecords is the sum over all reasons.
func (c *Counts) RefusedRecords() int64 {
	var n int64
	for i := range c.Refused {
		n += c.Refused[i].Records
	}
	return n
}

// LostRecords is the sum over all reasons.
func (c *Counts) LostRecords() int64 {
	var n int64
	for i := range c.Lost {
		n += c.Lost[i].Records
	}
	return n
}

// Settled is what of Read has come to its end.
func (c *Counts) Settled() int64 {
	return c.Delivered + c.Filtered + c.RefusedRecords() + c.LostRecords()
}

// IsZero reports whether there is nothing in c.
func (c *Counts) IsZero() bool {
	return c.Read == 0 && c.Delivered == 0 && c.Filtered == 0 && len(c.Refused) == 0 && len(c.Lost) == 0
}

// Clone returns a copy that shares nothing with c; its reasons are sorted.
func (c *Counts) Clone() Counts {
	d := *c
	d.Refused, d.Lost = slices.Clone(c.Refused), slices.Clone(c.Lost)
	slices.SortFunc(d.Refused, func(a, b Refused) int { return cmp.Compare(a.Reason, b.Reason) })
	slices.SortFunc(d.Lost, func(a, b Lost) int { return cmp.Compare(a.Reason, b.Reason) })
	return d
}

// Row is one stored row of the ledger.
type Row struct {
	Pair
	Counts
	Updated int64 // Unix seconds
}

// Move is a position that moves on, and what is settled by that.
type Move struct {
	Key
	Position record.Position
	Counts   Counts
}

// Settle moves positions and adds to the ledger what that settles, in one
// step: what is saved holds all of it or nothing. It keeps nothing of moves. A move
// without an input moves no position: it is of records that were passed before.
func (s *Store) Settle(moves []Move) {
	if len(moves) == 0 {
		return
	}
	now := s.now().Unix()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range moves {
		m := &moves[i]
		if m.Input != "" {
			s.set(m.Key, m.Position, now)
		}
		s.version++
		if !m.Counts.IsZero() {
			r := s.row(Pair{m.Source, m.Target})
			r.Counts.Add(&m.Counts)
			r.Updated = now
		}
	}
}

// row finds or makes a row. s.mu is held.
func (s *Store) row(p Pair) *Row {
	r := s.ledger[p]
	if r == nil {
		r = &Row{Pair: p}
		s.ledger[p] = r
	}
	return r
}

// Counts returns the stored row of a pair; zero if there is none.
func (s *Store) Counts(p Pair) Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.ledger[p]; r != nil {
		return r.Counts.Clone()
	}
	return Counts{}
}

// Ledger returns every stored row, sorted by source and target: also those of
// objects that are gone, for as long as positions are kept.
func (s *Store) Ledger() []Row {
	s.mu.Lock()
	rows := s.rows()
	s.mu.Unlock()
	sortRows(rows)
	return rows
}

// rows copies the ledger. s.mu is held.
func (s *Store) rows() []Row {
	rows := make([]Row, 0, len(s.ledger))
	for _, r := range s.ledger {
		rows = append(rows, Row{r.Pair, r.Counts.Clone(), r.Updated})
	}
	return rows
}

func sortRows(rows []Row) {
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Target, b.Target))
	})
}

// LastSave returns when all that there was to save was on disk last; the zero
// time if that was before this daemon.
func (s *Store) LastSave() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastOK
}

// TouchLedger marks the row of a pair as in use.
func (s *Store) TouchLedger(p Pair) {
	now := s.now().Unix()
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.ledger[p]; r != nil && old(r.Updated, now) {
		r.Updated = now
		s.version++
	}
}

// ReadLedger reads the ledger of a data directory, without locking.
func ReadLedger(dir string) ([]Row, error) {
	c, err := readContents(currentPath(dir))
	return c.rows, err
}
