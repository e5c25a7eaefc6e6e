package rsyslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lbshipd/lbshipd/internal/tlsbundle"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
	"github.com/lbshipd/lbshipd/sinks/probe"
)

var _ sinks.Tester = (*sink)(nil)

// refusalTime is how long a test waits for the word that nobody listens on a
// UDP port.
const refusalTime = 250 * time.Millisecond

// Test implements sinks.Tester. Each address is tested: its name, a connection
// to each of the name's addresses, TLS, RELP, and one message with the
// application name lbshipd-test. All that is done at once.
func (s *sink) Test(ctx context.Context, by string) []sinks.Step {
	return s.test(ctx, s.testMessage(by))
}

// Probe implements sinks.Tester: Test without the message. Over TLS it waits as long as a server may
// take to refuse our certificate; over UDP only the name can be tested.
func (s *sink) Probe(ctx context.Context) []sinks.Step { return s.test(ctx, nil) }

// test tests all addresses; message is nil if none is to be sent.
func (s *sink) test(ctx context.Context, message []byte) []sinks.Step {
	results := make([][]sinks.Step, len(s.list))
	var wg sync.WaitGroup
	for i := range s.list {
		wg.Go(func() { results[i] = s.testAddress(ctx, &s.list[i], message) })
	}
	wg.Wait()
	var all []sinks.Step
	for _, steps := range results {
		all = append(all, steps...)
	}
	return all
}

// testMessage is the message, framed as the first one of a connection.
func (s *sink) testMessage(by string) []byte {
	b := record.NewBatch()
	defer b.Release()
	b.Origin = &record.Origin{Source: probe.Source, Kind: "test", Host: s.deps.Host}
	r := b.Add()
	r.Time, r.Level = time.Now().UnixNano(), record.LevelInfo
	r.Line = b.Copy([]byte(probe.Line(s.deps.Host, s.name, by)))
	r.Message = r.Line
	r.Header = b.NewHeader()
	r.Header.Identifier = b.Copy([]byte(probe.Source))
	s.enc.sent = s.relpBase + 1 // RELP: after open
	s.enc.nextBatch()
	message, _ := s.enc.append(nil, b.Origin, r)
	s.enc.nextBatch()
	return message
}

func (s *sink) testAddress(ctx context.Context, a *address, message []byte) []sinks.Step {
	about := ""
	if len(s.list) > 1 {
		about = a.text
	}
	p := probe.New(about, s.timeout)
	host, port, err := net.SplitHostPort(a.text)
	if err != nil { // New has looked at it
		p.Add(sinks.StepConfig, "", err, 0)
		return p.List()
	}
	addresses, ok := p.Resolve(ctx, host)
	if !ok {
		return p.List()
	}
	if s.protocol == "udp" && message == nil {
		return p.List()
	}
	if s.protocol == "udp" {
		p.Do(ctx, sinks.StepRecord, func(ctx context.Context) (string, error) { return s.testDatagram(ctx, a, message) })
		return p.List()
	}
	conn, ok := p.Connect(ctx, addresses, port)
	if !ok {
		return p.List()
	}
	defer conn.Close()
	s.testStream(ctx, p, a, conn, message)
	return p.List()
}

