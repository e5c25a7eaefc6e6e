package testbed

import (
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// LokiGate is the environment variable that lets tests run that need the real
// Loki: building it takes minutes the first time.
const LokiGate = "LBSHIPD_E2E"

// LokiTB is what this rig needs of a test; testing.TB is one.
type LokiTB interface {
	Helper()
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Logf(format string, args ...any)
	Cleanup(func())
}

var _ LokiTB = testing.TB(nil)

// LokiOptions is how a Loki is to be. The zero value takes whatever it is
// sent: no tenants, no TLS, limits so high that none is met.
type LokiOptions struct {
	Tenants bool // auth_enabled: each request must name a tenant
	// Limits are set in limits_config, over ours: {"max_line_size": "1KB"}.
	Limits map[string]string
	// Server, Distributor and Ingester are set in those sections.
	Server, Distributor, Ingester map[string]string
	TLS                           *LokiTLS
}

// LokiTLS makes Loki serve https and ask for a client certificate.
type LokiTLS struct {
	CertPEM, KeyPEM []byte      // the server's
	ClientCAPEM     []byte      // who signs the clients'; empty: none is asked for
	Reader          *tls.Config // with which this rig asks it
}

// Loki is a real Loki on loopback with its data in a directory of its own.
type Loki struct {
	URL string // http://127.0.0.1:PORT

	tb     LokiTB
	dir    string
	args   []string
	client *http.Client
	process
}

// StartLoki starts a Loki that is ready, and stops it when the test ends. It
// skips the test unless LBSHIPD_E2E=1.
func StartLoki(tb LokiTB, o LokiOptions) *Loki {
	tb.Helper()
	if os.Getenv(LokiGate) != "1" {
		tb.Skipf("needs the real Loki, which takes minutes to build the first time: set %s=1 (make e2e)", LokiGate)
	}
	binary, err := LokiBinary()
	if err != nil {
		tb.Fatalf("no Loki: %v", err)
	}
	dir, err := os.MkdirTemp("", "lbshipd-loki-")
	if err != nil {
		tb.Fatalf("making Loki's directory: %v", err)
	}
	l := &Loki{tb: tb, dir: dir, client: &http.Client{Timeout: 30 * time.Second}, process: process{log: filepath.Join(dir, "loki.log")}}
	tb.Cleanup(func() {
		l.Kill()
		l.client.CloseIdleConnections()
		os.RemoveAll(dir)
	})
	if o.TLS != nil {
		l.client.Transport = &http.Transport{TLSClientConfig: o.TLS.Reader}
	}
	// The ports are free when they are looked for, and may be taken a moment
	// later by somebody else: then Loki ends at once, and others are tried.
	for try := 1; ; try++ {
		if err := l.configure(o); err != nil {
			tb.Fatalf("configuring Loki: %v", err)
		}
		l.args = []string{binary, "-config.file=" + filepath.Join(dir, "loki.yaml")}
		err := l.start()
		if err == nil {
			return l
		}
		if log := l.Log(); try == 5 || !strings.Contains(log, "address already in use") {
			tb.Fatalf("starting Loki: %v\n%s", err, tail(log, 4000))
		}
	}
}

// configure writes loki.yaml with ports that are free now.
func (l *Loki) configure(o LokiOptions) error {
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	scheme := "http"
	server := map[string]string{
		"http_listen_address": "127.0.0.1", "http_listen_port": ports[0],
		"grpc_listen_address": "127.0.0.1", "grpc_listen_port": ports[1],
		"grpc_server_max_recv_msg_size": "134217728", "grpc_server_max_send_msg_size": "134217728",
		"log_level": "warn",
	}
	if t := o.TLS; t != nil {
		scheme = "https"
		section := "{cert_file: " + filepath.Join(l.dir, "cert.pem") + ", key_file: " + filepath.Join(l.dir, "key.pem")
		if len(t.ClientCAPEM) > 0 {
			section += ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: " + filepath.Join(l.dir, "ca.pem")
		}
		server["http_tls_config"] = section + "}"
		for name, pem := range map[string][]byte{"cert.pem": t.CertPEM, "key.pem": t.KeyPEM, "ca.pem": t.ClientCAPEM} {
			if err := os.WriteFile(filepath.Join(l.dir, name), pem, 0o600); err != nil {
				return err
			}
		}
	}
	limits := map[string]string{
		"ingestion_rate_mb": "4096", "ingestion_burst_size_mb": "4096",
		"per_stream_rate_limit": "4GB", "per_stream_rate_limit_burst": "4GB",
		"max_global_streams_per_user": "0", "reject_old_samples": "false",
		"max_entries_limit_per_query": fmt.Sprint(lokiPage), "max_query_length": "0", "max_query_lookback": "0", "split_queries_by_interval": "0",
		"discover_service_name": "[]", "discover_log_levels": "false", // what is read back is what was sent
	}
	ingester := map[string]string{
		"wal":        "{dir: " + filepath.Join(l.dir, "wal") + "}",
		"lifecycler": "{min_ready_duration: 0s, final_sleep: 0s}",
	}
	l.URL = scheme + "://127.0.0.1:" + ports[0]
	var b strings.Builder
	fmt.Fprintf(&b, lokiConfig, o.Tenants, l.dir, ports[1])
	section := func(name string, ours, theirs map[string]string) {
		all := maps.Clone(ours)
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, theirs)
		if len(all) == 0 {
			return
		}
		fmt.Fprintf(&b, "%s:\n", name)
		for _, k := range slices.Sorted(maps.Keys(all)) {
			fmt.Fprintf(&b, "  %s: %s\n", k, all[k])
		}
	}
	section("server", server, o.Server)
	section("limits_config", limits, o.Limits)
	section("ingester", ingester, o.Ingester)
	section("distributor", nil, o.Distributor)
	return os.WriteFile(filepath.Join(l.dir, "loki.yaml"), []byte(b.String()), 0o600)
}

