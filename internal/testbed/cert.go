package testbed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// CA is a certificate authority that a test makes for itself. Two CAs never
// trust each other's certificates, whatever their names.
type CA struct {
	Cert *x509.Certificate
	PEM  string // its certificate, as a TLS bundle's caPem takes it

	key *ecdsa.PrivateKey
}

// Cert is a certificate with its key.
type Cert struct {
	Cert    *x509.Certificate
	CertPEM string // the certificate, as a TLS bundle's certPem takes it
	KeyPEM  string // its private key (PKCS #8)
}

// CertOptions say what a certificate holds.
type CertOptions struct {
	CommonName string
	Names      []string      // DNS names and IP addresses that it is for
	Starts     time.Duration // its start, from now; 0: an hour ago
	Lasts      time.Duration // from its start; 0: a day
	// Usages of the key; none: both server and client.
	Usages []x509.ExtKeyUsage
}

// NewCA makes an authority of that name.
func NewCA(tb TB, name string) *CA {
	tb.Helper()
	key := newKey(tb)
	template := &x509.Certificate{
		SerialNumber:          serial(tb),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-48 * time.Hour),
		NotAfter:              time.Now().Add(48 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	cert, text := sign(tb, template, template, key, key)
	return &CA{Cert: cert, PEM: text, key: key}
}

// Issue makes a certificate.
func (ca *CA) Issue(tb TB, o CertOptions) *Cert {
	tb.Helper()
	key := newKey(tb)
	if o.Starts == 0 {
		o.Starts = -time.Hour
	}
	if o.Lasts == 0 {
		o.Lasts = 24 * time.Hour
	}
	if len(o.Usages) == 0 {
		o.Usages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	start := time.Now().Add(o.Starts)
	template := &x509.Certificate{
		SerialNumber: serial(tb),
		Subject:      pkix.Name{CommonName: o.CommonName},
		NotBefore:    start,
		NotAfter:     start.Add(o.Lasts),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  o.Usages,
	}
	for _, name := range o.Names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	cert, text := sign(tb, template, ca.Cert, key, ca.key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatalf("encoding a key: %v", err)
	}
	return &Cert{
		Cert:    cert,
		CertPEM: text,
		KeyPEM:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}
}

// Server makes a server's certificate for the names (DNS names or IP
// addresses) of which the first is the common name too.
func (ca *CA) Server(tb TB, names ...string) *Cert {
	tb.Helper()
	return ca.Issue(tb, CertOptions{CommonName: names[0], Names: names, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
}

// Client makes a client's certificate of that name.
func (ca *CA) Client(tb TB, name string) *Cert {
	tb.Helper()
	return ca.Issue(tb, CertOptions{CommonName: name, Names: []string{name}, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// Expired makes a certificate that ended an hour ago.
func (ca *CA) Expired(tb TB, names ...string) *Cert {
	tb.Helper()
	return ca.Issue(tb, CertOptions{CommonName: names[0], Names: names, Starts: -24 * time.Hour, Lasts: 23 * time.Hour})
}

// Fingerprint returns the certificate's fingerprint by "sha-256" or "sha-1" as
// RFC 5425 section 4.2.2 writes it: "sha-256:AB:CD:...".
func (c *Cert) Fingerprint(hash string) string {
	var sum []byte
	switch hash {
	case "sha-256":
		s := sha256.Sum256(c.Cert.Raw)
		sum = s[:]
	case "sha-1":
		s := sha1.Sum(c.Cert.Raw)
		sum = s[:]
	default:
		return ""
	}
	return hash + ":" + strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}

// TLS returns the certificate as Go's servers and clients take it.
func (c *Cert) TLS(tb TB) tls.Certificate {
	tb.Helper()
	pair, err := tls.X509KeyPair([]byte(c.CertPEM), []byte(c.KeyPEM))
	if err != nil {
		tb.Fatalf("reading back a certificate: %v", err)
	}
	return pair
}

// Files writes the certificate and its key into dir and returns their paths.
func (c *Cert) Files(tb TB, dir, name string) (cert, key string) {
	tb.Helper()
	return writeText(tb, dir, name+".crt", c.CertPEM), writeText(tb, dir, name+".key", c.KeyPEM)
}

// File writes the authority's certificate into dir and returns its path.
func (ca *CA) File(tb TB, dir, name string) string {
	tb.Helper()
	return writeText(tb, dir, name+".crt", ca.PEM)
}

func writeText(tb TB, dir, name, text string) string {
	tb.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatalf("writing a certificate: %v", err)
	}
	return path
}

func newKey(tb TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("making a key: %v", err)
	}
	return key
}

func serial(tb TB) *big.Int {
	tb.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		tb.Fatalf("making a serial number: %v", err)
	}
	return n.Add(n, big.NewInt(1))
}

func sign(tb TB, template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) (*x509.Certificate, string) {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		tb.Fatalf("making the certificate of %s: %v", template.Subject, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatalf("reading the certificate of %s: %v", template.Subject, err)
	}
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
