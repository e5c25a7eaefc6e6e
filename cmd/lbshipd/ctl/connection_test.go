package ctl

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// Whoever asks the wrong daemon, or as the wrong one, is told what to do.
func TestConnectionsThatFail(t *testing.T) {
	left, err := net.Listen("unix", filepath.Join(t.TempDir(), "left.sock"))
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	defer tls.Close()
	hangs := make(chan bool)
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hangs }))
	defer slow.Close()
	defer close(hangs)
	nobody := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"code":16,"message":"a token is needed","details":[]}`)
	}))
	defer nobody.Close()
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"code":8,"message":"too many requests","details":[]}`)
	}))
	defer busy.Close()
	for _, c := range []struct {
		args string
		code int
		says []string
	}{
		{"--endpoint unix:/nonexistent.sock", 1, []string{"unix:/nonexistent.sock: there is no such socket", "systemctl status lbshipd", "--admin-socket"}},
		{"--endpoint unix://" + left.Addr().String(), 1, []string{"nothing listens on the socket", "left over"}},
		{"--endpoint " + gone.URL, 1, []string{"nothing listens there", "--listen"}},
		{"--endpoint " + other.URL, 1, []string{"404", "Is that the admin port"}},
		{"--endpoint " + tls.URL, 1, []string{"--ca-file"}},
		{"--endpoint " + strings.Replace(gone.URL, "http", "https", 1), 1, []string{"nothing listens there"}},
		{"--endpoint " + strings.Replace(other.URL, "http", "https", 1), 1, []string{"is http:// meant?"}},
		{"--timeout 50ms --endpoint " + slow.URL, 1, []string{"no answer within 50ms", "--timeout"}},
		{"--endpoint " + nobody.URL, 1, []string{"a token is needed", "--jwt", "LBSHIPD_JWT", "as root"}},
		{"--endpoint " + busy.URL, 1, []string{"too many requests", "in 7 seconds"}},
		{"--endpoint ftp://x", 2, []string{"want unix:/PATH"}},
		{"--endpoint localhost:9600", 2, []string{"want unix:/PATH"}},
		{"--endpoint unix:", 2, []string{"want unix:/PATH"}},
		{"--endpoint unix:/x --ca-file y", 2, []string{"is a socket"}},
		{"--endpoint https://me:s3cret@h", 2, []string{"want unix:/PATH"}},
		{"--endpoint https://h --ca-file /nonexistent", 2, []string{"reading the CA certificates"}},
		{"--endpoint https://h --cert-file x", 2, []string{"takes both"}},
		{"--timeout 0s", 2, []string{"--timeout must be above 0"}},
		{"--jwt @/nonexistent", 1, []string{"--jwt: reading the token"}},
		{"--jwt s3cret\u00a0s3cret", 2, []string{"that is no token"}},
		{"", 1, []string{"no daemon's socket is found", "/nonexistent/admin.sock", "LBSHIPD_ENDPOINT"}},
	} {
		t.Run(c.args, func(t *testing.T) {
			r := run(t.Context(), "", append([]string{"get", "sources"}, strings.Split(c.args, " ")...)...)
			if c.args == "" {
				r = run(t.Context(), "", "get", "sources")
			}
			wantFailure(t, r, c.code, c.says...)
			if strings.Contains(r.err, "s3cret") || strings.Contains(r.err, "Get \"http") {
				t.Errorf("says too much: %s", r.err)
			}
		})
	}
}

// A token goes to the daemon that is asked and nowhere else.
func TestTokenIsNotCarriedAway(t *testing.T) {
	asked := false
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = true }))
	defer thief.Close()
	s := httptest.NewServer(http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect))
	defer s.Close()
	t.Setenv("HTTP_PROXY", thief.URL)
	t.Setenv("http_proxy", thief.URL)
	wantFailure(t, run(t.Context(), "", "whoami", "--endpoint", s.URL, "--jwt", "s3cret"), 1, "307", "Is that the admin port")
	if asked {
		t.Error("the redirect was followed")
	}
	r := run(t.Context(), "", "whoami", "--timeout", "20ms", "--endpoint", "http://192.0.2.1:9600", "--jwt", "s3cret")
	if !strings.Contains(r.err, "sent in the clear") || strings.Contains(r.err, "s3cret") || asked {
		t.Errorf("%+v", r)
	}
}

// leftOver is a socket that nobody listens on any more.
func leftOver(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	return l.Addr().String()
}

