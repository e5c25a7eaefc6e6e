// Package seal encrypts the secrets that are kept in etcd, with the keys of a
// file that all nodes of a cluster have.
//
// A sealed text is
//
//	sealed:v1:KEYID:BASE64
//
// where BASE64 (RFC 4648 section 4, without padding) is a nonce of 12 bytes, the
// text encrypted with AES-256-GCM, and GCM's tag of 16 bytes. What is
// authenticated beside it is the place that the text belongs to, so that a sealed
// text that is copied to another object or field does not open there.
//
// Nonces are random. NIST SP 800-38D section 8.3 allows 2^32 of them per key:
// with a thousand secrets that are all resealed every minute, that is eight years.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// MaxText bounds a text that is sealed or opened, in bytes of the sealed form.
const MaxText = 4 << 20

const prefix = "sealed:"

// Place is what a sealed text belongs to: the kind and name of an object, and
// the field in it.
type Place struct{ Kind, Name, Field string }

// Errors of opening; test with errors.Is.
var (
	ErrNoKey   = errors.New("it is sealed with a key that is not in the key file")
	ErrDamaged = errors.New("it is damaged, or was sealed for another object or field")
	ErrForm    = errors.New("it is no sealed text of a form known here (sealed:v1:KEYID:BASE64)")
)

var encoding = base64.RawStdEncoding.Strict()

// IsSealed reports whether a text is to be opened, rather than being the secret itself.
func IsSealed(text string) bool { return strings.HasPrefix(text, prefix) }

// KeyID returns the id of the key that a text is sealed with; "" if it is none.
func KeyID(text string) string {
	id, _, err := split(text)
	if err != nil {
		return ""
	}
	return id
}

// split takes the form apart.
func split(text string) (id, data string, err error) {
	rest, ok := strings.CutPrefix(text, prefix+"v1:")
	if !ok || len(text) > MaxText {
		return "", "", ErrForm
	}
	id, data, ok = strings.Cut(rest, ":")
	if !ok || !isID(id) || strings.ContainsAny(data, "\r\n") { // which encoding/base64 would skip
		return "", "", ErrForm
	}
	return id, data, nil
}

// additional is what is authenticated beside the text: each part with its
// length, so that no two places have the same.
func (p Place) additional() []byte {
	b := []byte("lbshipd secret v1")
	for _, part := range []string{p.Kind, p.Name, p.Field} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

func (k *key) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.secret[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (k *key) seal(p Place, text string) (string, error) {
	aead, err := k.aead()
	if err != nil {
		return "", err
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(text)+aead.Overhead())
	rand.Read(nonce) // never fails: crypto/rand ends the program instead
	sealed := prefix + "v1:" + k.id + ":" + encoding.EncodeToString(aead.Seal(nonce, nonce, []byte(text), p.additional()))
	if len(sealed) > MaxText {
		return "", fmt.Errorf("it is longer than what can be sealed (%d bytes)", MaxText)
	}
	return sealed, nil
}

func (k *key) open(p Place, data string) (string, error) {
	aead, err := k.aead()
	if err != nil {
		return "", err
	}
	raw, err := encoding.DecodeString(data)
	if err != nil {
		return "", ErrForm
	}
	if len(raw) < aead.NonceSize()+aead.Overhead() {
		return "", ErrDamaged
	}
	text, err := aead.Open(nil, raw[:aead.NonceSize()], raw[aead.NonceSize():], p.additional())
	if err != nil {
		return "", ErrDamaged
	}
	return string(text), nil
}
