package rest_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/admin/rest"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
)

// curl sends what the published walk-through sends, with curl where there is one.
// What it sends is sent to a second API by the rig too, whose answers are held against the document.
func curl(t *testing.T, g *rig, method, path, body string) string {
	t.Helper()
	status := 200
	if _, err := exec.LookPath("curl"); err != nil {
		return g.must(status, request{method: method, path: path, body: body}).body
	}
	args := []string{"-sS", "-X" + method, g.url + rest.Prefix + path, "-H", "Authorization: Bearer lab", "-w", "\n%{http_code}"}
	if body != "" {
		args = append(args, "-H", "Content-Type: application/json", "-d", body)
	}
	out, err := exec.CommandContext(t.Context(), "curl", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	i := strings.LastIndex(string(out), "\n")
	text, code := string(out[:i]), string(out[i+1:])
	if code != "200" {
		t.Fatalf("curl %s %s: %s %s", method, path, code, text)
	}
	return text
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestWalkThrough does what the published walk-through of log streaming does, step by step: a
// TLS bundle, sources of control-plane and data-plane services, event logs in files, a Loki
// target without TLS, an Rsyslog target with the bundle, and the collectors.
func TestWalkThrough(t *testing.T) {
	t.Run("memory", func(t *testing.T) { walkThrough(t, newRig(t, nil)) })
	t.Run("file", func(t *testing.T) { walkThrough(t, newRig(t, inFile(t))) })
}

func walkThrough(t *testing.T, g *rig) {
	ca := testbed.NewCA(t, "lab")
	cert := ca.Client(t, "dc-rsyslog")

	bundle := curl(t, g, "POST", "/tls-bundles", marshal(t, map[string]string{"name": "dc-rsyslog", "caPem": ca.PEM, "certPem": cert.CertPEM, "keyPem": cert.KeyPEM}))
	for _, name := range []string{"fingerprint", "subject", "issuer", "notBefore", "notAfter"} {
		if field(t, bundle, name) == "" {
			t.Errorf("the bundle's %s is not told: %s", name, bundle)
		}
	}
	if strings.Contains(bundle, "PRIVATE KEY") || strings.Contains(bundle, "keyPem") {
		t.Errorf("the bundle's key is told: %s", bundle)
	}
	if list := curl(t, g, "GET", "/tls-bundles", ""); !strings.Contains(field(t, list, "tlsBundles"), `"dc-rsyslog"`) || strings.Contains(list, "PRIVATE KEY") {
		t.Errorf("tlsBundles: %s", list)
	}

	// Services are known by their identifier: no logFormat is given.
	formats := map[string]string{"node-manager": "logfmt", "cluster-manager": "logfmt", "api-service": "logfmt", "discovery-service": "logfmt",
		"upgrade-manager": "logfmt", "lightbox-exporter": "logfmt", "etcd": "zap-json", "duroslight": "auto", "gftl": "auto"}
	for service, format := range formats {
		source := curl(t, g, "POST", "/sources", `{"name":"`+service+`","enabled":true,"journald":{"identifiers":["`+service+`"]},"minLevel":"info"}`)
		if got := field(t, source, "logFormat"); got != `"`+format+`"` {
			t.Errorf("%s has the format %s, want %q", service, got, format)
		}
	}
	curl(t, g, "POST", "/sources", `{"name":"node-manager-events","file":{"paths":["/var/log/node-manager-events.log"]},"logFormat":"json","labels":{"type":"event"}}`)
	var list struct{ Sources []config.Source }
	if err := json.Unmarshal([]byte(curl(t, g, "GET", "/sources", "")), &list); err != nil || len(list.Sources) != 10 {
		t.Errorf("%d sources, %v", len(list.Sources), err)
	}

	curl(t, g, "POST", "/targets", `{"name":"loki","enabled":true,"loki":{"url":"http://192.0.2.10:3100/loki/api/v1/push"}}`)
	rsyslog := curl(t, g, "POST", "/targets", `{"name":"dc-rsyslog","enabled":true,"rsyslog":{"address":"192.0.2.20:6514","protocol":"tls","tlsBundle":"dc-rsyslog"}}`)
	if field(t, rsyslog, "rsyslog", "tlsBundle") != `"dc-rsyslog"` {
		t.Errorf("target: %s", rsyslog)
	}
	if list := field(t, curl(t, g, "GET", "/targets", ""), "targets"); strings.Count(list, `"name"`) != 2 {
		t.Errorf("targets: %s", list)
	}

	if list := curl(t, g, "GET", "/collectors", ""); field(t, list, "collectors") != "[]" {
		t.Errorf("collectors before any has reported: %s", list)
	}
	if err := g.store.Report(t.Context(), config.Collector{ID: "server00", LastSeen: time.Now(), AlloyStatus: config.AlloyOnline,
		RemotecfgStatus: config.RemotecfgUp, PipelineHealth: config.HealthHealthy, TotalExporters: 2, ExporterSendFailedTotal: 1 << 60}); err != nil {
		t.Fatal(err)
	}
	var collectors struct{ Collectors []map[string]any }
	if err := json.Unmarshal([]byte(curl(t, g, "GET", "/collectors", "")), &collectors); err != nil || len(collectors.Collectors) != 1 {
		t.Fatalf("%v: %v", collectors, err)
	}
	for name, want := range map[string]any{"id": "server00", "alloyStatus": "ALLOY_ONLINE", "remotecfgStatus": "REMOTECFG_UP", "pipelineHealth": "HEALTHY",
		"totalExporters": 2.0, "exporterSendFailedTotal": "1152921504606846976", "exporterQueueSize": "0", "lokiDroppedEntriesDelta": "0", "exporterSendFailedDelta": "0"} {
		if got := collectors.Collectors[0][name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"lastSeen", "configHash", "unhealthyComponents", "pipelineCheckedAt", "pipelineError", "failingExporters"} {
		if _, ok := collectors.Collectors[0][name]; !ok {
			t.Errorf("%s is not there", name)
		}
	}
	if _, ok := collectors.Collectors[0]["failingExporters"].([]any); !ok {
		t.Error("failingExporters is no list")
	}

	// A bundle that is in use stays; then everything goes.
	if a := g.must(409, request{method: "DELETE", path: "/tls-bundles/dc-rsyslog"}); code(t, a) != rest.CodeFailedPrecondition || !strings.Contains(a.body, "dc-rsyslog") {
		t.Errorf("deleting what is referenced: %s", a.body)
	}
	if got := strings.TrimSpace(curl(t, g, "DELETE", "/targets/dc-rsyslog", "")); got != "{}" {
		t.Errorf("delete answers %s", got)
	}
	curl(t, g, "DELETE", "/tls-bundles/dc-rsyslog", "")
	curl(t, g, "DELETE", "/collectors/server00", "")
	if log := g.log.take(); strings.Contains(log, "PRIVATE KEY") {
		t.Error("the key is in the log")
	}
}

// TestEveryOperation walks over the whole document: each operation succeeds
// once, with request and answer validated against it.
func TestEveryOperation(t *testing.T) {
	g := newRig(t, nil)
	for _, kind := range config.Kinds() {
		list, one, body, other := "/"+kind.Plural(), "/"+kind.Plural()+"/one", bodies[kind], others[kind]
		g.post(list, body)
		g.get(list + "?limit=1")
		g.get(one + "?defaults=false")
		g.must(200, request{method: "PUT", path: one + "?reason=why", body: other})
	}
	g.post("/targets/one/test", "")
	g.post("/targets/test", `{"name":"two","stdout":{}}`)
	if err := g.store.Report(t.Context(), config.Collector{ID: "Node-1.example", AlloyStatus: config.AlloyStale, RemotecfgStatus: config.RemotecfgDown,
		PipelineHealth: config.HealthDegraded, UnhealthyComponents: []config.UnhealthyComponent{{LocalID: "target/siem", Name: "siem", State: "failing"}},
		NodeLabels: map[string]string{"role": "storage"}, Rejected: []config.Rejected{{Kind: config.KindTarget, Name: "x", Reason: "y"}},
		Targets: []config.CollectorTarget{{Name: "siem", LagSeconds: 1.5, AtRiskBytes: new(int64)}}}); err != nil {
		t.Fatal(err)
	}
	g.get("/collectors")
	g.get("/collectors/Node-1.example")
	g.must(404, request{method: "GET", path: "/collectors/node-2"})
	g.must(200, request{method: "DELETE", path: "/collectors/Node-1.example"})
	g.must(404, request{method: "DELETE", path: "/collectors/Node-1.example"})
	g.post("/apply?prune=true&dryRun=true", `{"sources":[{"name":"two","journald":{}}]}`)
	first := field(t, g.get("/history").body, "revisions")
	var revisions []config.Revision
	if err := json.Unmarshal([]byte(first), &revisions); err != nil || len(revisions) != 10 || !slices.ContainsFunc(revisions, func(r config.Revision) bool { return r.Reason == "why" }) {
		t.Errorf("%v: %s", err, first)
	}
	g.post("/history/1/rollback", "")
	g.get("/whoami")
	g.get("/openapi.json")
	for _, kind := range config.Kinds() {
		g.must(201, request{method: "PUT", path: "/" + kind.Plural() + "/three", body: strings.Replace(bodies[kind], "one", "three", 1)})
		g.must(200, request{method: "DELETE", path: "/" + kind.Plural() + "/three"})
	}
	if len(g.seen) != len(rest.Endpoints()) {
		t.Errorf("%d of %d operations were exercised: %v", len(g.seen), len(rest.Endpoints()), g.seen)
	}
}
