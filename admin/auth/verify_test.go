package auth

import (
	"context"
	"crypto"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestGoodTokens(t *testing.T) {
	k := testKeys()
	v := NewVerifier(VerifierOptions{Keys: ring(t, nil, keyDir(t))})
	for kid, key := range map[string]crypto.Signer{"rsa": k.rsa, "p256": k.p256, "p384": k.p384, "ed": k.ed} {
		for _, named := range []string{kid, ""} {
			token := mint(t, key, named, nil)
			id, err := v.Verify(context.Background(), token)
			if want := (Identity{"alice", "token", Admin}); err != nil || id != want {
				t.Errorf("%s, kid %q: %+v, %v", kid, named, id, err)
			}
		}
	}
}

func TestHostileTokens(t *testing.T) {
	k := testKeys()
	asked := &atomic.Int32{}
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, jwksOf(t, map[string]crypto.Signer{"evil": k.rsa2}))
	}))
	defer evil.Close()
	v := NewVerifier(VerifierOptions{Keys: ring(t, nil, keyDir(t)), Audience: []string{"lbshipd"}, Issuer: "https://issuer", Leeway: 30 * time.Second})
	ok := func(changes object) object {
		c := good(object{"aud": "lbshipd", "iss": "https://issuer"})
		for name, value := range changes {
			c[name] = value
			if value == nil {
				delete(c, name)
			}
		}
		return c
	}
	rs := func(header, claims any) string { return sign(t, jwt.SigningMethodRS256, k.rsa, header, claims) }
	head := object{"alg": "RS256", "kid": "rsa"}
	with := func(name string, value any) object { return object{"alg": "RS256", "kid": "rsa", name: value} }
	rsaPEM := publicPEM(t, k.rsa)
	signature := func(token string) string { return token[strings.LastIndexByte(token, '.')+1:] }
	plain := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	if _, err := v.Verify(context.Background(), rs(head, ok(nil))); err != nil {
		t.Fatalf("the good token that the others are made of is refused: %v", err)
	}
	now := time.Now()
	long := strings.Repeat("x", 300)
	for _, c := range []struct{ name, token, why string }{
		{"expired", rs(head, ok(object{"exp": now.Add(-time.Hour).Unix()})), "expired"},
		{"expired beyond the leeway", rs(head, ok(object{"exp": now.Add(-35 * time.Second).Unix()})), "expired"},
		{"not yet valid", rs(head, ok(object{"nbf": now.Add(time.Hour).Unix()})), "not valid yet"},
		{"issued in the future", rs(head, ok(object{"iat": now.Add(time.Hour).Unix()})), "issued in the future"},
		{"no exp", rs(head, ok(object{"exp": nil})), "must expire"},
		{"exp null", rs(head, `{"sub":"alice","roles":"admin","aud":"lbshipd","iss":"https://issuer","exp":null}`), "exp is not a number"},
		{"exp as a string", rs(head, ok(object{"exp": fmt.Sprint(now.Add(time.Hour).Unix())})), "exp is not a number"},
		{"exp huge", rs(head, ok(object{"exp": 1e300})), "exp is no date"},
		{"exp beyond floats", rs(head, `{"sub":"a","roles":"admin","aud":"lbshipd","iss":"https://issuer","exp":1e999}`), ""},
		{"exp that overflows 64 bits", rs(head, ok(object{"exp": 9.3e18})), "exp is no date"},
		{"exp in milliseconds", rs(head, ok(object{"exp": now.Add(time.Hour).UnixMilli()})), "exp is no date"},
		{"exp negative", rs(head, ok(object{"exp": -5})), "exp is no date"},
		{"exp zero", rs(head, ok(object{"exp": 0})), "exp is no date"},
		{"nbf as a list", rs(head, ok(object{"nbf": []int{1}})), "nbf is not a number"},
		{"nbf huge", rs(head, ok(object{"nbf": -1e300})), "nbf is no date"},
		{"other audience", rs(head, ok(object{"aud": "other"})), "audience"},
		{"other audiences", rs(head, ok(object{"aud": []string{"other", "LBSHIPD", "lbshipd2"}})), "audience"},
		{"no audience", rs(head, ok(object{"aud": nil})), "audience"},
		{"audience as an object", rs(head, ok(object{"aud": object{"lbshipd": true}})), "aud is neither"},
		{"audience with a number", rs(head, ok(object{"aud": []any{"lbshipd", 5}})), "aud is neither"},
		{"other issuer", rs(head, ok(object{"iss": "https://issuer.evil"})), "issuer"},
		{"no issuer", rs(head, ok(object{"iss": nil})), "issuer"},
		{"issuer as a list", rs(head, ok(object{"iss": []string{"https://issuer"}})), "iss is not a string"},
		{"no subject", rs(head, ok(object{"sub": nil})), "whom it is for"},
		{"subject that forges log lines", rs(head, ok(object{"sub": "alice\nlevel=INFO msg=ok"})), "cannot be printed"},
		{"subject that turns text round", rs(head, ok(object{"sub": "alice\u202egp"})), "cannot be printed"},
		{"subject too long", rs(head, ok(object{"sub": long})), "at most 256"},
		{"subject as a number", rs(head, ok(object{"sub": 0})), "sub is not a string"},

		{"alg none", plain(`{"alg":"none","kid":"rsa"}`) + "." + signature("."+plain("{}")) + ".", "not one of"},
		{"alg none with the good signature", strings.Replace(rs(object{"alg": "none", "kid": "rsa"}, ok(nil)), "", "", 1), "not one of"},
		{"alg nOnE", rs(object{"alg": "nOnE", "kid": "rsa"}, ok(nil)), "not one of"},
		{"alg missing", rs(object{"kid": "rsa"}, ok(nil)), "not one of"},
		{"alg as a list", rs(with("alg", []string{"RS256"}), ok(nil)), "not one of"},
		{"alg lower case", rs(with("alg", "rs256"), ok(nil)), "not one of"},
		{"HS256 with the public key", sign(t, jwt.SigningMethodHS256, rsaPEM, object{"alg": "HS256", "kid": "rsa"}, ok(nil)), "not one of"},
		{"HS256 with the modulus", sign(t, jwt.SigningMethodHS256, k.rsa.N.Bytes(), object{"alg": "HS256"}, ok(nil)), "not one of"},
		{"signed with HS256, called RS256", sign(t, jwt.SigningMethodHS256, rsaPEM, head, ok(nil)), "signature"},
		{"PS256", sign(t, jwt.SigningMethodPS256, k.rsa, with("alg", "PS256"), ok(nil)), "not one of"},
		{"RS384", sign(t, jwt.SigningMethodRS384, k.rsa, with("alg", "RS384"), ok(nil)), "not one of"},
		{"ES512", sign(t, jwt.SigningMethodES512, k.p521, object{"alg": "ES512"}, ok(nil)), "not one of"},
		{"RS256 with the kid of an EC key", rs(object{"alg": "RS256", "kid": "p256"}, ok(nil)), "is not one for its algorithm"},
		{"ES256 with the kid of an RSA key", sign(t, jwt.SigningMethodES256, k.p256, object{"alg": "ES256", "kid": "rsa"}, ok(nil)), "is not one for its algorithm"},
		{"ES256 with the kid of a P-384 key", sign(t, jwt.SigningMethodES256, k.p256, object{"alg": "ES256", "kid": "p384"}, ok(nil)), "is not one for its algorithm"},
		{"EdDSA with the kid of another", sign(t, jwt.SigningMethodEdDSA, k.ed, object{"alg": "EdDSA", "kid": "rsa"}, ok(nil)), "is not one for its algorithm"},

		{"another's key", sign(t, jwt.SigningMethodRS256, k.rsa2, head, ok(nil)), "signature"},
		{"another's key without a kid", sign(t, jwt.SigningMethodRS256, k.rsa2, object{"alg": "RS256"}, ok(nil)), "signature"},
		{"another's Ed25519 key", sign(t, jwt.SigningMethodEdDSA, k.ed2, object{"alg": "EdDSA"}, ok(nil)), "signature"},
		{"with its key in the header", sign(t, jwt.SigningMethodRS256, k.rsa2, with("jwk", jwkOf(t, "rsa", k.rsa2)), ok(nil)), "signature"},
		{"with its key in the header, no kid", sign(t, jwt.SigningMethodRS256, k.rsa2, object{"alg": "RS256", "jwk": jwkOf(t, "", k.rsa2)}, ok(nil)), "signature"},
		{"with a URL of keys in the header", sign(t, jwt.SigningMethodRS256, k.rsa2, object{"alg": "RS256", "kid": "evil", "jku": evil.URL}, ok(nil)), "no key is called"},
		{"with a URL of certificates in the header", sign(t, jwt.SigningMethodRS256, k.rsa2, with("x5u", evil.URL), ok(nil)), "signature"},
		{"unknown kid", rs(with("kid", "nobody"), ok(nil)), "no key is called"},
		{"kid that is a path", rs(with("kid", "../../etc/passwd"), ok(nil)), "no key is called"},
		{"kid that is a path to the key", rs(with("kid", "./rsa"), ok(nil)), "no key is called"},
		{"kid with a NUL", rs(with("kid", "rsa\x00.pem"), ok(nil)), "no key is called"},
		{"kid with the suffix", rs(with("kid", "rsa.pem"), ok(nil)), "no key is called"},
		{"kid that is a query", rs(with("kid", "x' UNION SELECT 'key"), ok(nil)), "no key is called"},
		{"kid too long", rs(with("kid", long), ok(nil)), "kid is no string"},
		{"kid as a number", rs(with("kid", 5), ok(nil)), "kid is no string"},
		{"extensions that must be understood", rs(with("crit", []string{"b64"}), ok(nil)), "crit"},

		{"empty", "", "three parts"},
		{"two dots", "..", "header"},
		{"two parts", strings.Join(strings.Split(rs(head, ok(nil)), ".")[:2], "."), "three parts"},
		{"four parts", rs(head, ok(nil)) + ".AAAA", "three parts"},
		{"many parts", strings.Repeat("a.", 8000), "three parts"},
		{"no signature", rs(head, ok(nil))[:strings.LastIndexByte(rs(head, ok(nil)), '.')+1], "signature"},
		{"signature of another token", strings.TrimSuffix(rs(head, ok(object{"sub": "mallory"})), signature(rs(head, ok(object{"sub": "mallory"})))) + signature(rs(head, ok(nil))), "signature"},
		{"oversized", rs(head, ok(object{"pad": strings.Repeat("x", 20<<10)})), "more than 16384 bytes"},
		{"signature written another way", otherwise(mint(t, k.ed, "ed", func(o *MintOptions) { o.Audience, o.Issuer = []string{"lbshipd"}, "https://issuer" })), "base64url"},
		{"padding", rs(head, ok(nil)) + "=", "base64url"},
		{"newline in it", strings.Replace(rs(head, ok(nil)), ".", ".\n", 1), ""},
		{"claims twice", rs(head, `{"sub":"alice","roles":"viewer","roles":"admin","aud":"lbshipd","iss":"https://issuer","exp":4000000000}`), "is in it twice"},
		{"claims twice, once escaped", rs(head, `{"sub":"alice","exp":1,"\u0065xp":4000000000,"roles":"admin","aud":"lbshipd","iss":"https://issuer"}`), "is in it twice"},
		{"claims twice, further in", rs(head, `{"a":{"b":[{"c":1,"c":2}]},"exp":4000000000}`), "is in it twice"},
		{"header twice", rs(`{"alg":"none","alg":"RS256","kid":"rsa"}`, ok(nil)), "is in it twice"},
		{"claims nested deep", rs(head, `{"exp":4000000000,"a":`+strings.Repeat("[", 3000)+strings.Repeat("]", 3000)+`}`), "nested"},
		{"header nested deep", rs(`{"alg":"RS256","a":`+strings.Repeat("[", 3000)+strings.Repeat("]", 3000)+`}`, ok(nil)), "nested"},
		{"claims null", rs(head, `null`), "must expire"},
		{"claims as a list", rs(head, `[{"exp":4000000000}]`), "not an object"},
		{"claims as a string", rs(head, `"exp"`), "not an object"},
		{"claims with more behind", rs(head, `{"exp":4000000000}{}`), ""},
		{"claims not UTF-8", rs(head, "{\"sub\":\"\xff\",\"exp\":4000000000}"), "UTF-8"},
		{"header null", rs(`null`, ok(nil)), "not an object"},
		{"header in upper case", rs(`{"ALG":"RS256","kid":"rsa"}`, ok(nil)), "not one of"},
		{"claims in upper case", rs(head, `{"sub":"alice","roles":"admin","aud":"lbshipd","iss":"https://issuer","EXP":4000000000}`), "must expire"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := refused(t, v, c.token)
			if r.Status != 401 || r.Code != 16 || r.oauth != "invalid_token" {
				t.Errorf("it is refused with %d, code %d, %q: %s", r.Status, r.Code, r.oauth, r.Message)
			}
			if !strings.Contains(r.Message, c.why) {
				t.Errorf("why: %q does not hold %q", r.Message, c.why)
			}
			if len(r.Message) > 600 {
				t.Errorf("the message has %d bytes", len(r.Message))
			}
		})
	}
	if asked.Load() != 0 {
		t.Errorf("a URL out of a token's header was asked %d times", asked.Load())
	}
}

