package auth

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sys/unix"
)

// MintOptions say what stands in a token.
type MintOptions struct {
	Subject  string // whom it is for
	Role     Role
	TTL      time.Duration // from Now; at least 1 s
	Audience []string      // none: no aud
	Issuer   string        // "": no iss
	Kid      string        // "": no kid
	// RolesClaim is where the role stands, as in VerifierOptions.
	RolesClaim string
	Now        time.Time
}

// Mint signs a token with a private key. The key's type decides on the algorithm.
func Mint(private crypto.Signer, o MintOptions) (string, error) {
	if err := checkName(o.Subject); err != nil {
		return "", fmt.Errorf("the token would be refused: %w", err)
	}
	if o.TTL < time.Second {
		return "", fmt.Errorf("a token cannot last for %s: want 1s or more", o.TTL)
	}
	k, err := newKey(o.Kid, private.Public())
	if err != nil {
		return "", fmt.Errorf("the key cannot sign tokens: %w", err)
	}
	c := jwt.MapClaims{"sub": o.Subject, "iat": o.Now.Unix(), "exp": o.Now.Add(o.TTL).Unix()}
	if len(o.Audience) > 0 {
		c["aud"] = o.Audience
	}
	if o.Issuer != "" {
		c["iss"] = o.Issuer
	}
	if err := putRole(c, o.RolesClaim, o.Role); err != nil {
		return "", err
	}
	t := jwt.NewWithClaims(jwt.GetSigningMethod(k.alg), c)
	if o.Kid != "" {
		t.Header["kid"] = o.Kid
	}
	text, err := t.SignedString(private)
	if err != nil {
		return "", fmt.Errorf("signing the token: %w", err)
	}
	return text, nil
}

// putRole makes the objects that a path leads through.
func putRole(c jwt.MapClaims, path string, role Role) error {
	parts := strings.Split(path, ".")
	if slices.Contains([]string{"sub", "iat", "exp", "nbf", "aud", "iss"}, parts[0]) {
		return fmt.Errorf("the roles cannot stand in the claim %s, which means something else", parts[0])
	}
	m := map[string]any(c)
	for _, name := range parts[:len(parts)-1] {
		inner := map[string]any{}
		m[name], m = inner, inner
	}
	m[parts[len(parts)-1]] = []string{role.String()}
	return nil
}

// ReadPrivateKey reads a private key: PKCS #8, PKCS #1 (RSA) or SEC 1 (EC) in
// PEM, not encrypted.
func ReadPrivateKey(path string) (crypto.Signer, error) {
	text, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("reading the private key in %s: %w", path, err)
	}
	private, err := parsePrivate(text)
	if err != nil {
		return nil, fmt.Errorf("reading the private key in %s: %w", path, err)
	}
	return private, nil
}

func parsePrivate(text []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil, errors.New("it holds no private key (-----BEGIN PRIVATE KEY-----)")
		}
		var private any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			private, err = x509.ParseECPrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("it is encrypted: take the passphrase off (openssl pkey -in KEY -out CLEAR)")
		default:
			continue // EC PARAMETERS, certificates, public keys
		}
		// The x509 package's own words may hold parts of what it was given.
		if block.Headers["DEK-Info"] != "" {
			return nil, errors.New("it is encrypted: take the passphrase off (openssl pkey -in KEY -out CLEAR)")
		}
		if err != nil {
			return nil, fmt.Errorf("its block %q cannot be read", block.Type)
		}
		signer, ok := private.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("a key of type %T cannot sign", private)
		}
		if _, err := algorithmOf(signer.Public()); err != nil {
			return nil, err
		}
		return signer, nil
	}
}

// GenerateKey makes an Ed25519 key and writes the private one to path (0600)
// and the public one beside it, with the suffix .pub instead of path's. It
// returns the public one's path. Nothing that exists is overwritten.
func GenerateKey(path string) (string, error) {
	publicPath := strings.TrimSuffix(path, filepath.Ext(path)) + ".pub"
	if publicPath == path {
		return "", fmt.Errorf("the private key cannot be %s: that name is for the public one", path)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", err
	}
	publicDER, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", err
	}
	if err := writeNew(path, "PRIVATE KEY", privateDER, 0o600); err != nil {
		return "", fmt.Errorf("writing the private key: %w", err)
	}
	if err := writeNew(publicPath, "PUBLIC KEY", publicDER, 0o644); err != nil {
		os.Remove(path)
		return "", fmt.Errorf("writing the public key: %w", err)
	}
	return publicPath, nil
}

func writeNew(path, kind string, der []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, mode)
	if err != nil {
		return err
	}
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		os.Remove(path)
	}
	return err
}

// KeyIsPrivate reports whether only its owner may read the file of a private key.
func KeyIsPrivate(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().Perm()&0o077 == 0
}
