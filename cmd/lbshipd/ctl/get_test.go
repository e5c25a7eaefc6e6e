package ctl

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/lbshipd/lbshipd/config"
)

// fill stores something of everything.
func (g *rig) fill() {
	g.t.Helper()
	ca, cert, key := certificate(g.t)
	g.must("create", "tls-bundle", "siem", "--ca", ca, "--cert", cert, "--key", key)
	g.must("create", "format", "app", "--regex", `^(?P<level>\w+) (?P<message>.*)$`)
	g.must("create", "service", "my-daemon", "--log-format", "logfmt")
	g.must("create", "source", "app", "--file-paths", "/var/log/app/**/*.log", "--log-format", "regex:app", "--min-level", "info", "--label", "role=node", "--label", "rack=7")
	g.must("create", "source", "etcd", "--journald-units", "etcd", "--nodes", "node-1,node-2", "--enabled=false")
	g.must("create", "source", "journal", "--journald")
	g.must("create", "target", "loki", "--loki-url", "http://localhost:3100")
	g.must("create", "target", "siem", "--rsyslog-addresses", "logs1.example.net:6514,logs2.example.net:6514", "--rsyslog-tls-bundle", "siem", "--spool")
}

// What differs from run to run, of certificates.
var (
	fingerprint = regexp.MustCompile(`sha-256:[0-9A-F:]+`)
	day         = regexp.MustCompile(`20\d\d-\d\d-\d\d(T[0-9:]+Z)?( \(in [0-9a-z ]+\))?`)
)

func steady(text string) string {
	text = fingerprint.ReplaceAllString(text, "FINGERPRINT")
	return regexp.MustCompile(` +`).ReplaceAllString(day.ReplaceAllString(text, "DAY"), " ")
}

func TestGet(t *testing.T) {
	g := newRig(t)
	if r := g.run("get", "all"); r.code != 0 || r.out != "" || !strings.Contains(r.err, "Nothing is configured yet") {
		t.Errorf("%+v", r)
	}
	if r := g.run("get", "targets"); r.code != 0 || !strings.Contains(r.err, "lbshipd create target --help") {
		t.Errorf("%+v", r)
	}
	g.fill()
	golden(t, "sources.txt", g.must("get", "sources"))
	golden(t, "targets-wide.txt", g.must("get", "target", "-o", "wide"))
	golden(t, "all.txt", steady(g.must("get", "all")))
	golden(t, "names.txt", g.must("get", "all", "-o", "name"))
	golden(t, "bundle-wide.txt", steady(g.must("get", "tlsbundles", "-o", "wide")))
	golden(t, "source.yaml", g.must("get", "source", "app", "-o", "yaml"))
	golden(t, "source.json", g.must("get", "source", "app", "-o", "json"))
	golden(t, "sources.yaml", g.must("get", "source", "app", "etcd", "--no-defaults", "-o", "yaml"))
	if out := g.must("get", "sources", "app", "--no-headers"); strings.Contains(out, "NAME") || !strings.HasPrefix(out, "app ") {
		t.Error(out)
	}
	if out := g.must("get", "source/app", "target/loki"); !strings.Contains(out, "MIN-LEVEL") || !strings.Contains(out, "http://localhost:3100") {
		t.Error(out)
	}
	g.fails(1, []string{`"nobody"`}, "get", "source", "nobody")
	g.fails(1, []string{"no such node"}, "get", "collector", "nobody")
	g.fails(2, []string{"is no kind of object", "tls-bundle"}, "get", "pods")
	g.fails(2, []string{"say which"}, "get")
	g.fails(2, []string{"takes no names"}, "get", "all", "x")
	g.fails(2, []string{"-o"}, "get", "all", "-o", "xml")
}

// What get prints is what apply takes: nothing changes.
func TestGetAllIsAppliedWithoutAChange(t *testing.T) {
	for _, form := range []string{"yaml", "json"} {
		g := newRig(t)
		g.fill()
		for _, defaults := range []string{"--no-defaults", "--no-defaults=false"} {
			backup := g.must("get", "all", "-o", form, defaults)
			if r := g.runWith(backup, "diff", "-f", "-", "--prune"); defaults == "--no-defaults" && (r.code != 0 || r.out != "nothing changes\n") {
				t.Errorf("%s %s: %+v", form, defaults, r)
			} else if r.code == 2 || r.err != "" {
				t.Errorf("%s %s: %+v", form, defaults, r)
			}
		}
	}
}

