package rsyslog

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
)

// start starts a rsyslog and a sink that sends to it.
func start(t testing.TB, p *pki, protocol, framing string, o testbed.RsyslogOptions) (*testbed.Rsyslog, *rig) {
	t.Helper()
	o.Protocol = protocol
	c := config.RsyslogTarget{Protocol: protocol, Framing: framing}
	var bundle *config.TLSBundle
	if over, ok := overTLS[protocol]; ok {
		o.CA, o.Cert, o.PermittedPeers = p.ca, p.server, []string{"node1"}
		c.Protocol, c.ServerName, bundle = over, "logs.example", p.bundle()
	}
	r := testbed.StartRsyslog(t, o)
	c.Address = r.Address
	return r, newRig(t, c, bundle)
}

var transports = []struct{ protocol, framing string }{
	{"gtls", ""}, {"ossl", ""}, {"relp", ""}, {"relp-tls", ""}, {"relp-ossl", ""}, {"tcp", ""}, {"tcp", "newline"}, {"udp", ""},
}

// streams are the transports that have connections.
var streams = transports[:7]

// overTLS gives the target's protocol for what testbed calls those that use TLS.
var overTLS = map[string]string{"gtls": "tls", "ossl": "tls", "relp-tls": "relp-tls", "relp-ossl": "relp-tls"}

func TestEverythingArrivesAsSent(t *testing.T) {
	p := newPKI(t)
	texts := []string{
		"plain", "", " leading and trailing ", "tab\there", "quote\" back\\slash bracket]", "ünïcödé 日本 😀",
		"\xff\xfe\x80 binary", "two\nlines", "ends\n", "{\"json\":\"ä\"}", "<13>1 looks like a header", "123 looks like a frame",
		"control \x01\x1b[31m", strings.Repeat("0123456789", 900), strings.Repeat("ä", 20000),
	}
	for _, tr := range transports {
		t.Run(tr.protocol+tr.framing, func(t *testing.T) {
			r, g := start(t, p, tr.protocol, tr.framing, testbed.RsyslogOptions{MaxMessageSize: "128k"})
			g.enc.setMax(60000)
			b := batchOf(t, texts...)
			for i := range b.Records {
				rec := &b.Records[i]
				rec.Time += int64(i) * int64(time.Millisecond)
				rec.Header = &record.Header{Host: []byte("h" + fmt.Sprint(i)), Identifier: []byte("app"), PID: []byte("42"), MsgID: []byte("ID"), Unit: []byte(`a"\]ü.service`)}
				rec.Facility = uint8(i)
				rec.Level = record.LevelTrace + record.Level(i%9)
			}
			res, err := g.Send(within(t, 20*time.Second), []*record.Batch{b})
			if err != nil || res.Batches != 1 || res.Delivered != len(texts) || res.RefusedRecords() != 0 {
				t.Fatalf("%+v, %v", res, err)
			}
			if len(g.notes) != 0 || fmt.Sprint(g.outcomes) != "[ok]" {
				t.Errorf("notes %v, outcomes %v", g.notes, g.outcomes)
			}
			got := r.Wait(t, len(texts))
			for i, text := range texts {
				rec := &b.Records[i]
				if tr.protocol == "udp" || tr.framing == "newline" {
					text = strings.ReplaceAll(text, "\n", "#012")
				}
				at := time.Unix(0, rec.Time).UTC()
				want := testbed.RsyslogMessage{
					PRI: fmt.Sprint(i*8 + int(rec.Level.Severity())), Version: "1", Timestamp: at.Format("2006-01-02T15:04:05.000000Z"),
					Host: "h" + fmt.Sprint(i), AppName: "app", ProcID: "42", MsgID: "ID",
					StructuredData: `[lbshipd@32473 unit="a\"\\\]ü.service" source="src" path="/var/log/x.log"]`, Msg: text,
				}
				want.Raw = fmt.Sprintf("<%s>1 %s %s app 42 ID %s %s", want.PRI, want.Timestamp, want.Host, want.StructuredData, text)
				m := got[i]
				// rsyslog takes one newline off the end of what it receives.
				m.Msg, m.Raw, want.Msg, want.Raw = chomp(m.Msg), chomp(m.Raw), chomp(want.Msg), chomp(want.Raw)
				if m != want {
					t.Errorf("%d:\ngot  %.400q\nwant %.400q", i, m, want)
				}
			}
			if len(got) > len(texts) {
				t.Errorf("%d messages of %d", len(got), len(texts))
			}
		})
	}
}

func chomp(s string) string { return strings.TrimSuffix(s, "\n") }

// The defaults of both sides go together: a long line arrives as one message,
// cut, with nothing behind it.
func TestLongLineFitsTheReceiversDefault(t *testing.T) {
	p := newPKI(t)
	for _, tr := range transports {
		t.Run(tr.protocol+tr.framing, func(t *testing.T) {
			r, g := start(t, p, tr.protocol, tr.framing, testbed.RsyslogOptions{})
			long := strings.Repeat("x", 20000)
			res, err := g.Send(within(t, 20*time.Second), []*record.Batch{batchOf(t, long, "next"), batchOf(t, long, "last")})
			if err != nil || res.Delivered != 4 {
				t.Fatalf("%+v, %v", res, err)
			}
			if g.notes["message_cut"] != 2 {
				t.Errorf("notes %v", g.notes)
			}
			got := r.Wait(t, 4)
			until(t, "the last message", func() bool { got = r.Messages(t); return got[len(got)-1].Msg == "last" })
			if len(got) != 4 || got[1].Msg != "next" {
				t.Errorf("%d messages: %.100q", len(got), got)
			}
			if n := len(got[0].Raw); n != g.enc.max {
				t.Errorf("%d octets arrived, %d were sent", n, g.enc.max)
			}
		})
	}
}
