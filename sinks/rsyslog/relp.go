package rsyslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/lbshipd/lbshipd/sinks"
)

// relpWindow is how many messages may be without an answer. rsyslog's own
// client takes 128; at a round trip of 1 ms this is enough for a million
// messages a second.
const relpWindow = 1024

// relp is a RELP session over a stream: each message is a transaction, which
// the server answers when it has taken charge of the message.
//
// The protocol knows two answers, 200 and 500, and none that says that a
// message can never pass: a 500 is a failure that can pass. The session is given up, as
// librelp's own client does, and everything from the oldest unanswered message
// on is sent again after a back-off, and nothing before it, as librelp's client does. So that this does not repeat what lies
// behind, the message that failed is then sent alone, until it passes: see hold.
// No message is ever refused for good: librelp's server answers 500 where the command syslog is switched off, which
// says nothing of the message. Its client forgets a message that was answered so, and thereby loses it
// (rsyslog issue 841); we wait.
//
// Life: dialRelp makes it; finish or abandon ends it. One goroutine writes; the
// stream's reader takes the answers.
type relp struct {
	*stream
	base int64 // commands before the first message: "open", for one
	sent atomic.Int64
	// acked is how many messages, from the first on without a gap, were
	// answered with 200.
	acked atomic.Int64
	moved chan struct{} // told when acked grows, and when the session is open
	timer *time.Timer
	held  int64 // the place of a message that is sent alone; -1: none

	offers string // the answer to open; set before the session is open

	// What follows is the reader's, but for opened and closing, which are set
	// on one side and read on the other.
	frame   relpFrame
	ahead   [relpWindow]bool // answered before one that was sent earlier
	opened  atomic.Bool
	closing atomic.Bool
}

var errServerClose = errors.New("the server closed the session (serverclose)")

// dialRelp connects and opens a session. base is 0, but for tests of the wrap
// of transaction numbers.
func dialRelp(ctx context.Context, address string, timeout time.Duration, conf *tls.Config, base int64) (*relp, error) {
	r := newRelp(timeout, base)
	// A session is believed in once it is open: there is nothing to settle.
	s, err := dialStream(ctx, address, timeout, 0, conf, r)
	if err != nil {
		return nil, err
	}
	if err := r.begin(ctx, s); err != nil {
		r.abandon()
		return nil, err
	}
	return r, nil
}

func newRelp(timeout time.Duration, base int64) *relp {
	r := &relp{base: base + 1, moved: make(chan struct{}, 1), timer: time.NewTimer(timeout), held: -1}
	r.timer.Stop()
	return r
}

// begin opens the session on a stream that was made for r.
func (r *relp) begin(ctx context.Context, s *stream) error {
	r.stream = s
	s.start()
	if err := r.open(ctx); err != nil {
		return err
	}
	// The server has looked at our certificate and speaks RELP.
	r.settled = time.Now()
	return nil
}

func (r *relp) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	if err := r.send(ctx, appendRelpFrame(nil, relpTxnr(r.base-1), "open", relpOpenOffers)); err != nil {
		return err
	}
	select {
	case <-r.moved:
		return nil
	case <-r.dead:
		return r.broken(nil)
	case <-ctx.Done():
		return &sinks.Error{Class: sinks.ClassTimeout, Err: errors.New("no answer to the RELP command open; is this a port that speaks RELP?")}
	}
}

// take takes what the server sent.
func (r *relp) take(p []byte) error {
	before := r.acked.Load()
	acked := before
	defer func() {
		if acked != before {
			r.acked.Store(acked)
			r.tell()
		}
	}()
	for len(p) > 0 {
		n, complete, err := r.frame.next(p)
		if err != nil {
			return noRelp(err)
		}
		p = p[n:]
		if !complete {
			continue
		}
		if acked, err = r.command(acked); err != nil {
			return err
		}
	}
	return nil
}

func (r *relp) tell() {
	select {
	case r.moved <- struct{}{}:
	default:
	}
}

func noRelp(err error) error {
	return &sinks.Error{Class: sinks.ClassBroken, Err: fmt.Errorf("the server's answer is no RELP: %w", err)}
}

// command takes one frame, and returns how many messages are answered by then.
func (r *relp) command(acked int64) (int64, error) {
	f := &r.frame
	if string(f.command()) != "rsp" {
		if string(f.command()) == "serverclose" {
			return acked, &sinks.Error{Class: sinks.ClassBroken, Err: errServerClose}
		}
		if f.txnr == 0 {
			return acked, nil // a hint that may be ignored
		}
		return acked, noRelp(fmt.Errorf("a command %q", f.command()))
	}
	if !r.opened.Load() {
		return acked, r.openAnswer()
	}
	// How far ahead of the oldest unanswered message it is; transaction numbers wrap.
	ahead := int64(f.txnr - relpTxnr(r.base+acked))
	if ahead < 0 {
		ahead += maxTxnr
	}
	outstanding := r.sent.Load() - acked
	switch {
	case ahead == outstanding && r.closing.Load():
		return acked, io.EOF // the answer to close
	case f.txnr == 0 || ahead >= outstanding:
		return acked, noRelp(fmt.Errorf("an answer to %d, which is no unanswered transaction", f.txnr))
	}
	code, words, err := relpCode(f.text())
	if err != nil {
		return acked, noRelp(err)
	}
	if code != 200 {
		return acked, &sinks.Error{Class: sinks.ClassServer, Err: &unanswered{place: acked + ahead, words: string(words)}}
	}
	if r.ahead[(acked+ahead)%relpWindow] {
		return acked, noRelp(fmt.Errorf("a second answer to %d", f.txnr))
	}
	r.ahead[(acked+ahead)%relpWindow] = true
	for r.ahead[acked%relpWindow] {
		r.ahead[acked%relpWindow] = false
		acked++
	}
	return acked, nil
}

