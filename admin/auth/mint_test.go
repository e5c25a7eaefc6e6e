package auth

import (
	"context"
	"crypto"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// Private keys in every form that openssl writes them make tokens that are taken.
func TestPrivateKeysOfOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v: %s", args, err, out)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	run("genpkey", "-algorithm", "ed25519", "-out", at("ed.key"))
	run("genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048", "-out", at("rsa.key"))
	run("rsa", "-in", at("rsa.key"), "-traditional", "-out", at("pkcs1.key"))
	run("ecparam", "-name", "prime256v1", "-genkey", "-out", at("sec1.key")) // with EC PARAMETERS before it
	run("genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1", "-out", at("p384.key"))
	for _, name := range []string{"ed", "rsa", "pkcs1", "sec1", "p384"} {
		run("pkey", "-in", at(name+".key"), "-pubout", "-out", at(name+".pub"))
	}
	v := NewVerifier(VerifierOptions{Keys: ring(t, nil, dir)})
	for _, name := range []string{"ed", "rsa", "pkcs1", "sec1", "p384"} {
		private, err := ReadPrivateKey(at(name + ".key"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := v.Verify(context.Background(), mint(t, private, name, nil)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	run("genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:1024", "-out", at("weak.key"))
	run("genpkey", "-algorithm", "x25519", "-out", at("x25519.key"))
	run("pkcs8", "-topk8", "-in", at("ed.key"), "-passout", "pass:secret", "-out", at("encrypted.key"))
	run("rsa", "-in", at("rsa.key"), "-traditional", "-aes128", "-passout", "pass:secret", "-out", at("encrypted1.key"))
	for name, why := range map[string]string{"weak.key": "1024 bits", "x25519.key": "cannot sign", "encrypted.key": "is encrypted",
		"encrypted1.key": "is encrypted", "ed.pub": "no private key", "none": "no such file"} {
		if _, err := ReadPrivateKey(at(name)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v: want %q", name, err, why)
		}
	}
	damaged := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("damaged")})
	if _, err := parsePrivate(damaged); err == nil || strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged key: %v", err)
	}
}

func TestGeneratedKeys(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lab.key")
	public, err := GenerateKey(path)
	if err != nil || public != filepath.Join(dir, "lab.pub") {
		t.Fatal(public, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode() != 0o600 || !KeyIsPrivate(path) {
		t.Errorf("%v %v", st.Mode(), err)
	}
	if KeyIsPrivate(public) {
		t.Error("the public key is private")
	}
	private, err := ReadPrivateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	// The whole folder, with the private key in it, is fit for --jwt-keys.
	v := NewVerifier(VerifierOptions{Keys: ring(t, nil, dir)})
	if !takes(v, mint(t, private, "lab", nil)) {
		t.Error("the token is refused")
	}
	before, _ := os.ReadFile(path)
	if _, err := GenerateKey(path); err == nil {
		t.Error("the key is overwritten")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := GenerateKey(path); err == nil {
		t.Error("the public key is overwritten")
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Error("half a pair is left")
	}
	if _, err := GenerateKey(filepath.Join(dir, "x.pub")); err == nil {
		t.Error("the private key took the public one's name")
	}
	if len(before) == 0 {
		t.Error("the key is empty")
	}
}

func TestWhatIsMintedIsWhatIsVerified(t *testing.T) {
	k := testKeys()
	keys := ring(t, nil, keyDir(t))
	for _, claim := range []string{"roles", "realm_access.roles", "a.b.c"} {
		v := NewVerifier(VerifierOptions{Keys: keys, Audience: []string{"x", "lbshipd"}, Issuer: "me", RolesClaim: claim})
		id, claims, err := v.Inspect(context.Background(), mint(t, k.ed, "ed", func(o *MintOptions) {
			o.Audience, o.Issuer, o.Role, o.Subject, o.RolesClaim = []string{"lbshipd"}, "me", Editor, "Jürgen", claim
		}))
		if err != nil || id != (Identity{"Jürgen", "token", Editor}) || claims["iss"] != "me" {
			t.Errorf("%s: %+v %v %v", claim, id, claims, err)
		}
	}
	for name, change := range map[string]func(*MintOptions){
		"no subject":       func(o *MintOptions) { o.Subject = "" },
		"a newline":        func(o *MintOptions) { o.Subject = "a\nb" },
		"no time":          func(o *MintOptions) { o.TTL = 0 },
		"time that passed": func(o *MintOptions) { o.TTL = -time.Hour },
		"roles in exp":     func(o *MintOptions) { o.RolesClaim = "exp.roles" },
		"roles in sub":     func(o *MintOptions) { o.RolesClaim = "sub" },
		"a long kid":       func(o *MintOptions) { o.Kid = strings.Repeat("x", 257) },
	} {
		o := MintOptions{Subject: "a", Role: Viewer, TTL: time.Hour, RolesClaim: "roles", Now: time.Now()}
		change(&o)
		if token, err := Mint(k.ed, o); err == nil {
			t.Errorf("%s: %s", name, token)
		}
	}
	for _, key := range []crypto.Signer{k.weak, k.p521} {
		if _, err := Mint(key, MintOptions{Subject: "a", Role: Viewer, TTL: time.Hour, RolesClaim: "roles", Now: time.Now()}); err == nil {
			t.Errorf("%T signs", key)
		}
	}
}

func TestFlags(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "k.pem")
	write(t, file, publicPEM(t, testKeys().ed))
	parse := func(args ...string) *Flags {
		f := &Flags{}
		fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
		f.Register(fs)
		if err := fs.Parse(args); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return f
	}
	for _, c := range []struct {
		args []string
		why  string // "": they are good
	}{
		{nil, ""},
		{[]string{"--jwt-keys", file, "--jwt-keys", dir, "--jwt-keys", "https://x/jwks", "--jwt-audience", "a", "--jwt-role-map", "cn=a,dc=b=editor"}, ""},
		{[]string{"--jwt-keys", ""}, "--jwt-keys is empty"},
		{[]string{"--jwt-keys", "http://example.com/jwks"}, "want https"},
		{[]string{"--jwt-keys", "https://u:secret@example.com/jwks"}, "must not hold a user name"},
		{[]string{"--jwt-keys", "https://%zz"}, "no URL"},
		{[]string{"--jwt-keys-refresh", "1s"}, "at least 10s"},
		{[]string{"--jwt-leeway", "-1s"}, "0s to 10m"},
		{[]string{"--jwt-leeway", "1h"}, "0s to 10m"},
		{[]string{"--jwt-roles-claim", ""}, "--jwt-roles-claim is empty"},
		{[]string{"--jwt-audience", ""}, "--jwt-audience is empty"},
		{[]string{"--jwt-role-map", "editor"}, "THEIRS=OURS"},
		{[]string{"--jwt-role-map", "=editor"}, "THEIRS=OURS"},
		{[]string{"--jwt-role-map", "a=boss"}, "no role"},
		{[]string{"--jwt-role-map", "a=editor", "--jwt-role-map", "a=admin"}, "editor already"},
		{[]string{"--tls-cert", "x"}, "go together"},
		{[]string{"--tls-key", "x"}, "go together"},
		{[]string{"--tls-client-ca", "x"}, "needs --tls-cert"},
	} {
		err := parse(c.args...).Check()
		if (err == nil) != (c.why == "") || err != nil && (!strings.Contains(err.Error(), c.why) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%v: %v: want %q", c.args, err, c.why)
		}
	}
	log := &logged{}
	v, done, err := parse("--jwt-keys", file, "--jwt-role-map", "admin=viewer", "--jwt-issuer", "me").Open(log.Log())
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	id, err := v.Verify(context.Background(), mint(t, testKeys().ed, "", func(o *MintOptions) { o.Issuer = "me" }))
	if err != nil || id.Role != Viewer {
		t.Errorf("%+v %v", id, err)
	}
	refused(t, v, mint(t, testKeys().ed, "", nil))
	if v, done, err := parse().Open(log.Log()); err != nil {
		t.Error(err)
	} else {
		done()
		refused(t, v, mint(t, testKeys().ed, "", nil))
	}
	for socket, want := range map[string]string{"": "default.sock", "off": "", filepath.Join(dir, "s"): "s"} {
		l, err := parse("--admin-socket", socket).Listen("127.0.0.1:0", filepath.Join(dir, "default.sock"), log.Log())
		if err != nil {
			t.Fatal(err)
		}
		if base := filepath.Base(l.SocketPath()); base != want && (want != "" || l.SocketPath() != "") || !strings.HasPrefix(l.URL(), "http://127.0.0.1:") {
			t.Errorf("%q: %q %q", socket, l.SocketPath(), l.URL())
		}
		l.Close()
		if _, err := os.Lstat(l.SocketPath()); l.SocketPath() != "" && !os.IsNotExist(err) {
			t.Errorf("%s is left", l.SocketPath())
		}
	}
}
