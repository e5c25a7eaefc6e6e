package rsyslog

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// sendAll sends batches as the pipeline does: what is not confirmed again,
// until all is. confirmed is told after each Send.
func sendAll(t *testing.T, g *rig, batches []*record.Batch, perSend int, confirmed func(batches int)) (failures int) {
	t.Helper()
	ctx := within(t, 8*time.Minute) // next to nothing, but on a busy machine: thousands of messages, servers that start again
	done := 0
	for done < len(batches) {
		some := batches[done:min(done+perSend, len(batches))]
		res, err := g.Send(ctx, some)
		if err == nil && res.Batches != len(some) || res.Batches > len(some) {
			t.Fatalf("%d of %d batches: %v", res.Batches, len(some), err)
		}
		done += res.Batches
		if confirmed != nil {
			confirmed(done)
		}
		if err == nil {
			continue
		}
		failures++
		if ctx.Err() != nil {
			t.Fatalf("after %d batches: %v", done, err)
		}
		time.Sleep(5 * time.Millisecond) // the pipeline's back-off
	}
	return failures
}

// untilArrived polls a condition on what rsyslog has written, when that is
// more than before: reading it again and again would keep rsyslog from writing.
func untilArrived(t *testing.T, r *testbed.Rsyslog, what string, ok func() bool) {
	t.Helper()
	size := int64(-1)
	until(t, what, func() bool {
		now := r.Size(t)
		if now == size {
			return false
		}
		time.Sleep(50 * time.Millisecond) // more is on its way
		size = now
		return ok()
	})
}

// arrived returns how often each number arrived.
func arrived(t *testing.T, r *testbed.Rsyslog) map[int]int {
	t.Helper()
	seen := map[int]int{}
	for _, m := range r.Messages(t) {
		var n int
		if _, err := fmt.Sscanf(m.Msg, "message %d", &n); err == nil {
			seen[n]++
		}
	}
	return seen
}

// A receiver that hangs and is killed in the middle of a Send: the kernel had
// taken some of it, but it was never read. All of it must be sent again.
func TestKilledWithUnreadData(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	for _, tr := range streams {
		t.Run(tr.protocol+tr.framing, func(t *testing.T) {
			t.Parallel()
			r, g := start(t, p, tr.protocol, tr.framing, testbed.RsyslogOptions{Direct: true})
			const lines = 100
			batches := padded(t, 170, lines, 1200) // more than all buffers between the two hold
			before := sendAll(t, g, batches[:10], 10, nil)
			r.Wait(t, 10*lines)
			r.Pause()
			conn := g.connection
			go func() {
				// The Send is stuck when nothing has moved for a while.
				last, since := conn.written(), time.Now()
				for start := time.Now(); time.Since(start) < 20*time.Second; time.Sleep(5 * time.Millisecond) {
					if now := conn.written(); now != last {
						last, since = now, time.Now()
					} else if time.Since(since) > 100*time.Millisecond && now > 20*lines {
						break
					}
				}
				r.Kill()
				r.Start(t)
			}()
			failures := before + sendAll(t, g, batches[10:], 160, nil)
			if failures == 0 {
				t.Error("nothing was interrupted")
			}
			var got map[int]int
			untilArrived(t, r, "everything arrives", func() bool {
				if r.Count(t) < len(batches)*lines {
					return false
				}
				got = arrived(t, r)
				return len(got) == len(batches)*lines
			})
		})
	}
}

