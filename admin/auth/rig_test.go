package auth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// testKeys are made once: RSA keys take long.
var testKeys = sync.OnceValue(func() (k struct {
	rsa, rsa2, weak *rsa.PrivateKey
	p256, p384      *ecdsa.PrivateKey
	p521            *ecdsa.PrivateKey
	ed, ed2         ed25519.PrivateKey
}) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.rsa2, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.weak, err = rsa.GenerateKey(rand.Reader, 1024)
	must(err)
	k.p256, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	k.p384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	k.p521, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	must(err)
	_, k.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	_, k.ed2, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return k
})

func publicPEM(tb testing.TB, keys ...crypto.Signer) []byte {
	tb.Helper()
	var b bytes.Buffer
	for _, k := range keys {
		der, err := x509.MarshalPKIXPublicKey(k.Public())
		if err != nil {
			tb.Fatal(err)
		}
		pem.Encode(&b, &pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	return b.Bytes()
}

func privatePEM(tb testing.TB, k crypto.Signer) []byte {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// write replaces a file in one step, as whoever rotates keys should.
func write(tb testing.TB, path string, text []byte) {
	tb.Helper()
	if err := os.WriteFile(path+".new~", text, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(path+".new~", path); err != nil {
		tb.Fatal(err)
	}
}

// logged is a log that a test can look into.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logged) Log() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// ring opens keys that lie in these places.
func ring(tb testing.TB, log *logged, places ...string) *Keyring {
	tb.Helper()
	if log == nil {
		log = &logged{}
	}
	k, err := OpenKeyring(KeyOptions{Places: places, Log: log.Log()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(k.Close)
	return k
}

// keyDir is a directory with one key of each kind; the file names are their kids.
func keyDir(tb testing.TB) string {
	dir := tb.TempDir()
	k := testKeys()
	for name, key := range map[string]crypto.Signer{"rsa.pem": k.rsa, "p256.pub": k.p256, "p384.pem": k.p384, "ed.crt": k.ed} {
		write(tb, filepath.Join(dir, name), publicPEM(tb, key))
	}
	return dir
}

// sign makes a token of any header and claims, good or bad; they are values,
// or JSON texts.
func sign(tb testing.TB, method jwt.SigningMethod, key any, header, claims any) string {
	tb.Helper()
	part := func(v any) string {
		text, ok := v.(string)
		if !ok {
			b, err := json.Marshal(v)
			if err != nil {
				tb.Fatal(err)
			}
			text = string(b)
		}
		return base64.RawURLEncoding.EncodeToString([]byte(text))
	}
	signed := part(header) + "." + part(claims)
	sig, err := method.Sign(signed, key)
	if err != nil {
		tb.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

type object = map[string]any

// good are claims that nobody objects to, with changes.
func good(changes object) object {
	c := object{"sub": "alice", "roles": []string{"editor"}, "exp": time.Now().Add(time.Hour).Unix()}
	for name, v := range changes {
		if v == nil {
			delete(c, name)
		} else {
			c[name] = v
		}
	}
	return c
}

func mint(tb testing.TB, key crypto.Signer, kid string, changes func(*MintOptions)) string {
	tb.Helper()
	o := MintOptions{Subject: "alice", Role: Admin, TTL: time.Hour, Kid: kid, RolesClaim: "roles", Now: time.Now()}
	if changes != nil {
		changes(&o)
	}
	token, err := Mint(key, o)
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

// refused verifies a token that must be refused and returns why.
func refused(tb testing.TB, v *Verifier, token string) *Refusal {
	tb.Helper()
	id, err := v.Verify(context.Background(), token)
	r, ok := err.(*Refusal)
	if !ok {
		tb.Fatalf("the token was taken as %+v (%v)", id, err)
	}
	if id != (Identity{}) {
		tb.Errorf("a refused token has the identity %+v", id)
	}
	if parts := strings.Split(token, "."); len(token) > 20 && strings.Contains(r.Message, token) ||
		len(parts) == 3 && len(parts[2]) > 20 && strings.Contains(r.Message, parts[2]) {
		tb.Errorf("the message holds the token: %s", r.Message)
	}
	return r
}

// eventually waits until ok.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			tb.Fatalf("it never happened: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
