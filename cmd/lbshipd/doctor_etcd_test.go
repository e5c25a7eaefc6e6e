//go:build !appliance

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/cmd/lbshipd/doctor"
	"github.com/lbshipd/lbshipd/internal/seal"
	"github.com/lbshipd/lbshipd/internal/testbed"
)

// stored starts a real etcd that holds a source, a target, and what else is given.
func stored(t *testing.T, more map[string]string) (b *bed, e *testbed.Etcd, flags []string) {
	t.Helper()
	b, e = newBed(t), testbed.StartEtcd(t, testbed.EtcdOptions{})
	putKey(t, e, "/lbshipd/sources/app", fmt.Sprintf(`{"name":"app","file":{"paths":[%q]}}`, b.log))
	putKey(t, e, "/lbshipd/targets/out", `{"name":"out","stdout":{}}`)
	for key, value := range more {
		putKey(t, e, key, value)
	}
	return b, e, []string{"--etcd-endpoints", strings.Join(e.Endpoints(), ","), "--data-dir", b.data}
}

func putKey(t *testing.T, e *testbed.Etcd, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := e.Client().Put(ctx, key, value); err != nil {
		t.Fatal(err)
	}
}

func plantEtcdDown(t *testing.T, on bool) []string {
	_, e, flags := stored(t, nil)
	if on {
		e.KillAll()
	}
	return flags
}

func plantBadObject(t *testing.T, on bool) []string {
	more := map[string]string{}
	if on {
		more["/lbshipd/targets/bad"] = `{"name":"bad","loki":{"url":"gopher://x"}}`
	}
	_, _, flags := stored(t, more)
	return flags
}

// plantClusterKey has a secret that was sealed with a key of another cluster.
func plantClusterKey(t *testing.T, on bool) []string {
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "ours.key"), filepath.Join(dir, "theirs.key")
	for _, path := range []string{ours, theirs} {
		if code, out := lbshipd("keygen", path); code != 0 {
			t.Fatal(out)
		}
	}
	sealedWith := map[bool]string{true: theirs, false: ours}[on]
	keys, err := seal.Load(sealedWith)
	if err != nil {
		t.Fatal(err)
	}
	cert := testbed.NewCA(t, "ours").Client(t, "node1")
	key, err := keys.Seal(seal.Place{Kind: "tls-bundle", Name: "siem", Field: "keyPem"}, cert.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	_, _, flags := stored(t, map[string]string{"/lbshipd/tls-bundles/siem": fmt.Sprintf(`{"name":"siem","certPem":%q,"keyPem":%q}`, cert.CertPEM, key)})
	return append(flags, "--cluster-key-file", ours)
}

// etcd that has run out of its quota is named, with all that brings it back.
func TestDoctorFindsAFullEtcd(t *testing.T) {
	e := testbed.StartEtcd(t, testbed.EtcdOptions{Args: []string{"--quota-backend-bytes=1048576"}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var err error
	for i := 0; err == nil; i++ {
		_, err = e.Client().Put(ctx, fmt.Sprintf("/elsewhere/%d", i), strings.Repeat("x", 64<<10))
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	code, r, out := runDoctorHere(t, "--etcd-endpoints", e.Endpoints()[0], "--data-dir", dir)
	for _, f := range r.Findings {
		if f.ID == "etcd-nospace" && code == 2 && strings.Contains(f.Mend[2].Run, "alarm disarm") {
			return
		}
	}
	t.Errorf("exit code %d: %s", code, out)
}

// A password that etcd does not take is named as such, and is not told.
func TestDoctorWithThePasswordOfEtcd(t *testing.T) {
	b := newBed(t)
	e := testbed.StartEtcd(t, testbed.EtcdOptions{Users: map[string]string{"node": "right-4711"}, Grant: "/lbshipd/"})
	file := filepath.Join(b.dir, "etcd-password")
	for password, wrong := range map[string]bool{"right-4711": false, "wrong-4712": true} {
		b.ok(os.WriteFile(file, []byte(password+"\n"), 0o600))
		code, r, out := runDoctorHere(t, "--etcd-endpoints", strings.Join(e.Endpoints(), ","), "--etcd-user", "node", "--etcd-password-file", file, "--data-dir", b.data)
		refused := slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool { return f.ID == "etcd-auth" })
		if refused != wrong || (code == 2) != wrong || strings.Contains(out, password) {
			t.Errorf("wrong: %v, exit code %d: %s", wrong, code, out)
		}
	}
}
