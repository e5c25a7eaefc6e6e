package rsyslog

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
)

// BenchmarkEncode is one message of 150 bytes: one file's lines, whose header
// is the same; a journal's, where each record has another; with fields; cut.
func BenchmarkEncode(b *testing.B) {
	line := strings.Repeat("a plain message, a b c ", 7)[:150]
	headers := make([]*record.Header, 64)
	for i := range headers {
		headers[i] = &record.Header{Host: []byte("node1"), Identifier: []byte("sshd"), PID: fmt.Append(nil, i), Unit: []byte("ssh.service")}
	}
	for _, c := range []struct {
		name   string
		target config.RsyslogTarget
		header func(i int) *record.Header
		fields []record.Field
		times  int
	}{
		{"file", config.RsyslogTarget{}, func(int) *record.Header { return headers[0] }, nil, 1},
		{"journal", config.RsyslogTarget{}, func(i int) *record.Header { return headers[i%64] }, nil, 1},
		{"fields", config.RsyslogTarget{StructuredData: []string{"user", "path"}}, func(int) *record.Header { return headers[0] },
			[]record.Field{{Name: []byte("user"), Value: []byte("jane")}, {Name: []byte("path"), Value: []byte("/a/b?c=d")}}, 1},
		{"newline", config.RsyslogTarget{Framing: "newline"}, func(int) *record.Header { return headers[0] }, nil, 1},
		{"cut", config.RsyslogTarget{}, func(int) *record.Header { return headers[0] }, nil, 100},
	} {
		b.Run(c.name, func(b *testing.B) {
			e := newEncoder(b, c.target)
			r := rec(strings.Repeat(line, c.times))
			r.Fields = c.fields
			buf := make([]byte, 0, flushBytes+10000)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				r.Header = c.header(i)
				r.Time += int64(20 * time.Microsecond) // 50,000 lines a second
				if len(buf) > flushBytes {
					buf = buf[:0]
				}
				buf, _ = e.append(buf, testOrigin, &r)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/message")
		})
	}
}

// BenchmarkSend is the whole way to a real rsyslog until it is confirmed: a
// megabyte of 150-byte lines a Send, and one line a Send.
func BenchmarkSend(b *testing.B) {
	p := newPKI(b)
	for _, tr := range []struct{ protocol, framing string }{{"gtls", ""}, {"ossl", ""}, {"tcp", ""}, {"relp", ""}, {"relp-tls", ""}, {"relp-ossl", ""}} {
		r, g := start(b, p, tr.protocol, tr.framing, testbed.RsyslogOptions{})
		for _, c := range []struct {
			name           string
			batches, lines int
		}{{"megabyte", 7, 1000}, {"line", 1, 1}} {
			texts := make([]string, c.lines)
			for i := range texts {
				texts[i] = strings.Repeat("a plain message, a b c ", 7)[:150]
			}
			var all []*record.Batch
			for range c.batches {
				all = append(all, batchOf(b, texts...))
			}
			b.Run(tr.protocol+"/"+c.name, func(b *testing.B) {
				ctx := context.Background()
				if _, err := g.Send(ctx, all); err != nil { // connects and settles
					b.Fatal(err)
				}
				before := r.Count(b)
				b.ReportAllocs()
				n, cpu := 0, ownCPU(b)
				for b.Loop() {
					res, err := g.Send(ctx, all)
					if err != nil {
						b.Fatal(err)
					}
					n += res.Delivered
				}
				confirmed := b.Elapsed()
				b.ReportMetric(float64((ownCPU(b)-cpu).Nanoseconds())/float64(n), "cpu-ns/message")
				b.ReportMetric(float64(confirmed.Nanoseconds())/float64(n), "ns/message")
				b.ReportMetric(float64(n)/confirmed.Seconds(), "messages/s")
				until(b, "rsyslog has written it", func() bool { return r.Count(b) >= before+n })
			})
		}
	}
}

// ownCPU is the processor time that this process has used, that of the kernel
// on its behalf included.
func ownCPU(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
