package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// maxWarnings bounds what is said of one JWKS.
const maxWarnings = 8

// jwk is one key of a JWKS (RFC 7517 section 4, RFC 7518 section 6, RFC 8037
// section 2). What certificates and URLs it names (x5c, x5u) does not count.
type jwk struct {
	Kty    string   `json:"kty"`
	Use    string   `json:"use"`
	KeyOps []string `json:"key_ops"`
	Alg    string   `json:"alg"`
	Kid    string   `json:"kid"`
	Crv    string   `json:"crv"`
	N      string   `json:"n"`
	E      string   `json:"e"`
	X      string   `json:"x"`
	Y      string   `json:"y"`
}

// parseJWKS returns the keys of a JWKS that verify tokens. A key that cannot be
// used is skipped and said in a warning; it is an error if none is left.
func parseJWKS(text []byte) (keys []key, warnings []string, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, nil, fmt.Errorf("it is no JWKS: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, nil, fmt.Errorf("it holds %d keys, at most %d are allowed", len(set.Keys), maxKeys)
	}
	for i, raw := range set.Keys {
		k, err := parseJWK(raw)
		if err != nil {
			if len(warnings) < maxWarnings {
				warnings = append(warnings, fmt.Sprintf("key %d of the JWKS is not used: %v", i+1, err))
			}
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		why := "it has none"
		if len(warnings) > 0 {
			why = warnings[0]
		}
		return nil, nil, fmt.Errorf("the JWKS holds no key that can be used: %s", why)
	}
	return keys, warnings, nil
}

func parseJWK(raw []byte) (key, error) {
	var j jwk
	if err := json.Unmarshal(raw, &j); err != nil {
		return key{}, fmt.Errorf("it is no JWK: %w", err)
	}
	switch {
	case j.Use != "" && j.Use != "sig":
		return key{}, fmt.Errorf("its use is %.32q, not \"sig\"", j.Use)
	case j.KeyOps != nil && !slices.Contains(j.KeyOps, "verify"):
		return key{}, errors.New("its key_ops do not hold \"verify\"")
	}
	public, err := j.public()
	if err != nil {
		return key{}, err
	}
	k, err := newKey(j.Kid, public)
	if err != nil {
		return key{}, err
	}
	// "Ed25519" is what RFC 9864 calls EdDSA with this curve.
	if j.Alg != "" && j.Alg != k.alg && !(j.Alg == "Ed25519" && k.alg == algEdDSA) {
		return key{}, fmt.Errorf("it is for the algorithm %.32q: only %s is used with such a key", j.Alg, k.alg)
	}
	return k, nil
}

func (j *jwk) public() (crypto.PublicKey, error) {
	switch {
	case j.Kty == "RSA":
		return j.rsa()
	case j.Kty == "EC" && j.Crv == "P-256":
		return j.ec(elliptic.P256(), 32)
	case j.Kty == "EC" && j.Crv == "P-384":
		return j.ec(elliptic.P384(), 48)
	case j.Kty == "OKP" && j.Crv == "Ed25519":
		x, err := octets("x", j.X, ed25519.PublicKeySize)
		return ed25519.PublicKey(x), err
	}
	return nil, fmt.Errorf("its kty is %.32q and its crv %.32q: only RSA, EC with P-256 and P-384, and OKP with Ed25519 are used", j.Kty, j.Crv)
}

func (j *jwk) rsa() (crypto.PublicKey, error) {
	n, err := octets("n", j.N, -1)
	if err != nil {
		return nil, err
	}
	e, err := octets("e", j.E, -1)
	if err != nil {
		return nil, err
	}
	e = bytes.TrimLeft(e, "\x00")
	if len(e) == 0 || len(e) > 4 {
		return nil, errors.New("its e is no exponent of at most 32 bits")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, nil
}

// ec takes a point, which must be on the curve, from coordinates of size bytes.
func (j *jwk) ec(curve elliptic.Curve, size int) (crypto.PublicKey, error) {
	x, err := octets("x", j.X, size)
	if err != nil {
		return nil, err
	}
	y, err := octets("y", j.Y, size)
	if err != nil {
		return nil, err
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil, fmt.Errorf("its point is not on the curve %s", j.Crv)
	}
	return public, nil
}

// octets decodes base64url without padding (RFC 7515 section 2); size bytes if not negative.
func octets(name, text string, size int) ([]byte, error) {
	const most = maxRSABits/8 + 1 // and a leading zero, which some write
	if text == "" {
		return nil, fmt.Errorf("its %s is missing", name)
	}
	if len(text) > 2*most {
		return nil, fmt.Errorf("its %s is too long", name)
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("its %s is not base64url without padding", name)
	}
	if size >= 0 && len(b) != size {
		return nil, fmt.Errorf("its %s has %d bytes, not %d", name, len(b), size)
	}
	return b, nil
}
