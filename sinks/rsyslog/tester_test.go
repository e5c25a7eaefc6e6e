package rsyslog

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/sinks"
)

// test makes a sink of its own and tests its target.
func test(t *testing.T, r config.RsyslogTarget, bundle *config.TLSBundle) sinks.TestReport {
	t.Helper()
	return sinks.NewTestReport(newRig(t, r, bundle).Test(within(t, 30*time.Second), "alice"))
}

func show(r sinks.TestReport) string {
	var b strings.Builder
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "%s %v %.3fs: %s\n", s.Name, s.OK, s.Seconds, s.Message)
	}
	return b.String()
}

// wantSteps holds a report against the names of its steps, with a "!" before
// those that have failed, and its last message against words.
func wantSteps(t *testing.T, r sinks.TestReport, steps string, says ...string) {
	t.Helper()
	var got []string
	last := ""
	for _, s := range r.Steps {
		name := s.Name
		if !s.OK {
			name = "!" + name
		}
		got, last = append(got, name), s.Message
		if s.Message == "" || strings.ContainsAny(s.Message, "\n\r\x1b") || strings.Contains(s.Message, "PRIVATE") || s.Seconds < 0 {
			t.Errorf("step %+v", s)
		}
	}
	if strings.Join(got, " ") != steps || r.OK == strings.Contains(steps, "!") {
		t.Errorf("steps %v (ok: %v), want %s:\n%s", got, r.OK, steps, show(r))
	}
	for _, word := range says {
		if !strings.Contains(last, word) {
			t.Errorf("%q is not in: %s", word, last)
		}
	}
}

// What a test sends arrives at the real rsyslog, by every protocol.
func TestTestOfARsyslogThatWorks(t *testing.T) {
	p := newPKI(t)
	for protocol, c := range map[string]struct{ steps, says string }{
		"tcp":       {"dns tcp record", "the server's kernel has taken one message"},
		"udp":       {"dns record", "nobody has said within 250ms that it cannot arrive"},
		"gtls":      {"dns tcp tls record", "has stayed open for"},
		"ossl":      {"dns tcp tls record", "has stayed open for"},
		"relp":      {"dns tcp relp record", "the server has answered for one message"},
		"relp-tls":  {"dns tcp tls relp record", "the server has answered for one message"},
		"relp-ossl": {"dns tcp tls relp record", "the server has answered for one message"},
	} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			o := testbed.RsyslogOptions{Protocol: protocol}
			target := config.RsyslogTarget{Protocol: protocol, Facility: "local3", AppName: "other"}
			if over, ok := overTLS[protocol]; ok {
				o.CA, o.Cert, o.PermittedPeers = p.ca, p.server, []string{"node1"}
				target.Protocol, target.ServerName = over, "logs.example"
			}
			rs := testbed.StartRsyslog(t, o)
			target.Address = rs.Address
			// A probe sends nothing: one message is there in the end.
			probed := sinks.NewTestReport(newRig(t, target, bundleFor(p, protocol)).Probe(within(t, 30*time.Second)))
			wantSteps(t, probed, strings.TrimSuffix(c.steps, " record"))
			r := test(t, target, bundleFor(p, protocol))
			wantSteps(t, r, c.steps, c.says)
			m := rs.Wait(t, 1)
			if len(m) != 1 || m[0].AppName != "lbshipd-test" || m[0].PRI != "158" || m[0].Host != "node1" ||
				!strings.HasPrefix(m[0].Msg, "lbshipd test record: alice has the target t tested from node1.") {
				t.Errorf("rsyslog has %+v", m)
			}
			for _, s := range r.Steps {
				if s.Name == sinks.StepTLS && (!strings.Contains(s.Message, "CN=logs.example, for logs.example, issued by CN=test CA") || !strings.Contains(s.Message, "was shown CN=node1")) {
					t.Error(s.Message)
				}
				if s.Name == sinks.StepRELP && !strings.Contains(s.Message, "relp_software=") {
					t.Error(s.Message)
				}
			}
		})
	}
}

