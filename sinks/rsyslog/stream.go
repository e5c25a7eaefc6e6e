package rsyslog

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/lbshipd/lbshipd/internal/tlsbundle"
)

// settleTime is how long a connection must have lasted since its first write
// before anything on it is believed to be delivered. Under TLS 1.3 the client's
// handshake and its first writes succeed before the server has looked at the
// client's certificate, and rsyslog with GnuTLS looks at it after the handshake
// under TLS 1.2 too. BenchmarkRefusal, 100 connections each against rsyslog
// 8.2302 on a busy 2-core machine: a wrong name, a foreign authority, an
// expired certificate and none at all were refused 0.1 to 1.5 ms after the
// first write on average, 93 ms at worst with GnuTLS and 0.7 ms with OpenSSL.
// A slow network or server is slow in the handshake too, so that four times the
// handshake's time is added, but at most maxSettle: a server that was merely
// busy for a while must not hold its confirmations up for half a minute. The wait is for
// the confirmation only and is paid once per connection: data flows meanwhile.
const settleTime = 500 * time.Millisecond

const (
	settleHandshakes = 4
	maxSettle        = 5 * time.Second
)

// holdTime is how long ago an octet must have been acknowledged to count as
// delivered all the same when the connection breaks. What the receiver's kernel
// acknowledged and its program has not read is thrown away with the connection
// when the program is killed; a program that keeps up has read it by then. The
// rest of an interrupted Send is sent again, and may arrive twice.
const holdTime = time.Second

// Answers come one in a packet; a sender that woke up for each would use many
// times the processor time of all the rest. When many are to come they are
// read together, this long after the last ones.
const (
	gatherTime = 500 * time.Microsecond
	readAhead  = 16 << 10
)

// goodbyeTime is how long finish waits for the other side's goodbye.
const goodbyeTime = time.Second

// Polling for the other kernel's acknowledgement: at first about as long as it
// takes on loopback, then ever longer.
const (
	firstPoll = 100 * time.Microsecond
	lastPoll  = 10 * time.Millisecond
)

// stream is a TCP connection, with TLS or without.
//
// Life: dialStream makes it and start starts its reader; finish or abandon ends
// it. One goroutine writes; the reader only reads.
type stream struct {
	wire    *wire
	conn    net.Conn // what is written to: wire, or TLS over it
	tls     bool
	shown   tlsbundle.Shown
	timeout time.Duration

	settle  time.Duration
	settled time.Time // when it will have settled; zero before the first write
	good    int64     // confirmed so long ago that a break does not undo it
	mark    int64     // confirmed at the time markAt; the next good
	markAt  time.Time

	take func([]byte) error // takes what is read; nil: nothing is said
	dead chan struct{}      // closed by the reader
	why  error              // why it is dead; set before dead is closed
}

// dialStream connects, and shakes hands if conf is given. answers takes what
// the other side says; it is nil if nothing is expected.
func dialStream(ctx context.Context, address string, timeout, settle time.Duration, conf *tls.Config, answers *relp) (*stream, error) {
	// One time limit for each step.
	dialer := net.Dialer{Timeout: timeout}
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, dialError(err)
	}
	s, err := newStream(c.(*net.TCPConn), timeout, settle, answers)
	if err == nil && conf != nil {
		err = s.handshake(ctx, conf)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
}

// newStream makes a stream of a connection, before any handshake.
func newStream(c *net.TCPConn, timeout, settle time.Duration, answers *relp) (*stream, error) {
	w := &wire{TCPConn: c, timeout: timeout}
	var err error
	if w.raw, err = w.SyscallConn(); err != nil {
		return nil, localError(err)
	}
	s := &stream{wire: w, conn: w, timeout: timeout, settle: settle, dead: make(chan struct{})}
	if answers != nil {
		s.take, w.many, w.ahead = answers.take, answers.many, bufio.NewReaderSize(unhurried{w}, readAhead)
	}
	return s, nil
}

func (s *stream) start() { go s.read() }

func (s *stream) handshake(ctx context.Context, conf *tls.Config) error {
	s.tls = true
	conf = tlsbundle.Watch(conf, &s.shown)
	// Small records first make web pages appear sooner; here they only cost.
	conf.DynamicRecordSizingDisabled = true
	t := tls.Client(s.wire, conf)
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return handshakeError(ctx, err, s.shown)
	}
	s.settle += min(settleHandshakes*time.Since(start), maxSettle)
	s.conn = t
	return nil
}

