package rsyslog

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

func relpRig(t testing.TB, address string, timeout time.Duration) *rig {
	return newRig(t, config.RsyslogTarget{Address: address, Protocol: "relp", Timeout: config.Duration(timeout)}, nil)
}

// number takes the number out of a message of numbered.
func number(t testing.TB, message string) (n int) {
	t.Helper()
	at := strings.LastIndex(message, "message ")
	if at < 0 {
		t.Fatalf("message %q", message)
	}
	if _, err := fmt.Sscanf(message[at:], "message %d", &n); err != nil {
		t.Fatalf("message %q: %v", message, err)
	}
	return n
}

// firstTimes checks that messages came in order, repeats aside: each is at most
// one further than all before it, and that none is missing. It returns how many are repeats.
func firstTimes(t testing.TB, got []int, want int) (repeats int) {
	t.Helper()
	next := 0
	for i, n := range got {
		switch {
		case n == next:
			next++
		case n > next:
			t.Fatalf("number %d came at place %d, where %d was next", n, i, next)
		default:
			repeats++
		}
	}
	if next != want {
		t.Fatalf("%d of %d messages arrived", next, want)
	}
	return repeats
}

// The server of the tests and imrelp see the same client do the same, and
// answer it alike.
func TestRelpServersAgree(t *testing.T) {
	real := testbed.StartRsyslog(t, testbed.RsyslogOptions{Protocol: "relp", Direct: true})
	fake := startRelpServer(t, nil, nil)
	for name, address := range map[string]string{"imrelp": real.Address, "fake": fake.Address} {
		g := relpRig(t, address, 0)
		if failures := sendAll(t, g, numbered(t, 30, 100), 7, nil); failures != 0 {
			t.Errorf("%s: %d failures", name, failures)
		}
		if err := g.Close(within(t, 10*time.Second)); err != nil {
			t.Error(err)
		}
	}
	var fromReal, fromFake []int
	for _, m := range real.Wait(t, 3000) {
		fromReal = append(fromReal, number(t, m.Raw))
	}
	for _, m := range fake.messages() {
		fromFake = append(fromFake, number(t, m))
	}
	if r, f := firstTimes(t, fromReal, 3000), firstTimes(t, fromFake, 3000); r != 0 || f != 0 {
		t.Errorf("%d and %d repeats", r, f)
	}
	until(t, "close has arrived", func() bool { fake.mu.Lock(); defer fake.mu.Unlock(); return fake.closed == 1 })

	open := string(appendRelpFrame(nil, 1, "open", relpOpenOffers))
	for _, script := range []string{
		open + "2 syslog 3 abc\n3 syslog 3 a\nb\n4 close 0\n",
		open + "3 syslog 3 abc\n",
		open + "2 syslog 3 abcd\n",
		"hello\n",
	} {
		if a, b := transcript(t, real.Address, script), transcript(t, fake.Address, script); a != b {
			t.Errorf("%q:\nimrelp %q\nfake   %q", script, a, b)
		}
	}
}

// transcript is what a server says to a script, but for its offers.
func transcript(t *testing.T, address, script string) string {
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, script)
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	var said []string
	for in := bufio.NewReader(c); ; {
		line, err := in.ReadString('\n')
		if strings.Contains(line, "=") || err != nil && line == "" {
			if err != nil {
				return strings.Join(said, "")
			}
			continue
		}
		if strings.HasPrefix(line, "1 rsp ") {
			line = "1 rsp LENGTH" + strings.TrimLeft(line[6:], "0123456789")
		}
		said = append(said, line)
	}
}