// What the real rsyslog refuses, and what we refuse of it. With TLS 1.3 it
// refuses our certificate after the handshake: it is TLS that fails all the same.
func TestTestSaysWhatTLSDoesNotLike(t *testing.T) {
	p := newPKI(t)
	foreign := testbed.NewCA(t, "foreign CA")
	old := p.ca.Expired(t, "logs.example")
	causes := map[string]string{"no client certificate": sinks.CauseHandshake, "another's client": sinks.CauseHandshake, "foreign client": sinks.CauseHandshake,
		"unknown authority": sinks.CauseAuthority, "wrong name": sinks.CauseServerName, "expired": sinks.CauseExpired, "fingerprint": sinks.CauseFingerprint}
	for _, driver := range []string{"gtls", "relp-tls", "relp-ossl"} {
		rs := testbed.StartRsyslog(t, testbed.RsyslogOptions{Protocol: driver, CA: p.ca, Cert: p.server, PermittedPeers: []string{"node1"}})
		expired := testbed.StartRsyslog(t, testbed.RsyslogOptions{Protocol: driver, CA: p.ca, Cert: old, PermittedPeers: []string{"node1"}})
		named := config.RsyslogTarget{ServerName: "logs.example", Address: rs.Address}
		for name, c := range map[string]struct {
			target config.RsyslogTarget
			bundle *config.TLSBundle
			says   []string
		}{
			"no client certificate": {named, bundleOf(p.ca, nil), []string{"asked for a client certificate and none was shown"}},
			"another's client":      {named, bundleOf(p.ca, p.ca.Client(t, "node2")), []string{"CN=node2, issued by CN=test CA"}},
			"foreign client":        {named, bundleOf(p.ca, foreign.Client(t, "node1")), []string{"CN=node1, issued by CN=foreign CA"}},
			"unknown authority":     {named, bundleOf(foreign, p.client), []string{"unknown authority (CN=test CA)", "valid from"}},
			"wrong name":            {config.RsyslogTarget{Address: rs.Address}, p.bundle(), []string{`is for logs.example, not for "127.0.0.1"`}},
			"expired":               {config.RsyslogTarget{Address: expired.Address, ServerName: "logs.example"}, p.bundle(), []string{"expired on 20", "which is past"}},
			"fingerprint": {config.RsyslogTarget{Address: rs.Address, Fingerprints: []string{old.Fingerprint("sha-256")}}, p.bundle(),
				[]string{p.server.Fingerprint("sha-256"), "not configured"}},
		} {
			t.Run(driver+"/"+name, func(t *testing.T) {
				t.Parallel()
				c.target.Protocol = overTLS[driver]
				var tested, probed sinks.TestReport
				// See TestMutualTLS: with OpenSSL a connection may end for what was wrong with another one.
				for range 5 {
					ctx := within(t, time.Minute)
					tested = sinks.NewTestReport(newRig(t, c.target, c.bundle).patience().Test(ctx, "alice"))
					probed = sinks.NewTestReport(newRig(t, c.target, c.bundle).patience().Probe(ctx))
					if !strings.Contains(show(tested)+show(probed), "without saying why") {
						break
					}
				}
				wantSteps(t, tested, "dns tcp !tls", c.says...)
				wantSteps(t, probed, "dns tcp !tls", c.says...)
				if cause := probed.Steps[2].Cause; cause != causes[name] {
					t.Errorf("cause %q, want %q", cause, causes[name])
				}
			})
		}
	}
}

// loneServer serves one connection.
func loneServer(t *testing.T, serve func(net.Conn)) string {
	return listen(t, func(c *net.TCPConn) {
		c.SetDeadline(time.Now().Add(time.Minute))
		serve(c)
	})
}

