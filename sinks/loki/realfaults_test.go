package loki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// randomLines do not compress much: about 100 bytes each.
func randomLines(stream string, n int) []line {
	now := time.Now().Add(-time.Minute)
	var out []line
	for i := range n {
		raw := make([]byte, 50)
		rand.Read(raw)
		out = append(out, line{stream, now.Add(time.Duration(i) * time.Millisecond), fmt.Sprintf("%x", raw), nil})
	}
	return out
}

// A push above a limit of the whole request is cut until it passes, and what
// was learned is kept. The limits are met in three places of Loki, which say it
// with 413, 400 and 500.
func TestRealTooLarge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		o    testbed.LokiOptions
	}{
		{"413 of the distributor", testbed.LokiOptions{Distributor: map[string]string{"max_recv_msg_size": "20000"}}},
		{"400 for what is unpacked", testbed.LokiOptions{Distributor: map[string]string{"max_decompressed_size": "30000"}}},
		{"500 of gRPC", testbed.LokiOptions{Server: map[string]string{"grpc_server_max_recv_msg_size": "40000"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := testbed.StartLoki(t, c.o)
			r := newRig(t, config.LokiTarget{URL: l.URL}, nil)
			lines := append(randomLines("a", 1500), randomLines("b", 1500)...)
			raw := make([]byte, 60000)
			rand.Read(raw)
			huge := line{"a", time.Now(), fmt.Sprintf("%x", raw), nil}
			res := r.send(t, batchOf(append(lines, huge)...))
			if res.Delivered != 3000 || refusedOf(res, reasonTooLarge) != 1 {
				t.Errorf("delivered %d of 3000, refused %+v", res.Delivered, res.Refused)
			}
			before := r.requests()
			r.send(t, batchOf(randomLines("c", 1500)...))
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, outcome := range r.outcomes[before+1:] { // one try may be too large
				if outcome != "ok" {
					t.Errorf("what was learned is forgotten: %v", r.outcomes[before:])
					break
				}
			}
			if got := l.Query(t, testbed.LokiQuery{Query: `{unit=~"a|b"}`, Page: 50}); len(got) != 3000 {
				t.Errorf("Loki has %d lines of 3000", len(got))
			}
		})
	}
}

// A push above the burst of the rate limit never passes as a whole; halves do.
// One line that is larger than the limit itself is given up, but only after a
// time, and nothing else is.
func TestRealRateLimit(t *testing.T) {
	t.Parallel()
	l := testbed.StartLoki(t, testbed.LokiOptions{Limits: map[string]string{
		"ingestion_rate_strategy": "local", "ingestion_rate_mb": "0.05", "ingestion_burst_size_mb": "0.05"}})
	r := newRig(t, config.LokiTarget{URL: l.URL}, nil)
	var passed time.Duration
	r.now = func() time.Time { return time.Now().Add(passed) }
	lines := randomLines("a", 1500) // 150 KB; the burst is 52 KB
	_, err := r.wantError(t, sinks.ClassLimited, batchOf(lines...))
	if !strings.Contains(err.Error(), "ingestion rate limit exceeded") {
		t.Errorf("error %v", err)
	}
	res := r.untilSent(t, batchOf(lines...))
	if res.Delivered != len(lines) {
		t.Errorf("delivered %d of %d", res.Delivered, len(lines))
	}
	if got := l.Query(t, testbed.LokiQuery{}); len(got) != len(lines) {
		t.Errorf("Loki has %d lines of %d", len(got), len(lines))
	}
	huge := batchOf(line{"a", time.Now(), strings.Repeat("0123456789", 6000), nil})
	for range 2 * stuckTimes {
		r.wantError(t, sinks.ClassLimited, huge)
	}
	passed = stuckFor
	if res := r.send(t, huge); refusedOf(res, reasonRate) != 1 {
		t.Errorf("the line that cannot pass: %+v", res)
	}
}