// Whatever the server does wrong at whatever message: what counts as delivered
// it has kept, all arrives, and in order but for repeats.
func TestRelpFaults(t *testing.T) {
	t.Parallel()
	all := []fault{answers500, hangs, resets, halfCloses, closes, closesAndSays, wrongTxnr, answersTwice, talksGarbage, hugeAnswer, isSlow, outOfOrder, inPieces}
	p := newPKI(t)
	for _, protocol := range []string{"relp", "relp-tls"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			var conf *tls.Config
			var bundle *config.TLSBundle
			c := config.RsyslogTarget{Protocol: protocol, Timeout: config.Duration(500 * time.Millisecond)}
			if protocol == "relp-tls" {
				conf, bundle, c.ServerName = &tls.Config{Certificates: []tls.Certificate{p.server.TLS(t)}}, p.bundle(), "logs.example"
			}
			var s *relpServer
			s = startRelpServer(t, conf, func(connection int) (int, fault) {
				if connection < 3*len(all) {
					return random.IntN(1000), all[connection%len(all)]
				}
				for _, what := range all {
					if connection < 30*len(all) && s.said[what] == 0 {
						return 0, what // the connections had ended before it came to that
					}
				}
				return -1, ""
			})
			c.Address = s.Address
			g := newRig(t, c, bundle)
			const lines = 50
			batches := numbered(t, 1000, lines)
			failures := sendAll(t, g, batches, 30, func(done int) {
				if kept := s.messages(); done > 0 && (len(kept) == 0 || !keptUpTo(t, kept, done*lines)) {
					t.Fatalf("%d batches count as delivered, and %d messages are kept", done, len(kept))
				}
			})
			var got []int
			for _, m := range s.messages() {
				got = append(got, number(t, m))
			}
			repeats := firstTimes(t, got, len(batches)*lines)
			t.Logf("%d failed Sends, %d repeats of %d messages", failures, repeats, len(batches)*lines)
			if failures < len(all) {
				t.Errorf("only %d failures", failures)
			}
			for _, f := range all {
				if s.happened(f) == 0 {
					t.Errorf("%s did not happen", f)
				}
			}
		})
	}
}

// keptUpTo reports whether message n-1 is kept; by firstTimes then all before it are.
func keptUpTo(t *testing.T, kept []string, n int) bool {
	for i := len(kept) - 1; i >= 0; i-- {
		if number(t, kept[i]) == n-1 {
			return true
		}
	}
	return false
}

