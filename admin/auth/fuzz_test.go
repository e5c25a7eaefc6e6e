package auth

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// Whatever is sent, only what our key has signed is taken, nothing panics, and what
// is said of it can be sent in a header.
func FuzzToken(f *testing.F) {
	k := testKeys()
	set := &keySet{generation: 1}
	for kid, public := range map[string]any{"ed": k.ed.Public(), "rsa": k.rsa.Public(), "p256": k.p256.Public()} {
		one, err := newKey(kid, public)
		if err != nil {
			f.Fatal(err)
		}
		set.all = append(set.all, one)
	}
	keys := &Keyring{waiting: make(chan struct{}, 1)}
	keys.set.Store(set)
	v := NewVerifier(VerifierOptions{Keys: keys})
	good := mint(f, k.ed, "ed", nil)
	if _, err := v.Verify(context.Background(), good); err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(mint(f, k.rsa, "rsa", nil))
	f.Add(mint(f, k.p256, "", nil))
	f.Add(sign(f, jwt.SigningMethodHS256, publicPEM(f, k.rsa), object{"alg": "HS256"}, object{"sub": "x", "exp": 1e300}))
	f.Add("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		id, err := v.Verify(context.Background(), token)
		if err == nil {
			if token != good && id.Name != "alice" {
				t.Fatalf("%q is taken as %+v", token, id)
			}
			return
		}
		r, ok := err.(*Refusal)
		if !ok || r.Status != http.StatusUnauthorized || id.Role != 0 {
			t.Fatalf("%T %v", err, err)
		}
		if c := r.challenge(); strings.ContainsFunc(c, func(c rune) bool { return c < 0x20 || c > 0x7e }) {
			t.Fatalf("%q", c)
		}
	})
}

// The claims, behind a good signature: no panic, no name and no role that are not fit.
func FuzzClaims(f *testing.F) {
	k := testKeys()
	one, err := newKey("", k.ed.Public())
	if err != nil {
		f.Fatal(err)
	}
	keys := &Keyring{waiting: make(chan struct{}, 1)}
	keys.set.Store(&keySet{all: []key{one}})
	f.Add(`{"sub":"alice","roles":["admin"],"exp":4000000000}`, "roles")
	f.Add(`{"sub":"a","realm_access":{"roles":"viewer"},"exp":4000000000,"nbf":1,"iat":1.5,"aud":["x"]}`, "realm_access.roles")
	f.Add(`{"exp":1e308,"exp":-1}`, "")
	f.Add(`[[[[]]]]`, ".")
	f.Fuzz(func(t *testing.T, claims, path string) {
		v := NewVerifier(VerifierOptions{Keys: keys, RolesClaim: path})
		id, err := v.Verify(context.Background(), sign(t, jwt.SigningMethodEdDSA, k.ed, `{"alg":"EdDSA"}`, claims))
		switch {
		case err != nil && id != (Identity{}):
			t.Fatalf("%+v beside %v", id, err)
		case err == nil && (checkName(id.Name) != nil || id.Role < Viewer || id.Role > Admin || id.Via != "token"):
			t.Fatalf("%+v", id)
		}
	})
}
