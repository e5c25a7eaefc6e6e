package config

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// expirySoon is how long before its end a certificate is warned of.
const expirySoon = 14 * 24 * time.Hour

// bundle checks the parts of a bundle that are there as text. Files are
// Resolve's part.
func (k *checker) bundle(p path, b *TLSBundle) {
	if !k.c.resolved {
		k.eitherOr(p, "ca", b.CAPem, b.CAFile)
		k.eitherOr(p, "cert", b.CertPem, b.CertFile)
		k.eitherOr(p, "key", b.KeyPem.Reveal(), b.KeyFile)
	}
	cert, key := b.CertPem != "" || b.CertFile != "", b.KeyPem != "" || b.KeyFile != ""
	switch {
	case cert && !key && k.incomplete:
	case cert && !key:
		k.fail(p, "has a certificate but no key: give keyPem or keyFile")
	case key && !cert:
		k.fail(p, "has a key but no certificate: give certPem or certFile")
	case !cert && b.CAPem == "" && b.CAFile == "":
		k.warn(p, "holds nothing: the system's authorities are trusted and no certificate is shown")
	}
	if b.CAPem != "" || k.c.resolved && b.CAFile != "" {
		k.authorities(p.dot(k.fieldOf("caPem", "caFile", b.CAFile)), b.CAPem)
	}
	if b.CertPem != "" || k.c.resolved && b.CertFile != "" {
		k.chain(p.dot(k.fieldOf("certPem", "certFile", b.CertFile)), b.CertPem)
	}
	if k.incomplete && isHidden(b.KeyPem.Reveal()) {
		return
	}
	if b.KeyPem != "" || k.c.resolved && b.KeyFile != "" {
		k.key(p, b)
	}
}

// fieldOf returns the field that a text came from.
func (k *checker) fieldOf(inline, fromFile, file string) string {
	if k.c.resolved && file != "" {
		return fromFile
	}
	return inline
}

func (k *checker) eitherOr(p path, part, text, file string) {
	if text != "" && file != "" {
		k.fail(p.dot(part+"File"), "%sPem is given as well; one of them is enough", part)
	}
}

func (k *checker) authorities(p path, text string) {
	certs, err := certificates(text)
	if err != nil {
		k.fail(p, "%v", err)
		return
	}
	for _, c := range certs {
		if c.BasicConstraintsValid && !c.IsCA {
			k.warn(p, "certificate of %q is not one of an authority", c.Subject.String())
		}
	}
	k.expiry(p, certs)
}

func (k *checker) chain(p path, text string) {
	certs, err := certificates(text)
	if err != nil {
		k.fail(p, "%v", err)
		return
	}
	k.expiry(p, certs)
}

// expiry warns of certificates that are not valid now, or soon will not be. It
// is no error: the clock may be wrong, and the receiver decides.
func (k *checker) expiry(p path, certs []*x509.Certificate) {
	now := time.Now()
	for _, c := range certs {
		switch {
		case now.Before(c.NotBefore):
			k.warn(p, "certificate of %q is not valid before %s", c.Subject.String(), c.NotBefore.Format(time.RFC3339))
		case now.After(c.NotAfter):
			k.warn(p, "certificate of %q expired on %s", c.Subject.String(), c.NotAfter.Format(time.RFC3339))
		case now.After(c.NotAfter.Add(-expirySoon)):
			k.warn(p, "certificate of %q expires on %s", c.Subject.String(), c.NotAfter.Format(time.RFC3339))
		}
	}
}

// certificates reads every certificate of a PEM text, of which it must hold
// one at least, and no private key: what holds certificates is not a secret.
func certificates(text string) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	rest := []byte(text)
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil, errors.New("holds a private key; that belongs into keyPem or keyFile")
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("holds %q where only certificates may be", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %w", len(certs)+1, err)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, errors.New(`holds no certificate in PEM form ("-----BEGIN CERTIFICATE-----")`)
	}
	if strings.Contains(string(rest), "-----BEGIN") {
		return nil, fmt.Errorf("what follows certificate %d is damaged", len(certs))
	}
	return certs, nil
}

// key checks a private key and, if the certificate is there, that they match.
func (k *checker) key(p path, b *TLSBundle) {
	place := p.dot(k.fieldOf("keyPem", "keyFile", b.KeyFile))
	if _, err := privateKey(b.KeyPem.Reveal()); err != nil {
		k.fail(place, "%v", err)
		return
	}
	if b.CertPem == "" {
		return
	}
	if _, err := certificates(b.CertPem); err != nil {
		return // said already
	}
	if _, err := tls.X509KeyPair([]byte(b.CertPem), []byte(b.KeyPem.Reveal())); err != nil {
		k.fail(place, "%s", keyPairMessage(err))
	}
}

// keyPairMessage says in our words what crypto/tls finds most often.
func keyPairMessage(err error) string {
	text := strings.TrimPrefix(err.Error(), "tls: ")
	if strings.Contains(text, "does not match") {
		return "is not the key of the certificate"
	}
	return "cannot be used with the certificate: " + text
}

// privateKey reads the first private key of a PEM text. No error holds any of it.
func privateKey(text string) (crypto.Signer, error) {
	rest := []byte(text)
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			return nil, errors.New(`holds no private key in PEM form ("-----BEGIN PRIVATE KEY-----")`)
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, errors.New("is a key with a pass phrase, which lbshipd cannot ask for")
		}
		if block.Type == "OPENSSH PRIVATE KEY" {
			return nil, errors.New("is a key of OpenSSH, which TLS does not take")
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return signer(block.Bytes)
		}
	}
}

// signer reads the three forms of a private key that crypto/tls reads.
func signer(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		if s, ok := key.(crypto.Signer); ok {
			return s, nil
		}
		return nil, errors.New("is a key of a kind that TLS does not sign with")
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, errors.New("private key is damaged or of an unknown kind")
}
