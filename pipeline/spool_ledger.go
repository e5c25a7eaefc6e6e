package pipeline

import (
	"encoding/binary"
	"errors"

	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/spool"
)

// The notes of a frame are what the ledger is to hold of its batch once the
// target has answered, all varints as encoding/binary writes them: records,
// read, filtered, number of losses; for each loss: length and bytes of the reason, records,
// bytes, gaps, unsized.

func encodeEntry(e entry) []byte {
	p := make([]byte, 0, 32)
	for _, v := range [...]int64{e.records, e.counts.Read, e.counts.Filtered, int64(len(e.counts.Lost))} {
		p = binary.AppendVarint(p, v)
	}
	for _, l := range e.counts.Lost {
		p = append(binary.AppendVarint(p, int64(len(l.Reason))), l.Reason...)
		for _, v := range [...]int64{l.Records, l.Bytes, l.Gaps, l.Unsized} {
			p = binary.AppendVarint(p, v)
		}
	}
	return p
}

var errNotes = errors.New("notes of a batch cannot be read")

func decodeEntry(p []byte) (e entry, err error) {
	next := func() int64 {
		v, n := binary.Varint(p)
		if n <= 0 {
			err, p = errNotes, nil
			return 0
		}
		p = p[n:]
		return v
	}
	e.records, e.counts.Read, e.counts.Filtered = next(), next(), next()
	for n := next(); n > 0 && err == nil; n-- {
		size := next()
		if size < 0 || size > int64(len(p)) {
			return entry{}, errNotes
		}
		l := positions.Lost{Reason: string(p[:size])}
		p = p[size:]
		l.Records, l.Bytes, l.Gaps, l.Unsized = next(), next(), next(), next()
		e.counts.AddLost(l)
	}
	if err == nil && len(p) > 0 {
		err = errNotes
	}
	if err != nil {
		return entry{}, err
	}
	return e, nil
}

// entryOf is what the ledger is to hold of a batch in the spool, of which only the head was
// read. Where that does not add up and is damaged its records are counted as they are: as
// those that lostInSpool will find to be missing.
func entryOf(h *spool.Head) entry {
	e, err := decodeEntry(h.Notes)
	adds := e.records >= 0 && e.records <= int64(h.Records) && e.counts.Filtered >= 0 &&
		e.counts.Read == e.records+e.counts.Filtered+e.counts.LostRecords()
	if err == nil && (adds || h.Whole()) {
		return e
	}
	return entry{records: int64(h.Records), counts: positions.Counts{Read: int64(h.Records)}}
}

// spool adds e to what is in the spool, or with sign -1 takes it out. The book is locked.
func (r *bookRow) spool(e entry, sign int64) {
	s := &r.spooled
	s.records += sign * e.records
	s.counts.Read += sign * e.counts.Read
	s.counts.Filtered += sign * e.counts.Filtered
	for _, l := range e.counts.Lost {
		s.counts.AddLost(positions.Lost{Reason: l.Reason, Records: sign * l.Records, Bytes: sign * l.Bytes,
			Gaps: sign * l.Gaps, Unsized: sign * l.Unsized})
	}
}

// answered takes in the answer for an item that is in the spool. The book is locked.
func (b *book) answered(target string, it *item, refused []positions.Refused) {
	source := it.source()
	e := it.entry.own()
	b.row(source, target).spool(e, -1)
	e.counts.Refused = refused
	e.counts.Delivered = e.records - e.counts.RefusedRecords()
	b.moves = append(b.moves, positions.Move{Key: positions.Key{Source: source, Target: target}, Counts: e.counts})
}

// answeredSpool tells the spool how far the target has answered.
func (t *target) answeredSpool(done []item) {
	var last spool.Frame
	for i := range done {
		if done[i].spooled() {
			last = done[i].frame
		}
	}
	if last.Number == 0 {
		return
	}
	t.mu.Lock()
	o := t.over // it may be closed and gone as soon as it is empty
	t.mu.Unlock()
	o.spool.Taken(last)
	if o.spool.Stats().Frames == 0 {
		t.settleResidue(o)
	}
}

// bookLoss puts records of the spool that cannot be read again into the ledger,
// for the source that seems to be concerned. Once the spool is empty,
// settleResidue puts right which sources it really was.
func (t *target) bookLoss(o *overflow, source string, loss *spool.LossError) {
	b := &t.book
	b.mu.Lock()
	defer b.mu.Unlock()
	row := b.row(source, t.name)
	unknown := min(loss.Records, o.unknown) // never came up, for this daemon
	o.unknown -= unknown
	row.read += unknown
	row.spooled.records -= loss.Records - unknown
	row.spooled.counts.Read -= loss.Records - unknown
	counts := positions.Counts{Read: loss.Records}
	counts.AddLost(positions.Lost{Reason: spoolLost, Records: loss.Records, Bytes: loss.Bytes, Gaps: 1})
	b.moves = append(b.moves, positions.Move{Key: positions.Key{Source: source, Target: t.name}, Counts: counts})
	b.settle()
}

// settleResidue settles what the book has in the spool although that is empty:
// what was lost there.
func (t *target) settleResidue(o *overflow) {
	b := &t.book
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.spool.Stats().Frames > 0 {
		return // something came in meanwhile
	}
	for source, r := range b.rows {
		left := r.spooled
		r.spooled = entry{}
		if left.records == 0 && left.counts.Read == 0 {
			continue
		}
		if left.records != 0 {
			left.counts.AddLost(positions.Lost{Reason: spoolLost, Records: left.records})
		}
		b.moves = append(b.moves, positions.Move{Key: positions.Key{Source: source, Target: t.name}, Counts: left.counts})
	}
	b.settle()
}
