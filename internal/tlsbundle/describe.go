package tlsbundle

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Describe says what a handshake that went well has found: the version, the
// server's certificate, and ours if one was asked for.
func Describe(s tls.ConnectionState, shown Shown) string {
	text := tls.VersionName(s.Version) + ", " + tls.CipherSuiteName(s.CipherSuite)
	if len(s.PeerCertificates) > 0 {
		text += "; the server's certificate is " + DescribeServer(s.PeerCertificates[0])
	}
	switch {
	case !shown.Asked:
		text += "; it asked for no client certificate"
	case shown.Cert == nil:
		text += "; it asked for a client certificate and none was shown (the TLS bundle has none)"
	default:
		text += fmt.Sprintf("; it asked for a client certificate and was shown %s, issued by %s, %s", subject(shown.Cert), shown.Cert.Issuer, validity(shown.Cert))
	}
	return text
}

// DescribeServer says whose a server's certificate is, what it is for, who has
// issued it, and when it is valid.
func DescribeServer(c *x509.Certificate) string {
	have := names(c)
	if have == "" {
		have = "no name"
	}
	return fmt.Sprintf("%s, for %s, issued by %s, %s, with the fingerprint %s", subject(c), have, c.Issuer, validity(c), Fingerprint(c, false))
}

// validity gives the dates of a certificate and the time that is left.
func validity(c *x509.Certificate) string {
	text := "valid from " + date(c.NotBefore) + " until " + date(c.NotAfter)
	switch left := time.Until(c.NotAfter); {
	case left < 0:
		return text + ", which is past"
	case time.Until(c.NotBefore) > 0:
		return text + ", not yet"
	case left < 48*time.Hour:
		return fmt.Sprintf("%s (%d hours left)", text, int(left.Hours()))
	default:
		return fmt.Sprintf("%s (%d days left)", text, int(left.Hours()/24))
	}
}

// Presented returns the server's certificate that an error of a handshake is
// about, nil if it is about none.
func Presented(err error) *x509.Certificate {
	var verify *tls.CertificateVerificationError
	var finger *FingerprintError
	switch {
	case errors.As(err, &verify) && len(verify.UnverifiedCertificates) > 0:
		return verify.UnverifiedCertificates[0]
	case errors.As(err, &finger):
		return finger.Cert
	}
	return nil
}
