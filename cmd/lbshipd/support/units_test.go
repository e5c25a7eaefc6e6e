package support

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lbshipd/lbshipd/internal/scrub"
)

// Units, drop-ins and files of variables are shown without what they hold of secrets.
func TestUnitsAreShownWithoutSecrets(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"etc/systemd/system/lbshipd.service": "# the password is s3cret-1\n[Service]\nExecStart=/usr/bin/env FOO=s3cret-2 'BAR=s3cret-3 x' lbshipd run \\\n  --etcd-endpoints http://a:s3cret-4@etcd:2379\n" +
			"EnvironmentFile=-/etc/other.env\nMemoryMax=16M\n",
		"etc/systemd/system/lbshipd.service.d/a.conf": "[Service]\nEnvironment=\"X=s3cret-5 y\" GOGC=20 \\\n  Z=s3cret-6\nSetCredential=tok:s3cret-7\nSetCredentialEncrypted=t: \\\n  s3cret-8\nEnvironment=\"open s3cret-9\n",
		"etc/lbshipd/daemon.env":                      "# s3cret-10\nLBSHIPD_CONFIG=--config /etc/c.yaml\nMINE=s3cret-11\nHTTPS_PROXY=http://a:s3cret-12@proxy\n",
		"etc/systemd/system/lbshipd.service.d/b.conf": "[Service]\nEnvironment=\"Q=a\\\"b s3cret-20\\\"c\"\nEnvironment=A=1 \\\n# a remark s3cret-21\n \"lower=s3cret-22 x\"\n" +
			"EnvironmentFile = /etc/lower.env\nExecStartPre=/bin/sh -c \"PW=s3cret-23 x\"\n",
		"etc/lower.env": "db_pw=s3cret-24\nMULTI=\"first s3cret-25\nsecond s3cret-26\nLANG=s3cret-27\"\nLANG=C.UTF-8\nexport EXPORTED=s3cret-28\nSINGLE='s3cret-29\n s3cret-30'\nESC=\"\\\"\ns3cret-31\"\n" +
			"CONT=x\\\ns3cret-32\nTZ=UTC\n",
		"etc/other.env":                         "ANY=s3cret-13\n; s3cret-14\n",
		"etc/systemd/journald.conf":             "[Journal]\n#SystemMaxUse=\nSystemMaxUse=1G\n",
		"usr/lib/systemd/system/lbshipd.socket": "[Socket]\nListenStream=127.0.0.1:9600\n",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := &gatherer{o: Options{Unit: "lbshipd.service", root: root}, scrub: &scrub.Scrubber{}}
	w := &writer{most: maxPart}
	if err := g.units(context.Background(), w); err != nil || len(w.missing) > 0 {
		t.Fatal(err, w.missing)
	}
	text := g.scrub.Text(w.buf.String())
	if strings.Contains(text, "s3cret") {
		t.Errorf("a secret is left:\n%s", text)
	}
	for _, want := range []string{"FOO=(hidden)", "--etcd-endpoints http://(hidden)@etcd:2379", "MemoryMax=16M", "X=(hidden)", "GOGC=20", "SetCredential=(hidden)",
		"LBSHIPD_CONFIG=--config /etc/c.yaml", "MINE=(hidden)", "http://(hidden)@proxy", "ANY=(hidden)", "SystemMaxUse=1G", "A=(hidden) lower=(hidden)", "db_pw=(hidden)", "LANG=C.UTF-8", "TZ=UTC", "ListenStream=127.0.0.1:9600"} {
		if !strings.Contains(text, want) {
			t.Errorf("without %q:\n%s", want, text)
		}
	}
}

// What is too much is cut, and said.
func TestPartsAreBounded(t *testing.T) {
	w := &writer{most: 100}
	for range 50 {
		w.printf("0123456789")
	}
	if !w.cut || w.buf.Len() > 200 || !strings.Contains(w.buf.String(), "cut here") {
		t.Errorf("%d bytes, cut %v", w.buf.Len(), w.cut)
	}
}

// A part that hangs is left behind.
func TestPartsThatHangAreLeft(t *testing.T) {
	stuck := make(chan struct{})
	defer close(stuck)
	if err := inTime(t.Context(), 0, func() { <-stuck }); err == nil {
		t.Error("nobody noticed")
	}
	if err := inTime(t.Context(), 0, func() {}); err != nil {
		t.Error(err)
	}
}

// What is the daemon's own message, and what is a record that it has printed.
func TestOwnMessages(t *testing.T) {
	for message, want := range map[string]bool{
		`time=2026-11-21T18:00:00Z level=WARN msg="x"`:                           true,
		`{"time":"2026-11-21T18:00:00Z","level":"INFO","msg":"x"}`:               true,
		`goroutine 12 [select, 3 minutes]:`:                                      true,
		`github.com/lbshipd/lbshipd/pipeline.(*feed).run(0xc000123, {0x1, 0x2})`: true,
		`/src/pipeline/feed.go:12 +0x1d`:                                         true,
		`created by main.main in goroutine 1`:                                    true,
		`SIGABRT: abort`:                                                         true,
		`rax    0xca`:                                                            true,
		`a record`:                                                               false,
		`{"time":"x","level":"loud","msg":"x"}`:                                  false,
		`login(password)`:                                                        false,
		`level=WARN msg=x`:                                                       false,
	} {
		if own(message) != want {
			t.Errorf("own(%q) is %v", message, !want)
		}
	}
}

// The secrets of a text are learned however it is written.
func TestSecretsAreLearned(t *testing.T) {
	for name, text := range map[string]string{
		"JSON that is no YAML":   `{"given":[{"name":"\ud83d\ude00","password":"hunter22", "label": "\ud83d\ude00"},{"bearerToken":"\u0068unter23"}]}`,
		"an alias":               "labels: {x: &one hunter22}\nloki: {password: *one, bearerToken: hunter23}\n",
		"folded":                 "password: >-\n  hunter22\npassphrase: |\n  hunter23\n",
		"escaped name and value": `{"\u0070assword": "h\u0075nter22", jwt: hunter23}`,
		"neither":                "\tpassword: hunter22\n- 'bearerToken': \"hunter23\",\n",
		"neither, in one line":   "loki: {url: x, basicAuth: {username: me, password: hunter22}, \"bearerToken\": 'hunter23'\n",
	} {
		g := &gatherer{scrub: &scrub.Scrubber{}}
		g.secretsOf([]byte(text), "/")
		if got := g.scrub.Text("is hunter22 and hunter23"); strings.Contains(got, "hunter") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// A bundle takes the place of files only.
func TestBundleReplacesNoDeviceAndNoLink(t *testing.T) {
	dir := t.TempDir()
	link, file, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.WriteFile(file, []byte("old"), 0o644), os.Symlink(file, link), syscall.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	b := &Bundle{}
	for _, path := range []string{link, fifo, dir} {
		if err := b.Save(path); err == nil {
			t.Errorf("%s was replaced", path)
		}
	}
	if err := b.Save(file); err != nil {
		t.Error(err)
	}
}
