package ctl

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/admin/auth"
	"github.com/lbshipd/lbshipd/admin/rest"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/config/filestore"
	"github.com/lbshipd/lbshipd/sinks"
)

var updateGolden = flag.Bool("update", false, "write testdata")

// rig is a daemon's API on a socket, with a store that is one's own.
type rig struct {
	t      *testing.T
	store  *hooked
	socket string
	report any // of a target's test
	// asked is each request so far: method and path with the query.
	mu    sync.Mutex
	asked []string
}

// hooked is a Store before whose next Write something else can happen.
type hooked struct {
	config.Store
	nodes  []config.Collector
	before func()
	err    error // of Write
}

func (h *hooked) Write(ctx context.Context, changes []config.Change, o config.WriteOptions) (config.Written, error) {
	if f := h.before; f != nil {
		h.before = nil
		f()
	}
	if h.err != nil {
		return config.Written{}, h.err
	}
	return h.Store.Write(ctx, changes, o)
}

func (h *hooked) Report(context.Context, config.Collector) error { return nil }
func (h *hooked) Collectors(context.Context) ([]config.Collector, error) {
	return h.nodes, nil
}
func (h *hooked) Forget(_ context.Context, id string) error {
	for i := range h.nodes {
		if h.nodes[i].ID == id {
			h.nodes = append(h.nodes[:i], h.nodes[i+1:]...)
			return nil
		}
	}
	return config.ErrNotFound
}

// newStore is the YAML file of a daemon, with nothing in it.
func newStore(t *testing.T) config.Store {
	t.Helper()
	s, err := filestore.Open(file(t, "lbshipd.yaml", "sources: []\n"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newRig starts a daemon's API. Root asks by the socket; a token is the name of a role.
func newRig(t *testing.T) *rig {
	t.Helper()
	g := &rig{t: t, store: &hooked{Store: newStore(t)}, report: sinks.TestReport{}}
	api := rest.New(rest.Options{Store: g.store, Collectors: g.store, Version: "1.2.3", Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Test: func(context.Context, *config.Target, *config.TLSBundle) any { return g.report }})
	g.socket = serveSocket(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.asked = append(g.asked, r.Method+" "+r.URL.RequestURI())
		g.mu.Unlock()
		id := auth.Identity{Name: "root", Via: "socket", Role: auth.Admin}
		if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			role, err := auth.ParseRole(token)
			if err != nil {
				api.ServeHTTP(w, r) // nobody: 401
				return
			}
			id = auth.Identity{Name: "ada", Via: "token", Role: role}
		}
		api.ServeHTTP(w, r.WithContext(auth.With(r.Context(), id)))
	}))
	return g
}

// serveSocket serves on a Unix socket and returns its path.
func serveSocket(t *testing.T, h http.Handler) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "admin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return path
}

// result is what became of a command line.
type result struct {
	code     int
	out, err string // standard output, standard error
}

// run runs a command line as main does, but for the words.
func run(ctx context.Context, stdin string, args ...string) result {
	root := &cobra.Command{Use: "lbshipd", SilenceErrors: true, SilenceUsage: true}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return UsageError{err} })
	root.AddCommand(Commands(Options{Version: "test", Sockets: []string{"/nonexistent/admin.sock"}})...)
	var out, errs bytes.Buffer
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var exit ExitError
	switch {
	case err == nil:
		return result{0, out.String(), errs.String()}
	case errors.As(err, &exit):
		return result{exit.Code, out.String(), errs.String()}
	}
	errs.WriteString(err.Error() + "\n")
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		errs.WriteString(h.Hint() + "\n")
	}
	if errors.As(err, new(UsageError)) || errors.As(err, new(TroubleError)) {
		return result{2, out.String(), errs.String()}
	}
	return result{1, out.String(), errs.String()}
}

// run runs a command line that asks the rig.
func (g *rig) run(args ...string) result { return g.runWith("", args...) }

func (g *rig) runWith(stdin string, args ...string) result {
	ctx, cancel := context.WithTimeout(g.t.Context(), 30*time.Second)
	defer cancel()
	return run(ctx, stdin, append(args, "--endpoint", "unix:"+g.socket)...)
}

// must runs a command line that is to succeed, and returns what it prints.
func (g *rig) must(args ...string) string {
	g.t.Helper()
	r := g.run(args...)
	if r.code != 0 {
		g.t.Fatalf("%v: exit code %d: %s%s", args, r.code, r.out, r.err)
	}
	return r.out
}

// fails runs a command line that is to fail with a code, saying certain things.
func (g *rig) fails(code int, says []string, args ...string) {
	g.t.Helper()
	g.t.Run(strings.Join(args, " "), func(t *testing.T) {
		t.Helper()
		wantFailure(t, g.run(args...), code, says...)
	})
}

func wantFailure(t *testing.T, r result, code int, says ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d: %s%s", r.code, code, r.out, r.err)
	}
	for _, want := range says {
		if !strings.Contains(r.err, want) {
			t.Errorf("%q is missing: %s", want, r.err)
		}
	}
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *updateGolden {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// file writes a file for a test and returns its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