// lokiConfig: with the scheduler's ring or without a frontend address, Loki
// needs ten seconds to become ready instead of one.
const lokiConfig = `auth_enabled: %[1]v
common:
  instance_addr: 127.0.0.1
  path_prefix: %[2]s
  replication_factor: 1
  storage: {filesystem: {chunks_directory: %[2]s/chunks, rules_directory: %[2]s/rules}}
  ring: {kvstore: {store: inmemory}}
schema_config:
  configs:
    - {from: 2000-01-01, store: tsdb, object_store: filesystem, schema: v13, index: {prefix: index_, period: 24h}}
query_scheduler: {use_scheduler_ring: false}
frontend_worker: {frontend_address: "127.0.0.1:%[3]s"}
querier: {query_ingesters_within: 0}
query_range: {parallelise_shardable_queries: false, cache_results: false}
pattern_ingester: {enabled: false}
analytics: {reporting_enabled: false}
`

// start runs Loki and waits until it is ready.
func (l *Loki) start() error {
	if err := l.process.start(l.dir, l.args); err != nil {
		return err
	}
	return l.untilReady(90*time.Second, func() bool {
		res, err := l.client.Get(l.URL + "/ready")
		if err != nil {
			return false
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// Log returns what Loki wrote to its log since it was started last.
func (l *Loki) Log() string { return l.text() }

// Kill ends Loki with SIGKILL. Its data stays until the test ends.
func (l *Loki) Kill() { l.end(syscall.SIGKILL) }

// Stop ends Loki with SIGTERM: it flushes what it holds.
func (l *Loki) Stop() { l.end(syscall.SIGTERM) }

// Pause stops Loki's process in its tracks until Resume: connections stay
// open and nothing answers.
func (l *Loki) Pause() { l.signal(syscall.SIGSTOP) }

// Resume lets a paused Loki go on.
func (l *Loki) Resume() { l.signal(syscall.SIGCONT) }

// Start starts a Loki that was stopped or killed again, at the same URL and
// with the same data.
func (l *Loki) Start() {
	l.tb.Helper()
	if err := l.start(); err != nil {
		l.tb.Fatalf("starting Loki again: %v\n%s", err, tail(l.Log(), 4000))
	}
}

// LokiBinary returns the path of the real Loki, and builds it if it is not
// there: builtServer.
func LokiBinary() (string, error) {
	return builtServer("loki", "github.com/grafana/loki/v3/cmd/loki")
}
