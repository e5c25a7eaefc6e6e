package loki

import (
	"github.com/lbshipd/lbshipd/record"
)

// memo remembers how far a group came whose Send failed, so that the next
// Send of the same batches leaves out what was answered. Loki would drop those
// lines as duplicates, but for streams that span more than an hour it would
// refuse the older ones as too far behind, and they would be counted twice.
type memo struct {
	batches   []identity
	streams   []progress
	delivered int
	refused   []tally
	letters   []letter
}

// identity tells whether a batch is the one that was sent before: the same
// stretch of the same input, which by design reads the same again, and the
// same sizes and times.
type identity struct {
	source, input string
	before, after record.Position
	records       int
	sum           uint64
}

type progress struct {
	labels string
	refs   int
	done   int
}

func identityOf(b *record.Batch) identity {
	id := identity{before: b.Before, after: b.After, records: len(b.Records)}
	if b.Origin != nil {
		id.source, id.input = b.Origin.Source, b.Origin.Input
	}
	for i := range b.Records {
		r := &b.Records[i]
		id.sum = id.sum*0x9E3779B97F4A7C15 + uint64(r.Time) + uint64(len(r.Line))<<1
	}
	return id
}

func (m *memo) clear() {
	m.batches, m.streams, m.delivered, m.refused, m.letters = nil, nil, 0, nil, nil
}

// keep remembers the group, if anything of it was answered and if all of its
// batches can be told from others.
func (m *memo) keep(g *group) {
	m.clear()
	any := false
	for _, st := range g.streams {
		any = any || st.done > 0
	}
	if !any {
		return
	}
	for _, b := range g.batches {
		id := identityOf(b)
		if id.before == id.after && id.records > 0 {
			m.clear()
			return
		}
		m.batches = append(m.batches, id)
	}
	for _, st := range g.streams {
		m.streams = append(m.streams, progress{st.labels, len(st.refs), st.done})
	}
	m.delivered, m.refused, m.letters = g.delivered, g.refused, g.letters
}

// matches returns how many leading batches are the remembered group, 0 if
// they are others.
func (m *memo) matches(batches []*record.Batch) int {
	n := len(m.batches)
	if n == 0 || n > len(batches) {
		return 0
	}
	for i, id := range m.batches {
		if identityOf(batches[i]) != id {
			return 0
		}
	}
	return n
}

// restore sets the group's progress to what is remembered. The group was made
// of the same batches, so its streams are the same in the same order; if they
// are not, the group starts anew.
func (m *memo) restore(g *group) {
	if len(m.streams) != len(g.streams) {
		return
	}
	for i, p := range m.streams {
		if g.streams[i].labels != p.labels || len(g.streams[i].refs) != p.refs {
			return
		}
	}
	for i, p := range m.streams {
		g.streams[i].done = p.done
	}
	g.delivered = m.delivered
	g.refused = append([]tally(nil), m.refused...)
	g.letters = append([]letter(nil), m.letters...)
}
