package auth

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// parsePEM returns the public keys of a PEM text: public keys (PKIX, or PKCS #1
// for RSA) and certificates, of which only the key counts. All get the name
// kid. One that is not fit makes the whole text an error. Warnings are what is odd.
func parsePEM(text []byte, kid string, now time.Time) (keys []key, warnings []string, err error) {
	rest := text
	for n := 1; ; n++ {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if n > maxKeys {
			return nil, nil, fmt.Errorf("it holds more than %d keys", maxKeys)
		}
		public, warning, err := publicOf(block, now)
		if err != nil {
			return nil, nil, fmt.Errorf("PEM block %d (%.32q): %w", n, block.Type, err)
		}
		k, err := newKey(kid, public)
		if err != nil {
			return nil, nil, fmt.Errorf("PEM block %d (%.32q): %w", n, block.Type, err)
		}
		keys = append(keys, k)
		if warning != "" {
			warnings = append(warnings, warning)
		}
	}
	switch {
	// The decoder passes over a damaged block, and over one of a file that is
	// just being written.
	case bytes.Count(text, []byte("-----BEGIN ")) != len(keys):
		return nil, nil, errors.New("it is damaged or ends in the middle of a PEM block")
	case len(keys) == 0:
		return nil, nil, errors.New("it holds no PEM block (-----BEGIN PUBLIC KEY-----)")
	}
	return keys, warnings, nil
}

func publicOf(block *pem.Block, now time.Time) (public crypto.PublicKey, warning string, err error) {
	switch {
	case block.Type == "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case block.Type == "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err != nil {
			break
		}
		if now.After(cert.NotAfter) {
			warning = fmt.Sprintf("the certificate %s expired on %s; its key still verifies tokens",
				cert.Subject, cert.NotAfter.UTC().Format(time.DateOnly))
		}
		public = cert.PublicKey
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		err = errors.New("this is a private key, which has no place here: give the public one (openssl pkey -in KEY -pubout)")
	default:
		err = errors.New("want PUBLIC KEY or CERTIFICATE")
	}
	return public, warning, err
}
