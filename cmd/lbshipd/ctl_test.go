package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/admin/auth"
	"github.com/lbshipd/lbshipd/admin/rest"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/ctl"
	"github.com/lbshipd/lbshipd/config"
)

// reporters is another name, so that it can be embedded beside its method.
type reporters = config.Collectors

// nodes is what nodes have reported.
type nodes struct {
	reporters
	list []config.Collector
}

func (n nodes) Collectors(context.Context) ([]config.Collector, error) { return n.list, nil }

// startAPI serves the API of a daemon without a configuration on a socket.
func startAPI(t *testing.T, list ...config.Collector) (endpoint string) {
	t.Helper()
	api := rest.New(rest.Options{Collectors: nodes{list: list}, Log: slog.New(slog.DiscardHandler)})
	dir, err := os.MkdirTemp("", "lbshipd") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		api.ServeHTTP(w, r.WithContext(auth.With(r.Context(), auth.Identity{Name: "root", Via: "socket", Role: auth.Admin})))
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return "unix:" + l.Addr().String()
}

// The exit codes of the commands that ask a daemon, and what is said with them.
func TestCommandsThatAskADaemon(t *testing.T) {
	healthy := config.Collector{ID: "node-1", LastSeen: time.Now(), AlloyStatus: config.AlloyOnline, PipelineHealth: config.HealthHealthy}
	failing := healthy
	failing.ID, failing.PipelineHealth, failing.PipelineError = "node-2", config.HealthError, "evil\x1b[2J"
	well, ill := startAPI(t, healthy), startAPI(t, healthy, failing)
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"status --all --endpoint " + well, 0, "All is well."},
		{"status --all -o json --endpoint " + well, 0, `"node-1"`},
		{"status --all --endpoint " + ill, exitFailed, "node-2: error: evil"},
		{"status --all -o json --endpoint " + ill, exitFailed, `"node-2"`},
		{"status --all --endpoint unix:/nonexistent", exitFailed, "there is no such socket"},
		{"status --all --address x", exitUsage, "leave --address and --data-dir out"},
		{"status --endpoint http://127.0.0.1:1 --address x", exitUsage, "both name the daemon"},
		{"status --jwt x --data-dir y", exitUsage, "--jwt asks a daemon"},
		{"status --endpoint unix:/nonexistent", exitFailed, "there is no such socket"},
		{"status --endpoint " + well, exitFailed, "there is no such path"},
		{"whoami --endpoint " + well, 0, "role admin"},
		{"get sources --endpoint " + well, exitFailed, "lbshipd: this daemon has no configuration"},
		{"diff -f /nonexistent --endpoint " + well, ctl.ExitTrouble, "no such file"},
		{"diff -f ctl_test.go --endpoint unix:/nonexistent", ctl.ExitTrouble, "lbshipd: "},
		{"get", exitUsage, "See: lbshipd get --help"},
		{"get sources --jtw x", exitUsage, "did you mean --jwt?"},
		{"creat source x", exitUsage, `did you mean "lbshipd create"?`},
		{"create surce x --file-paths y", exitUsage, "See: lbshipd create --help"},
		{"create source x --file-pats y", exitUsage, "did you mean --file-paths?"},
		{"create", 0, "Commands:"},
	} {
		code, out := lbshipd(strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out, c.says) || strings.Contains(out, "\x1b") {
			t.Errorf("%s: exit code %d, want %d and %q: %s", c.args, code, c.code, c.says, out)
		}
	}
}
