package rsyslog

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/sinks"
)

func TestMutualTLS(t *testing.T) {
	p := newPKI(t)
	foreign := testbed.NewCA(t, "foreign CA")
	for _, driver := range []string{"gtls", "ossl", "relp-tls", "relp-ossl"} {
		r := testbed.StartRsyslog(t, testbed.RsyslogOptions{Protocol: driver, CA: p.ca, Cert: p.server, PermittedPeers: []string{"node1"}})
		for _, c := range []struct {
			name    string
			bundle  *config.TLSBundle
			target  config.RsyslogTarget
			text    string // of the error; empty: it is delivered
			lenient bool   // the receiver may take it all the same
		}{
			{name: "right", bundle: p.bundle(), target: config.RsyslogTarget{ServerName: "logs.example"}},
			{name: "fingerprint alone", bundle: bundleOf(nil, p.client), target: config.RsyslogTarget{Fingerprints: []string{p.server.Fingerprint("sha-256")}}},
			{name: "sha-1 fingerprint of two", bundle: bundleOf(nil, p.client), target: config.RsyslogTarget{
				Fingerprints: []string{p.client.Fingerprint("sha-256"), p.server.Fingerprint("sha-1")}}},
			{name: "fingerprint, authority and name", bundle: p.bundle(), target: config.RsyslogTarget{
				ServerName: "logs.example", Fingerprints: []string{p.server.Fingerprint("sha-256")}}},

			// What rsyslog refuses. rsyslog 8.2302 with OpenSSL forgets to check
			// the name when the handshake comes in two pieces, and takes it.
			{name: "wrong client name", bundle: bundleOf(p.ca, p.ca.Client(t, "node2")), target: config.RsyslogTarget{ServerName: "logs.example"},
				text: "CN=node2, issued by CN=test CA", lenient: driver == "ossl"},
			{name: "client of a foreign authority", bundle: bundleOf(p.ca, foreign.Client(t, "node1")), target: config.RsyslogTarget{ServerName: "logs.example"},
				text: "CN=node1, issued by CN=foreign CA"},
			{name: "expired client", bundle: bundleOf(p.ca, p.ca.Expired(t, "node1")), target: config.RsyslogTarget{ServerName: "logs.example"},
				text: "issued by CN=test CA, expired on 20"},
			{name: "no client certificate", bundle: bundleOf(p.ca, nil), target: config.RsyslogTarget{ServerName: "logs.example"},
				text: "asked for a client certificate and none was shown"},

			// What we refuse.
			{name: "wrong server name", bundle: p.bundle(), target: config.RsyslogTarget{ServerName: "other.example"},
				text: `the server's certificate is for logs.example, not for "other.example"`},
			{name: "address is no name", bundle: p.bundle(), text: `the server's certificate is for logs.example, not for "127.0.0.1"`},
			{name: "unknown authority", bundle: bundleOf(foreign, p.client), target: config.RsyslogTarget{ServerName: "logs.example"},
				text: "the server's certificate (CN=logs.example) was issued by an unknown authority (CN=test CA)"},
			{name: "system authorities", bundle: bundleOf(nil, p.client), target: config.RsyslogTarget{ServerName: "logs.example"}, text: "unknown authority"},
			{name: "no bundle", target: config.RsyslogTarget{ServerName: "logs.example"}, text: "unknown authority"},
			{name: "wrong fingerprint", bundle: p.bundle(), target: config.RsyslogTarget{Fingerprints: []string{p.client.Fingerprint("sha-256")}},
				text: "(CN=logs.example) has the fingerprint " + p.server.Fingerprint("sha-256")},
			{name: "fingerprint but foreign authority", bundle: bundleOf(foreign, p.client), target: config.RsyslogTarget{
				Fingerprints: []string{p.server.Fingerprint("sha-256")}}, text: "unknown authority"},
			{name: "fingerprint but wrong name", bundle: p.bundle(), target: config.RsyslogTarget{
				ServerName: "other.example", Fingerprints: []string{p.server.Fingerprint("sha-256")}}, text: "other.example"},
		} {
			t.Run(driver+"/"+c.name, func(t *testing.T) {
				c.target.Address, c.target.Protocol = r.Address, overTLS[driver]
				rig := func() *rig {
					if g := newRig(t, c.target, c.bundle); c.text == "" {
						return g
					} else {
						return g.patience()
					}
				}
				g := rig()
				before := r.Count(t)
				batches := numbered(t, 3, 10)
				res, err := g.Send(within(t, time.Minute), batches)
				// With OpenSSL rsyslog 8.2302 now and then ends a connection for the
				// errors of the one before, and says nothing: that is not the refusal asked for here.
				for tries := 0; tries < 5 && err != nil && strings.Contains(err.Error(), "without saying why"); tries++ {
					g = rig()
					res, err = g.Send(within(t, time.Minute), batches)
				}
				if err == nil && (c.text == "" || c.lenient) {
					if res.Batches != 3 || res.Delivered != 30 {
						t.Errorf("%+v", res)
					}
					r.Wait(t, before+30)
					return
				}
				if c.text == "" {
					t.Fatalf("%v; rsyslog: %s", err, r.Log())
				}
				if class(err) != sinks.ClassTLS {
					t.Errorf("class %s (%v), want tls", class(err), err)
				}
				if res.Batches != 0 || res.Delivered != 0 {
					t.Errorf("%+v counts as delivered what was refused", res)
				}
				if err == nil || !strings.Contains(err.Error(), c.text) {
					t.Errorf("error %q does not say %q", err, c.text)
				}
				if g.outcomes[0] != sinks.ClassTLS || len(g.outcomes) != 1 {
					t.Errorf("outcomes %v", g.outcomes)
				}
			})
		}
	}
}

