package tlsbundle

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"
)

// Fault is what kind of failure an error of a handshake is.
type Fault int

// The kinds of failure; Unknown is every other one.
const (
	Unknown Fault = iota
	Expired
	NotYetValid
	UnknownAuthority
	OtherName
	OtherFingerprint
	RefusedByServer // by an alert, or by closing the connection
)

// FaultOf finds what kind of failure err is, which may have been through Explain.
func FaultOf(err error) Fault {
	if err == nil {
		return Unknown
	}
	var verify *tls.CertificateVerificationError
	var finger *FingerprintError
	var explained *Error
	switch {
	case errors.As(err, &finger):
		return OtherFingerprint
	case errors.As(err, &verify):
		return faultOfCertificate(verify.Err)
	case IsAlert(err), errors.As(err, &explained) && IsClosed(err):
		return RefusedByServer
	}
	return Unknown
}

func faultOfCertificate(err error) Fault {
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &host):
		return OtherName
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return UnknownAuthority
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		if invalid.Cert != nil && time.Now().Before(invalid.Cert.NotBefore) {
			return NotYetValid
		}
		return Expired
	}
	return Unknown
}