// A receiver that is killed and restarted at any moment: what was confirmed
// more than a moment before a kill is there, and everything else too.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	r, g := start(t, p, "gtls", "", testbed.RsyslogOptions{Direct: true})
	const lines, perSend = 50, 10
	batches := padded(t, 400, lines, 1000)
	// What a Send confirmed, it did between these two.
	begunAt, confirmedAt := make([]time.Time, len(batches)), make([]time.Time, len(batches))
	type kill struct{ begun, done time.Time }
	var kills []kill
	done := make(chan struct{})
	next := make(chan int, len(batches)*2)
	go func() {
		defer close(done)
		for count := range next {
			if len(kills) < 4 && count > (len(kills)+1)*len(batches)/6 {
				k := kill{begun: time.Now()}
				r.Kill()
				k.done = time.Now()
				kills = append(kills, k)
				r.Start(t)
			}
		}
	}()
	known, begun := 0, time.Now()
	failures := sendAll(t, g, batches, perSend, func(n int) {
		for ; known < n; known++ {
			begunAt[known], confirmedAt[known] = begun, time.Now()
		}
		next <- n
		begun = time.Now()
	})
	close(next)
	<-done
	if len(kills) != 4 || failures == 0 {
		t.Fatalf("%d kills, %d failed Sends", len(kills), failures)
	}
	// The last batches may still be on their way.
	last := len(batches)*lines - 1
	var got map[int]int
	untilArrived(t, r, "the last message arrives", func() bool { got = arrived(t, r); return got[last] > 0 })
	missing := 0
	for n := range len(batches) * lines {
		if got[n] > 0 {
			continue
		}
		missing++
		begun, at, excused := begunAt[n/lines], confirmedAt[n/lines], false
		for _, k := range kills {
			excused = excused || at.After(k.begun.Add(-holdTime)) && begun.Before(k.done)
		}
		if !excused {
			t.Fatalf("message %d was confirmed between %v and %v and is lost; kills at %v", n, begun, at, kills)
		}
	}
	t.Logf("%d failed Sends; %d of %d messages were in the receiver's socket buffer when it was killed", failures, missing, len(batches)*lines)
}

// UDP cannot confirm, but a closed port is noticed, and the next Send after
// the receiver is back gets through.
func TestUDPRefused(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := c.LocalAddr().String()
	g := newRig(t, config.RsyslogTarget{Address: address, Protocol: "udp"}, nil)
	send := func() (sinks.Result, error) {
		return g.Send(within(t, 10*time.Second), []*record.Batch{batchOf(t, "one", "two"), batchOf(t, strings.Repeat("x", 80000))})
	}
	if res, err := send(); err != nil || res.Batches != 2 || res.Delivered != 3 {
		t.Fatalf("%+v, %v", res, err)
	}
	buf := make([]byte, 70000)
	for _, want := range []int{len("one"), len("two"), 0} {
		n, _, err := c.ReadFrom(buf)
		if err != nil || want > 0 && !strings.HasSuffix(string(buf[:n]), map[int]string{3: "one"}[want]) && !strings.HasSuffix(string(buf[:n]), "two") {
			t.Errorf("%q, %v", buf[:n], err)
		}
		if want == 0 && n != g.enc.max {
			t.Errorf("a datagram of %d octets, want %d", n, g.enc.max)
		}
	}
	c.Close()
	for range 2 {
		if res, err := send(); class(err) != sinks.ClassConnect || res.Batches != 0 || res.Delivered != 0 {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	if c, err = net.ListenPacket("udp", address); err != nil {
		t.Skipf("somebody else took the port: %v", err)
	}
	defer c.Close()
	until(t, "a Send is taken", func() bool { _, err := send(); return err == nil })
}

// The largest datagram that IPv4 carries goes through.
func TestUDPLargest(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	g := newRig(t, config.RsyslogTarget{Address: c.LocalAddr().String(), Protocol: "udp", MaxMessageBytes: 1 << 20}, nil)
	if res, err := g.Send(context.Background(), []*record.Batch{batchOf(t, strings.Repeat("x", 100000))}); err != nil || res.Delivered != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	buf := make([]byte, 70000)
	if n, _, err := c.ReadFrom(buf); err != nil || n != maxDatagram || g.notes["message_cut"] != 1 {
		t.Errorf("%d octets, %v, notes %v", n, err, g.notes)
	}
}
