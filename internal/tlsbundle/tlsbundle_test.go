package tlsbundle_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/internal/tlsbundle"
)

// server is how one TLS server is to be.
type server struct {
	cert *testbed.Cert
	// clients is the authority of the certificates that it wants; nil: it asks
	// for none.
	clients *testbed.CA
	most    uint16 // TLS version; 0: the newest
	plain   string // what it says instead of a handshake
}

// start serves one connection: a handshake, one octet, a close.
func (s server) start(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{s.cert.TLS(t)}, MaxVersion: s.most, MinVersion: tls.VersionTLS10}
	if s.clients != nil {
		conf.ClientAuth, conf.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		conf.ClientCAs.AddCert(s.clients.Cert)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		if s.plain != "" {
			c.Read(make([]byte, 1))
			c.Write([]byte(s.plain))
			return
		}
		t := tls.Server(c, conf)
		if t.Handshake() == nil {
			t.Write([]byte("!"))
			t.Close()
			return
		}
		// A close with unread octets is a reset, which may overtake the alert.
		c.(*net.TCPConn).CloseWrite()
		for buf := make([]byte, 1024); ; {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	}()
	return l.Addr().String()
}

// dial shakes hands and reads the octet; the error is explained.
func dial(t *testing.T, address string, o tlsbundle.Options) error {
	t.Helper()
	conf, err := tlsbundle.Client(o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var shown tlsbundle.Shown
	tc := tls.Client(c, tlsbundle.Watch(conf, &shown))
	if err := tc.HandshakeContext(ctx); err != nil {
		return tlsbundle.Explain(err, shown)
	}
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadFull(tc, make([]byte, 1)); err != nil {
		return tlsbundle.Explain(err, shown)
	}
	return nil
}

func TestHandshakes(t *testing.T) {
	ca, foreign := testbed.NewCA(t, "ours"), testbed.NewCA(t, "theirs")
	cert, client := ca.Server(t, "siem.test"), ca.Client(t, "node.test")
	plain, asks := server{cert: cert}, server{cert: cert, clients: ca}
	shows := func(c *testbed.Cert) tlsbundle.Options {
		return tlsbundle.Options{CAPem: ca.PEM, Host: "siem.test", CertPem: c.CertPEM, KeyPem: c.KeyPEM}
	}
	named := tlsbundle.Options{CAPem: ca.PEM, Host: "siem.test"}
	print256, print1 := cert.Fingerprint("sha-256"), cert.Fingerprint("sha-1")
	other := client.Fingerprint("sha-256")
	old12 := asks
	old12.most = tls.VersionTLS12
	for name, c := range map[string]struct {
		server
		options tlsbundle.Options
		want    []string // of the error; none: it must work
	}{
		"ours":                      {plain, named, nil},
		"name over host":            {plain, tlsbundle.Options{CAPem: ca.PEM, Host: "10.0.0.1", ServerName: "siem.test"}, nil},
		"wrong name":                {plain, tlsbundle.Options{CAPem: ca.PEM, Host: "other.test"}, []string{`is for siem.test, not for "other.test"`}},
		"address without one in it": {plain, tlsbundle.Options{CAPem: ca.PEM, Host: "10.0.0.1"}, []string{"siem.test", "10.0.0.1"}},
		"foreign authority":         {plain, tlsbundle.Options{CAPem: foreign.PEM, Host: "siem.test"}, []string{"unknown authority", "CN=ours"}},
		"the system's authorities":  {plain, tlsbundle.Options{Host: "siem.test"}, []string{"unknown authority"}},
		"expired":                   {server{cert: ca.Expired(t, "siem.test")}, named, []string{"CN=siem.test", "expired on"}},
		"not yet": {server{cert: ca.Issue(t, testbed.CertOptions{CommonName: "siem.test", Names: []string{"siem.test"}, Starts: time.Hour})},
			named, []string{"not valid before"}},
		"a client's certificate": {server{cert: ca.Client(t, "siem.test")}, named, []string{"does not hold"}},
		"no names":               {server{cert: ca.Issue(t, testbed.CertOptions{CommonName: "siem.test"})}, named, []string{"common name alone"}},
		"old TLS":                {server{cert: cert, most: tls.VersionTLS11}, named, []string{"takes no TLS version"}},
		"no TLS":                 {server{cert: cert, plain: "220 mail.test ESMTP\r\n"}, named, []string{"does not speak TLS"}},

		"client":               {asks, shows(client), nil},
		"client, TLS 1.2":      {old12, shows(client), nil},
		"no client":            {asks, named, []string{"asked for a client certificate and none was shown"}},
		"no client, TLS 1.2":   {old12, named, []string{"asked for a client certificate and none was shown"}},
		"foreign client":       {asks, shows(foreign.Client(t, "node.test")), []string{"refused our client certificate (CN=node.test, issued by CN=theirs)"}},
		"expired client":       {asks, shows(ca.Expired(t, "node.test")), []string{"refused our client certificate", "expired on"}},
		"expired, TLS 1.2":     {old12, shows(ca.Expired(t, "node.test")), []string{"refused our client certificate", "expired on"}},
		"client not asked for": {plain, shows(client), nil},

		"fingerprint":                  {plain, tlsbundle.Options{Host: "other.test", Fingerprints: []string{other, print256}}, nil},
		"sha-1":                        {plain, tlsbundle.Options{Fingerprints: []string{strings.ToLower(print1)}}, nil},
		"fingerprint of an expired":    {server{cert: ca.Expired(t, "siem.test")}, tlsbundle.Options{Fingerprints: []string{other}}, []string{"fingerprint sha-256:", "not configured"}},
		"wrong fingerprint":            {plain, tlsbundle.Options{Fingerprints: []string{other}}, []string{print256, "not configured"}},
		"fingerprint, authority":       {plain, tlsbundle.Options{CAPem: ca.PEM, Fingerprints: []string{print256}}, nil},
		"fingerprint, foreign":         {plain, tlsbundle.Options{CAPem: foreign.PEM, Fingerprints: []string{print256}}, []string{"unknown authority"}},
		"fingerprint, wrong name":      {plain, tlsbundle.Options{CAPem: ca.PEM, ServerName: "other.test", Fingerprints: []string{print256}}, []string{"other.test"}},
		"authority, wrong fingerprint": {plain, tlsbundle.Options{CAPem: ca.PEM, Fingerprints: []string{other}}, []string{"not configured"}},
		"fingerprint, no client":       {asks, tlsbundle.Options{Fingerprints: []string{print256}}, []string{"none was shown"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := dial(t, c.start(t), c.options)
			if len(c.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil {
				t.Fatal("it works")
			}
			for _, word := range c.want {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q is not in: %v", word, err)
				}
			}
		})
	}
}

// What cannot work is said before anybody connects, and no key is repeated.
func TestClientRefuses(t *testing.T) {
	ca := testbed.NewCA(t, "ours")
	one, two := ca.Client(t, "one.test"), ca.Client(t, "two.test")
	for name, c := range map[string]struct {
		options tlsbundle.Options
		want    string
	}{
		"authority":      {tlsbundle.Options{CAPem: "nothing"}, "caPem"},
		"key alone":      {tlsbundle.Options{KeyPem: one.KeyPEM}, "certPem and keyPem"},
		"other's key":    {tlsbundle.Options{CertPem: one.CertPEM, KeyPem: two.KeyPEM}, "does not match"},
		"broken key":     {tlsbundle.Options{CertPem: one.CertPEM, KeyPem: "secret"}, "certPem and keyPem"},
		"no hash":        {tlsbundle.Options{Fingerprints: []string{"AB:CD"}}, `start with "sha-256:"`},
		"short":          {tlsbundle.Options{Fingerprints: []string{"sha-256:AB:CD"}}, "2 octets, not 32"},
		"not hex":        {tlsbundle.Options{Fingerprints: []string{"sha-1:XY"}}, "hexadecimal"},
		"one of several": {tlsbundle.Options{Fingerprints: []string{one.Fingerprint("sha-1"), "sha-1:"}}, "0 octets"},
	} {
		_, err := tlsbundle.Client(c.options)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if key := c.options.KeyPem; key != "" && strings.Contains(err.Error(), key) {
			t.Errorf("%s: the key is in the error", name)
		}
	}
}
