//go:build !appliance

package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// planted are secrets that a test has put somewhere, by where.
type planted map[string]string

// make makes one that is nowhere else, with letters that are escaped in URLs.
func (p planted) make(where string) string {
	b := make([]byte, 9)
	_, _ = rand.Read(b)
	p[where] = "s3/" + hex.EncodeToString(b) + "+ü"
	return p[where]
}

// word makes one of letters and digits only.
func (p planted) word(where string) string {
	b := make([]byte, 12)
	_, _ = rand.Read(b)
	p[where] = "S3x" + hex.EncodeToString(b)
	return p[where]
}

// pem takes the lines of a key in.
func (p planted) pem(where, text string) string {
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if !strings.HasPrefix(line, "-----") {
			p[fmt.Sprintf("%s, line %d", where, i)] = line
		}
	}
	return text
}

// indented is text as a block of YAML.
func inYAML(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n      ") }

// tellTale is a Loki that refuses all, and repeats what it was sent.
func tellTale(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, "no: Authorization: %s X-Scope-OrgID: %s", r.Header.Get("Authorization"), r.Header.Get("X-Scope-OrgID"))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// messagesJournal is a journal with messages of a unit, and lines that are not its own.
func messagesJournal(t *testing.T, dir, unit string, messages ...string) {
	t.Helper()
	var b []byte
	at := uint64(time.Now().Add(-time.Hour).UnixMicro())
	for i, m := range messages {
		b = testbed.AppendExport(b, at+uint64(i), 1000+uint64(i), "0123456789abcdef0123456789abcdef", testbed.Field{Name: "_SYSTEMD_UNIT", Value: unit},
			testbed.Field{Name: "_PID", Value: "4711"}, testbed.Field{Name: "SYSLOG_IDENTIFIER", Value: "lbshipd"}, testbed.Field{Name: "MESSAGE", Value: m})
	}
	testbed.FabricateJournal(t, filepath.Join(dir, "a.journal"), bytes.NewReader(b), testbed.JournalLayout{Compact: true})
}

// fileDaemon is a daemon with a YAML file in which, and around which, there are secrets everywhere.
type fileDaemon struct {
	dir, config, data, journal string
	cmd                        *exec.Cmd
	pid                        int
	secrets                    planted
}

func startFileDaemon(t *testing.T) *fileDaemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "support-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := planted{}
	d := &fileDaemon{dir: dir, config: filepath.Join(dir, "c.yaml"), data: filepath.Join(dir, "d"), journal: filepath.Join(dir, "j"), secrets: p}
	ca := testbed.NewCA(t, "of the test")
	inline, onDisk, admin := ca.Client(t, "inline"), ca.Client(t, "file"), ca.Server(t, "127.0.0.1")
	keyFile := put(t, filepath.Join(dir, "node.key"), p.pem("key file", onDisk.KeyPEM))
	put(t, filepath.Join(dir, "node.pem"), onDisk.CertPEM)
	adminKey := put(t, filepath.Join(dir, "admin.key"), p.pem("admin port's key", admin.KeyPEM))
	adminCert := put(t, filepath.Join(dir, "admin.pem"), admin.CertPEM)
	put(t, filepath.Join(dir, "jwt", "README"), "")
	runSelf(t, "token", "keygen", filepath.Join(dir, "jwt", "lab.key"))
	signing, err := os.ReadFile(filepath.Join(dir, "jwt", "lab.key"))
	if err != nil {
		t.Fatal(err)
	}
	p.pem("JWT key", string(signing))
	token := strings.TrimSpace(runSelf(t, "token", "--key", filepath.Join(dir, "jwt", "lab.key"), "--subject", "me", "--role", "admin"))
	p["token"] = token

	put(t, filepath.Join(dir, "log", "app.log"), strings.Repeat("a line with "+p.make("line of a log")+"\n", 50))
	loki := tellTale(t)
	text := fmt.Sprintf(`# a remark with %s
sources:
  - name: app
    file: {paths: [%q]}
    startAt: beginning
targets:
  - name: basic
    loki: {url: %q, tenantId: %s, basicAuth: {username: me, password: %q}}
    spool: {maxBytes: 16MiB}
  - name: bearer
    loki: {url: %q, tenantId: t1, bearerToken: %q}
  - name: files
    loki: {url: %q, basicAuth: {username: me, passwordFile: %q}}
  - name: tokenfile
    loki: {url: %q, bearerTokenFile: %q}
  - name: siem
    rsyslog: {address: "127.0.0.1:1", protocol: tls, tlsBundle: inline}
  - name: out
    stdout: {}
  - name: siem2
    rsyslog: {address: "127.0.0.1:1", protocol: tls, tlsBundle: files}
tlsBundles:
  - name: inline
    caPem: |
      %s
    certPem: |
      %s
    keyPem: |
      %s
  - {name: files, certFile: node.pem, keyFile: %q}
`, p.word("comment"), filepath.Join(dir, "log", "*.log"), loki, p.word("tenant"), p.make("password"), loki, p.word("bearer token"),
		loki, put(t, filepath.Join(dir, "pw"), p.make("password file")+"\n"), loki, put(t, filepath.Join(dir, "tok"), p.word("token file")),
		inYAML(ca.PEM), inYAML(inline.CertPEM), inYAML(p.pem("keyPem", inline.KeyPEM)), keyFile)
	put(t, d.config, strings.Replace(text, p["password"], p.make("password of before"), 1))
	cmd := startSelf(t, []string{"MY_TOKEN=" + p.word("variable"), "WHATEVER=" + p.make("other variable"), "LBSHIPD_JWT=" + token,
		"HTTPS_PROXY=http://me:" + p.word("proxy's password") + "@127.0.0.1:1"},
		"run", "--config", d.config, "--data-dir", d.data, "--listen", "127.0.0.1:0", "--tls-cert", adminCert, "--tls-key", adminKey, "--jwt-keys", filepath.Join(dir, "jwt"))
	d.cmd, d.pid = cmd, cmd.Process.Pid
	d.await(t, "the daemon runs, and all targets fail", func(status string) bool { return strings.Count(status, "failingSince") >= 6 })
	// The history has the password of before, and the new one.
	put(t, d.config, text)
	d.await(t, "the change is in the history", func(string) bool {
		b, err := os.ReadFile(filepath.Join(d.data, "history"))
		return err == nil && bytes.Contains(b, []byte(`"revisions":[{`))
	})
	put(t, filepath.Join(d.data, "dead-letters", "basic", "1"), p.make("dead letter"))
	put(t, filepath.Join(d.data, "spool", "other", "1"), p.make("spool"))

	if err := os.Mkdir(d.journal, 0o755); err != nil {
		t.Fatal(err)
	}
	level := "time=2026-11-21T18:00:00Z level=WARN msg="
	messagesJournal(t, d.journal, "lbshipd.service",
		level+`"cannot send" error="401: Authorization: Basic `+base64.StdEncoding.EncodeToString([]byte("me:"+p["password"]))+`"`,
		level+`"the secret `+p["password"]+` and `+hex.EncodeToString([]byte(p["bearer token"]))+` were refused"`,
		level+`"an old one: `+p["password of before"]+`"`,
		level+`"of a file: `+p["password file"]+" "+p["token file"]+`"`,
		level+`"unknown" error="Bearer `+p.word("unknown bearer token")+`"`,
		level+`"unknown" error="https://me:`+p.word("unknown password of a URL")+`@loki/x is away"`,
		level+`"unknown" secret=`+p.word("unknown secret"),
		`{"time":"2026-11-21T18:00:00Z","level":"INFO","msg":"unknown","password":"`+p.word("unknown password in JSON")+`"}`,
		level+`"key" pem="`+strings.ReplaceAll(inline.KeyPEM, "\n", `\n`)+`"`,
		level+`"token `+token+`"`,
		"a record on standard output with "+p.make("line on standard output"),
		"goroutine 1 [running]:", "main.main()", "/src/main.go:12 +0x1d",
		level+`"the last"`)
	return d
}

