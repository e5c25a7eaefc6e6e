package etcdstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
)

// secured is an etcd that wants a client certificate, a user and a password.
func secured(t *testing.T, ca *testbed.CA, prefix string) *testbed.Etcd {
	t.Helper()
	dir := t.TempDir()
	cert, key := ca.Server(t, "127.0.0.1").Files(t, dir, "server")
	roots := x509.NewCertPool()
	roots.AddCert(ca.Cert)
	return testbed.StartEtcd(t, testbed.EtcdOptions{
		TLS: &testbed.EtcdTLS{CertFile: cert, KeyFile: key, ClientCAFile: ca.File(t, dir, "ca"),
			// No name in it: etcd would take that for a user.
			Client: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{ca.Issue(t, testbed.CertOptions{}).TLS(t)}}},
		Users: map[string]string{"ship": "first"}, Grant: prefix + "/",
	})
}

func replaceFile(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

// With a client certificate, a user and a password, of which the password and
// the certificates change while it runs.
func TestMutualTLSAndPassword(t *testing.T) {
	t.Parallel()
	ca := testbed.NewCA(t, "etcd")
	etcd := secured(t, ca, "/"+t.Name())
	r := newRig(t, etcd)
	dir := t.TempDir()
	r.o.CAFile = ca.File(t, dir, "ca")
	r.o.CertFile, r.o.KeyFile = ca.Client(t, "node").Files(t, dir, "node")
	r.o.User, r.o.PasswordFile = "ship", filepath.Join(dir, "password")
	replaceFile(t, r.o.PasswordFile, "first\n")
	s := r.open()
	w := r.watch(s)
	r.write(s, source(t, "a", ""))
	w.want("a")

	// Another password: what is connected goes on, and so does what connects.
	if _, err := etcd.Client().UserChangePassword(r.ctx(), "ship", "second"); err != nil {
		t.Fatal(err)
	}
	replaceFile(t, r.o.PasswordFile, "second\n")
	r.write(s, source(t, "b", ""))
	w.want("a b")

	// Other certificates, of which the next connection hears: ones that etcd
	// refuses, and then ones that it takes.
	use := func(ca *testbed.CA) {
		t.Helper()
		next := ca.Client(t, "renewed")
		replaceFile(t, r.o.CertFile, next.CertPEM)
		replaceFile(t, r.o.KeyFile, next.KeyPEM)
	}
	use(testbed.NewCA(t, "stranger"))
	etcd.Kill(0)
	etcd.Restart()
	eventually(t, "a stranger's certificate is refused", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, err := s.List(ctx)
		wantError(t, err, config.ErrUnavailable)
		return strings.Contains(err.Error(), "certificate") // it may be said first that etcd has ended
	})
	use(ca)
	r.write(s, source(t, "c", ""))
	w.want("a b c")
}

// What is wrong is said, in words that name it, and is no end: it is tried on.
func TestRefusedByEtcd(t *testing.T) {
	t.Parallel()
	ca := testbed.NewCA(t, "etcd")
	etcd := secured(t, ca, "/"+t.Name())
	r := newRig(t, etcd)
	dir := t.TempDir()
	r.o.CAFile = ca.File(t, dir, "ca")
	r.o.CertFile, r.o.KeyFile = ca.Client(t, "node").Files(t, dir, "node")
	r.o.User, r.o.Password = "ship", "first"
	stranger := testbed.NewCA(t, "stranger")
	strangerCert, strangerKey := stranger.Client(t, "node").Files(t, dir, "stranger")
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"password":    {func(o *Options) { o.Password = "wrong" }, "authentication failed"},
		"user":        {func(o *Options) { o.User, o.Password = "", "" }, "permission denied"}, // of the user that the certificate names
		"foreign CA":  {func(o *Options) { o.CAFile = stranger.File(t, dir, "other") }, "authority"},
		"no cert":     {func(o *Options) { o.CertFile, o.KeyFile = "", "" }, "certificate"},
		"wrong cert":  {func(o *Options) { o.CertFile, o.KeyFile = strangerCert, strangerKey }, "certificate"},
		"other port":  {func(o *Options) { o.Endpoints = []string{"https://127.0.0.1:1"} }, "connection refused"},
		"other paths": {func(o *Options) { o.Prefix = "/elsewhere" }, "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := r.open(c.change)
			var err error
			// A connection that was written to before its refusal was read tells nothing; the next one does.
			for range 5 {
				if _, err = s.List(context.Background()); err == nil || strings.Contains(err.Error(), c.want) {
					break
				}
				t.Logf("listing: %v", err)
			}
			if !errors.Is(err, config.ErrUnavailable) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("listing: %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "first") {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
	s := r.open(func(o *Options) {
		o.Endpoints = []string{strings.Replace(etcd.Endpoints()[0], "https", "http", 1)}
		o.CAFile, o.CertFile, o.KeyFile = "", "", ""
	})
	if _, err := s.List(context.Background()); !errors.Is(err, config.ErrUnavailable) {
		t.Errorf("without TLS: %v", err)
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	r := newRig(t, nil)
	dir := t.TempDir()
	rubbish := filepath.Join(dir, "rubbish")
	replaceFile(t, rubbish, "rubbish")
	for want, change := range map[string]func(*Options){
		"no endpoint":               func(o *Options) { o.Endpoints = nil },
		"want http://HOST:PORT":     func(o *Options) { o.Endpoints = []string{"ftp://a:1"} },
		"want http://HOST:PORT, ":   func(o *Options) { o.Endpoints = []string{"http://a:1/path"} },
		"is without TLS":            func(o *Options) { o.CAFile = rubbish },
		"all with or all without":   func(o *Options) { o.Endpoints = []string{"http://a:1", "https://b:1"} },
		"holds no certificate":      func(o *Options) { o.Endpoints, o.CAFile = []string{"https://a:1"}, rubbish },
		"no such file":              func(o *Options) { o.Endpoints, o.CAFile = []string{"https://a:1"}, dir+"/none" },
		"key files belong together": func(o *Options) { o.Endpoints, o.CertFile = []string{"https://a:1"}, rubbish },
		"user and password":         func(o *Options) { o.User = "x" },
		"no such file or directory": func(o *Options) { o.User, o.PasswordFile = "x", dir+"/none" },
		"must be a path":            func(o *Options) { o.Prefix = "lbshipd/" },
	} {
		o := r.o
		change(&o)
		if s, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
			if s != nil {
				s.Close()
			}
		}
	}
	s := r.open(func(o *Options) { o.Endpoints = []string{"http://10.1.2.3:2379"}; o.User, o.Password = "x", "y" })
	if all := s.Warnings(); len(all) != 2 || !strings.Contains(all[0], "no cluster key file") || !strings.Contains(all[1], "without TLS") || !s.SecretsInClear() {
		t.Errorf("warnings: %q", all)
	}
}
