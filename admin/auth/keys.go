package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
)

// Bounds of the keys that tokens are verified with.
const (
	minRSABits = 2048
	maxRSABits = 8192 // beyond it one verification costs milliseconds
	maxKeys    = 1024 // of all sources together
	maxTried   = 16   // signatures checked for one token
	maxKid     = 256  // bytes
)

// The algorithms of tokens (RFC 7518 section 3.1, RFC 8037 section 3.1). There
// are no others: above all not "none" and none with a shared secret.
const (
	algRS256 = "RS256"
	algES256 = "ES256"
	algES384 = "ES384"
	algEdDSA = "EdDSA"
)

var algorithms = []string{algRS256, algES256, algES384, algEdDSA}

// key is one public key. Immutable.
type key struct {
	// kid is what tokens call it; "" fits any token.
	kid string
	// alg is the one algorithm that it is for: the key decides, not the token.
	alg    string
	public crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// newKey checks that public is fit for use. Its type decides on the algorithm.
func newKey(kid string, public crypto.PublicKey) (key, error) {
	if len(kid) > maxKid {
		return key{}, fmt.Errorf("its name has %d bytes, at most %d are allowed", len(kid), maxKid)
	}
	alg, err := algorithmOf(public)
	return key{kid: kid, alg: alg, public: public}, err
}

func algorithmOf(public crypto.PublicKey) (string, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return algRS256, checkRSA(k)
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return algES256, nil
		case elliptic.P384():
			return algES384, nil
		}
		return "", fmt.Errorf("it is an EC key on the curve %s: only P-256 and P-384 are used", k.Curve.Params().Name)
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return "", fmt.Errorf("it is an Ed25519 key of %d bytes, not %d", len(k), ed25519.PublicKeySize)
		}
		return algEdDSA, nil
	}
	return "", fmt.Errorf("it is a key of type %T: only RSA, EC and Ed25519 are used", public)
}

func checkRSA(k *rsa.PublicKey) error {
	switch bits := k.N.BitLen(); {
	case bits < minRSABits:
		return fmt.Errorf("it is an RSA key of %d bits: at least %d are needed", bits, minRSABits)
	case bits > maxRSABits:
		return fmt.Errorf("it is an RSA key of %d bits: at most %d are used", bits, maxRSABits)
	case k.N.Bit(0) == 0, k.E < 3, k.E%2 == 0, k.E > 1<<31-1:
		return fmt.Errorf("it is no sound RSA key (exponent %d)", k.E)
	}
	return nil
}

// keySet is all keys at one moment. Immutable.
type keySet struct {
	all        []key
	generation uint64 // grows with every set that differs from the one before
}

// find returns the keys to try for a token, at most maxTried, and whether any
// key at all is called so. A token that names a key is tried with those of
// that name, and with those that have none; one that does not, with all.
func (s *keySet) find(kid, alg string) (fit []crypto.PublicKey, named bool) {
	for i := range s.all {
		k := &s.all[i]
		if kid != "" && k.kid == kid {
			named = true
		}
		if (kid == "" || k.kid == "" || k.kid == kid) && k.alg == alg && len(fit) < maxTried {
			fit = append(fit, k.public)
		}
	}
	return fit, named
}

func (k key) equal(other key) bool {
	if k.kid != other.kid || k.alg != other.alg {
		return false
	}
	public, ok := k.public.(interface{ Equal(x crypto.PublicKey) bool })
	return ok && public.Equal(other.public)
}
