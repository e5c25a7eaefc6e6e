package rsyslog

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// Send writes the batches one behind the other and waits once until all of
// them are confirmed. On an error the connection is given up, and what is not
// confirmed goes to the next address at once; if all of them failed, the error
// is the last one's, and the next Send begins with the preferred one.
func (s *sink) Send(ctx context.Context, batches []*record.Batch) (sinks.Result, error) {
	s.failBack(ctx)
	var total sinks.Result
	for tried := 1; ; tried++ {
		res, err := s.attempt(ctx, batches[total.Batches:])
		total.Batches += res.Batches
		total.Delivered += res.Delivered
		total.Bytes += res.Bytes
		if err == nil || ctx.Err() != nil || !s.failOver(err, tried) {
			return total, err
		}
	}
}

// attempt is a Send to one address.
func (s *sink) attempt(ctx context.Context, batches []*record.Batch) (sinks.Result, error) {
	start := time.Now()
	s.ends = s.ends[:0]
	for range batches {
		s.ends = append(s.ends, batchEnd{wire: notWritten})
	}
	if !s.head.is(batches) {
		s.head, s.held = answeredHead{}, -1
	}
	var sent, first int64
	whole := false // nothing is half written
	err := s.connect(ctx)
	if err == nil {
		before := s.connection.written()
		first = s.connection.place()
		if r, ok := s.connection.(*relp); ok && s.held >= 0 {
			r.hold(first + int64(s.held))
		}
		if err = s.writeAll(ctx, batches); err == nil {
			whole = true
			err = s.connection.wait(ctx)
		}
		sent = s.connection.written() - before
	}
	res := s.result(batches, err)
	res.Bytes = sent
	if err == nil {
		s.held, s.head, s.failing = -1, answeredHead{}, false
		s.deps.Request(time.Since(start), "ok")
		return res, nil
	}
	s.noteHeld(err, batches, res.Batches, first)
	return res, s.failed(ctx, err, whole, time.Since(start))
}

// noteHeld remembers how far the server has answered the messages of the first batch that is
// sent again, which are not, and which message it answered with an error: that is sent alone the next time, so that
// what lies behind it is not repeated with it.
func (s *sink) noteHeld(err error, batches []*record.Batch, answered int, first int64) {
	r, ok := s.connection.(*relp)
	if !ok {
		return // nothing was sent
	}
	upTo, _ := r.confirmed()
	from, had := first, s.head.records
	if answered > 0 {
		from, had, s.held = s.ends[answered-1].wire, 0, -1
	}
	done := int(max(0, upTo-from))
	s.head = headOf(batches[answered:], had+done)
	again := had + done - s.head.records // of those that are answered, because it cannot be told which they are
	var failed *unanswered
	switch {
	case errors.As(err, &failed):
		s.held = int(failed.place-upTo) + again
	case s.held >= 0:
		s.held += again - done
	}
}

// answeredHead says how many records at the head of the batch that the next Send begins with are answered.
type answeredHead struct {
	records, of   int
	batch         *record.Batch // not held: to be compared only
	before, after record.Position
}

func headOf(batches []*record.Batch, records int) answeredHead {
	if records == 0 || len(batches) == 0 || batches[0].Before == batches[0].After {
		return answeredHead{} // nothing would show that it is the same one
	}
	b := batches[0]
	return answeredHead{records, len(b.Records), b, b.Before, b.After}
}

// is reports whether the first of the batches is the one that h is about: the memory of one that is
// given up is used for another one.
func (h *answeredHead) is(batches []*record.Batch) bool {
	return h.records == 0 || len(batches) > 0 && headOf(batches, h.records) == *h
}

// failed gives the connection up and names the error. A connection on which
// the wait alone was interrupted stays, so that Close can end it in good order.
func (s *sink) failed(ctx context.Context, err error, whole bool, took time.Duration) error {
	ended := ctx.Err()
	if s.connection != nil && (ended == nil || !whole) {
		s.connection.abandon()
		s.connection = nil
	}
	if ended != nil {
		err = &sinks.Error{Class: sinks.ClassShutdown, Err: ended}
	} else if errors.Is(err, syscall.EMSGSIZE) && s.enc.max >= 2*minMessage {
		s.log.Warn("the network takes no datagrams of that size, messages are cut from now on",
			"maxMessageBytes", s.enc.max, "now", s.enc.max/2)
		s.enc.setMax(s.enc.max / 2)
	}
	var known *sinks.Error
	if errors.As(err, &known) {
		s.deps.Request(took, known.Class)
	}
	return err
}

// writeAll encodes and writes the batches in large pieces.
func (s *sink) writeAll(ctx context.Context, batches []*record.Batch) error {
	if cap(s.buf) > keepBytes {
		s.buf = nil
	}
	done := 0 // batches whose end is known
	buf, lengths := s.buf[:0], s.lengths[:0]
	places := s.connection.place() // of RELP, which are known before they are written
	defer func() { s.buf, s.lengths = buf[:0], lengths[:0] }()
	flush := func(encoded int) error {
		if err := s.connection.write(ctx, buf, lengths); err != nil {
			return err
		}
		buf, lengths = buf[:0], lengths[:0]
		for ; done < encoded && s.enc.framing != relpFrames; done++ {
			s.ends[done].wire = s.connection.place()
		}
		return nil
	}
	for i, b := range batches {
		s.enc.nextBatch()
		answered := 0
		if i == 0 {
			answered = s.head.records
			places -= int64(answered)
		}
		for j := range b.Records {
			before, commands := len(buf), s.enc.sent
			var did changes
			buf, did = s.enc.append(buf, b.Origin, &b.Records[j])
			if did != 0 {
				s.ends[i].count(did)
			}
			if j < answered { // encoded for what is counted of it
				buf, s.enc.sent = buf[:before], commands
				continue
			}
			if s.enc.framing == datagrams || s.enc.framing == relpFrames {
				lengths = append(lengths, len(buf)-before)
			}
			if len(buf) >= flushBytes {
				if err := flush(i); err != nil {
					return err
				}
			}
		}
		if s.enc.framing == relpFrames {
			places += int64(len(b.Records))
			s.ends[i].wire = places
		}
	}
	return flush(len(batches))
}

func (b *batchEnd) count(did changes) {
	for k := range b.changes {
		if did&(1<<k) != 0 {
			b.changes[k]++
		}
	}
}

// result says which leading batches are confirmed: all without an error, else
// those that were when the connection was last known to be good.
func (s *sink) result(batches []*record.Batch, err error) sinks.Result {
	var res sinks.Result
	var upTo int64
	if err != nil {
		if s.connection == nil {
			return res
		}
		upTo, _ = s.connection.confirmed()
	}
	var did [changeKinds]int
	for i, b := range batches {
		if err != nil && (s.ends[i].wire == notWritten || s.ends[i].wire > upTo) {
			break
		}
		res.Batches++
		res.Delivered += len(b.Records)
		for k := range did {
			did[k] += s.ends[i].changes[k]
		}
	}
	for k, n := range did {
		if n > 0 {
			s.deps.Note(changeReasons[k], n)
		}
	}
	return res
}
