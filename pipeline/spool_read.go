package pipeline

import (
	"cmp"
	"context"
	"errors"
	"io"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
	"github.com/lbshipd/lbshipd/spool"
)

// refill brings what comes next in the spool into the queue, in front of what
// is there, as much as one Send may be given. It is called by the sender.
func (t *target) refill(ctx context.Context) {
	lines, size := t.loadedBytes()
	for ctx.Err() == nil {
		t.mu.Lock()
		o := t.over
		if !o.backlog() || lines >= int64(t.batching.Bytes) || o.loaded > 0 && size >= t.limit/2 || t.closing {
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		b := record.NewBatch()
		given, err := o.spool.Next(b)
		var loss *spool.LossError
		own := 0
		switch {
		case errors.As(err, &loss):
			t.lostInSpool(o, b, loss)
			own = 1
		case errors.Is(err, io.EOF):
		case err != nil:
			b.Release()
			sleep(ctx, retryMin)
			continue
		}
		lines += b.ReadBytes
		size += int64(b.Size())
		t.load(b, given, own)
	}
}

// loadedBytes is what was read from the spool and is still in the queue.
func (t *target) loadedBytes() (lines, size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over == nil {
		return 0, 0
	}
	for i := range t.items[:t.over.loaded] {
		lines += t.items[i].batch.ReadBytes
		size += int64(t.items[i].batch.Size())
	}
	return lines, size
}

// load puts b, which was read from the spool, behind what was loaded before.
func (t *target) load(b *record.Batch, given spool.Given, own int) {
	it := item{batch: b, frame: given.Frame, queued: given.Appended, own: own}
	if own < len(b.Records) {
		e, err := decodeEntry(given.Notes)
		if err != nil { // as takeOver has counted it
			e = entry{records: int64(len(b.Records) - own)}
			e.counts.Read = e.records
		}
		it.entry = e
		it.own = max(len(b.Records)-int(e.records), 0)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.over
	o.given = max(o.given, given.Number)
	if len(b.Records) == 0 {
		b.Release()
		return
	}
	it.id = t.nextID()
	t.items = append(t.items, item{})
	copy(t.items[o.loaded+1:], t.items[o.loaded:])
	t.items[o.loaded] = it
	o.loaded++
	t.bytes += int64(b.Size())
	t.records += int64(len(b.Records))
}

// spoolLost is the reason of what was in the spool and cannot be read again.
const spoolLost = "spool_corrupt"

// lostInSpool counts and announces what cannot be read again, in front of what
// lies behind it.
func (t *target) lostInSpool(o *overflow, b *record.Batch, loss *spool.LossError) {
	gap := &sources.GapError{Reason: spoolLost, Records: loss.Records, Bytes: loss.Bytes, Detail: loss.Detail}
	t.log.Error("records in the spool cannot be read again", "reason", spoolLost, "records", loss.Records, "bytes", loss.Bytes, "detail", loss.Detail)
	t.metrics.lost(spoolLost, loss.Records)
	if b.Origin == nil {
		b.Origin = &record.Origin{Source: t.someSource(), Kind: "spool", Input: "spool", Path: "spool/" + t.name}
	}
	announce(b, gap)
	t.bookLoss(o, b.Origin.Source, loss)
}

// someSource names a source that has records in the spool; if none is known to
// have any, that whose position for the target moved last.
func (t *target) someSource() string {
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	most, name := int64(0), ""
	for source, r := range t.book.rows {
		if r.spooled.records > most {
			most, name = r.spooled.records, source
		}
	}
	if name != "" {
		return name
	}
	newest := int64(-1)
	for _, e := range t.book.store.Entries("") {
		if e.Target == t.name && e.Updated > newest {
			newest, name = e.Updated, e.Source
		}
	}
	return cmp.Or(name, "lbshipd")
}

// unload notes that n items at the head of the queue were answered. t.mu is held.
// The caller calls told once the spool knows of them.
func (o *overflow) unload(n int) {
	if o != nil {
		o.loaded = max(o.loaded-n, 0)
		o.telling++
	}
}

// told lets the spool be closed again. t.mu is held.
func (o *overflow) told() {
	if o != nil {
		o.telling--
	}
}
