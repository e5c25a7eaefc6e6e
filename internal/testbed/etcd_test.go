package testbed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A cluster goes on without its leader, and a killed one comes back with its data.
func TestEtcdLeaderIsKilled(t *testing.T) {
	e := StartEtcd(t, EtcdOptions{Members: 3})
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if _, err := e.Client().Put(ctx, "a", "1"); err != nil {
		t.Fatal(err)
	}
	leader := e.Leader()
	e.Kill(leader)
	if other := e.Leader(); other == leader {
		t.Fatalf("member %d leads and is dead", other)
	}
	e.KillAll()
	e.Restart()
	e.Compact()
	res, err := e.Client().Get(ctx, "a")
	if err != nil || res.Count != 1 || string(res.Kvs[0].Value) != "1" {
		t.Fatalf("%v, %v", res, err)
	}
	if _, err := e.Client().Get(ctx, "a", clientv3.WithRev(1)); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Fatalf("revision 1 is still there: %v", err)
	}
}

// Certificates and users are asked for.
func TestEtcdWithTLSAndUsers(t *testing.T) {
	dir, ca := t.TempDir(), NewCA(t, "etcd")
	cert, key := ca.Server(t, "127.0.0.1").Files(t, dir, "server")
	roots := x509.NewCertPool()
	roots.AddCert(ca.Cert)
	e := StartEtcd(t, EtcdOptions{
		TLS: &EtcdTLS{CertFile: cert, KeyFile: key, ClientCAFile: ca.File(t, dir, "ca"),
			Client: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{ca.Client(t, "rig").TLS(t)}}},
		Users: map[string]string{"ship": "secret"}, Grant: "/a/",
	})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	user, err := clientv3.New(e.config("ship", "secret", e.Endpoints()...))
	if err != nil {
		t.Fatal(err)
	}
	defer user.Close()
	if _, err := user.Put(ctx, "/a/b", "1"); err != nil {
		t.Fatal(err)
	}
	if _, err := user.Put(ctx, "/b", "1"); !errors.Is(err, rpctypes.ErrPermissionDenied) {
		t.Fatalf("not refused: %v", err)
	}
	if _, err := clientv3.New(e.config("ship", "wrong", e.Endpoints()...)); err == nil {
		t.Fatal("a wrong password is taken")
	}
}