func TestExpiredServer(t *testing.T) {
	p := newPKI(t)
	p.server = p.ca.Expired(t, "logs.example")
	r := testbed.StartRsyslog(t, testbed.RsyslogOptions{Protocol: "gtls", CA: p.ca, Cert: p.server})
	g := newRig(t, config.RsyslogTarget{Address: r.Address, ServerName: "logs.example"}, p.bundle())
	res, err := g.Send(within(t, 20*time.Second), numbered(t, 1, 1))
	if class(err) != sinks.ClassTLS || res.Batches != 0 || !strings.Contains(err.Error(), "the server's certificate (CN=logs.example) expired on 20") {
		t.Errorf("%+v, %v", res, err)
	}
}

// Without client certificates asked for, a bundle with an authority alone does.
func TestServerThatAsksForNothing(t *testing.T) {
	p := newPKI(t)
	for _, driver := range []string{"gtls", "ossl"} {
		r := testbed.StartRsyslog(t, testbed.RsyslogOptions{Protocol: driver, CA: p.ca, Cert: p.server, AuthMode: "anon"})
		g := newRig(t, config.RsyslogTarget{Address: r.Address, ServerName: "logs.example"}, bundleOf(p.ca, nil))
		if res, err := g.Send(within(t, 20*time.Second), numbered(t, 2, 100)); err != nil || res.Delivered != 200 {
			t.Errorf("%+v, %v", res, err)
		}
		r.Wait(t, 200)
	}
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	p := newPKI(t)
	for want, c := range map[string]struct {
		target *config.RsyslogTarget
		bundle *config.TLSBundle
	}{
		"has no rsyslog":         {nil, nil},
		"rsyslog.address":        {&config.RsyslogTarget{Address: "nowhere"}, nil},
		"rsyslog.protocol":       {&config.RsyslogTarget{Address: "a:1", Protocol: "sctp"}, nil},
		"rsyslog.framing":        {&config.RsyslogTarget{Address: "a:1", Framing: "newline"}, nil},
		"rsyslog.facility":       {&config.RsyslogTarget{Address: "a:1", Facility: "local9"}, nil},
		"there is no TLS bundle": {&config.RsyslogTarget{Address: "a:1", TLSBundle: "gone"}, nil},
		"caPem":                  {&config.RsyslogTarget{Address: "a:1"}, &config.TLSBundle{Name: "x", CAPem: "no PEM"}},
		"certPem and keyPem":     {&config.RsyslogTarget{Address: "a:1"}, &config.TLSBundle{Name: "x", CertPem: p.client.CertPEM, KeyPem: config.Secret(p.server.KeyPEM)}},
		"fingerprint":            {&config.RsyslogTarget{Address: "a:1", Fingerprints: []string{"md5:AA"}}, nil},
	} {
		_, err := New(&config.Target{Name: "t", Rsyslog: c.target}, deps(&seen{}, c.bundle))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("the error shows a key: %v", err)
		}
	}
}

func TestErrorClasses(t *testing.T) {
	p := newPKI(t)
	silent := silentServer(t)
	for _, c := range []struct {
		name   string
		target config.RsyslogTarget
		class  string
	}{
		{"no such name", config.RsyslogTarget{Address: "no-such-host.invalid:6514"}, sinks.ClassResolve},
		{"refused", config.RsyslogTarget{Address: closedPort(t), Protocol: "tcp"}, sinks.ClassConnect},
		{"refused by udp", config.RsyslogTarget{Address: closedPort(t), Protocol: "udp"}, sinks.ClassConnect},
		{"silent in the handshake", config.RsyslogTarget{Address: silent, Timeout: config.Duration(200 * time.Millisecond)}, sinks.ClassTimeout},
		{"no TLS", config.RsyslogTarget{Address: greetingServer(t)}, sinks.ClassTLS},
	} {
		t.Run(c.name, func(t *testing.T) {
			bundle := p.bundle()
			if c.target.Protocol != "" {
				bundle = nil
			}
			g := newRig(t, c.target, bundle)
			start := time.Now()
			res, err := g.Send(within(t, 20*time.Second), numbered(t, 1, 3))
			if class(err) != c.class || res.Batches != 0 || len(g.outcomes) != 1 || g.outcomes[0] != c.class {
				t.Errorf("%+v, %v, outcomes %v; want class %s", res, err, g.outcomes, c.class)
			}
			if c.class == sinks.ClassTimeout && time.Since(start) > defaultTimeout*9/10 {
				t.Errorf("the time limit of 200 ms took %v", time.Since(start))
			}
		})
	}
}

func TestShutdownInTheHandshake(t *testing.T) {
	g := newRig(t, config.RsyslogTarget{Address: silentServer(t)}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	start := time.Now()
	_, err := g.Send(ctx, numbered(t, 1, 1))
	if class(err) != sinks.ClassShutdown || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > defaultTimeout*9/10 {
		t.Errorf("it took %v", took)
	}
}