// otherwise changes the bits of the last character that mean nothing: the
// same signature, decoded carelessly.
func otherwise(token string) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(digits, token[len(token)-1])
	return token[:len(token)-1] + digits[last^1:last^1+1]
}

func TestClocksMayDifferByTheLeeway(t *testing.T) {
	k := testKeys()
	start := time.Unix(1_800_000_000, 0)
	now := start
	v := NewVerifier(VerifierOptions{Keys: ring(t, nil, keyDir(t)), Leeway: 30 * time.Second, Now: func() time.Time { return now }})
	token := sign(t, jwt.SigningMethodEdDSA, k.ed, object{"alg": "EdDSA"}, object{"sub": "a", "roles": "viewer",
		"iat": start.Unix(), "nbf": start.Unix(), "exp": start.Add(time.Minute).Unix()})
	for after, ok := range map[time.Duration]bool{-31 * time.Second: false, -30 * time.Second: true, 0: true,
		time.Minute: true, 89 * time.Second: true, 90 * time.Second: false, 24 * time.Hour: false, -24 * time.Hour: false} {
		now = start.Add(after)
		if _, err := v.Verify(context.Background(), token); (err == nil) != ok {
			t.Errorf("%s after it was issued: %v", after, err)
		}
	}
}

func TestRolesOutOfClaims(t *testing.T) {
	k := testKeys()
	keys := ring(t, nil, keyDir(t))
	for _, c := range []struct {
		name, path string
		claims     object
		mapped     map[string]Role
		want       Role // 0: 403
		why        string
	}{
		{"a string", "roles", object{"roles": "viewer"}, nil, Viewer, ""},
		{"a list: the highest counts", "roles", object{"roles": []string{"viewer", "admin", "editor", "else"}}, nil, Admin, ""},
		{"cluster-admin", "roles", object{"roles": []string{"system:cluster-admin"}}, nil, Admin, ""},
		{"nested", "realm_access.roles", object{"realm_access": object{"roles": []string{"editor"}}}, nil, Editor, ""},
		{"a name with dots", "https://example.com/roles", object{"https://example.com/roles": "editor"}, nil, Editor, ""},
		{"mapped", "groups", object{"groups": []string{"cn=logs,dc=x"}}, map[string]Role{"cn=logs,dc=x": Editor}, Editor, ""},
		{"mapped down", "roles", object{"roles": "admin"}, map[string]Role{"admin": Viewer}, Viewer, ""},
		{"none", "roles", object{"roles": nil}, nil, 0, "no claim roles"},
		{"none at the path", "realm_access.roles", object{"realm_access": object{"x": 1}, "roles": "admin"}, nil, 0, "no claim realm_access.roles"},
		{"a path through a string", "roles.admin", object{"roles": "admin"}, nil, 0, "no claim roles.admin"},
		{"a path through a list", "roles.0", object{"roles": []string{"admin"}}, nil, 0, "no claim roles.0"},
		{"empty path's parts", "a..b", object{"a": object{"b": "admin"}}, nil, 0, "no claim a..b"},
		{"an object", "roles", object{"roles": object{"admin": true}}, nil, 0, "neither a string nor a list"},
		{"a number", "roles", object{"roles": 1}, nil, 0, "neither a string nor a list"},
		{"true", "roles", object{"roles": true}, nil, 0, "neither a string nor a list"},
		{"a list with a number", "roles", object{"roles": []any{"admin", 3}}, nil, 0, "neither a string nor a list"},
		{"a list in a list", "roles", object{"roles": []any{[]string{"admin"}}}, nil, 0, "neither a string nor a list"},
		{"an empty list", "roles", object{"roles": []string{}}, nil, 0, "holds none of"},
		{"unknown", "roles", object{"roles": []string{"Admin", "root", "admin "}}, nil, 0, "holds none of"},
		{"two in one string", "roles", object{"roles": "viewer admin"}, nil, 0, "holds none of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := NewVerifier(VerifierOptions{Keys: keys, RolesClaim: c.path, RoleMap: c.mapped})
			token := sign(t, jwt.SigningMethodEdDSA, k.ed, object{"alg": "EdDSA", "kid": "ed"}, good(c.claims))
			if c.want != 0 {
				if id, err := v.Verify(context.Background(), token); err != nil || id.Role != c.want || id.Name != "alice" {
					t.Errorf("%+v, %v: want %v", id, err, c.want)
				}
				return
			}
			r := refused(t, v, token)
			if r.Status != 403 || r.Code != 7 || r.oauth != "insufficient_scope" || !strings.Contains(r.Message, c.why) {
				t.Errorf("%d, code %d, %s: %s; want %q", r.Status, r.Code, r.oauth, r.Message, c.why)
			}
		})
	}
}

