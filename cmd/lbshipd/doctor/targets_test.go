package doctor

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
)

// addresses are one that takes connections, and one that refuses them.
func addresses(t *testing.T) (taking, refusing string) {
	t.Helper()
	for _, to := range []*string{&taking, &refusing} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		if *to = l.Addr().String(); to == &refusing {
			l.Close()
		}
	}
	return taking, refusing
}

func looked(t *testing.T, text string) *patient {
	t.Helper()
	c, err := config.Parse("lbshipd.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p := &patient{Options: Options{Config: "/etc/lbshipd/lbshipd.yaml"}, user: own()}
	p.use(c)
	return p
}

// A target that has another address which takes its records is not down.
func TestOneOfSeveralAddressesIsDead(t *testing.T) {
	taking, refusing := addresses(t)
	p := looked(t, fmt.Sprintf("targets: [{name: siem, rsyslog: {addresses: [%q, %q], protocol: tcp}}]", refusing, taking))
	all := run1(t, p, checkTargets)
	if len(all) != 1 || all[0].ID != "target-refused" || all[0].Level != Warning || !strings.Contains(all[0].Why, "Records go to "+taking) {
		t.Errorf("%+v", all)
	}
	p = looked(t, fmt.Sprintf("targets: [{name: siem, rsyslog: {addresses: [%q], protocol: tcp}}]", refusing))
	if all = run1(t, p, checkTargets); len(all) != 1 || all[0].Level != Error {
		t.Errorf("%+v", all)
	}
}

// What did not come to its end because there was no time is nobody's fault.
func TestTargetsWithoutTime(t *testing.T) {
	taking, _ := addresses(t)
	_, port, _ := net.SplitHostPort(taking)
	p := looked(t, fmt.Sprintf("targets: [{name: siem, rsyslog: {address: \"localhost:%s\", protocol: tcp}}, {name: loki, loki: {url: \"http://localhost:%s\"}}]", port, port))
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	r := &result{}
	checkTargets(ctx, p, r)
	if all, state := r.close(); len(all) > 0 || state.Status != "not-made" {
		t.Errorf("%+v %+v", all, state)
	}
}

// While the service does not run its credentials are not handed over: a target is tested with what
// they will be made of. What everybody may read is not one.
func TestTargetWithACredentialOfAStoppedService(t *testing.T) {
	before, from := credentialsDir, credentialsFrom
	t.Cleanup(func() { credentialsDir, credentialsFrom = before, from })
	dir := t.TempDir()
	credentialsDir, credentialsFrom = filepath.Join(dir, "run")+"/key_", filepath.Join(dir, "etc")+"/"
	ca := testbed.NewCA(t, "ours")
	rs := testbed.StartRsyslog(t, testbed.RsyslogOptions{Protocol: "gtls", CA: ca, Cert: ca.Server(t, "127.0.0.1"), PermittedPeers: []string{"node1"}})
	client := ca.Client(t, "node1")
	certFile, keyFile := client.Files(t, dir, "client")
	if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	credential := credentialsFrom + "node.key"
	if err := os.Rename(keyFile, credential); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(credential, 0o600); err != nil {
		t.Fatal(err)
	}
	p := looked(t, fmt.Sprintf("targets: [{name: siem, rsyslog: {address: %q, tlsBundle: siem}}]\ntlsBundles: [{name: siem, caFile: %q, certFile: %q, keyFile: %q}]",
		rs.Address, ca.File(t, dir, "ca"), certFile, credentialsDir+"node.key"))
	if all := append(run1(t, p, checkTargets), run1(t, p, checkNamedFiles)...); len(all) > 0 {
		t.Errorf("%+v", all)
	}
	if err := os.Chmod(credential, 0o644); err != nil {
		t.Fatal(err)
	}
	if all := run1(t, p, checkNamedFiles); !slices.Equal(ids(all), []string{"secret-exposed"}) || all[0].Where != credential {
		t.Errorf("%+v", all)
	}
	if err := os.Chmod(filepath.Dir(credential), 0o700); err != nil {
		t.Fatal(err)
	}
	if all := run1(t, p, checkNamedFiles); len(all) > 0 {
		t.Errorf("nobody gets there: %+v", all)
	}
}

// What is to be typed changes the file where there is one: the daemon may not write it, and may not run.
func TestRemediesOfAFileNeedNoDaemon(t *testing.T) {
	p := looked(t, "sources: [{name: app, file: {paths: [/nowhere/x.log]}}]")
	r := &result{}
	p.lookAtConfig(r)
	checkFiles(t.Context(), p, r)
	p.cfg.Sources = nil
	p.lookAtConfig(r)
	all, _ := r.close()
	want := []string{"no-target", "file-none", "no-target", "no-source"}
	if !slices.Equal(ids(all), want) {
		t.Fatalf("%v", ids(all))
	}
	for _, f := range all {
		if text := fmt.Sprint(f.Mend); !strings.Contains(text, "${EDITOR:-vi} /etc/lbshipd/lbshipd.yaml") || strings.Contains(text, "lbshipd edit") || strings.Contains(text, "lbshipd create") {
			t.Errorf("%s: %s", f.ID, text)
		}
	}
}

// Files in a data directory that is the daemon's own may be somebody else's: a backup that root put back.
func TestDataOfSomebodyElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: what another user may open is looked at")
	}
	id, err := lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "lbshipd-doctor-") // others cannot enter that of the test
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "spool", "siem", "1")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lock", "positions", "by-hand", "spool/siem/1"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"", "lock", "positions", "spool", "spool/siem"} {
		if err := os.Chown(filepath.Join(dir, name), id.uid, id.gid); err != nil {
			t.Fatal(err)
		}
	}
	p := &patient{Options: Options{DataDir: dir}, user: id}
	all := run1(t, p, checkDataDir)
	if len(all) != 1 || all[0].ID != "data-dir-unwritable" || all[0].Where != path || !strings.Contains(all[0].Mend[0].Run, "chown -R nobody:") {
		t.Errorf("%+v", all)
	}
	if err := os.Chown(path, id.uid, id.gid); err != nil {
		t.Fatal(err)
	}
	if all := run1(t, p, checkDataDir); len(all) > 0 {
		t.Errorf("%+v", all)
	}
}

// Each of Loki's limits has a remedy of its own: raising the rate gives nobody more streams.
func TestRemediesOfLimits(t *testing.T) {
	p := looked(t, "targets: [{name: loki, loki: {url: \"http://127.0.0.1:1\"}}]")
	for said, want := range map[string]string{
		"HTTP 429: maximum active stream limit exceeded when trying to create stream": "max_global_streams_per_user",
		"HTTP 429: Ingestion rate limit exceeded for user fake":                       "ingestion_rate_mb",
		"HTTP 429: Per stream rate limit exceeded (limit: 3MB/sec)":                   "per_stream_rate_limit",
	} {
		if text := fmt.Sprint(p.targetFinding("target-rate-limited", p.targets()[0], said).Mend); !strings.Contains(text, want) {
			t.Errorf("%s: %s", said, text)
		}
	}
}
