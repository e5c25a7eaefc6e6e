//go:build !appliance

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/cmd/lbshipd/support"
)

// asMain makes the test binary, run again, lbshipd itself.
const asMain = "LBSHIPD_TEST_AS_MAIN"

func init() {
	if os.Getenv(asMain) != "" {
		os.Unsetenv(asMain)
		main()
	}
}

// self is lbshipd with arguments, and variables in front of its own environment.
func self(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Args[0] = "lbshipd"
	cmd.Env = append(append(os.Environ(), asMain+"=1"), env...)
	return cmd
}

// startSelf runs lbshipd until the test ends.
func startSelf(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := self(context.Background(), env, args...)
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("lbshipd printed\n%.4000s", out)
		}
	})
	return cmd
}

// runSelf runs a command to its end.
func runSelf(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := self(ctx, nil, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("lbshipd %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// bundle is an unpacked support bundle.
type bundle struct {
	files    map[string]string
	manifest support.Manifest
}

// makeBundle makes one and unpacks it.
func makeBundle(t *testing.T, args ...string) bundle {
	t.Helper()
	path := filepath.Join(t.TempDir(), "b.tar.gz")
	begin := time.Now()
	t.Log(runSelf(t, append([]string{"support-bundle", "-o", path}, args...)...))
	if took := time.Since(begin); took > 50*time.Second {
		t.Errorf("it took %v", took)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	data, _ := os.ReadFile(path)
	b := bundle{files: unpack(t, data)}
	if err := json.Unmarshal([]byte(b.files["manifest.json"]), &b.manifest); err != nil {
		t.Fatal(err)
	}
	return b
}

func unpack(t *testing.T, data []byte) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(h.Name, "/")
		files[name] = string(text)
	}
}

// holds fails unless a file of the bundle has all texts.
func (b bundle) holds(t *testing.T, name string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(b.files[name], text) {
			t.Errorf("%s is without %q; the manifest says %+v\n%.1500s", name, text, b.manifest.Missing, b.files[name])
		}
	}
}

// missing fails unless the manifest names what could not be gathered.
func (b bundle) missing(t *testing.T, what string) {
	t.Helper()
	for _, m := range b.manifest.Missing {
		if strings.HasPrefix(m.What, what) {
			return
		}
	}
	t.Errorf("that %s is missing is not in %+v", what, b.manifest.Missing)
}

// coded is what may be base64.
var coded = regexp.MustCompile(`[A-Za-z0-9+/_-]{8,}`)

// secretsIn returns which secrets are in a text, and how they are written there. It
// is not made with the scrubber.
func secretsIn(text string, secrets map[string]string) (found []string) {
	decoded := []string{text}
	for _, run := range coded.FindAllString(text, -1) {
		run = strings.NewReplacer("-", "+", "_", "/").Replace(run)
		for shift := range min(4, len(run)) {
			part := run[shift:]
			if b, err := base64.RawStdEncoding.DecodeString(part[:len(part)/4*4]); err == nil {
				decoded = append(decoded, string(b))
			}
			if b, err := base64.RawStdEncoding.DecodeString(part); err == nil {
				decoded = append(decoded, string(b))
			}
		}
	}
	everything := strings.Join(decoded, "\n")
	unescaped := everything
	if s, err := url.QueryUnescape(strings.NewReplacer("+", "%2B").Replace(regexp.MustCompile(`%([^0-9A-Fa-f]|$)`).ReplaceAllString(everything, "%25$1"))); err == nil {
		unescaped = s
	}
	for name, secret := range secrets {
		for how, form := range map[string]string{"plain": secret, "hex": hex.EncodeToString([]byte(secret)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(secret))),
			"base64": base64.StdEncoding.EncodeToString([]byte(secret)), "query": url.QueryEscape(secret), "path": url.PathEscape(secret)} {
			if strings.Contains(everything, form) || strings.Contains(unescaped, form) {
				found = append(found, name+" ("+how+")")
			}
		}
	}
	return found
}

// clean fails if a secret is in the bundle.
func (b bundle) clean(t *testing.T, secrets map[string]string) {
	t.Helper()
	for name, text := range b.files {
		for _, found := range secretsIn(name+"\n"+text, secrets) {
			t.Errorf("%s holds %s", name, found)
		}
	}
}

// The search itself finds what it is to find.
func TestSecretsAreSeen(t *testing.T) {
	secrets := map[string]string{"s": "p@ss/w+rd 17%"}
	s := secrets["s"]
	for _, text := range []string{s, "x" + s + "y", url.QueryEscape(s), url.PathEscape(s), hex.EncodeToString([]byte(s)), base64.StdEncoding.EncodeToString([]byte(s)),
		base64.StdEncoding.EncodeToString([]byte("me:" + s)), base64.URLEncoding.EncodeToString([]byte("m:" + s + "abc")), "a=" + base64.RawURLEncoding.EncodeToString([]byte("mee:"+s))} {
		if len(secretsIn("some "+text+" text", secrets)) == 0 {
			t.Errorf("%q is not seen", text)
		}
	}
	if found := secretsIn("nothing, but cGFzc3dvcmQ= and %20", secrets); len(found) > 0 {
		t.Error(found)
	}
}
