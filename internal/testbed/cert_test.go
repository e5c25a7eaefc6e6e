package testbed

import (
	"crypto/x509"
	"testing"
)

func TestCertificatesAreOfTheirAuthorityAndTime(t *testing.T) {
	ca, other := NewCA(t, "one"), NewCA(t, "one")
	server := ca.Server(t, "logs.example", "127.0.0.1")
	verify := func(ca *CA, c *Cert, name string, usage x509.ExtKeyUsage) error {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(ca.PEM)) {
			t.Fatal("the authority's PEM cannot be read")
		}
		_, err := c.Cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{usage}})
		return err
	}
	const asServer, asClient = x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth
	for _, c := range []struct {
		what  string
		ca    *CA
		cert  *Cert
		name  string
		usage x509.ExtKeyUsage
		good  bool
	}{
		{"by name", ca, server, "logs.example", asServer, true},
		{"by address", ca, server, "127.0.0.1", asServer, true},
		{"wrong name", ca, server, "other.example", asServer, false},
		{"other authority of the same name", other, server, "logs.example", asServer, false},
		{"server as client", ca, server, "logs.example", asClient, false},
		{"client", ca, ca.Client(t, "node1"), "node1", asClient, true},
		{"expired", ca, ca.Expired(t, "node1"), "node1", asClient, false},
	} {
		if err := verify(c.ca, c.cert, c.name, c.usage); (err == nil) != c.good {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}
