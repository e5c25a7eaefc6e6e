package rsyslog

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// TestMain lets more tests run at a time than there are processors: they wait
// for time limits and settling connections, most of the time.
func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "6")
	os.Exit(m.Run())
}

// rig is a sink under test and what it reported.
type rig struct {
	seen
	*sink
}

func newRig(t testing.TB, r config.RsyslogTarget, bundle *config.TLSBundle) *rig {
	t.Helper()
	g := new(rig)
	s, err := New(&config.Target{Name: "t", Rsyslog: &r}, deps(&g.seen, bundle))
	if err != nil {
		t.Fatal(err)
	}
	g.sink = s.(*sink)
	t.Cleanup(func() { s.Close(context.Background()) })
	return g
}

// patience has the sink wait that long for a refusal before it believes what it has sent. A
// server that refuses does so when its process gets to run, which on a busy machine may take
// longer than settleTime; the wait ends with the refusal.
func (g *rig) patience() *rig {
	g.settle = 20 * time.Second
	return g
}

// onlyFirst has the target's short time limit hold for what fails first, and for nothing that
// has to work after it, however busy the machine is.
func (g *rig) onlyFirst() *rig {
	request := g.deps.Request
	g.deps.Request = func(took time.Duration, outcome string) {
		g.timeout, g.deps.Request = defaultTimeout, request
		request(took, outcome)
	}
	return g
}

// quickly tries something that must not take as long as limit, a few times: a machine that
// stood still for a while makes one try slow, what is not limited makes all of them slow.
func quickly(t *testing.T, limit time.Duration, try func() (took time.Duration)) {
	t.Helper()
	var all []time.Duration
	for range 10 {
		took := try()
		if took < limit {
			return
		}
		all = append(all, took)
	}
	t.Errorf("it took %v each time, never less than %v", all, limit)
}

var testOrigin = &record.Origin{Source: "src", Kind: "file", Path: "/var/log/x.log", Host: "node1"}

// batchOf makes a batch of raw lines.
func batchOf(t testing.TB, lines ...string) *record.Batch {
	t.Helper()
	b := record.NewBatch()
	b.Origin = testOrigin
	for _, line := range lines {
		r := b.Add()
		r.Time = testTime.UnixNano()
		r.Line = b.Copy([]byte(line))
		r.Message = r.Line
		r.Level = record.LevelInfo
	}
	t.Cleanup(b.Release)
	return b
}

// numbered makes batches of lines that name their number.
func numbered(t testing.TB, batches, lines int) []*record.Batch {
	return padded(t, batches, lines, 0)
}

// padded makes them so many octets longer.
func padded(t testing.TB, batches, lines, octets int) []*record.Batch {
	t.Helper()
	pad := strings.Repeat(" x", octets/2)
	var all []*record.Batch
	n := 0
	for range batches {
		texts := make([]string, lines)
		for i := range texts {
			texts[i] = fmt.Sprintf("message %07d%s", n, pad)
			n++
		}
		b := batchOf(t, texts...)
		b.Before, b.After = record.Position(fmt.Sprint(n-lines)), record.Position(fmt.Sprint(n))
		all = append(all, b)
	}
	return all
}

// batchFrom makes a batch of lines that name their number, from first on. The
// caller releases it.
func batchFrom(t testing.TB, first, lines int) *record.Batch {
	t.Helper()
	b := record.NewBatch()
	b.Origin = testOrigin
	for i := range lines {
		r := b.Add()
		r.Time = testTime.UnixNano()
		r.Line = b.Copy(fmt.Appendf(nil, "message %07d", first+i))
		r.Message = r.Line
		r.Level = record.LevelInfo
	}
	return b
}

// class returns the class of a Send's error.
func class(err error) string {
	if e, ok := err.(*sinks.Error); ok {
		return e.Class
	}
	return fmt.Sprintf("%T: %v", err, err)
}

// within ends a test that would hang.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// until polls a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 2 minutes: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// pki is an authority with a server's and a client's certificate.
type pki struct {
	ca             *testbed.CA
	server, client *testbed.Cert
}

func newPKI(t testing.TB) *pki {
	ca := testbed.NewCA(t, "test CA")
	return &pki{ca, ca.Server(t, "logs.example"), ca.Client(t, "node1")}
}

// bundle is what a target needs to talk to the pki's server.
func (p *pki) bundle() *config.TLSBundle { return bundleOf(p.ca, p.client) }

func bundleOf(ca *testbed.CA, c *testbed.Cert) *config.TLSBundle {
	b := &config.TLSBundle{Name: "bundle"}
	if ca != nil {
		b.CAPem = ca.PEM
	}
	if c != nil {
		b.CertPem, b.KeyPem = c.CertPEM, config.Secret(c.KeyPEM)
	}
	return b
}