// testStream tests what is spoken on a connection.
func (s *sink) testStream(ctx context.Context, p *probe.Steps, a *address, conn *net.TCPConn, message []byte) {
	var session *relp
	if s.isRelp() {
		session = newRelp(s.timeout, s.relpBase)
	}
	st, err := newStream(conn, s.timeout, s.settle, session)
	if err != nil {
		p.Add(sinks.StepRecord, "", testError(err), 0)
		return
	}
	if a.tls != nil && !p.Do(ctx, sinks.StepTLS, func(ctx context.Context) (string, error) { return st.testHandshake(ctx, a.tls) }) {
		return
	}
	var to transport = st
	if session != nil {
		to = session
		if !do(ctx, p, sinks.StepRELP, func(ctx context.Context) (string, error) {
			if err := session.begin(ctx, st); err != nil {
				return "", err
			}
			return "the server has opened a session: " + strings.Join(strings.Fields(strings.TrimPrefix(session.offers, "200")), ", "), nil
		}) {
			return
		}
	} else {
		st.start()
	}
	if message == nil {
		st.testStays(ctx, p)
		to.finish(ctx)
		return
	}
	// Beside the answer, it takes as long as it takes to believe it.
	p.Timeout += st.settle
	if do(ctx, p, sinks.StepRecord, func(ctx context.Context) (string, error) {
		if err := to.write(ctx, message, []int{len(message)}); err != nil {
			return "", err
		}
		if err := to.wait(ctx); err != nil {
			return "", err
		}
		if session != nil {
			return "the server has answered for one message", nil
		}
		return fmt.Sprintf("the server's kernel has taken one message, and the connection has stayed open for %s since; whether the message was written, plain syslog cannot tell",
			st.settle.Round(time.Millisecond)), nil
	}) {
		to.finish(ctx)
	}
}

// do takes a step after the handshake. With TLS 1.3 the server may refuse our
// certificate only then: it is the handshake that has failed in that case.
func do(ctx context.Context, p *probe.Steps, name string, step func(context.Context) (string, error)) bool {
	start := time.Now()
	timed, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	text, err := step(timed)
	var known *sinks.Error
	switch {
	case errors.As(err, &known) && known.Class == sinks.ClassTLS:
		p.Fail(sinks.StepTLS, known.Err)
		return false
	case err != nil && err == timed.Err() && ctx.Err() == nil:
		err = fmt.Errorf("no answer within %s", p.Timeout)
	}
	return p.Add(name, text, testError(err), time.Since(start))
}

// testStays waits for the refusal of a server that has not looked at our
// certificate before the handshake was over.
func (s *stream) testStays(ctx context.Context, p *probe.Steps) {
	if !s.tls {
		return
	}
	s.settled = time.Now().Add(s.settle)
	timer := time.NewTimer(s.settle)
	defer timer.Stop()
	select {
	case <-s.dead:
		var known *sinks.Error
		if err := s.broken(nil); errors.As(err, &known) {
			p.Fail(sinks.StepTLS, known.Err)
		}
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (s *stream) testHandshake(ctx context.Context, conf *tls.Config) (string, error) {
	err := s.handshake(ctx, conf)
	if err == nil {
		return tlsbundle.Describe(s.conn.(*tls.Conn).ConnectionState(), s.shown), nil
	}
	said := testError(err)
	if cert := tlsbundle.Presented(err); cert != nil {
		said = fmt.Errorf("%w; the certificate is %s", said, tlsbundle.DescribeServer(cert))
	}
	return "", said
}

// testError leaves the class of an error away: it is for metrics.
func testError(err error) error {
	var known *sinks.Error
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("the test was ended")
	case errors.As(err, &known):
		return known.Err
	}
	return err
}

// testDatagram sends one message and listens whether somebody says that nobody
// listens.
func (s *sink) testDatagram(ctx context.Context, a *address, message []byte) (string, error) {
	d, err := dialDatagram(ctx, a.text, s.timeout)
	if err != nil {
		return "", testError(err)
	}
	defer d.abandon()
	if err := d.write(ctx, message, []int{len(message)}); err != nil {
		return "", testError(err)
	}
	stop := context.AfterFunc(ctx, func() { d.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	d.conn.SetReadDeadline(time.Now().Add(refusalTime))
	if _, err := d.conn.Read(make([]byte, 1)); errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) {
		return "", testError(datagramError(err))
	}
	return fmt.Sprintf("one message was sent to %s, and nobody has said within %s that it cannot arrive; over UDP there is no other answer, look for it there",
		d.conn.RemoteAddr(), refusalTime), nil
}
