package pipeline

import (
	"context"
	"time"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// offer queues it if there is space, which there always is in an empty queue:
// a batch larger than the queue passes alone. It waits for space while ctx
// lives; a nil ctx does not wait.
func (t *target) offer(ctx context.Context, it item) bool {
	size := int64(it.batch.Size())
	for {
		t.mu.Lock()
		if t.closing {
			t.mu.Unlock()
			return false
		}
		if t.fits(size) {
			it.queued, it.id = time.Now(), t.nextID()
			t.items = append(t.items, it)
			t.bytes += size
			t.records += int64(len(it.batch.Records))
			t.mu.Unlock()
			t.signal()
			return true
		}
		space := t.space
		t.over.hurry()
		t.mu.Unlock()
		if ctx == nil {
			return false
		}
		select {
		case <-space:
		case <-ctx.Done():
			return false
		}
	}
}

// fits reports whether size bytes more may be queued. With a spool, one half of the
// queue is for what the sender has, and the other for what comes in, so that the
// spool can be filled while the target does not answer. t.mu is held.
func (t *target) fits(size int64) bool {
	if t.over == nil {
		return len(t.items) == 0 || t.bytes+size <= t.limit
	}
	waiting, bytes := t.waiting()
	return waiting == 0 || bytes+size <= t.limit/2
}

// waiting counts the items that the sender has not taken yet, and their bytes. t.mu is held.
func (t *target) waiting() (n int, bytes int64) {
	head := t.inFlight
	if t.over != nil {
		head = max(head, t.over.loaded)
	}
	bytes = t.bytes
	for i := range t.items[:head] {
		bytes -= int64(t.items[i].batch.Size())
	}
	return len(t.items) - head, bytes
}

// nextID numbers the items. t.mu is held.
func (t *target) nextID() uint64 {
	t.lastID++
	return t.lastID
}

// freed wakes those who wait for space. t.mu is held.
func (t *target) freed() {
	close(t.space)
	t.space = make(chan struct{})
}

func (t *target) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// discard releases what was not sent; its positions have not moved.
func (t *target) discard() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, it := range t.items {
		it.batch.Release()
	}
	t.items, t.bytes, t.records = nil, 0, 0
	t.closing = true
}

// gather waits for something to send, and a little longer for more of it, as
// the sink wants. None means that it is over.
func (t *target) gather(ctx context.Context, batches []*record.Batch) []*record.Batch {
	var timer *time.Timer
	for ctx.Err() == nil {
		t.refill(ctx)
		var enough bool
		var oldest time.Time
		var closing bool
		batches, enough, oldest, closing = t.peek(batches[:0])
		if enough || (closing && len(batches) > 0) {
			return batches
		}
		if closing {
			return nil
		}
		var late <-chan time.Time
		if len(batches) > 0 {
			rest := t.batching.Wait - time.Since(oldest)
			if rest <= 0 {
				return batches
			}
			if timer == nil {
				timer = time.NewTimer(rest)
				defer timer.Stop()
			}
			late = timer.C
		}
		select {
		case <-t.wake:
		case <-late:
			return batches
		case <-ctx.Done():
		}
	}
	return nil
}

// peek lists the batches at the head of the queue that make up one Send.
func (t *target) peek(batches []*record.Batch) (_ []*record.Batch, enough bool, oldest time.Time, closing bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer func() {
		if t.inFlight != len(batches) && t.over != nil {
			t.freed() // what the sender has leaves its half of the queue to others
		}
		t.inFlight = len(batches)
	}()
	head := t.items
	if t.over.backlog() {
		head = head[:t.over.loaded] // the rest comes behind what is still in the spool
	}
	var lines, size int64
	for i := range head {
		if i == 0 {
			oldest = t.items[0].queued
		}
		batches = append(batches, t.items[i].batch)
		if lines += t.items[i].batch.ReadBytes; lines >= int64(t.batching.Bytes) {
			return batches, true, oldest, t.closing
		}
		if size += int64(t.items[i].batch.Size()); t.over != nil && size >= t.limit/2 {
			return batches, true, oldest, t.closing
		}
	}
	// A queue that is full before a Send is will not get fuller.
	full := t.bytes >= t.limit-fullSlack || t.over != nil && size >= t.limit/4 || t.over.backlog()
	return batches, len(batches) > 0 && full, oldest, t.closing
}

// ack takes the answered items out of the queue, and into the ledger.
func (t *target) ack(res *sinks.Result) {
	n := res.Batches
	if n == 0 {
		return
	}
	t.mu.Lock()
	done := make([]item, n)
	copy(done, t.items)
	rest := copy(t.items, t.items[n:])
	clear(t.items[rest:])
	t.items = t.items[:rest]
	t.inFlight -= n
	over := t.over
	over.unload(n)
	for i := range done {
		t.bytes -= int64(done[i].batch.Size())
		t.records -= int64(len(done[i].batch.Records))
	}
	t.freed()
	t.mu.Unlock()
	t.settle(done, res)
	t.answeredSpool(done)
	t.mu.Lock()
	over.told()
	t.mu.Unlock()
	for i := range done {
		done[i].batch.Release()
	}
}

// fullSlack is how near to its limit a queue counts as full: one large batch.
const fullSlack = 512 << 10