// A message that is answered with 500 is tried again for ever, alone: neither what lies
// behind it is repeated nor what lies before it, in its batch and in earlier ones.
func TestRelp500(t *testing.T) {
	const tries = 5
	s := startRelpServer(t, nil, func(connection int) (int, fault) {
		switch {
		case connection == 0:
			return 234, answers500
		case connection < tries:
			return 0, answers500 // the messages 200 to 233 of its batch were taken
		}
		return -1, ""
	})
	g := relpRig(t, s.Address, 0)
	batches := numbered(t, 10, 100)
	done, behind := 0, 0
	for i := range tries {
		res, err := g.Send(within(t, 10*time.Second), batches[done:])
		if class(err) != sinks.ClassServer || !strings.Contains(err.Error(), "500 the disk is full") || len(res.Refused) != 0 {
			t.Fatalf("try %d: %+v, %v", i, res, err)
		}
		if done += res.Batches; done != 2 {
			t.Fatalf("try %d: %d batches are delivered", i, done)
		}
		if i == 0 {
			until(t, "the first try sends what lies behind", func() bool { s.mu.Lock(); defer s.mu.Unlock(); behind = s.behind; return behind > 0 })
		}
	}
	if kept := s.count(); kept != 234 {
		t.Errorf("%d messages were taken before the message passed, want 234", kept)
	}
	if res, err := g.Send(within(t, 10*time.Second), batches[done:]); err != nil || res.Batches != 8 {
		t.Fatalf("%+v, %v", res, err)
	}
	var got []int
	for _, m := range s.messages() {
		got = append(got, number(t, m))
	}
	if repeats := firstTimes(t, got, 1000); repeats != 0 {
		t.Errorf("%d repeats", repeats)
	}
	if g.connection.(*relp).held != -1 {
		t.Error("a message is still to be sent alone")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.behind > 766 {
		t.Errorf("%d messages were sent behind the one that failed, after %d in the first try", s.behind, behind)
	}
	if g.held != -1 {
		t.Errorf("record %d is still sent alone", g.held)
	}
}

// What was answered at the head of a batch is not sent again, whatever the answers of the next try are: they are
// counted from what is sent; and a batch of other records in its place is sent whole.
func TestRelpAnsweredHead(t *testing.T) {
	s := startRelpServer(t, nil, func(connection int) (int, fault) {
		return []int{34, 10, 80, -1}[min(connection, 3)], answers500
	})
	g := relpRig(t, s.Address, 0)
	batches := numbered(t, 3, 100)
	var done int
	for i, want := range []struct{ batches, head, held int }{{0, 34, 0}, {0, 44, 0}, {1, 24, 0}, {2, 0, -1}} {
		res, err := g.Send(within(t, 10*time.Second), batches[done:])
		if done += res.Batches; res.Batches != want.batches || g.head.records != want.head || g.held != want.held || (err == nil) != (i == 3) {
			t.Fatalf("try %d: %+v, %v; %d answered, held %d", i, res, err, g.head.records, g.held)
		}
	}
	var got []int
	for _, m := range s.messages() {
		got = append(got, number(t, m))
	}
	if repeats := firstTimes(t, got, 300); repeats != 0 {
		t.Errorf("%d repeats", repeats)
	}
	before := s.count()
	g.head = headOf(batches[:1], 50)
	batches[0].Before += "0"
	if res, err := g.Send(within(t, 10*time.Second), batches[:1]); err != nil || res.Delivered != 100 || s.count() != before+100 {
		t.Errorf("%+v, %v, %d messages", res, err, s.count()-before)
	}
}

// Transaction numbers go on at 1 after 999,999,999.
func TestRelpTransactionNumbersWrap(t *testing.T) {
	s := startRelpServer(t, nil, func(int) (int, fault) { return 0, outOfOrder })
	g := relpRig(t, s.Address, 0)
	g.relpBase = maxTxnr - 1234
	if failures := sendAll(t, g, numbered(t, 19, 100), 5, nil); failures != 0 || s.happened(outOfOrder) == 0 {
		t.Errorf("%d failures", failures)
	}
	var got []int
	for _, m := range s.messages() {
		got = append(got, number(t, m))
	}
	if repeats := firstTimes(t, got, 1900); repeats != 0 {
		t.Errorf("%d repeats", repeats)
	}
	if last := relpTxnr(g.connection.(*relp).base + g.connection.place()); last != 1900-1234+2 {
		t.Errorf("the last transaction number is %d", last)
	}
}

// What answers confirm, of four messages with the numbers 2 to 5.
func TestRelpAnswers(t *testing.T) {
	const ok = " rsp 6 200 OK\n"
	for _, c := range []struct {
		says  string
		acked int64
		text  string
	}{
		{"2" + ok + "3" + ok, 2, ""},
		{"3" + ok + "5" + ok, 0, ""},
		{"3" + ok + "2" + ok + "5" + ok + "4" + ok, 4, ""},
		{"3" + ok + "3" + ok, 0, "a second answer to 3"},
		{"2" + ok + "2" + ok, 1, "2, which is no unanswered transaction"},
		{"2" + ok + "6" + ok, 1, "6, which is no unanswered transaction"},
		{"0" + ok, 0, "0, which is no unanswered transaction"},
		{"2" + ok + "3 rsp 3 500\n4" + ok, 1, `the server answers "500" to a message`},
		{"2" + ok + "4 rsp 8 500 full\n", 1, `the server answers "500 full" to a message`},
		{"2" + ok + "0 hint 0\n3" + ok, 2, ""},
		{"2" + ok + "0 serverclose 0\n3" + ok, 1, "serverclose"},
		{"2" + ok + "3 rsp 0\n", 1, "no response code"},
		{"2" + ok + "3 syslog 1 a\n", 1, `a command "syslog"`},
	} {
		r := &relp{base: 1, moved: make(chan struct{}, 1)}
		r.opened.Store(true)
		r.sent.Store(4)
		err := r.take([]byte(c.says))
		if r.acked.Load() != c.acked || (err == nil) != (c.text == "") || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%q: %d confirmed, %v; want %d, %s", c.says, r.acked.Load(), err, c.acked, c.text)
		}
	}
}

