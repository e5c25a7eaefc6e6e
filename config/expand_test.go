package config

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	BuiltinFormats = []string{"builtin"}
	os.Exit(m.Run())
}

// expand replaces @TAB@ and the like, which would not be seen in a file, and
// @CERT@ and the like by PEM, indented.
func expand(t testing.TB, text string) string {
	t.Helper()
	text = strings.NewReplacer("@TAB@", "\t", "@NUL@", "\x00", "@LATIN1@", "\xe4", "@NONE@\n", "", "@BOM@", "\ufeff", "@CR@", "\r").Replace(text)
	for name, part := range parts() {
		var indented strings.Builder
		for lines := bufio.NewScanner(strings.NewReader(part)); lines.Scan(); {
			indented.WriteString("      " + lines.Text() + "\n")
		}
		text = strings.ReplaceAll(text, "@"+name+"@\n", indented.String())
	}
	return text
}

// parts are certificates and keys that the tests use, by name. EXPIRED, SOON
// and FUTURE have the same key as CERT.
var parts = sync.OnceValue(func() map[string]string {
	key, other := newKey(), newKey()
	day, now := 24*time.Hour, time.Now()
	return map[string]string{
		"CA":       certificate("ca", key, now.Add(-day), now.Add(100*day), true),
		"CERT":     certificate("cert", key, now.Add(-day), now.Add(100*day), false),
		"EXPIRED":  certificate("old", key, time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC), time.Date(2002, 2, 3, 4, 5, 6, 0, time.UTC), true),
		"SOON":     certificate("soon", key, now.Add(-day), now.Add(13*day), false),
		"FUTURE":   certificate("future", key, time.Date(2098, 2, 3, 4, 5, 6, 0, time.UTC), time.Date(2099, 2, 3, 4, 5, 6, 0, time.UTC), false),
		"KEY":      keyPEM(key),
		"OTHERKEY": keyPEM(other),
	}
})

// newKey makes a key of Ed25519, whose signatures are all of one length: so the
// lines of the cases do not move.
func newKey() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func keyPEM(key ed25519.PrivateKey) string {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func certificate(name string, key ed25519.PrivateKey, from, to time.Time, ca bool) string {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: from, NotAfter: to, BasicConstraintsValid: true, IsCA: ca,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// soon is the end of the certificate SOON, as messages write it.
func soon(t *testing.T) string {
	t.Helper()
	certs, err := certificates(parts()["SOON"])
	if err != nil {
		t.Fatal(err)
	}
	return certs[0].NotAfter.Format(time.RFC3339)
}
