package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cli runs a command against a daemon over its TLS port.
func (n *node) cli(role string, args ...string) (code int, stdout, stderr string) {
	n.c.t.Helper()
	return lbshipd(n.c.t, append(args, "--endpoint", n.url, "--ca-file", n.c.caFile, "--jwt", n.c.token(role))...)
}

func (n *node) mustCLI(role string, args ...string) string {
	n.c.t.Helper()
	code, out, errOut := n.cli(role, args...)
	if code != 0 {
		n.c.t.Fatalf("lbshipd %s: exit code %d: %s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// fleet is three nodes of two racks, which send to a fake Loki what is in logs.
type fleet struct {
	*cluster
	nodes []*node
	admin *api
	loki  *fakeLoki
}

func startFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{cluster: newCluster(t, 1, "--collector-stale-after", "2s", "--collector-offline-after", "4s"), loki: startFakeLoki(t)}
	for i, rack := range []string{"7", "7", "8"} {
		f.nodes = append(f.nodes, f.node(fmt.Sprintf("node-%d", i), "--node-label", "rack="+rack))
	}
	f.admin = f.nodes[0].as("admin")
	f.admin.must("POST", "/targets", map[string]any{"name": "loki", "loki": map[string]any{"url": f.loki.url, "batchWait": "50ms"}})
	return f
}

// source is a source of files NAME*.log.
func (f *fleet) source(name string, more map[string]any) map[string]any {
	s := map[string]any{"name": name, "logFormat": "json", "startAt": "beginning", "file": map[string]any{"paths": []string{filepath.Join(f.logs, name+"*.log")}}}
	for k, v := range more {
		s[k] = v
	}
	return s
}

// run waits until the nodes run those sources and targets, given by node as "a b/loki".
func (f *fleet) run(t *testing.T, want ...string) {
	t.Helper()
	got := make([]string, len(f.nodes))
	for i, n := range f.nodes {
		deadline := time.Now().Add(2 * time.Minute)
		for got[i] != want[i] && time.Now().Before(deadline) {
			st := n.status()
			got[i] = st.sources() + "/" + st.targets()
			<-time.After(20 * time.Millisecond)
		}
		if got[i] != want[i] {
			t.Fatalf("%s runs %q, want %q", n.name, got[i], want[i])
		}
	}
}

// Sources and targets run where their nodes and nodeSelector say, a rollback takes back what
// a canary has shown to be wrong, and apply --prune leaves what the file holds.
func TestCanaryRollbackAndApply(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	f.admin.must("POST", "/sources", f.source("app", nil))
	f.run(t, "app/loki", "app/loki", "app/loki")

	f.admin.must("POST", "/sources", f.source("canary", map[string]any{"nodes": []string{"node-1"}}))
	f.admin.must("POST", "/targets", map[string]any{"name": "rack7", "nodeSelector": map[string]string{"rack": "7"}, "loki": map[string]any{"url": f.loki.url}})
	f.run(t, "app/loki rack7", "app canary/loki rack7", "app/loki")
	appendTo(t, filepath.Join(f.logs, "canary.log"), `{"level":"info","n":7}`+"\n")
	await(t, "the canary's record", func() bool { _, ok := f.loki.since("node-1", time.Time{}, false); return ok })
	f.admin.must("DELETE", "/targets/rack7", nil)
	hash := map[string]bool{}
	await(t, "one configuration", func() bool {
		clear(hash)
		for _, c := range f.admin.collectors() {
			hash[c.ConfigHash] = true
		}
		return len(hash) == 1 && len(f.admin.collectors()) == 3
	})

	// The canary goes to all, is wrong, and is taken back.
	last := f.lastChange(t)
	f.admin.must("PUT", "/sources/canary", f.source("canary", nil))
	f.admin.must("PUT", "/sources/app", f.source("app", map[string]any{"enabled": false}))
	f.run(t, "canary/loki", "canary/loki", "canary/loki")
	if code, _, errOut := f.nodes[1].cli("editor", "rollback", last); code == 0 || !strings.Contains(errOut, "admin") {
		t.Errorf("an editor's rollback: exit code %d: %s", code, errOut)
	}
	f.nodes[1].mustCLI("admin", "rollback", last, "--reason", "the canary died")
	f.run(t, "app/loki", "app canary/loki", "app/loki")
	if out := f.nodes[2].mustCLI("viewer", "history"); !strings.Contains(out, "the canary died") || !strings.Contains(out, "ada") {
		t.Errorf("history: %s", out)
	}

	file := write(t, filepath.Join(t.TempDir(), "all.yaml"), fmt.Sprintf("sources:\n  - {name: only, file: {paths: [%q]}, logFormat: json}\n", filepath.Join(f.logs, "only*.log")))
	out := f.nodes[2].mustCLI("editor", "apply", "-f", file, "--prune", "--dry-run")
	if !strings.Contains(out, "canary") {
		t.Errorf("a dry run does not tell what it would delete: %s", out)
	}
	f.run(t, "app/loki", "app canary/loki", "app/loki")
	f.nodes[2].mustCLI("editor", "apply", "-f", file, "--prune")
	f.run(t, "only/loki", "only/loki", "only/loki")
}

// lastChange is the number of the newest change.
func (f *fleet) lastChange(t *testing.T) string {
	t.Helper()
	var h struct{ Revisions []struct{ ID string } }
	if err := json.Unmarshal([]byte(f.admin.must("GET", "/history", nil)), &h); err != nil || len(h.Revisions) == 0 {
		t.Fatalf("history: %v", err)
	}
	return h.Revisions[0].ID
}

// What somebody puts into etcd by hand, and is no object, harms only itself; each node
// says so in its report, and the API can put it right.
func TestBadObjectsInEtcdHarmOnlyThemselves(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	f.admin.must("POST", "/sources", f.source("app", nil))
	put := func(key, value string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := f.etcd.Client().Put(ctx, "/lbshipd/"+key, value); err != nil {
			t.Fatal(err)
		}
	}
	put("sources/loud", `{"name":"loud","journald":{},"minLevel":"loudest"}`)
	put("sources/future", `{"name":"future","teleport":{"from":"mars"}}`)
	put("targets/torn", `{"name":"torn","loki":{"url":"http`)
	put("targets/liar", `{"name":"honest","stdout":{}}`)
	put("sources/good", `{"name":"good","file":{"paths":["/nowhere/*.log"]}}`)
	f.run(t, "app good/loki", "app good/loki", "app good/loki")
	want := map[string]string{"loud": "minLevel", "future": "teleport", "torn": "", "liar": "honest"}
	await(t, "all nodes to report what they cannot use", func() bool {
		all := f.admin.collectors()
		for _, n := range f.nodes {
			c := all[n.name]
			found := 0
			for _, r := range c.Rejected {
				if text, ok := want[r.Name]; ok && r.Reason != "" && strings.Contains(r.Reason, text) {
					found++
				}
			}
			if found != len(want) || c.PipelineHealth != "DEGRADED" {
				return false
			}
		}
		return true
	})
	if list := f.admin.must("GET", "/sources", nil); !strings.Contains(list, `"rejected"`) || !strings.Contains(list, "loudest") {
		t.Errorf("the list does not say what is wrong: %s", list)
	}
	appendTo(t, filepath.Join(f.logs, "app.log"), `{"level":"info","n":2}`+"\n")
	for _, n := range f.nodes {
		await(t, "records beside bad objects", func() bool { _, ok := f.loki.since(n.name, time.Time{}, false); return ok })
	}

	f.admin.must("PUT", "/sources/loud", f.source("loud", nil))
	f.admin.must("DELETE", "/sources/future", nil)
	f.admin.must("DELETE", "/targets/torn", nil)
	f.admin.must("DELETE", "/targets/liar", nil)
	f.run(t, "app good loud/loki", "app good loud/loki", "app good loud/loki")
	await(t, "all nodes to be healthy", func() bool {
		for _, c := range f.admin.collectors() {
			if c.PipelineHealth != "HEALTHY" || len(c.Rejected) > 0 {
				return false
			}
		}
		return true
	})
}

// A node that hangs is STALE, then OFFLINE, and ONLINE when it goes on; one that
// stops is seen to be gone at once; what is forgotten is gone.
func TestSilentNodesAreSeen(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	until := func(what string, since time.Time) {
		t.Helper()
		await(t, "node-2 to be "+what, func() bool { return f.admin.collectors()["node-2"].AlloyStatus == what })
		t.Logf("figure: node-2 is %s after %d ms", what, time.Since(since).Milliseconds())
	}
	at := time.Now()
	until("ALLOY_ONLINE", at)
	await(t, "node-2 to report its target", func() bool {
		c := f.admin.collectors()["node-2"]
		return c.NodeLabels["rack"] == "8" && c.TotalExporters == 1 && c.PipelineHealth != "DEGRADED"
	})
	f.nodes[2].cmd.Process.Signal(syscall.SIGSTOP)
	at = time.Now()
	until("ALLOY_STALE", at)
	until("ALLOY_OFFLINE", at)
	f.nodes[2].cmd.Process.Signal(syscall.SIGCONT)
	at = time.Now()
	until("ALLOY_ONLINE", at)
	if out := f.nodes[0].mustCLI("viewer", "get", "collectors"); !strings.Contains(out, "node-2") {
		t.Errorf("get collectors: %s", out)
	}
	f.nodes[1].stop()
	at = time.Now()
	await(t, "node-1 to be gone", func() bool { return f.admin.collectors()["node-1"].AlloyStatus != "ALLOY_ONLINE" })
	hold(t, "a node was stopped, it is no longer online", time.Since(at))
	f.nodes[2].kill()
	at = time.Now()
	until("ALLOY_OFFLINE", at)
	f.admin.must("DELETE", "/collectors/node-2", nil)
	if status, answer := f.admin.send("GET", "/collectors/node-2", nil); status != http.StatusNotFound {
		t.Errorf("a node that was forgotten: %d %s", status, answer)
	}
	f.nodes[2].begin()
	at = time.Now()
	until("ALLOY_ONLINE", at)
	await(t, "node-2 to know three nodes, two of them alive: node-1 has stopped and was not forgotten", func() bool {
		return f.nodes[2].metric("lbshipd_collectors_known") == "3" && f.nodes[2].metric("lbshipd_collectors_online") == "2"
	})
}