// What a server may answer to open, and what is no RELP server.
func TestRelpOpen(t *testing.T) {
	for _, c := range []struct{ says, class, text string }{
		{"1 rsp 46 200 OK\nrelp_version=1\ncommands=eventlog,syslog\n", "ok", ""},
		{"1 rsp 44 500 required command not supported by client\n", sinks.ClassServer, "500 required command not supported by client"},
		{"1 rsp 22 200 OK\ncommands=syslog\n", sinks.ClassServer, "offers no relp_version"},
		{"1 rsp 21 200 OK\nrelp_version=0\n", sinks.ClassServer, "does not offer to take syslog"},
		{"2 rsp 6 200 OK\n", sinks.ClassBroken, "where open was 1"},
		{"1 rsp 0\n", sinks.ClassBroken, "no response code"},
		{"1 rsp 6 200-OK\n", sinks.ClassBroken, "no response code"},
		{"0 serverclose 0\n", sinks.ClassBroken, "serverclose"},
		{"220 mail.example ESMTP\r\n", sinks.ClassBroken, "no RELP"},
		{"1 rsp 999999999 200", sinks.ClassBroken, "more than 131072 octets"},
		{"", sinks.ClassTimeout, "speaks RELP?"},
	} {
		address := listen(t, func(conn *net.TCPConn) {
			bufio.NewReader(conn).ReadString('\n')
			io.WriteString(conn, c.says)
			io.Copy(io.Discard, conn)
		})
		timeout := 30 * time.Second
		if c.class == sinks.ClassTimeout {
			timeout = 300 * time.Millisecond
		}
		g := relpRig(t, address, timeout)
		_, err := g.Send(within(t, time.Minute), nil)
		if c.class == "ok" {
			if err != nil {
				t.Errorf("%q: %v", c.says, err)
			}
			continue
		}
		if class(err) != c.class || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%q: %v, want %s: ...%s...", c.says, err, c.class, c.text)
		}
	}
}

// Close ends a session with the command close, also one that a Send was
// interrupted on, and does not wait for a server that hangs.
func TestRelpClose(t *testing.T) {
	s := startRelpServer(t, nil, func(connection int) (int, fault) {
		if connection > 0 {
			return 5, hangs
		}
		return -1, ""
	})
	g := relpRig(t, s.Address, 0)
	sendAll(t, g, numbered(t, 1, 10), 1, nil)
	if err := g.Close(within(t, 10*time.Second)); err != nil {
		t.Error(err)
	}
	// Close waits for the answer, but not for ever: goodbyeTime.
	until(t, "the session is closed", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.closed == 1 })
	hung := 0
	quickly(t, goodbyeTime, func() time.Duration {
		hung++
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			until(t, "it hangs", func() bool { return s.happened(hangs) == hung })
			until(t, "what was answered before has come", func() bool { return g.connection.(*relp).acked.Load() == 5 })
			cancel()
		}()
		res, err := g.Send(ctx, []*record.Batch{batchOf(t, "1", "2", "3"), batchOf(t, "4", "5", "6", "7", "8")})
		if class(err) != sinks.ClassShutdown || !errors.Is(err, context.Canceled) || res.Batches != 1 {
			t.Errorf("%+v, %v", res, err)
		}
		start := time.Now()
		g.Close(within(t, 200*time.Millisecond))
		return time.Since(start)
	})
}
