package e2e

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/golang/snappy"
)

// catcher is a target of somebody's own, that keeps all it is sent.
type catcher struct {
	url string
	mu  sync.Mutex
	all strings.Builder
}

func startCatcher(t *testing.T) *catcher {
	t.Helper()
	c := &catcher{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if text, err := snappy.Decode(nil, body); err == nil {
			body = text
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all.Write(body)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

func (c *catcher) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all.String()
}

// An editor, who may write sources and targets, cannot have the daemon's own secrets sent
// to himself, by whatever names he calls the files. What is refused is said, and the logs beside it are shipped.
func TestAnEditorCannotReadTheDaemonsOwnFiles(t *testing.T) {
	t.Parallel()
	c := &cluster{t: t, logs: t.TempDir()}
	c.access()
	data, credentials, etc := t.TempDir(), t.TempDir(), t.TempDir()
	pass := write(t, filepath.Join(etc, "loki.pass"), "pass-word-of-loki\n")
	write(t, filepath.Join(credentials, "key_node"), "credential-of-systemd\n")
	conf := write(t, filepath.Join(etc, "lbshipd.yaml"), fmt.Sprintf(`sources:
  - name: own
    file: {paths: [%q]}
    startAt: beginning
targets:
  - name: loki
    enabled: false
    loki: {url: http://127.0.0.1:9, basicAuth: {username: ada, password: pass-word-in-yaml}}
  - name: file
    enabled: false
    loki: {url: http://127.0.0.1:9, basicAuth: {username: ada, passwordFile: %q}}
`, c.logs+"/lbshipd/*.log", pass))
	if err := os.MkdirAll(filepath.Join(c.logs, "lbshipd"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(c.logs, "lbshipd", "lbshipd.log"), "the daemon's own log\n")
	n := &node{c: c, name: "kept"}
	n.daemon = run(t, launch{args: append([]string{"--config", conf, "--data-dir", data}, c.flags...), host: n.name, http: c.http,
		env: []string{"CREDENTIALS_DIRECTORY=" + credentials, "SECRET=pass-word-in-environment"}})
	editor, mine := n.as("editor"), startCatcher(t)

	lab := strings.TrimSuffix(filepath.Join(c.dir, "lab.key"), ".key") + ".pub" // what --jwt-keys names
	for name, to := range map[string]string{"data": data, "conf.log": conf, "key": c.dir, "self": "/proc/self"} {
		if err := os.Symlink(to, filepath.Join(c.logs, "link-"+name)); err != nil {
			t.Fatal(err)
		}
	}
	// Not of the configuration: what the API replaces leaves its hard links behind (docs/control-plane.md).
	if err := os.Link(pass, filepath.Join(c.logs, "hard.log")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(c.logs, "app.log"), "a line that may be read\n")
	pid := fmt.Sprint(n.cmd.Process.Pid)
	paths := []string{filepath.Join(c.logs, "app.log"), filepath.Join(c.logs, "hard.log"), filepath.Join(c.logs, "link-conf.log"),
		conf, pass, data + "/**", credentials + "/*", filepath.Join(c.dir, "admin*key*"), lab,
		filepath.Join(c.logs, "link-data") + "/*", filepath.Join(c.logs, "link-self") + "/environ",
		"/proc/self/root" + conf, "/proc/" + pid + "/root" + conf, "/proc/" + pid + "/environ", "/proc/self/environ", "/proc/self/cmdline",
		"/proc/self/fd/*", "/proc/self/root" + data + "/*"}
	editor.must("POST", "/targets", map[string]any{"name": "mine", "loki": map[string]any{"url": mine.url, "batchWait": "50ms"}})
	editor.must("POST", "/sources", map[string]any{"name": "everything", "startAt": "beginning", "file": map[string]any{"paths": paths}})
	await(t, "the log at the editor's target", func() bool { return strings.Contains(mine.text(), "a line that may be read") })

	await(t, "the refusals in the status", func() bool {
		_, body := n.get("/status")
		return strings.Contains(body, "which lbshipd keeps to itself") || strings.Contains(body, "which the kernel makes up")
	})
	await(t, "the refusals in the metrics", func() bool {
		v := n.metric(`lbshipd_source_skipped_total{reason="forbidden",source="everything"}`)
		return v != "" && v != "0"
	})
	// What is found later than at first is refused too: the daemon writes its state all the time.
	write(t, filepath.Join(c.logs, "late.log"), "a later line\n")
	editor.change("/sources/everything", map[string]any{"file": map[string]any{"paths": append(paths, filepath.Join(c.logs, "late.log"))}})
	await(t, "a later line", func() bool { return strings.Contains(mine.text(), "a later line") })
	// The daemon's own log is no secret.
	await(t, "the daemon's own log", func() bool { return strings.Contains(mine.text(), "the daemon's own log") })

	got := mine.text()
	for _, secret := range []string{"pass-word", "PRIVATE KEY", "PUBLIC KEY", "credential-of-systemd", "SECRET=", "sources:", "lbshipd positions", base64.StdEncoding.EncodeToString([]byte("pass-word"))[:8]} {
		if strings.Contains(got, secret) {
			t.Errorf("the editor has %q:\n%.2000s", secret, got)
		}
	}
	if times := strings.Count(n.stderr.String(), "a file that it must not read"); times == 0 || times > 20 {
		t.Errorf("refusals are said %d times", times)
	}
}
