package rsyslog

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
)

// killing sends while a rsyslog is killed and started again so many times in
// mid-stream, and returns the numbers that arrived, in order, and how many were sent.
func killing(t *testing.T, r *testbed.Rsyslog, g *rig, kills int) (got []int, sent int) {
	t.Helper()
	done := make(chan struct{})
	moved := make(chan struct{}, 1)
	go func() {
		defer close(done)
		for range kills {
			<-moved // something was confirmed since the last start
			time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
			r.Kill()
			r.Start(t)
			select {
			case <-moved:
			default:
			}
		}
	}()
	failures := 0
	for running := true; running; {
		select {
		case <-done:
			running = false // one round more
		default:
		}
		const batches, lines = 40, 50
		var all []*record.Batch
		for range batches {
			all = append(all, batchFrom(t, sent, lines))
			sent += lines
		}
		failures += sendAll(t, g, all, 10, func(n int) {
			if n > 0 {
				select {
				case moved <- struct{}{}:
				default:
				}
			}
		})
		for _, b := range all {
			b.Release()
		}
	}
	if failures == 0 {
		t.Errorf("only %d Sends were interrupted by %d kills", failures, kills)
	}
	untilArrived(t, r, "the last message arrives", func() bool {
		got = got[:0]
		for _, m := range r.Messages(t) {
			got = append(got, number(t, m.Msg))
		}
		return len(got) > 0 && got[len(got)-1] == sent-1
	})
	return got, sent
}

// rsyslog is killed 20 times in mid-stream. With RELP and a receiver that
// answers when a message is written nothing is lost and nothing is out of order,
// repeats aside. With TLS it may lose what it had accepted and not written, which is counted.
func TestKilled20Times(t *testing.T) {
	t.Parallel() // most of the time with TLS is waiting for connections to settle
	p := newPKI(t)
	for _, protocol := range []string{"relp", "relp-tls", "gtls"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			r, g := start(t, p, protocol, "", testbed.RsyslogOptions{Direct: true})
			kills := 20
			if protocol == "gtls" {
				kills = 6 // it only counts, and each takes its time to settle
			}
			got, sent := killing(t, r, g, kills)
			if protocol != "gtls" {
				t.Logf("%d messages: none lost, %d repeats", sent, firstTimes(t, got, sent))
				return
			}
			seen := make([]bool, sent)
			lost := sent
			for _, n := range got {
				if !seen[n] {
					seen[n] = true
					lost--
				}
			}
			t.Logf("%d messages: rsyslog had accepted and not written %d of them; %d repeats", sent, lost, len(got)-(sent-lost))
		})
	}
}
