package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lbshipd/lbshipd/admin"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/pipeline"
	"github.com/lbshipd/lbshipd/positions"
)

// lbshipd runs one command line.
func lbshipd(args ...string) (code int, out string) {
	root, b := newRoot(), &bytes.Buffer{}
	root.SetArgs(args)
	root.SetOut(b)
	root.SetErr(b)
	return execute(root), b.String()
}

// workingDaemon ships 30 lines of a file, of which 10 are filtered, to two
// targets, of which dead answers for nothing until it is told to.
type workingDaemon struct {
	dir   string
	url   string
	dead  chan bool // closed: no longer dead
	sup   *pipeline.Supervisor
	store *positions.Store
}

func startDaemon(t *testing.T) *workingDaemon {
	t.Helper()
	d := &workingDaemon{dir: t.TempDir(), dead: make(chan bool)}
	var text strings.Builder
	for i := range 30 {
		fmt.Fprintf(&text, "level=%s n=%d\n", []string{"debug", "info", "warn"}[i%3], i)
	}
	file := filepath.Join(t.TempDir(), "app.log")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	loki := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-d.dead:
		default:
			if strings.HasPrefix(r.URL.Path, "/dead") {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(loki.Close)
	cfg, err := config.Parse("test.yaml", fmt.Appendf(nil, `
sources: [{name: app, logFormat: logfmt, minLevel: info, startAt: beginning, file: {paths: [%q]}}]
targets:
  - {name: dead, loki: {url: "%s/dead/loki/api/v1/push"}}
  - {name: live, loki: {url: "%s/loki/api/v1/push"}}
`, file, loki.URL, loki.URL))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	if d.store, err = positions.Open(d.dir, log); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	d.sup = pipeline.New(pipeline.Options{Log: log, Store: d.store, Registry: registry, Host: "node1", Version: "test"})
	if err := d.sup.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(admin.NewHandler(admin.Options{Supervisor: d.sup, Metrics: registry, Version: "test"}))
	t.Cleanup(server.Close)
	d.url = server.URL
	return d
}

// json asks for the status until cond holds.
func (d *workingDaemon) await(t *testing.T, what string, cond func(code int, st *admin.Status) bool) *admin.Status {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		code, out := lbshipd("status", "--address", d.url, "-o", "json")
		var st admin.Status
		if err := json.Unmarshal([]byte(out), &st); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if cond(code, &st) {
			return &st
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s: %s", what, out)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestStatusShowsTheLedgerAndWhatIsWrong(t *testing.T) {
	d := startDaemon(t)
	st := d.await(t, "the dead target to fail", func(code int, st *admin.Status) bool {
		return code == exitFailed && len(st.Ledger) == 2 && st.Ledger[0].InFlight == 20 && st.Ledger[1].Delivered == 20 && st.Targets[0].Class != ""
	})
	for _, r := range st.Ledger {
		if r.Read != 30 || r.Filtered != 10 || r.Difference != 0 || !r.Running {
			t.Errorf("%+v", r)
		}
	}
	if x := st.Targets[0]; st.Status != "degraded" || len(st.Reasons) != 1 || x.Kind != "loki" || x.FailingSince == nil || x.NextTry == nil || x.QueuedRecords != 20 {
		t.Errorf("%+v", st)
	}
	code, out := lbshipd("status", "--address", strings.TrimPrefix(d.url, "http://"))
	for _, want := range []string{"lbshipd test: degraded", `target "dead" takes no records`, "failing for", "server_error", "configuration  applied", "not saved yet", "READ ="} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing:\n%s", want, out)
		}
	}
	for _, want := range []string{"app dead 30 0 10 0 0 20 -", "app live 30 20 10 0 0 0 -"} {
		if code != exitFailed || !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("exit code %d, want %q:\n%s", code, want, out)
		}
	}

	close(d.dead)
	d.await(t, "all to be well", func(code int, st *admin.Status) bool {
		return code == 0 && st.Status == "ok" && st.Ledger[0].Delivered == 20
	})
	d.sup.Stop(t.Context())
	if code, out := lbshipd("status", "--address", d.url); code != exitFailed || !strings.Contains(out, "lbshipd is stopping") {
		t.Errorf("after the stop: exit code %d:\n%s", code, out)
	}
	if err := d.store.Close(); err != nil {
		t.Fatal(err)
	}
	// What is stored is the same, and nothing has to run for that.
	code, out = lbshipd("status", "--data-dir", d.dir)
	if want := "app dead 30 20 10 0 0 0 -"; code != 0 || !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
		t.Errorf("stored: exit code %d, want %q:\n%s", code, want, out)
	}
	type position struct{ Source, Target, Input, Position string }
	var at position
	if code, out := lbshipd("inspect", "positions", "--data-dir", d.dir, "-o", "json"); code != 0 || strings.Count(out, "\n") != 2 || json.Unmarshal([]byte(strings.SplitN(out, "\n", 2)[0]), &at) != nil ||
		at.Source != "app" || at.Target != "dead" || at.Input == "" || at.Position == "" {
		t.Errorf("positions: exit code %d: %s", code, out)
	}
	if code, out := lbshipd("inspect", "positions", "--data-dir", d.dir, "-o", "yaml"); code != exitUsage {
		t.Errorf("positions: exit code %d: %s", code, out)
	}
	var stored struct{ Ledger []admin.LedgerStatus }
	if code, out := lbshipd("status", "--data-dir", d.dir, "-o", "json"); code != 0 || json.Unmarshal([]byte(out), &stored) != nil || len(stored.Ledger) != 2 {
		t.Errorf("stored: exit code %d: %s", code, out)
	}
}