func TestCollectors(t *testing.T) {
	g := newRig(t)
	if r := g.run("get", "collectors"); r.code != 0 || !strings.Contains(r.err, "No node has reported yet") {
		t.Errorf("%+v", r)
	}
	g.store.nodes = nodesForTest(time.Now())
	golden(t, "collectors.txt", g.must("get", "collectors"))
	golden(t, "collectors-wide.txt", g.must("get", "collector", "node-1", "-o", "wide"))
	var one config.Collector
	if out := g.must("get", "collector", "node-2", "-o", "json"); json.Unmarshal([]byte(out), &one) != nil || one.ID != "node-2" || one.ExporterQueueSize != 1234 || !strings.Contains(out, `"exporterQueueSize": "1234"`) {
		t.Error(out)
	}
}

// watching runs get --watch until stop, and hands out what it prints.
type watching struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *watching) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *watching) await(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		w.mu.Lock()
		have := w.text.String()
		w.mu.Unlock()
		if strings.Contains(have, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %q: %s", want, have)
		}
		<-time.After(time.Millisecond)
	}
}

// watch runs get --watch against an endpoint; stop ends it.
func watch(t *testing.T, endpoint string, args ...string) (w *watching, stop func()) {
	watchEvery = time.Millisecond
	t.Cleanup(func() { watchEvery = 2 * time.Second })
	w = &watching{}
	ctx, cancel := context.WithCancel(t.Context())
	c := newGet(Options{})
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetOut(w)
	c.SetErr(w)
	c.SetArgs(append(args, "--watch", "--endpoint", endpoint))
	done := make(chan error)
	go func() { done <- c.ExecuteContext(ctx) }()
	return w, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watching ended with %v", err)
		}
	})
}

func TestWatch(t *testing.T) {
	g := newRig(t)
	g.must("create", "source", "app", "--journald")
	w, stop := watch(t, "unix:"+g.socket, "sources")
	defer stop()
	w.await(t, "NAME   ENABLED   READS      FORMAT   MIN-LEVEL   WHAT\napp    yes       journald   raw      -           everything\n")
	g.must("create", "source", "later", "--file-paths", "/x")
	w.await(t, "later   yes       files      auto     -           /x\n")
	g.must("disable", "source", "later")
	w.await(t, "later   no")
	g.must("delete", "source", "later")
	w.await(t, "later   (deleted)\n")
	stop()
	if text := w.text.String(); strings.Count(text, "app ") != 1 || strings.Count(text, "\n") != 5 {
		t.Errorf("what has not changed is printed again: %s", text)
	}
}

