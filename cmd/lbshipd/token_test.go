package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// command runs one command line and returns its exit code, standard output and standard error.
func command(stdin string, args ...string) (int, string, string) {
	root, out, errs := newRoot(), &bytes.Buffer{}, &bytes.Buffer{}
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(out)
	root.SetErr(errs)
	return execute(root), out.String(), errs.String()
}

func TestTokensForALab(t *testing.T) {
	dir := t.TempDir()
	private := filepath.Join(dir, "lab.key")
	if code, out, errs := command("", "token", "keygen", private); code != 0 || !strings.Contains(out, "lab.pub") {
		t.Fatalf("keygen: %d %s%s", code, out, errs)
	}
	code, token, errs := command("", "token", "--key", private, "--subject", "alice", "--role", "admin", "--ttl", "5m", "--audience", "lbshipd", "--issuer", "lab", "--kid", "lab")
	if code != 0 || errs != "" || strings.Count(token, ".") != 2 || !strings.HasSuffix(token, "\n") {
		t.Fatalf("token: %d %q %s", code, token, errs)
	}
	// The way back, by standard input, which may end with a newline or without.
	for _, text := range []string{token, strings.TrimSpace(token)} {
		code, out, errs := command(text, "token", "inspect", "--jwt-keys", dir, "--jwt-audience", "lbshipd", "--jwt-issuer", "lab")
		var got struct {
			Name, Role string
			Claims     map[string]any
		}
		if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil || got.Name != "alice" || got.Role != "admin" || got.Claims["iss"] != "lab" {
			t.Errorf("inspect: %d %s%s (%v)", code, out, errs, err)
		}
	}
	if code, out, _ := command("", "token", "--key", private); code != 0 || out == "" {
		t.Errorf("with defaults: %d", code)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"token", 2, "--key is missing"},
		{"token --key KEY --role boss", 2, "no role"},
		{"token --key KEY --ttl 0s", 1, "cannot last"},
		{"token --key KEY --roles-claim exp", 1, "exp"},
		{"token --key DIR/lab.pub", 1, "no private key"},
		{"token --key DIR/none", 1, "no such file"},
		{"token alice", 2, "unknown command or argument"},
		{"token keygen", 2, "one FILE"},
		{"token keygen KEY", 1, "exists"},
		{"token inspect x", 2, "--jwt-keys is missing"},
		{"token inspect x y --jwt-keys DIR", 2, "one TOKEN"},
		{"token inspect x --jwt-keys DIR", 1, "no JWT"},
		{"token inspect x --jwt-keys KEY", 1, "private key"},
		{"token inspect x --jwt-keys DIR --jwt-leeway 1h", 2, "--jwt-leeway"},
	} {
		args := strings.Fields(strings.ReplaceAll(strings.ReplaceAll(c.args, "KEY", private), "DIR", dir))
		code, out, errs := command("", args...)
		if code != c.code || !strings.Contains(errs, c.says) || out != "" {
			t.Errorf("%s: %d %q %q: want %d and %q", c.args, code, out, errs, c.code, c.says)
		}
	}
	// A token without a role is refused, and shown.
	code, out, errs := command(token, "token", "inspect", "--jwt-keys", dir, "--jwt-audience", "lbshipd", "--jwt-roles-claim", "groups")
	if code != 1 || !strings.Contains(errs, "no claim groups") || !strings.Contains(out, `"role": "none"`) || !strings.Contains(out, "alice") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	if err := os.Chmod(private, 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := command("", "token", "--key", private); code != 0 || !strings.Contains(errs, "chmod 600") || strings.Contains(out, "chmod") {
		t.Errorf("a key that all can read: %d %s%s", code, out, errs)
	}
}
