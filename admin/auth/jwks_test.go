package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
)

// jwkOf writes a public key as a JWK, as identity providers do.
func jwkOf(tb testing.TB, kid string, k crypto.Signer) object {
	tb.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	j := object{"use": "sig"}
	if kid != "" {
		j["kid"] = kid
	}
	switch p := k.Public().(type) {
	case *rsa.PublicKey:
		j["kty"], j["alg"], j["n"], j["e"] = "RSA", "RS256", b64(p.N.Bytes()), b64(big.NewInt(int64(p.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := p.Bytes()
		if err != nil {
			tb.Fatal(err)
		}
		half := len(point) / 2
		j["kty"], j["crv"], j["x"], j["y"] = "EC", p.Curve.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	case ed25519.PublicKey:
		j["kty"], j["crv"], j["x"] = "OKP", "Ed25519", b64(p)
	default:
		tb.Fatalf("no JWK for %T", p)
	}
	return j
}

func jwksOf(tb testing.TB, keys map[string]crypto.Signer) string {
	tb.Helper()
	list := []object{}
	for kid, k := range keys {
		list = append(list, jwkOf(tb, kid, k))
	}
	return jwksText(tb, list...)
}

func jwksText(tb testing.TB, list ...object) string {
	tb.Helper()
	text, err := json.Marshal(object{"keys": list})
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

func TestJWKSGivesTheSameKeysAsTheirOwners(t *testing.T) {
	k := testKeys()
	for kid, private := range map[string]crypto.Signer{"r": k.rsa, "e": k.p256, "f": k.p384, "o": k.ed} {
		keys, warnings, err := parseJWKS([]byte(jwksOf(t, map[string]crypto.Signer{kid: private})))
		if err != nil || len(keys) != 1 || len(warnings) != 0 {
			t.Fatalf("%s: %v %v %v", kid, keys, warnings, err)
		}
		want, err := newKey(kid, private.Public())
		if err != nil || !keys[0].equal(want) {
			t.Errorf("%s: %+v, want %+v (%v)", kid, keys[0], want, err)
		}
	}
}

// The example of RFC 7517 appendix A.1, as it stands there.
func TestJWKSOfTheRFC(t *testing.T) {
	const text = `{"keys":
       [
         {"kty":"EC",
          "crv":"P-256",
          "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
          "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
          "use":"enc",
          "kid":"1"},

         {"kty":"RSA",
          "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
          "e":"AQAB",
          "alg":"RS256",
          "kid":"2011-04-29"}
       ]
     }`
	keys, warnings, err := parseJWKS([]byte(text))
	if err != nil || len(keys) != 1 || keys[0].kid != "2011-04-29" || keys[0].alg != algRS256 {
		t.Fatalf("%+v, %v", keys, err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], `use is "enc"`) {
		t.Errorf("warnings: %q", warnings)
	}
}

func TestKeysOfAJWKSThatAreNotUsed(t *testing.T) {
	k := testKeys()
	rsaKey := func(name string, v any) object {
		j := jwkOf(t, "k", k.rsa)
		j[name] = v
		return j
	}
	ecKey := func(name string, v any) object {
		j := jwkOf(t, "k", k.p256)
		j[name] = v
		return j
	}
	b64 := base64.RawURLEncoding.EncodeToString
	even := new(big.Int).Sub(k.rsa.N, big.NewInt(1))
	for _, c := range []struct {
		name string
		key  object
		why  string
	}{
		{"weak RSA", jwkOf(t, "k", k.weak), "1024 bits"},
		{"RSA of a million bits", rsaKey("n", b64(make([]byte, 125_000))), "too long"},
		{"RSA of 16384 bits", rsaKey("n", b64(append([]byte{0x80}, make([]byte, 2047)...))), "too long"},
		{"RSA whose leading zeros make it look long", rsaKey("n", b64(append(make([]byte, 200), k.weak.N.Bytes()...))), "1024 bits"},
		{"even modulus", rsaKey("n", b64(even.Bytes())), "no sound RSA key"},
		{"exponent 1", rsaKey("e", "AQ"), "no sound RSA key"},
		{"exponent even", rsaKey("e", "Ag"), "no sound RSA key"},
		{"exponent 0", rsaKey("e", "AA"), "no exponent"},
		{"exponent huge", rsaKey("e", "AQAAAAAB"), "no exponent"},
		{"exponent missing", rsaKey("e", ""), "e is missing"},
		{"secret", object{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}, "kty"},
		{"RSA for PS256", rsaKey("alg", "PS256"), "PS256"},
		{"RSA for HS256", rsaKey("alg", "HS256"), "HS256"},
		{"RSA for ES256", rsaKey("alg", "ES256"), "ES256"},
		{"for encryption", rsaKey("use", "enc"), "use"},
		{"for signing only", rsaKey("key_ops", []string{"sign"}), "key_ops"},
		{"point not on the curve", ecKey("x", b64(make([]byte, 32))), "not on the curve"},
		{"point at infinity", object{"kty": "EC", "crv": "P-256", "x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))}, "not on the curve"},
		{"coordinate too short", ecKey("x", "AAAA"), "x has 3 bytes"},
		{"other curve named", ecKey("crv", "P-384"), "32 bytes, not 48"},
		{"P-521", jwkOf(t, "k", k.p521), "crv"},
		{"secp256k1", ecKey("crv", "secp256k1"), "crv"},
		{"X25519", object{"kty": "OKP", "crv": "X25519", "x": b64(make([]byte, 32))}, "crv"},
		{"Ed25519 too short", object{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}, "x has 3 bytes"},
		{"padding", ecKey("x", "AAAA=="), "base64url"},
		{"plain base64", ecKey("x", strings.Repeat("+", 43)), "base64url"},
		{"kid too long", rsaKey("kid", strings.Repeat("x", 257)), "at most 256"},
		{"kid as a number", rsaKey("kid", 5), "no JWK"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if keys, _, err := parseJWKS([]byte(jwksText(t, c.key))); err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("alone: %v, %v: want an error with %q", keys, err, c.why)
			}
			// It harms only itself.
			keys, warnings, err := parseJWKS([]byte(jwksText(t, c.key, jwkOf(t, "good", k.ed))))
			if err != nil || len(keys) != 1 || keys[0].kid != "good" || len(warnings) != 1 {
				t.Errorf("beside a good one: %v, %q, %v", keys, warnings, err)
			}
		})
	}
}

func TestWhatIsNoJWKS(t *testing.T) {
	for _, text := range []string{"", "null", "[]", "5", `"keys"`, `{`, `{"keys":5}`, `{"keys":{}}`, `{"keys":[]}`, `{"keys":null}`, `{"keys":[null,1,"x",[]]}`,
		`{"keys":[` + strings.Repeat("[", 20000), `{"keys":[` + strings.Repeat("{},", maxKeys) + `{}]}`, "<html>not found</html>"} {
		if keys, _, err := parseJWKS([]byte(text)); err == nil {
			t.Errorf("%.40q: %v", text, keys)
		}
	}
}

func FuzzJWKS(f *testing.F) {
	k := testKeys()
	f.Add(jwksOf(f, map[string]crypto.Signer{"r": k.rsa, "e": k.p256, "f": k.p384, "o": k.ed, "w": k.weak}))
	f.Add(jwksText(f, object{"kty": "oct", "k": "c2VjcmV0"}))
	f.Add(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		keys, _, err := parseJWKS([]byte(text))
		if (err == nil) != (len(keys) > 0) {
			t.Fatalf("%d keys and the error %v", len(keys), err)
		}
		for _, k := range keys {
			if alg, err := algorithmOf(k.public); err != nil || alg != k.alg || len(k.kid) > maxKid {
				t.Fatalf("a key that is not fit was taken: %+v: %v", k, err)
			}
		}
	})
}