func (d *fileDaemon) await(t *testing.T, what string, met func(status string) bool) {
	t.Helper()
	until(t, what, func() bool {
		ctx := t.Context()
		out, _ := self(ctx, nil, "status", "-o", "json", "--endpoint", "unix:"+filepath.Join(d.data, "admin.sock")).Output()
		return met(string(out))
	})
}

// Whatever is secret is in no bundle, while the daemon runs, hangs, and is dead; what is to be in it is.
func TestSupportBundleHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	d := startFileDaemon(t)
	args := []string{"--journal-directory", d.journal, "--endpoint", "unix:" + filepath.Join(d.data, "admin.sock")}

	b := makeBundle(t, args...)
	b.clean(t, d.secrets)
	b.holds(t, "daemon/status.json", `"basic"`, "401")
	b.holds(t, "daemon/metrics.txt", "lbshipd_build_info{", `lbshipd_target_failing{`)
	b.holds(t, "daemon/objects.json", `"tlsBundles"`, `"password": "(hidden)"`, `"tenantId": "(hidden)"`)
	b.holds(t, "daemon/collectors.json", `"id"`)
	b.holds(t, "daemon/goroutines.txt", "goroutine ", "runDaemon")
	b.holds(t, "daemon/version.json", "goVersion")
	b.holds(t, "daemon/log.txt", "cannot send", "(hidden)", "were refused", "an old one", "goroutine 1 [running]:", "main.main()", "/src/main.go:12", "the last", "1 lines that are not")
	b.holds(t, "config/file.yaml", "name: bearer", "(hidden)", "paths:")
	b.holds(t, "config/history.json", `"update"`, "basic")
	b.holds(t, "config/command-line.txt", "--jwt-keys "+d.dir, "MY_TOKEN=(hidden)", "WHATEVER=(hidden)", "HTTPS_PROXY=http://(hidden)@127.0.0.1:1")
	b.holds(t, "state/positions.txt", "SOURCE", "app.log")
	b.holds(t, "state/data-directory.txt", "dead-letters/basic/1", "positions", "spool/other/1")
	b.holds(t, "paths.txt", "node.key", "-rw------- ", "app.log", filepath.Join(d.dir, "pw"))
	b.holds(t, "process/status.txt", "VmHWM", "thread ")
	b.holds(t, "process/limits.txt", "Max open files")
	b.holds(t, "process/files.txt", "app.log")
	b.holds(t, "process/cgroup.txt", "/cgroup")
	b.holds(t, "system/os.txt", "PRETTY_NAME", "MemTotal")
	b.holds(t, "system/sysctl.txt", "fs.inotify.max_user_instances = ")
	b.holds(t, "system/disks.txt", d.data)
	b.holds(t, "version.json", `"commit"`)
	b.holds(t, "doctor.txt", "siem")
	if len(b.manifest.Missing) > 0 || !strings.Contains(b.manifest.Daemon, strconv.Itoa(d.pid)) {
		t.Errorf("manifest: %+v", b.manifest)
	}
	for _, p := range b.manifest.Parts {
		if len(b.files[p.File]) != p.Bytes {
			t.Errorf("%s has %d bytes, the manifest says %d", p.File, len(b.files[p.File]), p.Bytes)
		}
	}

	if err := unix.Kill(d.pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b = makeBundle(t, args...)
	b.clean(t, d.secrets)
	b.missing(t, "daemon/status.json")
	b.holds(t, "config/history.json", `"update"`)
	b.holds(t, "state/ledger.json", `"source"`)
	b.holds(t, "process/status.txt", "thread ")

	d.cmd.Process.Kill()
	_ = d.cmd.Wait() // of course it was killed
	b = makeBundle(t, "--journal-directory", d.journal, "--config", d.config, "--data-dir", d.data, "--endpoint", "unix:"+filepath.Join(d.data, "admin.sock"))
	// What was in the environment of the dead is not known any more, and is in no file either.
	b.clean(t, d.secrets)
	b.missing(t, "daemon/status.json")
	b.holds(t, "config/file.yaml", "name: bearer", "(hidden)")
	b.holds(t, "state/positions.txt", "app.log")
	b.holds(t, "daemon/log.txt", "cannot send", "the last")
	if !strings.Contains(b.manifest.Daemon, "none") {
		t.Errorf("the dead daemon is %q", b.manifest.Daemon)
	}
}

