package rsyslog

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// listen gives each connection to serve, and closes it afterwards.
func listen(t testing.TB, serve func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c.(*net.TCPConn)) }()
		}
	}()
	return l.Addr().String()
}

// silentServer takes connections and never says or reads anything.
func silentServer(t testing.TB) string {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	return listen(t, func(*net.TCPConn) { <-end })
}

// greetingServer speaks something else than TLS.
func greetingServer(t testing.TB) string {
	return listen(t, func(c *net.TCPConn) {
		io.WriteString(c, "220 mail.example ESMTP\r\n")
		io.Copy(io.Discard, c)
	})
}

// closedPort is one that nobody listens on.
func closedPort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// readFrame reads one octet-counted message.
func readFrame(r *bufio.Reader) (string, error) {
	length, err := r.ReadString(' ')
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, " "))
	if err != nil {
		return "", err
	}
	buf := make([]byte, n)
	_, err = io.ReadFull(r, buf)
	return string(buf), err
}

// A receiver whose program does not read: what counts as delivered is in its
// kernel's buffer, to the byte.
func TestDeliveredIsWhatTheKernelConfirmed(t *testing.T) {
	t.Parallel()
	conns := make(chan *net.TCPConn, 1)
	end := make(chan struct{})
	defer close(end)
	address := listen(t, func(c *net.TCPConn) {
		c.SetReadBuffer(1 << 20)
		conns <- c
		<-end
	})
	g := newRig(t, config.RsyslogTarget{Address: address, Protocol: "tcp", Timeout: config.Duration(1500 * time.Millisecond)}, nil)
	batches := numbered(t, 2000, 100)
	res, err := g.Send(within(t, 60*time.Second), batches)
	if class(err) != sinks.ClassTimeout {
		t.Fatalf("%+v, %v", res, err)
	}
	if res.Batches == 0 || res.Batches == len(batches) || res.Delivered != res.Batches*100 {
		t.Errorf("%d of %d batches, %d records", res.Batches, len(batches), res.Delivered)
	}
	// The sender has given up; what it had in its own buffer may still come.
	// Only what is here already had been confirmed.
	c := <-conns
	c.SetReadDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(c)
	for i := range res.Delivered {
		m, err := readFrame(in)
		if err != nil || !strings.HasSuffix(m, fmt.Sprintf("message %07d", i)) {
			t.Fatalf("record %d of %d that counted as delivered: %q, %v", i, res.Delivered, m, err)
		}
	}
}

// A receiver that closes with octets unread resets the connection: nothing
// that was written since counts.
func TestRefusalAfterTheFirstWrites(t *testing.T) {
	p := newPKI(t)
	for _, how := range []string{"reset", "close", "alert"} {
		t.Run(how, func(t *testing.T) {
			conf := &tls.Config{Certificates: []tls.Certificate{p.server.TLS(t)}, ClientAuth: tls.RequestClientCert}
			address := listen(t, func(c *net.TCPConn) {
				s := tls.Server(c, conf)
				if s.Handshake() != nil {
					return
				}
				in := bufio.NewReader(s)
				readFrame(in)
				switch how {
				case "reset":
					c.SetLinger(0)
				case "close":
					for s.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); ; {
						if _, err := readFrame(in); err != nil {
							break
						}
					}
				case "alert":
					// A record that makes no sense: the client ends with an alert of its own.
					c.Write([]byte("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32)))
					io.Copy(io.Discard, c)
				}
			})
			g := newRig(t, config.RsyslogTarget{Address: address, ServerName: "logs.example"}, p.bundle()).patience()
			res, err := g.Send(within(t, time.Minute), numbered(t, 3, 10))
			if err == nil || res.Batches != 0 || res.Delivered != 0 {
				t.Errorf("%+v, %v", res, err)
			}
			if how != "alert" && (class(err) != sinks.ClassTLS || !strings.Contains(err.Error(), "CN=node1")) {
				t.Errorf("%v", err)
			}
		})
	}
}

// Slow is not dead: the time limit is for no progress.
func TestSlowReceiver(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	conf := &tls.Config{Certificates: []tls.Certificate{p.server.TLS(t)}}
	for _, protocol := range []string{"tcp", "tls"} {
		t.Run(protocol, func(t *testing.T) {
			// A receiver that did not get to run for longer than the time limit was dead for
			// that long: such a try says nothing.
			for tries := 1; !sendsToASlowOne(t, protocol, conf, p.bundle()); tries++ {
				if tries == 10 {
					t.Fatal("this machine is too busy: the receiver stood still in each try")
				}
			}
		})
	}
}

// sendsToASlowOne reports false if the receiver was slower than it was to be.
func sendsToASlowOne(t *testing.T, protocol string, conf *tls.Config, bundle *config.TLSBundle) bool {
	const limit = time.Second
	var frames atomic.Int64
	var still stillness
	address := listen(t, func(c *net.TCPConn) {
		c.SetReadBuffer(64 << 10)
		var s io.Reader = c
		if protocol == "tls" {
			s = tls.Server(c, conf)
		}
		slow := &slowReader{r: s, until: time.Now().Add(3500 * time.Millisecond), still: &still}
		for in := bufio.NewReaderSize(slow, 16<<10); ; frames.Add(1) {
			if _, err := readFrame(in); err != nil {
				return
			}
		}
	})
	g := newRig(t, config.RsyslogTarget{Address: address, Protocol: protocol, ServerName: "logs.example"}, bundle)
	g.deps.Using = func(string) { // the limit is not for the handshake
		c := g.connection.(*stream)
		c.timeout, c.wire.timeout = limit, limit
	}
	batches := numbered(t, 600, 100)
	start := time.Now()
	res, err := g.Send(within(t, 60*time.Second), batches)
	if stood := still.look(); err != nil && stood > limit/2 {
		t.Logf("the receiver stood still for %v: %v", stood, err)
		return false
	}
	if err != nil || res.Batches != 600 {
		t.Fatalf("%+v, %v", res, err)
	}
	if took := time.Since(start); took < 2*limit {
		t.Fatalf("it took only %v: the receiver was not slow", took)
	}
	until(t, "everything is read", func() bool { return frames.Load() == 60000 })
	return true
}

// stillness is the longest time between two looks.
type stillness struct {
	mu      sync.Mutex
	last    time.Time
	longest time.Duration
}

func (s *stillness) look() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.last.IsZero() {
		s.longest = max(s.longest, now.Sub(s.last))
	}
	s.last = now
	return s.longest
}

