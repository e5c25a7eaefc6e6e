package rsyslog

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// Addresses that cannot be used are passed over within one Send, whatever is
// wrong with them.
func TestGoesToTheNextAddressAtOnce(t *testing.T) {
	good := startRelpServer(t, nil, nil)
	for _, c := range []struct {
		bad, class string
		takes      int // messages, before it fails
	}{
		{closedPort(t), sinks.ClassConnect, 0},
		{"no-such-host.invalid:2514", sinks.ClassResolve, 0},
		{silentServer(t), sinks.ClassTimeout, 0},
		{greetingServer(t), sinks.ClassBroken, 0},
		{startRelpServer(t, nil, func(int) (int, fault) { return 0, answers500 }).Address, sinks.ClassServer, 0},
		{startRelpServer(t, nil, func(int) (int, fault) { return 5, resets }).Address, sinks.ClassBroken, 5},
		{startRelpServer(t, nil, func(int) (int, fault) { return 5, hangs }).Address, sinks.ClassTimeout, 5},
	} {
		target := config.RsyslogTarget{Addresses: []string{c.bad, good.Address}, Protocol: "relp"}
		if c.class == sinks.ClassTimeout {
			target.Timeout = config.Duration(200 * time.Millisecond)
		}
		g := newRig(t, target, nil).onlyFirst()
		before := good.count()
		for range 2 {
			if res, err := g.Send(within(t, time.Minute), numbered(t, 2, 10)); err != nil || res.Batches != 2 || res.Delivered != 20 {
				t.Fatalf("%s: %+v, %v", c.class, res, err)
			}
		}
		if fmt.Sprint(g.outcomes) != fmt.Sprintf("[%s ok ok]", c.class) || g.using[len(g.using)-1] != good.Address {
			t.Errorf("%s: outcomes %v, addresses %v", c.class, g.outcomes, g.using)
		}
		if n := good.count() - before; n < 40-c.takes || n > 40 {
			t.Errorf("%s: %d messages", c.class, n)
		}
	}
}

// When all fail the error comes after each was tried once, and the next Send
// begins with the preferred one.
func TestAllAddressesFail(t *testing.T) {
	s := startRelpServer(t, nil, nil)
	g := newRig(t, config.RsyslogTarget{Addresses: []string{closedPort(t), "no-such-host.invalid:1", closedPort(t)}, Protocol: "relp"}, nil)
	for i := range 2 {
		res, err := g.Send(within(t, time.Minute), numbered(t, 1, 1))
		if class(err) != sinks.ClassConnect || res.Batches != 0 {
			t.Errorf("%+v, %v", res, err)
		}
		if want := strings.Repeat(" connect resolve connect", i+1)[1:]; fmt.Sprint(g.outcomes) != "["+want+"]" {
			t.Errorf("outcomes %v", g.outcomes)
		}
	}
	if g.at != 0 || g.watching != nil {
		t.Errorf("address %d, watching %v", g.at, g.watching)
	}
	g.list[0].text = s.Address
	if _, err := g.Send(within(t, time.Minute), numbered(t, 1, 1)); err != nil || fmt.Sprint(g.using) != "["+s.Address+"]" {
		t.Errorf("%v, addresses %v", err, g.using)
	}
}

// A server breaks in mid-stream: the next one gets everything that is not
// confirmed, in order, and nothing that was.
func TestNothingIsLostOrReorderedAtAFailover(t *testing.T) {
	servers := []*relpServer{
		startRelpServer(t, nil, func(int) (int, fault) { return 3210, closes }),
		startRelpServer(t, nil, func(int) (int, fault) { return 1234, closesAndSays }),
		startRelpServer(t, nil, nil),
	}
	var list []string
	for _, s := range servers {
		list = append(list, s.Address)
	}
	g := newRig(t, config.RsyslogTarget{Addresses: list, Protocol: "relp"}, nil)
	if failures := sendAll(t, g, numbered(t, 100, 100), 15, nil); failures != 0 {
		t.Errorf("%d failures", failures)
	}
	var got []int
	for _, s := range servers {
		for _, m := range s.messages() {
			got = append(got, number(t, m))
		}
	}
	repeats := firstTimes(t, got, 10000)
	t.Logf("%d repeats", repeats)
	if repeats >= 200 {
		t.Errorf("%d repeats: less than a batch at each of two failovers is right, of what was taken and whose answer got lost", repeats)
	}
	if !slices.Equal(g.using, list) {
		t.Errorf("addresses %v", g.using)
	}
}

