package auth

import (
	"context"
	"crypto"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

func takes(v *Verifier, token string) bool {
	_, err := v.Verify(context.Background(), token)
	return err == nil
}

func TestKeyFilesAreCertificatesToo(t *testing.T) {
	dir := t.TempDir()
	ca := testbed.NewCA(t, "keys")
	cert := ca.Issue(t, testbed.CertOptions{CommonName: "signer", Starts: -2 * time.Hour, Lasts: time.Hour})
	private, err := parsePrivate([]byte(cert.KeyPEM))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "signer.crt"), []byte(cert.CertPEM))
	log := &logged{}
	v := NewVerifier(VerifierOptions{Keys: ring(t, log, dir)})
	if !takes(v, mint(t, private, "signer", nil)) {
		t.Error("the token is refused")
	}
	if !strings.Contains(log.String(), "expired on") {
		t.Errorf("an expired certificate is not warned of: %s", log)
	}
}

func TestKeysThatAreRefusedAtTheStart(t *testing.T) {
	k := testKeys()
	dir := t.TempDir()
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		write(t, path, text)
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	good := publicPEM(t, k.ed)
	many := t.TempDir()
	for i := range maxKeys/2 + 1 {
		write(t, filepath.Join(many, fmt.Sprintf("%d.pem", i)), append(good, good...))
	}
	bad := t.TempDir()
	write(t, filepath.Join(bad, "a.pem"), good)
	write(t, filepath.Join(bad, "b.pem"), []byte("nothing"))
	for _, c := range []struct{ place, why string }{
		{filepath.Join(dir, "none"), "no such file"},
		{pipe, "not a regular file"},
		{file("empty", nil), "no PEM block"},
		{file("text", []byte("hello")), "no PEM block"},
		{file("private", privatePEM(t, k.ed)), "private key"},
		{file("both", append(privatePEM(t, k.ed), good...)), "private key"},
		{file("weak", publicPEM(t, k.weak)), "1024 bits"},
		{file("p521", publicPEM(t, k.p521)), "P-521"},
		{file("cut", good[:len(good)-10]), "middle of a PEM block"},
		{file("cut first", append(good[:len(good)-10:len(good)-10], good...)), "middle of a PEM block"},
		{file("big", make([]byte, maxKeyFile+1)), "larger than"},
		{file("jwks", []byte(` {"keys":[]}`)), "no key that can be used"},
		{bad, "b.pem"},
		{many, "at most 1024"},
		{"http://192.0.2.1/jwks", "want https"},
		{"http://localhost/jwks", "want https"},
		{"file:///etc/passwd", ""},
		{"https://user:secret@192.0.2.1/", "password"},
		{"https:///jwks", "no host"},
	} {
		k, err := OpenKeyring(KeyOptions{Places: []string{c.place}, Log: (&logged{}).Log()})
		if err == nil {
			k.Close()
			t.Errorf("%s was taken", c.place)
		} else if !strings.Contains(err.Error(), c.why) || !strings.Contains(err.Error(), "--jwt-keys") {
			t.Errorf("%s: %v: want %q", c.place, err, c.why)
		}
	}
}

func TestOnlyKeyFilesOfADirectoryCount(t *testing.T) {
	dir := t.TempDir()
	k := testKeys()
	write(t, filepath.Join(dir, "..hidden.pem"), publicPEM(t, k.rsa))
	write(t, filepath.Join(dir, "lab.key"), privatePEM(t, k.ed))
	write(t, filepath.Join(dir, "README"), []byte("hello"))
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "lab.pub"), publicPEM(t, k.ed))
	// As Kubernetes mounts secrets.
	write(t, filepath.Join(dir, "sub", "real"), publicPEM(t, k.p256))
	if err := os.Symlink("sub/real", filepath.Join(dir, "linked.pem")); err != nil {
		t.Fatal(err)
	}
	v := NewVerifier(VerifierOptions{Keys: ring(t, nil, dir)})
	if !takes(v, mint(t, k.ed, "lab", nil)) || !takes(v, mint(t, k.p256, "linked", nil)) || takes(v, mint(t, k.rsa, "", nil)) {
		t.Error("other keys than lab and linked count")
	}
}

