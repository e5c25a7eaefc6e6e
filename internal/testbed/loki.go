package testbed

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
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

	tb      LokiTB
	dir     string
	args    []string
	client  *http.Client
	cmd     *exec.Cmd
	done    chan struct{} // closed when cmd has ended
	running bool
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
	l := &Loki{tb: tb, dir: dir, client: &http.Client{Timeout: 30 * time.Second}}
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

func freePorts(n int) ([]string, error) {
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all are held until all are known, so that they differ
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	return ports, nil
}

// start runs Loki and waits until it is ready.
func (l *Loki) start() error {
	log, err := os.Create(l.logPath())
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(l.args[0], l.args[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, l.dir
	// It dies with us, also when a test panics. That is bound to the thread that
	// started it, which must live as long.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	l.cmd, l.done, l.running = cmd, done, true
	deadline := time.Now().Add(90 * time.Second)
	for time.Now().Before(deadline) {
		select {
		case <-l.done:
			return fmt.Errorf("it ended: %v", l.cmd.ProcessState)
		case <-time.After(50 * time.Millisecond): // between two looks
		}
		res, err := l.client.Get(l.URL + "/ready")
		if err != nil {
			continue
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return nil
		}
	}
	l.Kill()
	return fmt.Errorf("not ready after 90 s")
}

func (l *Loki) logPath() string { return filepath.Join(l.dir, "loki.log") }

// Log returns what Loki wrote to its log since it was started last.
func (l *Loki) Log() string {
	text, _ := os.ReadFile(l.logPath())
	return string(text)
}

// Kill ends Loki with SIGKILL. Its data stays until the test ends.
func (l *Loki) Kill() { l.end(syscall.SIGKILL) }

// Stop ends Loki with SIGTERM: it flushes what it holds.
func (l *Loki) Stop() { l.end(syscall.SIGTERM) }

func (l *Loki) end(sig syscall.Signal) {
	if !l.running {
		return
	}
	l.running = false
	l.cmd.Process.Signal(sig)
	select {
	case <-l.done:
	case <-time.After(30 * time.Second):
		l.cmd.Process.Kill()
		<-l.done
	}
}

// Pause stops Loki's process in its tracks until Resume: connections stay
// open and nothing answers.
func (l *Loki) Pause() { l.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets a paused Loki go on.
func (l *Loki) Resume() { l.cmd.Process.Signal(syscall.SIGCONT) }

// Start starts a Loki that was stopped or killed again, at the same URL and
// with the same data.
func (l *Loki) Start() {
	l.tb.Helper()
	if err := l.start(); err != nil {
		l.tb.Fatalf("starting Loki again: %v\n%s", err, tail(l.Log(), 4000))
	}
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }

var lokiBuild sync.Mutex

// LokiBinary returns the path of the real Loki, and builds it from e2e/loki if
// it is not there: ${XDG_CACHE_HOME:-~/.cache}/lbshipd/loki-<first 16 digits of
// the SHA-256 of e2e/loki/go.sum>. That takes minutes.
func LokiBinary() (string, error) {
	lokiBuild.Lock()
	defer lokiBuild.Unlock()
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return "", fmt.Errorf("the place of this source file is not known")
	}
	module := filepath.Join(filepath.Dir(here), "..", "..", "e2e", "loki")
	sum, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		return "", fmt.Errorf("finding the module that builds Loki: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(sum)
	path := filepath.Join(cache, "lbshipd", "loki-"+hex.EncodeToString(digest[:8]))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	// The tests of several packages may come here at once; one builds.
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("waiting for another build of Loki: %w", err)
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, buildLoki(module, path)
}

// buildLoki builds to a temporary name, so that nobody runs half a binary.
func buildLoki(module, path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	temp := fmt.Sprintf("%s.%d", path, os.Getpid())
	defer os.Remove(temp)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", temp, "github.com/grafana/loki/v3/cmd/loki")
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building Loki in %s: %w\n%s", module, err, tail(out.String(), 4000))
	}
	return os.Rename(temp, path)
}
