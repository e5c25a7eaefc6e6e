package pipeline

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/sinks"
)

// Every kind of target can be tested, and what cannot even be made says why.
func TestTestTarget(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	ca := testbed.NewCA(t, "ours")
	server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Server(t, "127.0.0.1").TLS(t)}}
	server.StartTLS()
	defer server.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens there
	cfg, err := config.Parse("test.yaml", fmt.Appendf(nil, `
targets:
  - {name: loki, loki: {url: %q, tlsBundle: b}}
  - {name: siem, rsyslog: {address: %q, protocol: tcp}}
  - {name: console, stdout: {format: json}}
tlsBundles: [{name: b, caFile: ca.crt}]
`, server.URL, l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	dir, bundle := t.TempDir(), &cfg.TLSBundles[0]
	tested := func(i int, b *config.TLSBundle) (sinks.TestReport, string) {
		r := TestTarget(t.Context(), &cfg.Targets[i], b, TestOptions{Host: "node1", By: "alice", Dir: dir})
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return r, string(text)
	}
	for i := range cfg.Targets {
		sink, kind, err := newSink(&cfg.Targets[i], sinks.Deps{})
		if _, ok := sink.(sinks.Tester); !ok || err != nil {
			t.Errorf("%s: no Tester, or error %v", kind, err)
		}
	}
	if len(cfg.Targets) != len(sinkKinds) {
		t.Error("not every kind is here")
	}
	const missing = `{"ok":false,"steps":[{"name":"config","ok":false,"message":"there is no TLS bundle \"b\"","seconds":0}]}`
	if _, got := tested(0, nil); got != missing {
		t.Errorf("%s, want %s", got, missing)
	}
	// Files are read for each test anew.
	if r, got := tested(0, bundle); r.OK || len(r.Steps) != 1 || !strings.Contains(got, filepath.Join(dir, "ca.crt")) || !strings.Contains(got, `tls-bundle \"b\" cannot be used: `) {
		t.Error(got)
	}
	path := ca.File(t, dir, "ca")
	if r, got := tested(0, bundle); !r.OK || len(r.Steps) != 5 || !strings.Contains(got, `host=\"node1\"`) || bundle.CAPem != "" {
		t.Error(got)
	}
	if err := os.WriteFile(path, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, got := tested(0, bundle); r.OK || len(r.Steps) != 1 || !strings.Contains(got, "caFile: holds no certificate") {
		t.Error(got)
	}
	if r, got := tested(1, nil); r.OK || len(r.Steps) != 2 {
		t.Error(got)
	}
}