// The same of a daemon with etcd: its password, the cluster key, and what etcd holds.
func TestSupportBundleOfADaemonWithEtcd(t *testing.T) {
	t.Parallel()
	p := planted{}
	dir, err := os.MkdirTemp("", "support-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	password := p.word("etcd's password")
	etcd := testbed.StartEtcd(t, testbed.EtcdOptions{Users: map[string]string{"shipper": password}, Grant: "/lbshipd"})
	runSelf(t, "keygen", filepath.Join(dir, "cluster.key"))
	key, err := os.ReadFile(filepath.Join(dir, "cluster.key"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(key)) {
		if f := strings.Fields(line); len(f) == 2 {
			p["cluster key"] = f[1]
		}
	}
	data := filepath.Join(dir, "d")
	socket := "unix:" + filepath.Join(data, "admin.sock")
	cmd := startSelf(t, nil, "run", "--etcd-endpoints", strings.Join(etcd.Endpoints(), ","), "--etcd-user", "shipper",
		"--etcd-password-file", put(t, filepath.Join(dir, "pw"), password), "--cluster-key-file", filepath.Join(dir, "cluster.key"), "--data-dir", data, "--listen", "127.0.0.1:0")
	until(t, "the daemon answers", func() bool { return self(t.Context(), nil, "whoami", "--endpoint", socket).Run() == nil })
	node := testbed.NewCA(t, "of the test").Client(t, "node")
	objects := put(t, filepath.Join(dir, "o.yaml"), fmt.Sprintf(`sources: [{name: app, file: {paths: [/nonexistent/*.log]}}]
targets:
  - {name: loki, loki: {url: "https://loki.invalid", tenantId: %s, basicAuth: {username: me, password: %s}}}
  - {name: other, loki: {url: "https://loki.invalid", bearerToken: %s}}
tlsBundles:
  - name: b
    certPem: |
      %s
    keyPem: |
      %s
`, p.word("tenant"), p.word("password"), p.word("bearer token"), inYAML(node.CertPEM), inYAML(p.pem("keyPem", node.KeyPEM))))
	runSelf(t, "apply", "-f", objects, "--endpoint", socket)
	put(t, objects, strings.Replace(readText(t, objects), p["tenant"], p.word("second tenant"), 1))
	runSelf(t, "apply", "-f", objects, "--endpoint", socket)
	until(t, "the copy has it", func() bool {
		objects, err := etcdCopy(filepath.Join(data, "etcd-cache"))
		return err == nil && strings.Contains(fmt.Sprintf("%s", objects), p["second tenant"])
	})

	b := makeBundle(t, "--pid", strconv.Itoa(cmd.Process.Pid), "--journal-directory", dir)
	b.clean(t, p)
	b.holds(t, "daemon/objects.json", "loki.invalid", `"password": "(hidden)"`)
	b.holds(t, "daemon/collectors.json", "remotecfgStatus")
	b.holds(t, "config/etcd-copy.json", "loki.invalid", "(hidden)")
	b.holds(t, "config/history.json", `"update"`, "tenantId: (hidden)")
	b.holds(t, "config/command-line.txt", "--etcd-password-file "+dir)
	b.holds(t, "paths.txt", "/nonexistent", "cluster.key")
	if _, ok := b.files["config/file.yaml"]; ok {
		t.Error("there is a configuration file")
	}

	etcd.KillAll()
	cmd.Process.Kill()
	_ = cmd.Wait()
	b = makeBundle(t, "--data-dir", data, "--endpoint", socket, "--config", filepath.Join(dir, "none"), "--journal-directory", dir)
	b.clean(t, p)
	b.holds(t, "config/etcd-copy.json", "loki.invalid", "(hidden)")
}

func readText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A configuration that is wrong is told without what is in it.
func TestSupportBundleOfABrokenConfiguration(t *testing.T) {
	t.Parallel()
	p, dir := planted{}, t.TempDir()
	password := p.word("password")
	for name, text := range map[string]string{
		"unknown field": "targets: [{name: t, loki: {url: 'http://x', basicAuth: {username: a, pasword: " + password + "}}}]\n",
		"bad URL":       "targets: [{name: t, loki: {url: 'http://me:" + password + "@x y'}}]\n",
		"no YAML":       "targets:\n\t- password: " + password + "\n",
		"bad level":     "sources: [{name: s, journald: {}, minLevel: x}]\ntargets: [{name: t, loki: {url: 'http://x', bearerToken: " + password + "}}]\n",
	} {
		config := put(t, filepath.Join(dir, "c.yaml"), text)
		b := makeBundle(t, "--config", config, "--data-dir", filepath.Join(dir, "none"), "--endpoint", "unix:"+filepath.Join(dir, "none.sock"), "--journal-directory", dir)
		b.clean(t, p)
		if !strings.Contains(b.files["config/file.yaml"], "cannot be used: ") {
			t.Errorf("%s: that it is wrong is not said: %q", name, b.files["config/file.yaml"])
		}
	}
}
