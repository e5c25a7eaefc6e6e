package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// The published walk-through of log streaming, as it is written, with curl: a TLS bundle,
// sources of control and data plane services by their identifiers and of event logs by their paths, a
// Loki target without TLS, a rsyslog target with the bundle, the collectors. Real records come out at
// a real Loki and a real rsyslog.
func TestWalkThroughWithCurl(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl")
	}
	journal := testbed.StartJournald(t)
	loki := testbed.StartLoki(t, testbed.LokiOptions{})
	siem := newAuthority(t, "dc-rsyslog")
	c := newCluster(t, 1)
	n := c.node("server00")
	jwt := c.token("admin")
	curl := func(method, path string, body any) string {
		t.Helper()
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"--silent", "--show-error", "--fail-with-body", "--cacert", c.caFile, "--header", "Authorization: Bearer " + jwt, "--request", method}
		if body != nil {
			args = append(args, "--header", "Content-Type: application/json", "--data", "@-")
		}
		cmd := exec.CommandContext(t.Context(), "curl", append(args, n.url+"/api/v2/logs"+path)...)
		cmd.Stdin = bytes.NewReader(text)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("curl %s %s: %v: %s", method, path, err, out)
		}
		return string(out)
	}

	bundle := siem.bundle
	bundle["name"] = "dc-rsyslog"
	if answer := curl("POST", "/tls-bundles", bundle); strings.Contains(answer, "PRIVATE KEY") || !strings.Contains(answer, "fingerprint") {
		t.Errorf("the bundle: %s", answer)
	}
	services := map[string]string{"node-manager": "logfmt", "cluster-manager": "logfmt", "api-service": "logfmt", "discovery-service": "logfmt",
		"upgrade-manager": "logfmt", "lightbox-exporter": "logfmt", "etcd": "zap-json", "duroslight": "auto", "gftl": "auto"}
	for service, format := range services {
		answer := curl("POST", "/sources", map[string]any{"name": service, "enabled": true, "minLevel": "info",
			"journald": map[string]any{"identifiers": []string{service}, "directory": journal.Dir}})
		if !strings.Contains(answer, `"logFormat":"`+format+`"`) && !strings.Contains(answer, `"logFormat": "`+format+`"`) {
			t.Errorf("%s: %s", service, answer)
		}
	}
	events := filepath.Join(c.logs, "node-manager-events.log")
	curl("POST", "/sources", map[string]any{"name": "node-manager-events", "file": map[string]any{"paths": []string{events}}, "logFormat": "json", "labels": map[string]string{"type": "event"}})
	curl("POST", "/targets", map[string]any{"name": "loki", "enabled": true, "loki": map[string]any{"url": loki.URL + "/loki/api/v1/push"}})
	curl("POST", "/targets", map[string]any{"name": "dc-rsyslog", "enabled": true,
		"rsyslog": map[string]any{"address": siem.siem.Address, "serverName": "siem.test", "protocol": "tls", "tlsBundle": "dc-rsyslog"}})
	await(t, "what was posted to run", func() bool { st := n.status(); return len(st.Sources) == 10 && len(st.Targets) == 2 })

	want := map[string]bool{}
	for service, format := range services {
		s := journal.Stdout(t, service, "", 6)
		line := fmt.Sprintf("time=2026-11-21T10:00:00Z level=%%s msg=\"%s says\"", service)
		if format == "zap-json" {
			line = `{"level":"%s","ts":"2026-11-21T10:00:00.000Z","msg":"` + service + ` says"}`
		}
		for _, level := range []string{"info", "debug"} {
			text := fmt.Sprintf(line, level)
			want[text] = level == "info"
			if err := s.Line(text); err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
	}
	journal.Sync(t)
	event := fmt.Sprintf(`{"time":%q,"level":"info","event":"NodeUp"}`, time.Now().UTC().Format(time.RFC3339Nano))
	appendTo(t, events, "%s\n", event)
	want[event] = true
	inLoki, inSiem := map[string]int{}, map[string]int{}
	await(t, "all records at both targets", func() bool {
		clear(inLoki)
		clear(inSiem)
		for _, e := range loki.Query(t, testbed.LokiQuery{}) {
			inLoki[e.Line]++
		}
		for _, m := range siem.siem.Messages(t) {
			inSiem[m.Msg]++
		}
		return len(inLoki) >= 10 && len(inSiem) >= 10
	})
	for line, shipped := range want {
		if n := map[bool]int{true: 1}[shipped]; inLoki[line] != n || inSiem[line] != n {
			t.Errorf("%q is %d times in Loki and %d times in rsyslog, want %d", line, inLoki[line], inSiem[line], n)
		}
	}

	var list struct{ Collectors []map[string]any }
	await(t, "the collector to be healthy with two targets", func() bool {
		if err := json.Unmarshal([]byte(curl("GET", "/collectors", nil)), &list); err != nil {
			t.Fatal(err)
		}
		return len(list.Collectors) == 1 && list.Collectors[0]["pipelineHealth"] == "HEALTHY" && list.Collectors[0]["totalExporters"] == 2.0
	})
	got := list.Collectors[0]
	for name, want := range map[string]any{"id": "server00", "alloyStatus": "ALLOY_ONLINE", "remotecfgStatus": "REMOTECFG_UP", "exporterSendFailedTotal": "0", "lokiDroppedEntriesDelta": "0"} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	// The key is in etcd only as a cipher, in the cache too, and nowhere in what was said.
	res, err := c.etcd.Client().Get(t.Context(), "/lbshipd/tls-bundles/dc-rsyslog")
	if err != nil || len(res.Kvs) != 1 {
		t.Fatalf("the bundle in etcd: %v, %v", res, err)
	}
	cache := readAll(t, filepath.Join(n.flags[1], "etcd-cache"))
	secret := bundle["keyPem"].(string)
	middle := secret[len(secret)/3 : len(secret)/3+30]
	for where, text := range map[string]string{"etcd": string(res.Kvs[0].Value), "the cache": cache, "the log": n.stderr.String()} {
		if strings.Contains(text, middle) || strings.Contains(text, "PRIVATE KEY") {
			t.Errorf("the private key is in %s", where)
		}
	}
	if info, err := os.Stat(filepath.Join(n.flags[1], "etcd-cache")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the cache: %v, %v", info, err)
	}
}