func TestTestOfAPeerThatIsNone(t *testing.T) {
	p := newPKI(t)
	conf := &tls.Config{Certificates: []tls.Certificate{p.server.TLS(t)}}
	picky := conf.Clone()
	picky.ClientAuth, picky.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	silent := loneServer(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closedUDP := u.LocalAddr().String()
	u.Close()
	for name, c := range map[string]struct {
		protocol, address string
		steps             string
		says              []string
	}{
		"closed":       {"tcp", closed, "dns !tcp", []string{closed + ": connection refused"}},
		"closed, UDP":  {"udp", closedUDP, "dns !record", []string{"nobody listens on that UDP port"}},
		"no such name": {"tls", "nosuch.invalid:6514", "!dns", []string{"nosuch.invalid"}},
		"silent, TLS":  {"tls", silent, "dns tcp !tls", []string{"no answer to the TLS handshake"}},
		"silent, RELP": {"relp", silent, "dns tcp !relp", []string{"no answer to the RELP command open"}},
		"mail":         {"tls", loneServer(t, func(c net.Conn) { io.WriteString(c, "220 mail.test ESMTP\r\n"); c.Read(make([]byte, 1)) }), "dns tcp !tls", []string{"does not speak TLS"}},
		"no RELP":      {"relp", loneServer(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 no\r\n\r\n"); io.Copy(io.Discard, c) }), "dns tcp !relp", []string{"is no RELP"}},
		"refuses a session": {"relp", loneServer(t, func(c net.Conn) {
			c.Read(make([]byte, 1))
			io.WriteString(c, "1 rsp 6 500 no\n")
			io.Copy(io.Discard, c)
		}), "dns tcp !relp", []string{"500 no"}},
		"closes at once": {"tcp", loneServer(t, func(c net.Conn) { c.Read(make([]byte, 1)) }), "dns tcp !record", []string{"closed"}},
		"closes, TLS":    {"tls", loneServer(t, func(c net.Conn) { tls.Server(c, conf).Handshake() }), "dns tcp tls !record", nil},
		"closes, certificate": {"tls", loneServer(t, func(c net.Conn) {
			asks := conf.Clone()
			asks.ClientAuth = tls.RequestClientCert
			tls.Server(c, asks).Handshake()
		}), "dns tcp !tls", []string{"asked for a client certificate; most likely it refuses ours (CN=node1"}},
		"refuses a certificate": {"tls", loneServer(t, func(c net.Conn) { tls.Server(c, picky).Handshake(); io.Copy(io.Discard, c) }), "dns tcp !tls", []string{"refused our client certificate"}},
		"refuses the message":   {"relp", startRelpServer(t, nil, func(int) (int, fault) { return 0, answers500 }).Address, "dns tcp relp !record", []string{"the server answers"}},
		"answers no message":    {"relp", startRelpServer(t, nil, func(int) (int, fault) { return 0, hangs }).Address, "dns tcp relp !record", []string{"no message for 5s"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := config.RsyslogTarget{Protocol: c.protocol, Address: c.address}
			switch {
			case strings.HasPrefix(name, "silent"):
				r.Timeout = config.Duration(time.Second)
			case name == "answers no message": // but open
				r.Timeout = config.Duration(5 * time.Second)
			}
			if config.UsesTLS(c.protocol) {
				r.ServerName = "logs.example"
			}
			report := sinks.NewTestReport(newRig(t, r, p.bundle()).patience().Test(within(t, time.Minute), "alice"))
			wantSteps(t, report, c.steps, c.says...)
		})
	}
}

// Each of several addresses is tested, and named in what is said.
func TestTestOfSeveralAddresses(t *testing.T) {
	good := startRelpServer(t, nil, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	g := newRig(t, config.RsyslogTarget{Protocol: "relp", Addresses: []string{dead, good.Address}}, nil)
	g.relpBase = maxTxnr - 2 // the message's number is the last one before the wrap
	r := sinks.NewTestReport(g.Test(within(t, 20*time.Second), ""))
	wantSteps(t, r, "dns !tcp dns tcp relp record")
	for i, s := range r.Steps {
		want := dead
		if i >= 2 {
			want = good.Address
		}
		if !strings.HasPrefix(s.Message, want+": ") {
			t.Errorf("step %d: %s, want it to begin with %s", i, s.Message, want)
		}
	}
	if m := good.messages(); len(m) != 1 || !strings.Contains(m[0], "lbshipd-test") {
		t.Errorf("the server has %q", m)
	}
	if len(g.outcomes) != 0 || len(g.using) != 0 {
		t.Errorf("a test counts as traffic: %v, %v", g.outcomes, g.using)
	}
}

func TestTestEndsWithItsContext(t *testing.T) {
	silent := loneServer(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	for _, protocol := range []string{"tls", "relp", "tcp"} {
		g := newRig(t, config.RsyslogTarget{Protocol: protocol, Address: silent, ServerName: "x", Timeout: config.Duration(time.Minute)}, bundleOf(nil, nil))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		began := time.Now()
		steps := g.Test(ctx, "")
		if last := steps[len(steps)-1]; last.OK || time.Since(began) > 20*time.Second {
			t.Errorf("%s: %+v after %v", protocol, steps, time.Since(began))
		}
	}
}
