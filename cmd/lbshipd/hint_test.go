package main

import (
	"bytes"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/admin/auth"
)

// Whoever mistypes, or asks for what cannot be, is told what to do.
func TestMistakesAreAnsweredHelpfully(t *testing.T) {
	dir := t.TempDir()
	missing, conf := filepath.Join(dir, "missing.yaml"), filepath.Join(dir, "conf.yaml")
	if err := os.WriteFile(conf, []byte("targets: [{name: loki, loki: {url: 'http://localhost:1'}}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		says []string
	}{
		{"rn", 2, []string{`did you mean "lbshipd run"?`, "See: lbshipd --help"}},
		{"inspect jornal", 2, []string{`did you mean "lbshipd inspect journal"?`, "See: lbshipd inspect --help"}},
		{"run --confg x", 2, []string{"did you mean --config?", "See: lbshipd run --help"}},
		{"run x.yaml", 2, []string{`did you mean "--config x.yaml"?`}},
		{"run --wibble", 2, []string{"unknown flag: --wibble\n"}},
		{"replay", 2, []string{"--config FILE is needed"}},
		{"replay --config x", 2, []string{"--target NAME is needed", "whose letters"}},
		{"replay --config x --target t --timeout -1s", 2, []string{"--timeout must be above 0"}},
		{"replay --config " + conf + " --target lokki --data-dir " + dir, 1, []string{`has no target "lokki"`, "It has: loki", "--to"}},
		{"replay --config " + conf + " --target loki --data-dir " + dir, 1, []string{`no dead letters of target "loki"`, "deadLetters"}},
		{"inspect dead-letters --target ../.. --data-dir " + dir, 1, []string{`no dead letters of target "../.."`, "no target"}},
		{"inspect dead-letters -o xml", 2, []string{"want text or json"}},
		{"inspect journal PRIORITY", 2, []string{"want FIELD=VALUE"}},
		{"check " + missing, 1, []string{"no such file", "path of a file that exists"}},
		{"run --config " + missing, 1, []string{"no such file", "path of a file that exists"}},
		{"run --listen off --data-dir /proc/lbshipd", 1, []string{"--data-dir"}},
		{"run --listen 1 --data-dir " + dir, 1, []string{"HOST:PORT", "--listen off"}},
		{"run --listen 0.0.0.0:0 --data-dir " + dir, 1, []string{"--tls-cert", "--insecure-plaintext"}},
		{"run --listen 127.0.0.1:0 --tls-cert x --data-dir " + dir, 2, []string{"--tls-key"}},
		{"run --listen 127.0.0.1:0 --jwt-keys " + missing + " --data-dir " + dir, 1, []string{"--jwt-keys", "no such file"}},
	} {
		root, out := newRoot(), &bytes.Buffer{}
		root.SetArgs(strings.Fields(c.args))
		root.SetOut(out)
		root.SetErr(out)
		if code := execute(root); code != c.code {
			t.Errorf("%s: exit code %d, want %d", c.args, code, c.code)
		}
		for _, want := range c.says {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s does not say %q:\n%s", c.args, want, out)
			}
		}
	}
}

// What says itself what to do gets no other advice.
func TestHintsOfTheAdminPortFitTheirErrors(t *testing.T) {
	for _, err := range []error{auth.ErrPlaintext, &fs.PathError{Op: "open", Path: "tls.key", Err: fs.ErrPermission}} {
		if got := hint(listenHint(err)); got != "" {
			t.Errorf("%v: %s", err, got)
		}
	}
	inUse := &net.OpError{Op: "listen", Err: unix.EADDRINUSE}
	if got := hint(listenHint(inUse)); !strings.Contains(got, "Another program") {
		t.Errorf("%v: %q", inUse, got)
	}
}