func TestATokenForSomebodyElseNeedsNoConfiguredAudienceToBeRefused(t *testing.T) {
	v := NewVerifier(VerifierOptions{Keys: ring(t, nil, keyDir(t))})
	for _, aud := range []any{"other", []string{"other"}} {
		token := sign(t, jwt.SigningMethodEdDSA, testKeys().ed, object{"alg": "EdDSA"}, good(object{"aud": aud}))
		if r := refused(t, v, token); !strings.Contains(r.Message, "--jwt-audience") {
			t.Errorf("why: %s", r.Message)
		}
	}
}

func TestWithoutKeysTheSocketIsNamed(t *testing.T) {
	r := refused(t, NewVerifier(VerifierOptions{}), mint(t, testKeys().ed, "", nil))
	if r.Message != "no token keys are configured (--jwt-keys): use the Unix socket" || r.Status != 401 {
		t.Errorf("%d %s", r.Status, r.Message)
	}
}

// A token without a kid must not cost more than a bounded number of signatures.
func TestOnlySoManyKeysAreTried(t *testing.T) {
	k := testKeys()
	file := filepath.Join(t.TempDir(), "keys.pem")
	text := []byte(strings.Repeat(string(publicPEM(t, k.ed2)), maxTried))
	write(t, file, append(text, publicPEM(t, k.ed)...))
	v := NewVerifier(VerifierOptions{Keys: ring(t, nil, file)})
	refused(t, v, mint(t, k.ed, "", nil))
	if fit, _ := v.o.Keys.set.Load().find("", algEdDSA); len(fit) != maxTried {
		t.Errorf("%d keys are tried", len(fit))
	}
}