// unanswered says which message the server answered with anything but 200.
type unanswered struct {
	place int64
	words string
}

func (e *unanswered) Error() string {
	return fmt.Sprintf("the server answers %q to a message", e.words)
}

func (r *relp) openAnswer() error {
	f := &r.frame
	if want := relpTxnr(r.base - 1); f.txnr != want {
		return noRelp(fmt.Errorf("an answer to %d, where open was %d", f.txnr, want))
	}
	code, words, err := relpCode(f.text())
	if err != nil {
		return noRelp(err)
	}
	if code != 200 {
		return &sinks.Error{Class: sinks.ClassServer, Err: fmt.Errorf("the server answers %q to the RELP command open", words)}
	}
	if err := relpOffers(f.text()); err != nil {
		return &sinks.Error{Class: sinks.ClassServer, Err: err}
	}
	r.offers = string(f.text())
	r.opened.Store(true)
	r.tell()
	return nil
}

// many reports whether so many answers are to come that the server will not
// run out of messages while they gather.
func (r *relp) many() bool { return r.sent.Load()-r.acked.Load() > relpWindow/8 }

// hold has the message of that place sent alone.
func (r *relp) hold(place int64) { r.held = place }

// place counts messages: it is what confirmed counts.
func (r *relp) place() int64 { return r.sent.Load() }

func (r *relp) confirmed() (int64, error) { return r.acked.Load(), nil }

// write writes messages as the window allows.
func (r *relp) write(ctx context.Context, frames []byte, lengths []int) error {
	for len(lengths) > 0 {
		n, err := r.room(ctx, len(lengths))
		if err != nil {
			return err
		}
		octets := 0
		for _, length := range lengths[:n] {
			octets += length
		}
		r.sent.Add(int64(n)) // the answers may be here before send returns
		if err := r.send(ctx, frames[:octets]); err != nil {
			return err
		}
		frames, lengths = frames[octets:], lengths[n:]
	}
	return nil
}

// room waits until some of n messages may be sent, and says how many.
func (r *relp) room(ctx context.Context, n int) (int, error) {
	sent := r.sent.Load()
	if r.held >= 0 && sent+int64(n) > r.held {
		switch {
		case sent < r.held:
			n = int(r.held - sent)
		case sent == r.held:
			return 1, r.until(ctx, sent)
		default:
			r.held = -1
			if err := r.until(ctx, sent); err != nil {
				return 0, err
			}
		}
	}
	// Not message by message: a window that is half empty is filled in one go.
	n = min(n, relpWindow/2)
	return n, r.until(ctx, sent+int64(n)-relpWindow)
}

// until waits until so many messages are answered. The time limit is for no
// answer at all.
func (r *relp) until(ctx context.Context, count int64) error {
	last := r.acked.Load()
	if last >= count {
		return nil
	}
	r.timer.Reset(r.timeout)
	defer r.timer.Stop()
	for {
		select {
		case <-r.moved:
		case <-r.dead:
			if r.acked.Load() >= count {
				return nil
			}
			return r.broken(nil)
		case <-ctx.Done():
			return ctx.Err()
		case <-r.timer.C:
			if r.acked.Load() == last {
				return &sinks.Error{Class: sinks.ClassTimeout, Err: fmt.Errorf("the server has answered no message for %v", r.timeout)}
			}
		}
		now := r.acked.Load()
		if now >= count {
			return nil
		}
		if now != last {
			last = now
			r.timer.Reset(r.timeout)
		}
	}
}

func (r *relp) wait(ctx context.Context) error { return r.until(ctx, r.sent.Load()) }

// finish says close, and waits a little for the answer.
func (r *relp) finish(ctx context.Context) {
	defer r.abandon()
	ctx, cancel := context.WithTimeout(ctx, goodbyeTime)
	defer cancel()
	r.closing.Store(true)
	r.wire.timeout = min(r.timeout, goodbyeTime)
	if r.send(ctx, appendRelpFrame(nil, relpTxnr(r.base+r.sent.Load()), "close", "")) != nil {
		return
	}
	select {
	case <-r.dead:
		r.stream.finish(ctx)
	case <-ctx.Done():
	}
}