// slowReader reads little at a time until a time is reached.
type slowReader struct {
	r     io.Reader
	until time.Time
	still *stillness
}

func (s *slowReader) Read(p []byte) (int, error) {
	s.still.look()
	if time.Now().Before(s.until) {
		time.Sleep(20 * time.Millisecond) // what makes it slow
		p = p[:min(len(p), 16<<10)]
	}
	return s.r.Read(p)
}

func TestTimeoutWithoutProgress(t *testing.T) {
	t.Parallel()
	const limit = 400 * time.Millisecond
	g := newRig(t, config.RsyslogTarget{Address: silentServer(t), Protocol: "tcp", Timeout: config.Duration(limit)}, nil)
	big := batchOf(t, strings.Repeat("x", 8000))
	var batches []*record.Batch
	for range 4000 { // more than all buffers between the two hold
		batches = append(batches, big)
	}
	start := time.Now()
	res, err := g.Send(within(t, 60*time.Second), batches)
	if class(err) != sinks.ClassTimeout || res.Batches == len(batches) {
		t.Errorf("%d batches, %v", res.Batches, err)
	}
	if took := time.Since(start); took < limit {
		t.Errorf("given up after %v", took)
	}
}

func TestShutdownInAWrite(t *testing.T) {
	g := newRig(t, config.RsyslogTarget{Address: silentServer(t), Protocol: "tcp"}, nil)
	big := batchOf(t, strings.Repeat("x", 8000))
	var batches []*record.Batch
	for range 4000 {
		batches = append(batches, big)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(300*time.Millisecond, cancel)
	start := time.Now()
	_, err := g.Send(ctx, batches)
	if class(err) != sinks.ClassShutdown {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > defaultTimeout*9/10 {
		t.Errorf("it took %v", took)
	}
}

// Close ends TLS with a close_notify, and everything before it is read.
func TestCloseSaysGoodbye(t *testing.T) {
	p := newPKI(t)
	conf := &tls.Config{Certificates: []tls.Certificate{p.server.TLS(t)}}
	for _, protocol := range []string{"tls", "tcp"} {
		ended := make(chan error, 1)
		var frames atomic.Int64
		address := listen(t, func(c *net.TCPConn) {
			var s io.Reader = c
			if protocol == "tls" {
				s = tls.Server(c, conf)
			}
			for in := bufio.NewReader(s); ; frames.Add(1) {
				if _, err := readFrame(in); err != nil {
					ended <- err
					return
				}
			}
		})
		g := newRig(t, config.RsyslogTarget{Address: address, Protocol: protocol, ServerName: "logs.example"}, p.bundle())
		if _, err := g.Send(within(t, 20*time.Second), numbered(t, 1, 10)); err != nil {
			t.Fatal(err)
		}
		// A Send that is interrupted while it waits leaves the connection whole.
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		conn := g.connection.(*stream)
		conn.settled = time.Now().Add(time.Hour)
		if err := g.connection.wait(ctx); err == nil {
			t.Error("not interrupted")
		}
		if err := g.Close(within(t, 20*time.Second)); err != nil {
			t.Error(err)
		}
		// An end without close_notify is io.ErrUnexpectedEOF to crypto/tls.
		if err := <-ended; err != io.EOF {
			t.Errorf("%s: the receiver saw %v", protocol, err)
		}
		if frames.Load() != 10 {
			t.Errorf("%d messages", frames.Load())
		}
	}
}

// A receiver that was restarted while nothing was sent: no error, no loss.
func TestIdleConnectionIsClosedByTheServer(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	for _, tr := range streams {
		t.Run(tr.protocol+tr.framing, func(t *testing.T) {
			t.Parallel()
			r, g := start(t, p, tr.protocol, tr.framing, testbed.RsyslogOptions{})
			for i, end := range []func(){r.Stop, r.Kill, func() {}} {
				res, err := g.Send(within(t, 20*time.Second), []*record.Batch{batchOf(t, fmt.Sprint("round ", i))})
				if err != nil || res.Delivered != 1 {
					t.Fatalf("round %d: %+v, %v", i, res, err)
				}
				got := r.Wait(t, i+1)
				if got[i].Msg != fmt.Sprint("round ", i) {
					t.Fatalf("%+v", got)
				}
				end()
				if i < 2 {
					r.Start(t)
				}
			}
		})
	}
}