// A daemon that goes away is waited for, and lists that have an etag are not sent twice.
func TestWatchOutlivesTheDaemonAndUsesEtags(t *testing.T) {
	var mu sync.Mutex
	body, fail, notModified := `{"services":[{"name":"a","logFormat":"json"}]}`, false, 0
	socket := serveSocket(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		etag := fmt.Sprintf("%q", fmt.Sprint(len(body)))
		switch {
		case fail:
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"code":14,"message":"the configuration store cannot be reached"}`)
		case r.Header.Get("If-None-Match") == etag:
			notModified++
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("ETag", etag)
			io.WriteString(w, body)
		}
	}))
	w, stop := watch(t, "unix:"+socket, "services", "-o", "json")
	defer stop()
	w.await(t, `"name": "a"`)
	for deadline := time.Now().Add(time.Minute); ; <-time.After(time.Millisecond) {
		mu.Lock()
		n := notModified
		mu.Unlock()
		if n > 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no request has If-None-Match")
		}
	}
	mu.Lock()
	fail = true
	mu.Unlock()
	w.await(t, "cannot be reached")
	mu.Lock()
	fail, body = false, `{"services":[{"name":"a","logFormat":"logfmt"}]}`
	mu.Unlock()
	w.await(t, `"logFormat": "logfmt"`)
	stop()
	if text := w.text.String(); strings.Count(text, "cannot be reached") != 1 {
		t.Errorf("said more than once: %s", text)
	}
}

// hostile is a daemon that puts commands to the terminal into everything.
func hostile(t *testing.T, status int) string {
	const evil = `\u001b[2J\u009b31m\u202eevil\r\nforged\u0007` + "\u009b\u202e\x7f"
	collector := `{"id":"` + evil + `","alloyStatus":"` + evil + `","pipelineHealth":"` + evil + `","pipelineError":"` + evil + `","configHash":"` + evil + `","version":"` + evil + `",
		"rejected":[{"kind":"` + evil + `","name":"` + evil + `","reason":"` + evil + `"}],"failingExporters":["` + evil + `"],
		"unhealthyComponents":[{"localId":"` + evil + `","state":"` + evil + `","message":"` + evil + `"}],"targets":[{"name":"` + evil + `","error":"` + evil + `"}]}`
	object := `{"name":"` + evil + `","logFormat":"` + evil + `","labels":{"` + evil + `":"` + evil + `"},"file":{"paths":["` + evil + `"]},"loki":{"url":"` + evil + `"},
		"subject":"` + evil + `","notAfter":"` + evil + `","regex":"` + evil + `"}`
	changes := `[{"kind":"` + evil + `","name":"` + evil + `","action":"` + evil + `","diff":"-a\n+` + evil + `\n"}]`
	body := `{"collectors":[` + collector + `],"code":3,"message":"` + evil + `","details":[{"object":"` + evil + `","field":"` + evil + `","message":"` + evil + `"}],
		"rejected":[{"kind":"` + evil + `","name":"` + evil + `","reason":"` + evil + `"}],"changes":` + changes + `,"warnings":[{"message":"` + evil + `"},"` + evil + `"],
		"revisions":[{"id":"1","time":"2026-01-01T00:00:00Z","author":"` + evil + `","via":"` + evil + `","reason":"` + evil + `","changes":` + changes + `}],
		"steps":[{"name":"` + evil + `","message":"` + evil + `"}],"via":"` + evil + `","role":"` + evil + `","version":"` + evil + `"`
	for _, kind := range config.Kinds() {
		body += `,"` + kind.List() + `":[` + object + `]`
	}
	body += "," + object[1:]
	if !json.Valid([]byte(body)) {
		t.Fatal("the test's answer is no JSON")
	}
	return serveSocket(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Warning", "299 - \"\u009b31m evil\"")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
}

// Nothing that a daemon, or somebody by way of it, says is a command to the terminal.
func TestNoControlCharactersReachTheTerminal(t *testing.T) {
	for _, status := range []int{200, 400, 412, 500} {
		socket := hostile(t, status)
		var lines []string
		for _, form := range []string{"table", "wide", "json", "yaml", "name"} {
			lines = append(lines, "get all -o "+form, "get collectors -o "+form, "get source x -o "+form)
		}
		lines = append(lines, "history", "history 1", "history -o yaml", "rollback 1", "test target x", "test target x -o yaml", "whoami", "whoami -o yaml", "delete target x",
			"create service x", "create service x -o yaml", "update service x --log-format json", "disable target x", "apply -f -", "diff -f - -o json",
			"__complete get source ", "__complete history ", "nodes", "nodes json")
		for _, line := range lines {
			args := strings.Split(line, " ")
			var r result
			if args[0] == "nodes" {
				r = nodesOf(t, socket, len(args) > 1)
			} else {
				if args[0] != "__complete" {
					args = append(args, "--endpoint", "unix:"+socket)
				} else {
					t.Setenv(envEndpoint, "unix:"+socket)
				}
				r = run(t.Context(), "services: [{name: x, logFormat: json}]", args...)
			}
			for _, text := range []string{r.out, shown(r.err)} {
				for _, c := range text {
					if unicode.IsControl(c) && c != '\n' && c != '\t' || unicode.Is(unicode.Bidi_Control, c) && !strings.Contains(line, "yaml") {
						t.Errorf("%d: %s: %q", status, line, text)
						break
					}
				}
			}
			if strings.Contains(line, "yaml") && status == 200 && (r.out == "" || yaml.Unmarshal([]byte(r.out), new(any)) != nil) {
				t.Errorf("%s: no YAML: %q", line, r.out)
			}
			if (strings.Contains(line, "-o json") || line == "nodes json") && status == 200 && !json.Valid([]byte(r.out)) {
				t.Errorf("%s: no JSON: %q", line, r.out)
			}
			if r.out+r.err == "" && status == 200 {
				t.Errorf("%s: says nothing", line)
			}
		}
	}
}