// Two real rsyslogs, the first of which is killed in mid-stream and comes back:
// the second stands in, and the first is gone back to.
func TestFailoverAndBackWithRsyslog(t *testing.T) {
	p := newPKI(t)
	for _, protocol := range []string{"gtls", "relp", "relp-tls", "tcp"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			first, g := start(t, p, protocol, "", testbed.RsyslogOptions{Direct: true})
			second, _ := start(t, p, protocol, "", testbed.RsyslogOptions{Direct: true})
			again := newRig(t, targetOf(p, protocol, first.Address, second.Address), bundleFor(p, protocol))
			g.Close(within(t, time.Second))
			g = again
			sent := 0
			send := func() {
				b := batchFrom(t, sent, 100)
				defer b.Release()
				sent += 100
				if failures := sendAll(t, g, []*record.Batch{b}, 1, nil); failures != 0 {
					t.Errorf("%d failures", failures)
				}
			}
			for range 20 {
				send()
			}
			first.Wait(t, sent)
			first.Kill()
			for range 20 {
				send()
			}
			if g.at != 1 {
				t.Fatalf("address %d is in use", g.at)
			}
			first.Start(t)
			until(t, "the first is gone back to", func() bool { send(); return g.at == 0 })
			back := sent
			send()
			until(t, "the first gets the rest", func() bool { return arrived(t, first)[back] == 1 })
			var at map[int]int
			until(t, "everything arrives", func() bool {
				at = arrived(t, first)
				for n := range arrived(t, second) {
					at[n]++
				}
				return len(at) == sent
			})
			if want := []string{first.Address, second.Address, first.Address}; !slices.Equal(g.using, want) {
				t.Errorf("addresses %v, want %v", g.using, want)
			}
		})
	}
}

func targetOf(p *pki, protocol string, addresses ...string) config.RsyslogTarget {
	c := config.RsyslogTarget{Protocol: protocol, Addresses: addresses, FailbackAfter: config.Duration(100 * time.Millisecond)}
	if over, ok := overTLS[protocol]; ok {
		c.Protocol, c.ServerName = over, "logs.example"
	}
	return c
}

func bundleFor(p *pki, protocol string) *config.TLSBundle {
	if _, ok := overTLS[protocol]; ok {
		return p.bundle()
	}
	return nil
}

// Each address' certificate must be for that address' own host.
func TestEachAddressHasItsOwnName(t *testing.T) {
	ca := testbed.NewCA(t, "test CA")
	conf := func(name string) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{ca.Server(t, name).TLS(t)}}
	}
	wrong, right := startRelpServer(t, conf("localhost"), nil), startRelpServer(t, conf("localhost"), nil)
	_, port, _ := net.SplitHostPort(right.Address)
	for _, c := range []struct{ name, outcomes string }{{"", "[tls ok]"}, {"localhost", "[ok]"}, {"other", "[tls tls]"}} {
		g := newRig(t, config.RsyslogTarget{Addresses: []string{wrong.Address, "localhost:" + port}, Protocol: "relp-tls", ServerName: c.name}, bundleOf(ca, nil))
		_, err := g.Send(within(t, time.Minute), numbered(t, 1, 10))
		if fmt.Sprint(g.outcomes) != c.outcomes {
			t.Errorf("serverName %q: outcomes %v, want %s (%v)", c.name, g.outcomes, c.outcomes, err)
		}
	}
}

// UDP takes the first address that has one and that somebody listens on.
func TestUDPFailover(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	g := newRig(t, config.RsyslogTarget{Addresses: []string{"no-such-host.invalid:514", c.LocalAddr().String()}, Protocol: "udp"}, nil)
	if res, err := g.Send(within(t, time.Minute), numbered(t, 1, 1)); err != nil || res.Delivered != 1 || fmt.Sprint(g.outcomes) != "[resolve ok]" {
		t.Errorf("%+v, %v, %v", res, err, g.outcomes)
	}
}

// Going back does not hold a Send up: the preferred address is tried aside, and
// one that hangs is not gone back to.
func TestPreferredThatHangsHoldsNothingUp(t *testing.T) {
	t.Parallel()
	good := startRelpServer(t, nil, nil)
	tries := make(chan struct{}, 1000)
	silent := listen(t, func(c *net.TCPConn) { tries <- struct{}{}; io.Copy(io.Discard, c) })
	g := newRig(t, config.RsyslogTarget{Addresses: []string{silent, good.Address}, Protocol: "relp",
		Timeout: config.Duration(200 * time.Millisecond), FailbackAfter: config.Duration(10 * time.Millisecond)}, nil).onlyFirst()
	sendAll(t, g, numbered(t, 1, 1), 1, nil)
	<-tries // the Send's own
	const short = defaultTimeout * 3 / 4
	for range 2 {
		select {
		case <-tries: // it hangs for defaultTimeout
		case <-time.After(time.Minute):
			t.Fatal("the preferred address is not tried")
		}
		quickly(t, short, func() time.Duration {
			start := time.Now()
			if failures := sendAll(t, g, numbered(t, 1, 1), 1, nil); failures != 0 || g.at != 1 {
				t.Fatalf("%d failures, address %d", failures, g.at)
			}
			return time.Since(start)
		})
	}
	start := time.Now()
	if err := g.Close(within(t, time.Second)); err != nil || time.Since(start) > short {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}
