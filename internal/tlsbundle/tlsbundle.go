// Package tlsbundle makes a TLS client's configuration of PEM texts, a server
// name and fingerprints, and says what is wrong when a handshake fails.
package tlsbundle

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Options of a TLS client. All may be empty.
type Options struct {
	// CAPem holds the certificates of the authorities that are trusted; empty: the system's.
	CAPem string
	// CertPem and KeyPem hold the chain that is shown to a server that asks
	// for a certificate, and its key; empty: none is shown.
	CertPem, KeyPem string
	// Host is the host that is connected to: the server's certificate must be
	// for it, unless ServerName is given.
	Host string
	// ServerName is the name that the server's certificate must be for.
	ServerName string
	// Fingerprints are those of accepted certificates (RFC 5425 section 4.2.2).
	// With only Fingerprints, nothing else of the certificate is checked, not
	// its dates either, so that a self-signed one will do. With CAPem too, the
	// chain must hold as well; with ServerName too, the chain and the name.
	Fingerprints []string
}

// Client returns the configuration of a client, for TLS 1.2 and later.
// Verification is always on. A certificate is shown whenever a server asks for
// one, even if the server's list of authorities does not hold its issuer: the
// server's refusal says more than the lack of a certificate.
func Client(o Options) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.ServerName}
	if c.ServerName == "" {
		c.ServerName = o.Host
	}
	if o.CAPem != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(o.CAPem)) {
			return nil, errors.New("reading caPem: it holds no certificate")
		}
	}
	if o.CertPem != "" || o.KeyPem != "" {
		pair, err := tls.X509KeyPair([]byte(o.CertPem), []byte(o.KeyPem))
		if err != nil {
			return nil, fmt.Errorf("reading certPem and keyPem: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	if len(o.Fingerprints) == 0 {
		return c, nil
	}
	prints, err := parseAll(o.Fingerprints)
	if err != nil {
		return nil, err
	}
	// crypto/tls cannot check a chain without a name, so the checks are made here.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if o.CAPem != "" || o.ServerName != "" {
			if err := verifyChain(c.RootCAs, o.ServerName, s.PeerCertificates); err != nil {
				return err
			}
		}
		return prints.check(s.PeerCertificates[0])
	}
	return c, nil
}

func verifyChain(roots *x509.CertPool, name string, certs []*x509.Certificate) error {
	o := x509.VerifyOptions{Roots: roots, DNSName: name, Intermediates: x509.NewCertPool(), CurrentTime: time.Now()}
	for _, c := range certs[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := certs[0].Verify(o); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: certs, Err: err}
	}
	return nil
}

// FingerprintError says that the server's certificate is none of those accepted.
type FingerprintError struct {
	Cert *x509.Certificate
	SHA1 bool // only sha-1 fingerprints are configured
}

func (e *FingerprintError) Error() string {
	return "the server's certificate (" + e.Cert.Subject.String() + ") has the fingerprint " + Fingerprint(e.Cert, e.SHA1) +
		", which is not configured"
}

// Fingerprint returns the certificate's fingerprint by SHA-256 or SHA-1 as RFC
// 5425 section 4.2.2 writes it: "sha-256:AB:CD:...".
func Fingerprint(cert *x509.Certificate, useSHA1 bool) string {
	name, sum := "sha-256", sha256.Sum256(cert.Raw)
	hash := sum[:]
	if useSHA1 {
		sum := sha1.Sum(cert.Raw)
		name, hash = "sha-1", sum[:]
	}
	return name + ":" + strings.ReplaceAll(fmt.Sprintf("% X", hash), " ", ":")
}

// fingerprints are hashes; the length says by which algorithm.
type fingerprints [][]byte

func (f fingerprints) check(cert *x509.Certificate) error {
	long, short := sha256.Sum256(cert.Raw), sha1.Sum(cert.Raw)
	onlySHA1 := true
	for _, want := range f {
		if string(want) == string(long[:]) || string(want) == string(short[:]) {
			return nil
		}
		onlySHA1 = onlySHA1 && len(want) == sha1.Size
	}
	return &FingerprintError{cert, onlySHA1}
}

func parseAll(texts []string) (fingerprints, error) {
	var all fingerprints
	for _, text := range texts {
		f, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("reading the fingerprint %q: %w", text, err)
		}
		all = append(all, f)
	}
	return all, nil
}

// parse reads "sha-256:AB:CD:..." or "sha-1:..."; case, colons between the
// octets and the hyphen in the name do not matter, as tools print them differently.
func parse(text string) ([]byte, error) {
	name, digits, _ := strings.Cut(text, ":")
	var size int
	switch strings.ToLower(name) {
	case "sha-256", "sha256":
		size = sha256.Size
	case "sha-1", "sha1":
		size = sha1.Size
	default:
		return nil, errors.New(`it must start with "sha-256:" or "sha-1:"`)
	}
	hash, err := hex.DecodeString(strings.ReplaceAll(digits, ":", ""))
	if err != nil {
		return nil, errors.New("it must be hexadecimal digits, two for each octet")
	}
	if len(hash) != size {
		return nil, fmt.Errorf("it has %d octets, not %d", len(hash), size)
	}
	return hash, nil
}