func TestAnEmptyDirectoryIsSaid(t *testing.T) {
	log := &logged{}
	v := NewVerifier(VerifierOptions{Keys: ring(t, log, t.TempDir())})
	refused(t, v, mint(t, testKeys().ed, "", nil))
	if !strings.Contains(log.String(), "no key files") {
		t.Errorf("%s", log)
	}
}

// A key of a single file has no name and so fits every kid; one of a
// directory fits its own only.
func TestASingleFileFitsAnyKid(t *testing.T) {
	k := testKeys()
	file := filepath.Join(t.TempDir(), "key.pem")
	write(t, file, publicPEM(t, k.ed))
	v := NewVerifier(VerifierOptions{Keys: ring(t, nil, file, keyDir(t))})
	if !takes(v, mint(t, k.ed, "whatever", nil)) {
		t.Error("the token with another kid is refused")
	}
	if takes(v, mint(t, k.p256, "whatever", nil)) {
		t.Error("a key of a directory was used for another kid")
	}
}

// Tokens are verified without a pause while keys come and go; as long as the
// key of a token is there, it is taken, from the moment on that its file is.
func TestRotationLosesNoRequest(t *testing.T) {
	k := testKeys()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "old.pem"), publicPEM(t, k.ed))
	log := &logged{}
	v := NewVerifier(VerifierOptions{Keys: ring(t, log, dir)})
	stop := make(chan struct{})
	var busy sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); busy.Wait() })
	defer end()
	var taken atomic.Int64
	keep := func(token string) {
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := v.Verify(context.Background(), token); err != nil {
					t.Errorf("during the rotation: %v", err)
					return
				}
				taken.Add(1)
			}
		})
	}
	keep(mint(t, k.ed, "old", nil))
	keep(mint(t, k.ed, "", nil))
	// The new key is used at once when it is there, although nobody has polled.
	write(t, filepath.Join(dir, "new.pem"), publicPEM(t, k.p256))
	if !takes(v, mint(t, k.p256, "new", nil)) {
		t.Error("the new key is not used at once")
	}
	keep(mint(t, k.p256, "new", nil))
	keep(mint(t, k.p256, "", nil))
	// A file that is just being written does no harm to the others, nor to
	// what it held.
	if err := os.WriteFile(filepath.Join(dir, "new.pem"), publicPEM(t, k.p256)[:50], 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "next.pem"), publicPEM(t, k.ed2))
	keep(mint(t, k.ed2, "next", nil))
	eventually(t, "the damaged file is said", func() bool { return strings.Contains(log.String(), "new.pem: ") })
	if !takes(v, mint(t, k.p256, "new", nil)) {
		t.Error("the damaged file has lost the key that it held")
	}
	write(t, filepath.Join(dir, "new.pem"), publicPEM(t, k.p256))
	eventually(t, "that it is in order again is said", func() bool { return strings.Contains(log.String(), "can be read again") })
	n := taken.Load()
	eventually(t, "more tokens are taken", func() bool { return taken.Load() > n+100 })
	end()

	// And a key that is taken away is no longer used, even beside a broken one.
	old := mint(t, k.ed, "old", nil)
	write(t, filepath.Join(dir, "broken.pem"), []byte("nothing"))
	for _, name := range []string{"old.pem", "new.pem", "next.pem"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the old key is forgotten", func() bool { return !takes(v, old) })
}

// A file that cannot be read any more keeps its keys.
func TestAFileThatIsGoneKeepsItsKeys(t *testing.T) {
	k := testKeys()
	file := filepath.Join(t.TempDir(), "keys.json")
	write(t, file, []byte(jwksOf(t, map[string]crypto.Signer{"a": k.ed})))
	log := &logged{}
	v := NewVerifier(VerifierOptions{Keys: ring(t, log, file)})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is said", func() bool { return strings.Contains(log.String(), "cannot be read") })
	if !takes(v, mint(t, k.ed, "a", nil)) {
		t.Error("the key is forgotten")
	}
	write(t, file, []byte(jwksOf(t, map[string]crypto.Signer{"b": k.ed2})))
	if !takes(v, mint(t, k.ed2, "b", nil)) || takes(v, mint(t, k.ed, "a", nil)) {
		t.Error("the new file does not count alone")
	}
}
