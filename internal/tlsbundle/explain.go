package tlsbundle

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

// Shown is what one connection learned about client certificates.
type Shown struct {
	Asked bool              // the server asked for one
	Cert  *x509.Certificate // what was shown; nil if none was
}

// Watch returns a copy of c for one connection that fills in s while the
// handshake runs. s may be read once the handshake has ended.
func Watch(c *tls.Config, s *Shown) *tls.Config {
	c = c.Clone()
	give := c.GetClientCertificate
	c.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		s.Asked = true
		if give == nil {
			return new(tls.Certificate), nil // shows none
		}
		pair, err := give(info)
		if err == nil && len(pair.Certificate) > 0 {
			s.Cert, _ = x509.ParseCertificate(pair.Certificate[0])
		}
		return pair, err
	}
	return c
}

// Error is a TLS failure in words for whoever runs the two machines.
type Error struct {
	Text string
	Err  error // what crypto/tls said
}

func (e *Error) Error() string { return e.Text }
func (e *Error) Unwrap() error { return e.Err }

// IsAlert reports whether err is a TLS alert that the other side sent.
func IsAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// Explain says what err, an error of a handshake or of reading soon after it,
// means. An error that is not TLS's own comes back as it is.
func Explain(err error, s Shown) error {
	var verify *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var finger *FingerprintError
	var existing *Error
	switch {
	case errors.As(err, &existing):
		return err
	case errors.As(err, &finger):
		return &Error{finger.Error(), err}
	case errors.As(err, &verify):
		return &Error{explainVerify(verify), err}
	case errors.As(err, &header):
		return &Error{"the server does not speak TLS", err}
	case IsAlert(err):
		return &Error{explainAlert(err, s), err}
	case IsClosed(err):
		return &Error{"the server closed the connection " + s.blame(), err}
	}
	return err
}

// IsClosed reports whether err says that the other side closed or reset the
// connection.
func IsClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// blame says what a server that said nothing most likely did not like.
func (s Shown) blame() string {
	switch {
	case !s.Asked:
		return "during or right after the TLS handshake without saying why; its log may tell"
	case s.Cert == nil:
		return "after it asked for a client certificate and none was shown (the TLS bundle has none)"
	}
	return "after it asked for a client certificate; most likely it refuses ours (" + describe(s.Cert) + ")"
}

func explainAlert(err error, s Shown) string {
	var op *net.OpError
	errors.As(err, &op)
	alert := strings.TrimPrefix(op.Err.Error(), "tls: ")
	switch {
	case strings.Contains(alert, "protocol version"):
		return "the server takes no TLS version that we offer (1.2 and 1.3)"
	case strings.Contains(alert, "unrecognized name"):
		return "the server knows no such server name (" + alert + ")"
	case !s.Asked:
		return "the server refused the TLS handshake: " + alert
	case s.Cert == nil:
		return "the server asked for a client certificate and none was shown (the TLS bundle has none): " + alert
	}
	return "the server refused our client certificate (" + describe(s.Cert) + "): " + alert
}

// describe names a certificate and what a server may not like about it.
func describe(c *x509.Certificate) string {
	text := fmt.Sprintf("%s, issued by %s", subject(c), c.Issuer)
	switch now := time.Now(); {
	case now.After(c.NotAfter):
		text += ", expired on " + date(c.NotAfter)
	case now.Before(c.NotBefore):
		text += ", not valid before " + date(c.NotBefore)
	}
	return text
}

func subject(c *x509.Certificate) string {
	if s := c.Subject.String(); s != "" {
		return s
	}
	if n := names(c); n != "" {
		return n
	}
	return "without a name"
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func explainVerify(v *tls.CertificateVerificationError) string {
	cert := v.UnverifiedCertificates[0]
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(v.Err, &host):
		have := names(cert)
		if have == "" {
			have = "no name at all (a common name alone does not count)"
		}
		return fmt.Sprintf("the server's certificate is for %s, not for %q", have, host.Host)
	case errors.As(v.Err, &invalid) && invalid.Reason == x509.Expired:
		if time.Now().Before(invalid.Cert.NotBefore) {
			return fmt.Sprintf("the server's certificate (%s) is not valid before %s", subject(invalid.Cert), date(invalid.Cert.NotBefore))
		}
		return fmt.Sprintf("the server's certificate (%s) expired on %s", subject(invalid.Cert), date(invalid.Cert.NotAfter))
	case errors.As(v.Err, &unknown):
		return fmt.Sprintf("the server's certificate (%s) was issued by an unknown authority (%s)", subject(cert), cert.Issuer)
	}
	return fmt.Sprintf("the server's certificate (%s) does not hold: %v", subject(cert), v.Err)
}

// names lists what a certificate is for.
func names(c *x509.Certificate) string {
	list := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		list = append(list, ip.String())
	}
	const most = 20
	if len(list) > most {
		list = append(list[:most], "...")
	}
	return strings.Join(list, ", ")
}