func TestRealStreamRateLimit(t *testing.T) {
	t.Parallel()
	l := testbed.StartLoki(t, testbed.LokiOptions{Limits: map[string]string{
		"per_stream_rate_limit": "100KB", "per_stream_rate_limit_burst": "100KB"}})
	r := newRig(t, config.LokiTarget{URL: l.URL}, nil)
	lines := append(randomLines("a", 2500), randomLines("b", 10)...)
	_, err := r.wantError(t, sinks.ClassLimited, batchOf(lines...))
	if !strings.Contains(err.Error(), "er stream rate limit exceeded") {
		t.Errorf("error %v", err)
	}
	if res := r.untilSent(t, batchOf(lines...)); res.Delivered != len(lines) {
		t.Errorf("delivered %d of %d, %+v", res.Delivered, len(lines), res.Refused)
	}
	if got := l.Query(t, testbed.LokiQuery{}); len(got) != len(lines) {
		t.Errorf("Loki has %d lines of %d", len(got), len(lines))
	}
}

// Loki's 260 is no yes, and one stream too many is not lost.
func TestRealNoIsNotYes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, class, says string
		limits            map[string]string
		first             int
	}{
		{"blocked", sinks.ClassHTTP, "ingestion blocked", map[string]string{"block_ingestion_until": "2100-01-01T00:00:00Z"}, 0},
		{"stream limit", sinks.ClassLimited, "active stream limit", map[string]string{"max_global_streams_per_user": "2"}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := testbed.StartLoki(t, testbed.LokiOptions{Limits: c.limits})
			r := newRig(t, config.LokiTarget{URL: l.URL}, nil)
			for i := range c.first {
				r.send(t, batchOf(randomLines(fmt.Sprint("unit", i), 1)...))
			}
			res, err := r.wantError(t, c.class, batchOf(randomLines("other", 3)...))
			if res.Batches != 0 || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
}

// Loki is killed and comes back: nothing is lost, nothing is there twice.
func TestRealRestart(t *testing.T) {
	t.Parallel()
	l := testbed.StartLoki(t, testbed.LokiOptions{})
	r := newRig(t, config.LokiTarget{URL: l.URL, Timeout: config.Duration(2 * time.Second)}, nil)
	b := batchOf(randomLines("a", 500)...)
	r.send(t, b)
	l.Kill()
	// The first push may still take the connection that has just ended, and fail as one that broke.
	if _, err := r.Send(t.Context(), []*record.Batch{batchOf(randomLines("b", 500)...)}); err == nil {
		t.Fatal("a push to a Loki that was killed has not failed")
	}
	r.wantError(t, sinks.ClassConnect, batchOf(randomLines("b", 500)...))
	l.Start()
	r.send(t, b) // a replay
	r.untilSent(t, batchOf(randomLines("b", 500)...))
	l.Pause()
	c := batchOf(randomLines("c", 500)...)
	r.Sink.client.timeout = 200 * time.Millisecond
	r.wantError(t, sinks.ClassTimeout, c)
	l.Resume()
	r.Sink.client.timeout = 5 * time.Second
	r.untilSent(t, c)
	if got := l.Query(t, testbed.LokiQuery{}); len(got) != 1500 {
		t.Errorf("Loki has %d lines of 1500", len(got))
	}
}

func TestRealTenants(t *testing.T) {
	t.Parallel()
	l := testbed.StartLoki(t, testbed.LokiOptions{Tenants: true})
	for i, tenant := range []string{"one", "two"} {
		newRig(t, config.LokiTarget{URL: l.URL, TenantID: tenant}, nil).send(t, batchOf(randomLines("a", 10+i)...))
	}
	for i, tenant := range []string{"one", "two"} {
		if got := l.Query(t, testbed.LokiQuery{Tenant: tenant}); len(got) != 10+i {
			t.Errorf("tenant %s has %d lines of %d", tenant, len(got), 10+i)
		}
	}
	none := newRig(t, config.LokiTarget{URL: l.URL}, nil)
	none.wantError(t, sinks.ClassAuth, batchOf(randomLines("a", 1)...))
	// A tenant that Loki does not like is a mistake here, and no line is lost for it.
	bad := newRig(t, config.LokiTarget{URL: l.URL, TenantID: "a/b"}, nil)
	if res, _ := bad.wantError(t, sinks.ClassHTTP, batchOf(randomLines("a", 4)...)); res.Batches != 0 {
		t.Errorf("%+v", res)
	}
}

// ca makes certificates for a test.
type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newCA(t *testing.T) *ca {
	c := &ca{}
	c.cert, c.key, c.pem, _ = issue(t, nil, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return c
}

func issue(t *testing.T, by *ca, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, []byte, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: t.Name()}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	keyDER, _ := x509.MarshalPKCS8PrivateKey(key)
	return cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func TestRealMutualTLS(t *testing.T) {
	t.Parallel()
	mine, foreign := newCA(t), newCA(t)
	_, _, serverCert, serverKey := issue(t, mine, &x509.Certificate{DNSNames: []string{"loki.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	client := func(by *ca) (cert, key []byte) {
		_, _, cert, key = issue(t, by, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		return cert, key
	}
	cert, key := client(mine)
	foreignCert, foreignKey := client(foreign)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(mine.cert)
	l := testbed.StartLoki(t, testbed.LokiOptions{TLS: &testbed.LokiTLS{CertPEM: serverCert, KeyPEM: serverKey, ClientCAPEM: mine.pem,
		Reader: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}}})
	bundle := func(ca, cert, key []byte) *config.TLSBundle {
		return &config.TLSBundle{Name: "b", CAPem: string(ca), CertPem: string(cert), KeyPem: config.Secret(key)}
	}
	good := bundle(mine.pem, cert, key)
	for i, name := range []string{"", "loki.example"} {
		newRig(t, config.LokiTarget{URL: l.URL, ServerName: name}, good).send(t, batchOf(randomLines(fmt.Sprint(i), 10)...))
	}
	if got := l.Query(t, testbed.LokiQuery{}); len(got) != 20 {
		t.Errorf("Loki has %d lines of 20", len(got))
	}
	for _, c := range []struct {
		name       string
		bundle     *config.TLSBundle
		serverName string
	}{
		{"another name", good, "other.example"},
		{"the server is signed by somebody else", bundle(foreign.pem, cert, key), ""},
		{"the system's authorities", nil, ""},
		{"no client certificate", bundle(mine.pem, nil, nil), ""},
		{"a client of somebody else", bundle(mine.pem, foreignCert, foreignKey), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, config.LokiTarget{URL: l.URL, ServerName: c.serverName}, c.bundle)
			// Under TLS 1.3 a refused client learns it by an alert after the
			// handshake; now and then its connection is closed before it was read.
			b := batchOf(randomLines("x", 1)...)
			var failed *sinks.Error
			for range 100 {
				_, err := r.Send(t.Context(), []*record.Batch{b})
				if !errors.As(err, &failed) {
					t.Fatalf("error %v", err)
				}
				if failed.Class != sinks.ClassBroken {
					break
				}
			}
			if failed.Class != sinks.ClassTLS {
				t.Errorf("class %s (%v), want tls", failed.Class, failed)
			}
		})
	}
	plain := newRig(t, config.LokiTarget{URL: strings.Replace(l.URL, "https:", "http:", 1)}, nil)
	// The answer to plain HTTP may be lost to the reset that follows it.
	b := batchOf(randomLines("x", 3)...)
	var failed *sinks.Error
	for range 100 {
		if _, err := plain.Send(t.Context(), []*record.Batch{b}); !errors.As(err, &failed) {
			t.Fatalf("error %v", err)
		}
		if failed.Class != sinks.ClassBroken {
			break
		}
	}
	if failed.Class != sinks.ClassHTTP {
		t.Errorf("plain HTTP: class %s (%v), want http_other", failed.Class, failed)
	}
}

// Any label set that we make is one that Loki takes.
func TestRealLabelsAreTaken(t *testing.T) {
	t.Parallel()
	l := testbed.StartLoki(t, testbed.LokiOptions{})
	r := newRig(t, config.LokiTarget{URL: l.URL, StructuredMetadata: []string{"one", "three.four", "日本"}}, nil)
	rnd := newRand(3)
	n := 0
	for range 60 {
		b := randomBatch(rnd, randomOrigins(rnd))
		for i := range b.Records {
			b.Records[i].Time = time.Now().UnixNano()
			if h := b.Records[i].Header; i%10 == 0 && len(h.Unit) < 100 {
				h.Unit = bytes.Repeat(h.Unit, rnd.IntN(900))
			}
		}
		n += len(b.Records)
		res := r.send(t, b)
		if len(res.Refused) > 0 {
			t.Fatalf("refused %+v", res.Refused)
		}
	}
	if len(r.streams.byText) < 200 || n < 500 {
		t.Errorf("only %d streams and %d records were tried", len(r.streams.byText), n)
	}
}

func TestMain(m *testing.M) {
	// Proxies of the machine that runs the tests have no business here.
	for _, name := range []string{"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"} {
		os.Unsetenv(name)
	}
	os.Exit(m.Run())
}