func TestStatusOfADaemonThatDoesNotAnswer(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	gone.Close()
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--address", gone.URL}, exitFailed, "name it with --endpoint. What is stored is shown with --data-dir"},
		{[]string{"--address", other.URL}, exitFailed, "404"},
		{[]string{"--address", "ftp://x"}, exitUsage, "want http://HOST:PORT"},
		{[]string{"--address", "::"}, exitUsage, "want http://HOST:PORT"},
		{[]string{"-o", "yaml"}, exitUsage, "want one of"},
		{[]string{"--address", gone.URL, "--data-dir", "x"}, exitUsage, "one of them"},
		{[]string{"--data-dir", t.TempDir()}, exitFailed, "holds no positions"},
	} {
		code, out := lbshipd(append([]string{"status"}, c.args...)...)
		if code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%v: exit code %d, want %d and %q: %s", c.args, code, c.code, c.says, out)
		}
	}
}

// Without a port, as with --listen off, and wherever the socket is.
func TestStatusBySocket(t *testing.T) {
	d := startDaemon(t)
	close(d.dead)
	dir := t.TempDir()
	socket := filepath.Join(dir, "admin.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: admin.NewHandler(admin.Options{Supervisor: d.sup, Metrics: prometheus.NewRegistry(), Version: "by socket"})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	d.await(t, "all to be well", func(code int, st *admin.Status) bool { return code == 0 && st.Targets[1].Rate > 0 })
	check := func(what, says string, args ...string) {
		t.Helper()
		if code, out := lbshipd(append([]string{"status"}, args...)...); code != 0 || !strings.Contains(out, says) || !strings.Contains(out, "RATE") {
			t.Errorf("%s: exit code %d: %s", what, code, out)
		}
	}
	check("--endpoint", "by socket: ok", "--endpoint", "unix:"+socket)
	t.Setenv("LBSHIPD_ENDPOINT", "unix:"+socket)
	check("LBSHIPD_ENDPOINT", "by socket: ok")
	check("--address is stronger", "lbshipd test: ok", "--address", d.url)
	t.Setenv("LBSHIPD_ENDPOINT", "")
	t.Setenv("STATE_DIRECTORY", dir)
	check("the first socket that is there", "by socket: ok")
}

// What the columns cannot say is said below them.
func TestLedgerIsPrintedWithItsReasons(t *testing.T) {
	risky, soon := int64(50<<20), 90.0
	rows := []admin.LedgerStatus{
		{Source: "app", Target: "a", Read: 1234567, Delivered: 1234000, Refused: 67, Lost: 500, RefusedBy: map[string]int64{"too old": 66, "rejected": 1},
			LostBy: map[string]admin.LostBy{"truncated": {Bytes: 4096, Gaps: 1}, "vacuumed": {Records: 500, Gaps: 3, UnsizedGaps: 2}}, AtRiskBytes: &risky, AtRiskSeconds: &soon},
		{Source: "a-long-name", Target: "b", Read: 5, Difference: 5, AtRiskBytes: new(int64)},
	}
	var b strings.Builder
	if err := printLedger(&b, rows); err != nil {
		t.Fatal(err)
	}
	want := `SOURCE       TARGET     READ =  DELIVERED +  FILTERED +  REFUSED +  LOST +  IN FLIGHT          AT RISK
app          a       1,234,567    1,234,000           0         67     500          0  50 MiB in 1m30s
a-long-name  b               5            0           0          0       0          0             none
app to a: refused, rejected: 1 record
app to a: refused, too old: 66 records
app to a: lost, truncated: 4,096 bytes, in 1 gap
app to a: lost, vacuumed: 500 records and an unknown number 2 times, in 3 gaps
a-long-name to b: does not add up: 5 records too many were read. That is a fault of lbshipd; please report it
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What a target said is shown, and is no command to the terminal.
func TestStatusShowsNoControlCharacters(t *testing.T) {
	st := admin.Status{Status: "degraded", Reasons: []string{"it said \x1b[2J\x07no"},
		Targets: []admin.TargetStatus{{Name: "t", Class: "server", Error: "\x1b]0;title\x07no"}}}
	var out strings.Builder
	if err := printStatus(&out, &st, time.Now()); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\x07") || !strings.Contains(out.String(), "it said") {
		t.Errorf("got %q", out.String())
	}
}

// An object that cannot be used is told wherever one looks: with its reason.
func TestStatusShowsRejectedObjects(t *testing.T) {
	d := startDaemon(t)
	close(d.dead)
	cfg, err := config.Parse("test.yaml", []byte("targets: [{name: a, stdout: {format: json}}]"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.sup.ApplyEvent(config.Event{Config: cfg, Hash: "5f2c", Cached: true,
		Rejected: []config.Rejected{{Kind: config.KindTarget, Name: "siem", Reason: "loki.color: there is no such setting"}}}); err != nil {
		t.Fatal(err)
	}
	st := d.await(t, "the status", func(code int, st *admin.Status) bool { return code == exitFailed })
	want := config.Rejected{Kind: config.KindTarget, Name: "siem", Reason: "loki.color: there is no such setting"}
	if c := st.Config; st.Status != "degraded" || c.Hash != "5f2c" || !c.Cached || len(c.Rejected) != 1 || c.Rejected[0] != want {
		t.Errorf("%+v", st)
	}
	says := `target "siem" cannot be used: loki.color: there is no such setting`
	_, out := lbshipd("status", "--address", d.url)
	for _, want := range []string{says, "the configuration store cannot be reached", "as it was when the store could be reached last; without 1 object that cannot be used"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing:\n%s", want, out)
		}
	}
	res, err := http.Get(d.url + "/-/healthy")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var h admin.Health
	if err := json.NewDecoder(res.Body).Decode(&h); err != nil || res.StatusCode != http.StatusOK || h.Status != "degraded" || len(h.Reasons) != 2 || h.Reasons[1] != says {
		t.Errorf("/-/healthy: HTTP %d, %+v, error %v", res.StatusCode, h, err)
	}
	d.sup.Stop(t.Context())
}

// What a node cannot report, because the store is away, is told where it runs.
func TestStatusTellsOfAStoreThatIsAway(t *testing.T) {
	d := startDaemon(t)
	close(d.dead)
	state := config.RemotecfgDown
	report := func() config.Collector { return config.Collector{ID: "node1", RemotecfgStatus: state} }
	server := httptest.NewServer(admin.NewHandler(admin.Options{Supervisor: d.sup, Metrics: prometheus.NewRegistry(), Version: "test", Report: report}))
	defer server.Close()
	const says = "its store      cannot be reached"
	if _, out := lbshipd("status", "--address", server.URL); !strings.Contains(out, says) {
		t.Errorf("%q is missing:\n%s", says, out)
	}
	var st admin.Status
	if _, out := lbshipd("status", "--address", server.URL, "-o", "json"); json.Unmarshal([]byte(out), &st) != nil || st.Collector == nil || st.Collector.ID != "node1" {
		t.Errorf("%s", out)
	}
	state = config.RemotecfgUp
	if _, out := lbshipd("status", "--address", server.URL); strings.Contains(out, "its store") {
		t.Errorf("a store that is there:\n%s", out)
	}
	d.sup.Stop(t.Context())
}