// read reads all the time: receivers that are not asked for answers say
// nothing, but an alert, a close and a reset are seen at once.
func (s *stream) read() {
	buf := make([]byte, 512)
	if s.take != nil {
		buf = make([]byte, readAhead)
	}
	for {
		n, err := s.conn.Read(buf)
		if s.take != nil && n > 0 {
			if bad := s.take(buf[:n]); bad != nil {
				err = bad
			}
		}
		if err == nil {
			continue
		}
		s.why = err
		close(s.dead)
		s.wire.wake() // a write that waits for room ends
		return
	}
}

func (s *stream) written() int64 { return s.wire.written.Load() }

// place counts octets: it is what confirmed counts.
func (s *stream) place() int64 { return s.written() }

// alive looks at what the reader found and at the kernel's own state, which
// knows of a close or a reset before the reader runs.
func (s *stream) alive() error {
	select {
	case <-s.dead:
		return s.broken(nil)
	default:
	}
	open, err := s.wire.established()
	if err != nil {
		return localError(err)
	}
	if !open {
		return s.broken(nil)
	}
	return nil
}

// write writes all of frames, as long as it makes progress.
func (s *stream) write(ctx context.Context, frames []byte, _ []int) error {
	if len(frames) == 0 {
		return nil
	}
	if s.settled.IsZero() {
		s.settled = time.Now().Add(s.settle)
	}
	if err := s.send(ctx, frames); err != nil {
		return err
	}
	// A cheap look now tells what was confirmed if the connection breaks later.
	_, err := s.confirmed()
	return err
}

func (s *stream) send(ctx context.Context, frames []byte) error {
	s.wire.woken.Store(false)
	stop := context.AfterFunc(ctx, s.wire.wake)
	defer stop()
	select {
	case <-s.dead: // woke the wire before it was told to forget that
		return s.broken(nil)
	default:
	}
	if _, err := s.conn.Write(frames); err != nil {
		return s.broken(err)
	}
	return nil
}

// confirmed returns up to where the other kernel has acknowledged what was
// written, if the connection has settled and is still good. On an error it
// returns what was confirmed holdTime before.
func (s *stream) confirmed() (int64, error) {
	// What is read first is older: the result can only be too small.
	acked, err := s.wire.acknowledged()
	if err != nil {
		return s.good, localError(err)
	}
	if err := s.alive(); err != nil {
		return s.good, err
	}
	if !s.hasSettled() {
		return 0, nil
	}
	if now := time.Now(); now.Sub(s.markAt) >= holdTime {
		s.good, s.mark, s.markAt = s.mark, acked, now
	}
	return acked, nil
}

// wait waits until everything written is confirmed. The time limit is for no
// progress: a slow receiver is a live one.
func (s *stream) wait(ctx context.Context) error {
	target, poll := s.written(), firstPoll
	last, since := int64(-1), time.Now()
	timer := time.NewTimer(poll)
	defer timer.Stop()
	for {
		done, err := s.confirmed()
		if err != nil || done >= target {
			return err
		}
		acked, err := s.wire.acknowledged()
		if err != nil {
			return localError(err)
		}
		now := time.Now()
		switch {
		case acked > last:
			last, since = acked, now
		case acked < target && now.Sub(since) > s.timeout:
			return s.noProgress()
		}
		pause := poll
		if acked >= target {
			pause = max(s.settled.Sub(now), firstPoll) // only the settling is left
		}
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-s.dead:
		case <-ctx.Done():
			return ctx.Err()
		}
		poll = min(2*poll, lastPoll)
	}
}

// finish sends what says that nothing more comes, and waits a little for the
// other side to close: then it has read everything.
func (s *stream) finish(ctx context.Context) {
	defer s.abandon()
	if t, ok := s.conn.(*tls.Conn); ok {
		s.wire.woken.Store(false)
		s.wire.timeout = min(s.timeout, goodbyeTime)
		stop := context.AfterFunc(ctx, s.wire.wake)
		defer stop()
		if t.CloseWrite() != nil { // close_notify
			return
		}
	}
	if s.wire.CloseWrite() != nil {
		return
	}
	timer := time.NewTimer(goodbyeTime)
	defer timer.Stop()
	select {
	case <-s.dead:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (s *stream) abandon() { s.wire.Close() }
