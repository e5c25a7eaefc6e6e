//go:build !appliance

package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// The whole way from secrets in clear to a key, and from there to another one.
func TestRotateSecrets(t *testing.T) {
	etcd := testbed.StartEtcd(t, testbed.EtcdOptions{})
	file := filepath.Join(t.TempDir(), "cluster.key")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := etcd.Client().Put(ctx, "/p/targets/a", `{"name":"a","loki":{"url":"http://loki","bearerToken":"s3cret"}}`); err != nil {
		t.Fatal(err)
	}
	stored := func() string {
		t.Helper()
		res, err := etcd.Client().Get(ctx, "/p/targets/a")
		if err != nil || len(res.Kvs) != 1 {
			t.Fatalf("%v, %v", res, err)
		}
		return string(res.Kvs[0].Value)
	}
	id := func(out string) string {
		_, rest, _ := strings.Cut(out, "key ")
		id, _, _ := strings.Cut(rest, " ")
		return strings.TrimSuffix(id, ",")
	}
	run := func(wantCode int, want string, args ...string) string {
		t.Helper()
		code, out := lbshipd(args...)
		if code != wantCode || !strings.Contains(out, want) || strings.Contains(out, "s3cret") {
			t.Fatalf("%q: exit code %d, want %d and %q:\n%s", args, code, wantCode, want, out)
		}
		return id(out)
	}
	rotate := []string{"rotate-secrets", "--etcd-endpoints", etcd.Endpoints()[0], "--etcd-prefix", "/p", "--cluster-key-file", file}

	run(exitFailed, "no such file", rotate...)
	first := run(0, "made key", "keygen", file)
	run(exitFailed, "file exists", "keygen", file)
	if used := run(0, "sealed 1 secret with key", rotate...); used != first || !strings.Contains(stored(), "sealed:v1:"+first) {
		t.Fatalf("sealed with %s, not %s: %s", used, first, stored())
	}
	run(0, "sealed 0 secrets", rotate...)
	second := run(0, "added key", "keygen", "--add", file)
	run(0, "sealed 0 secrets", rotate...)
	run(0, "seals from now on", "keygen", "--promote", file)
	if used := run(0, "sealed 1 secret with key", rotate...); used != second || !strings.Contains(stored(), "sealed:v1:"+second) {
		t.Fatalf("sealed with %s, not %s: %s", used, second, stored())
	}
	run(0, "is the only one", "keygen", "--prune", file)
	run(0, "sealed 0 secrets", rotate...)

	// What cannot be opened is named, and an exit code.
	other := filepath.Join(t.TempDir(), "other.key")
	run(0, "made key", "keygen", other)
	run(exitFailed, "/p/targets/a", append(rotate[:len(rotate)-1:len(rotate)-1], other)...)
	run(exitUsage, "one of --add", "keygen", "--add", "--prune", file)
	run(exitUsage, "--cluster-key-file are needed", "rotate-secrets")
	run(exitUsage, "the path of the key file", "keygen")
}