// The socket is looked for where daemons have theirs, and one that nobody listens on is none.
func TestSocketIsFound(t *testing.T) {
	g := newRig(t)
	left := leftOver(t)
	n := &Connection{o: Options{Sockets: []string{"/nonexistent/admin.sock", left}}}
	if _, err := n.where(); err == nil || !strings.Contains(err.Error(), "nothing listens on "+left) {
		t.Errorf("with one that was left over: %v", err)
	}
	for _, sockets := range [][]string{{"/nonexistent/admin.sock", g.socket}, {g.socket, "/nonexistent/admin.sock"}, {left, g.socket}} {
		n := &Connection{o: Options{Sockets: sockets}}
		if where, looked := n.where(); where != "unix:"+g.socket || looked != nil {
			t.Errorf("%s %v", where, looked)
		}
	}
	t.Setenv(envEndpoint, "unix:"+g.socket)
	if r := run(t.Context(), "", "whoami"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	wantFailure(t, run(t.Context(), "", "whoami", "--endpoint", "unix:/elsewhere"), 1, "/elsewhere")
}

// completions returns what a shell is told, without the directive.
func completions(t *testing.T, args ...string) []string {
	t.Helper()
	r := run(t.Context(), "", append([]string{cobra.ShellCompNoDescRequestCmd}, args...)...)
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	return lines[:len(lines)-1]
}

func TestCompletion(t *testing.T) {
	g := newRig(t)
	g.fill()
	t.Setenv(envEndpoint, "unix:"+g.socket)
	for _, c := range []struct {
		args string
		want string
	}{
		{"get ", "tls-bundle format service source target all collector"},
		{"get source ", "app etcd journal"},
		{"get sources app ", "etcd journal"},
		{"update target ", "loki siem"},
		{"update target loki ", ""},
		{"delete tls-bundle ", "siem"},
		{"disable ", "target source"},
		{"test target ", "loki siem"},
		{"rollback ", "8 7 6 5 4 3 2 1"},
		{"get all -o ", "table wide json yaml name"},
		{"completion ", "bash zsh fish"},
		{"create source x --min-level e", "error emergency"},
		{"create source x --log-format zap", "zap-json"},
	} {
		got := completions(t, strings.Split(c.args, " ")...)
		if c.args == "create source x --min-level e" { // of all levels the shell takes those that fit
			got = slices.DeleteFunc(got, func(s string) bool { return !strings.HasPrefix(s, "e") })
		}
		if c.args == "create source x --log-format zap" {
			got = slices.DeleteFunc(got, func(s string) bool { return !strings.HasPrefix(s, "zap") })
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q: %q, want %q", c.args, got, c.want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := run(t.Context(), "", "completion", shell)
		if r.code != 0 || !strings.Contains(r.out, "__complete") {
			t.Errorf("%s: %+v", shell, r)
		}
		if path, err := exec.LookPath(shell); err == nil {
			cmd := exec.Command(path, "-n")
			cmd.Stdin = strings.NewReader(r.out)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s -n: %v: %s", shell, err, out)
			}
		}
	}
	wantFailure(t, run(t.Context(), "", "completion", "tcsh"), 2, "takes one of bash, zsh, fish")
}

// A shell does not hang because the daemon does.
func TestCompletionIsBounded(t *testing.T) {
	hangs := make(chan bool)
	s := serveSocket(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hangs }))
	defer close(hangs)
	t.Setenv(envEndpoint, "unix:"+s)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := run(ctx, "", cobra.ShellCompNoDescRequestCmd, "get", "source", "")
	if r.out != ":4\n" || ctx.Err() != nil {
		t.Errorf("%+v", r)
	}
}

// The pages are as man wants them, and say what the help says.
func TestManualPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	if r := run(t.Context(), "", "man", dir); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(pages) < 20 {
		t.Fatalf("%d pages: %v", len(pages), err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "lbshipd-create-source.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{".SH NAME\nlbshipd\\-create\\-source \\- Create a source", ".TP\n\\fB\\-\\-journald\\-units\\fR list\n", "\\fB\\-J, \\-\\-jwt\\fR", "LBSHIPD_JWT", "/var/log/app/**/*.log", ".BR lbshipd\\-create (1)"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing: %s", want, text)
		}
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("groff is not installed")
	}
	for _, page := range pages {
		out, err := exec.Command(groff, "-man", "-ww", "-Tascii", "-z", page).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v %s", page, err, out)
		}
	}
	wantFailure(t, run(t.Context(), "", "man"), 2, "one DIR")
	wantFailure(t, run(t.Context(), "", "man", "/dev/null/x"), 1, "making the directory")
}

func TestHelpShowsTheConnectionApart(t *testing.T) {
	r := run(t.Context(), "", "create", "target", "--help")
	own, connection, ok := strings.Cut(r.out, "\nWhich daemon, and as whom:\n")
	if !ok || !strings.Contains(own, "--loki-url") || strings.Contains(own, "--endpoint") || !strings.Contains(connection, "--endpoint") || strings.Contains(connection, "--loki-url") {
		t.Errorf("%s", r.out)
	}
}

func TestLists(t *testing.T) {
	for text, want := range map[string]string{"": "", "a": "a", "a,b": "a|b", "{a,b},c": "{a,b}|c", `a\,b`: "a,b", "a,": "a|", "}a,b": "}a|b", `a\b`: `a\b`, "{{a,b},c},d": "{{a,b},c}|d"} {
		if got := strings.Join(splitList(text), "|"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
