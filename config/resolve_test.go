package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// folder writes files into a new folder and returns it. Names that end in
// "!" are for everybody to read.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		mode := fs.FileMode(0o600)
		if strings.HasSuffix(name, "!") {
			name, mode = strings.TrimSuffix(name, "!"), 0o644
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const filesYAML = `
sources: [{name: x, journald: {}}]
targets:
  - name: a
    loki: {url: "https://loki", tlsBundle: b, bearerTokenFile: token}
  - name: c
    loki: {url: "https://loki", basicAuth: {username: u, passwordFile: ./password}}
tlsBundles:
  - name: b
    caFile: ca.pem
    certFile: pair.pem
    keyFile: pair.pem
`

func TestResolve(t *testing.T) {
	p := parts()
	dir := folder(t, map[string]string{
		"x.yaml": filesYAML, "token": "s3cret\n", "password": "pass word\r\n",
		"ca.pem": p["CA"], "pair.pem": p["KEY"] + p["CERT"],
	})
	c, err := Load(filepath.Join(dir, "x.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings()) > 0 {
		t.Errorf("warnings: %v", c.Warnings())
	}
	b := c.TLSBundle(&c.Targets[0])
	if b == nil || b.CAPem != p["CA"] || b.CertPem != p["CERT"] || b.KeyPem.Reveal() != p["KEY"]+p["CERT"] {
		t.Errorf("bundle: %+v", b)
	}
	if b.KeyFile != filepath.Join(dir, "pair.pem") {
		t.Errorf("keyFile is %s", b.KeyFile)
	}
	if got := c.Targets[0].Loki.BearerToken.Reveal(); got != "s3cret" {
		t.Errorf("token is %q", got)
	}
	if got := c.Targets[1].Loki.BasicAuth.Password.Reveal(); got != "pass word" {
		t.Errorf("password is %q", got)
	}
	want := []string{"ca.pem", "pair.pem", "password", "token"}
	for i, name := range c.Files("/elsewhere") {
		if name != filepath.Join(dir, want[i]) {
			t.Errorf("file %d is %s", i, name)
		}
	}
}

// TestResolveChangesACopy: the Config that was parsed stays as it is.
func TestResolveChangesACopy(t *testing.T) {
	p := parts()
	dir := folder(t, map[string]string{"token": "s3cret", "password": "x", "ca.pem": p["CA"], "pair.pem": p["CERT"] + p["KEY"]})
	c, err := Parse("x.yaml", []byte(filesYAML))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Resolve(dir); err != nil {
		t.Fatal(err)
	}
	l := c.Targets[1].Loki
	if c.TLSBundles[0].CAPem != "" || c.TLSBundles[0].CAFile != "ca.pem" || c.Targets[0].Loki.BearerToken != "" || l.BasicAuth.Password != "" {
		t.Errorf("it was changed: %+v", c)
	}
}

func TestResolveProblems(t *testing.T) {
	p := parts()
	good := map[string]string{"token": "s3cret", "password": "x", "ca.pem": p["CA"], "pair.pem": p["CERT"] + p["KEY"]}
	cases := map[string]struct {
		name, text string // a file that is other than good; no text: not there
		want       string
	}{
		"no CA":            {"ca.pem", "", `x.yaml:10: TLS bundle "b": caFile: DIR/ca.pem: no such file or directory`},
		"no token":         {"token", "", `x.yaml:5: target "a": loki.bearerTokenFile: DIR/token: no such file or directory`},
		"empty token":      {"token", "\n", `x.yaml:5: target "a": loki.bearerTokenFile: DIR/token is empty`},
		"token of lines":   {"token", "s3cret\nmore\n", `x.yaml:5: target "a": loki.bearerTokenFile: holds a space, a line break or a character that is not ASCII`},
		"long token":       {"token", strings.Repeat("x", maxSecretFile+1), `x.yaml:5: target "a": loki.bearerTokenFile: DIR/token: is longer than 65536 bytes`},
		"password lines":   {"password", "s3cret\nmore\n", `x.yaml:7: target "c": loki.basicAuth.passwordFile: holds a line break`},
		"CA is a key":      {"ca.pem", p["KEY"], `x.yaml:10: TLS bundle "b": caFile: holds a private key; that belongs into keyPem or keyFile`},
		"key of another":   {"pair.pem", p["CERT"] + p["OTHERKEY"], `x.yaml:12: TLS bundle "b": keyFile: is not the key of the certificate`},
		"no key in it":     {"pair.pem", p["CERT"], `x.yaml:12: TLS bundle "b": keyFile: holds no private key in PEM form ("-----BEGIN PRIVATE KEY-----")`},
		"no cert in it":    {"pair.pem", p["KEY"], `x.yaml:11: TLS bundle "b": certFile: holds no certificate in PEM form ("-----BEGIN CERTIFICATE-----")`},
		"CA is damaged":    {"ca.pem", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n", `x.yaml:10: TLS bundle "b": caFile: certificate 1 cannot be read: x509: malformed certificate`},
		"pair is empty":    {"pair.pem", " ", "x.yaml:11: TLS bundle \"b\": certFile: holds no certificate in PEM form (\"-----BEGIN CERTIFICATE-----\")\nx.yaml:12: TLS bundle \"b\": keyFile: holds no private key in PEM form (\"-----BEGIN PRIVATE KEY-----\")"},
		"pair has no data": {"pair.pem", "0", "x.yaml:11: TLS bundle \"b\": certFile: holds no certificate in PEM form (\"-----BEGIN CERTIFICATE-----\")\nx.yaml:12: TLS bundle \"b\": keyFile: holds no private key in PEM form (\"-----BEGIN PRIVATE KEY-----\")"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			for file, text := range good {
				files[file] = text
			}
			files[c.name] = c.text
			if c.text == "" {
				delete(files, c.name)
			}
			if c.text == "0" {
				files[c.name] = ""
			}
			dir := folder(t, files)
			parsed, err := Parse("x.yaml", []byte(filesYAML))
			if err != nil {
				t.Fatal(err)
			}
			_, err = parsed.Resolve(dir)
			if err == nil {
				t.Fatal("nothing is wrong with it")
			}
			if got := strings.ReplaceAll(err.Error(), dir, "DIR"); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Error("a secret is printed")
			}
		})
	}
}

func TestWhoMayRead(t *testing.T) {
	p := parts()
	inline := strings.Replace(filesYAML, "bearerTokenFile: token", "bearerToken: s3cret", 1)
	dir := folder(t, map[string]string{
		"x.yaml!": inline, "password!": "x", "ca.pem!": p["CA"], "pair.pem!": p["CERT"] + p["KEY"],
	})
	file := filepath.Join(dir, "x.yaml")
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	want := file + `:5: target "a": loki.bearerToken: a secret, and everybody on this machine may read this file (mode 0644)
` + file + `:7: target "c": loki.basicAuth.passwordFile: everybody on this machine may read this file (mode 0644)
` + file + `:12: TLS bundle "b": keyFile: everybody on this machine may read this file (mode 0644)`
	if got := c.Warnings().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLoadFailures(t *testing.T) {
	dir := folder(t, map[string]string{"bad.yaml": "x: y\n"})
	if _, err := Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("folder: %v", err)
	}
	if _, err := Load("/dev/zero"); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("device: %v", err)
	}
	var problems Problems
	if _, err := Load(filepath.Join(dir, "bad.yaml")); !errors.As(err, &problems) {
		t.Errorf("bad file: %v", err)
	}
	if err := os.Truncate(filepath.Join(dir, "bad.yaml"), 1<<40); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(filepath.Join(dir, "bad.yaml")); err == nil || !strings.Contains(err.Error(), "is longer than 4194304 bytes") {
		t.Errorf("huge file: %v", err)
	}
}

// TestRedactedShowsPaths: what was read from a file is shown as its path.
func TestRedactedShowsPaths(t *testing.T) {
	p := parts()
	dir := folder(t, map[string]string{"token": "s3cret", "password": "x", "ca.pem": p["CA"], "pair.pem": p["CERT"] + p["KEY"]})
	parsed, err := Parse("x.yaml", []byte(filesYAML))
	if err != nil {
		t.Fatal(err)
	}
	c, err := parsed.Resolve(dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.RedactedYAML()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "keyFile: "+dir+"/pair.pem # (hidden, sha-256 of its public key ") {
		t.Errorf("no fingerprint beside keyFile:\n%s", text)
	}
	again, err := Parse("again", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if again, err = again.Resolve("/"); err != nil {
		t.Fatal(err)
	}
	for i := range c.Targets {
		if !targetsEqual(c, again, i) {
			t.Errorf("target %d differs\n%s", i, text)
		}
	}
}
