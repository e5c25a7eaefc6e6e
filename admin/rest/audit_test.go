package rest_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// audits returns the audit lines that the log holds since it was last asked.
func audits(t *testing.T, g *rig) (lines []map[string]any) {
	t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(g.log.take()), "\n") {
		var fields map[string]any
		if line == "" {
			continue
		}
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if fields["msg"] == "audit" {
			lines = append(lines, fields)
		}
	}
	return lines
}

// TestAudit: every request that could have changed something leaves one line that says who,
// what, from where, and what came of it, and never a secret.
func TestAudit(t *testing.T) {
	const secret = "Wjq7secret"
	g := newRig(t, nil)
	target := func(level string) string {
		return `{"name":"loki","loki":{"url":"http://h:1","bearerToken":"` + secret + level + `"}}`
	}
	for _, c := range []struct {
		q    request
		want map[string]any // "" stands for: not there
	}{
		{request{method: "POST", path: "/targets?dryRun=true", body: target("1")}, map[string]any{"action": "create", "kind": "target", "name": "loki", "dryRun": true, "result": "done", "changes": "create target/loki", "revision": ""}},
		{request{method: "POST", path: "/targets?reason=ticket+7", body: target("1")}, map[string]any{"action": "create", "name": "loki", "dryRun": false, "result": "done", "changes": "create target/loki", "revision": 1.0, "reason": "ticket 7", "who": "ada", "via": "token", "role": "admin", "level": "INFO"}},
		{request{method: "POST", path: "/targets", body: target("1")}, map[string]any{"action": "create", "name": "loki", "result": "refused", "status": 409.0, "level": "WARN"}},
		{request{method: "PUT", path: "/targets/loki", body: target("2")}, map[string]any{"action": "put", "name": "loki", "result": "done", "changes": "update target/loki", "revision": 2.0}},
		{request{method: "PUT", path: "/targets/loki", body: target("2")}, map[string]any{"action": "put", "result": "done", "changes": "", "revision": ""}},
		{request{method: "PUT", path: "/targets/loki", body: target("2"), header: map[string]string{"If-Match": `"0"`}}, map[string]any{"result": "refused", "status": 412.0}},
		{request{method: "PUT", path: "/targets/loki", body: `{"name":"loki","loki":{"bearerToken":"` + secret + `","bearerToken":""}}`}, map[string]any{"result": "refused", "status": 400.0, "name": "loki"}},
		{request{method: "PUT", path: "/targets/loki", role: "viewer", body: target("3")}, map[string]any{"action": "put", "result": "refused", "status": 403.0, "role": "viewer", "changes": ""}},
		{request{method: "PUT", path: "/targets/loki", role: "-", body: target("3")}, map[string]any{"result": "refused", "status": 401.0, "who": "", "method": "PUT", "path": "/api/v2/logs/targets/loki"}},
		{request{method: "POST", path: "/targets/loki/test", role: "editor"}, map[string]any{"action": "test", "name": "loki", "result": "done"}},
		{request{method: "POST", path: "/targets/test", body: target("4")}, map[string]any{"action": "test-draft", "name": "loki", "result": "done"}},
		{request{method: "POST", path: "/apply", body: `{"targets":[` + target("5") + `],"sources":[{"name":"app","journald":{}}]}`}, map[string]any{"action": "apply", "result": "done", "revision": 3.0}},
		{request{method: "POST", path: "/history/1/rollback"}, map[string]any{"action": "rollback", "name": "1", "result": "done", "revision": 4.0}},
		{request{method: "POST", path: "/nothing", body: secret}, map[string]any{"result": "refused", "status": 404.0, "method": "POST"}},
		{request{method: "DELETE", path: "/targets/loki"}, map[string]any{"action": "delete", "name": "loki", "changes": "delete target/loki", "result": "done"}},
		{request{method: "DELETE", path: "/collectors/node1"}, map[string]any{"action": "forget-collector", "name": "node1", "result": "refused", "status": 404.0}},
	} {
		a := g.send(c.q)
		g.log.mu.Lock()
		text := g.log.text.String()
		g.log.mu.Unlock()
		if strings.Contains(text+a.body, secret) {
			t.Errorf("%s %s: a secret is told: %s %s", c.q.method, c.q.path, a.body, text)
		}
		lines := audits(t, g)
		if len(lines) != 1 {
			t.Fatalf("%s %s: %d lines", c.q.method, c.q.path, len(lines))
		}
		for name, want := range c.want {
			got, ok := lines[0][name]
			if want == "" && ok && got != "" || want != "" && got != want {
				t.Errorf("%s %s: %s is %v, want %v", c.q.method, c.q.path, name, got, want)
			}
		}
		if remote, _ := lines[0]["remote"].(string); !strings.HasPrefix(remote, "127.0.0.1:") || lines[0]["request"] == "" {
			t.Errorf("%s %s: %v", c.q.method, c.q.path, lines[0])
		}
	}
	g.get("/targets")
	g.get("/history")
	if lines := audits(t, g); len(lines) != 0 {
		t.Errorf("reading is audited: %v", lines)
	}
	if h := g.get("/history").body; strings.Contains(h, secret) {
		t.Errorf("the history tells a secret: %s", h)
	}
}

// TestSecretsComeBackHidden: a secret that is read, changed around and written back is the same as before.
func TestSecretsComeBackHidden(t *testing.T) {
	g := newRig(t, nil)
	g.post("/targets", `{"name":"loki","loki":{"url":"http://h:1","basicAuth":{"username":"ada","password":"Wjq7secret"}}}`)
	for _, q := range []string{"", "?defaults=false"} {
		read := g.get("/targets/loki" + q).body
		if field(t, read, "loki", "basicAuth", "password") != `"(hidden)"` {
			t.Errorf("read%s: %s", q, read)
		}
		g.must(200, request{method: "PUT", path: "/targets/loki", body: strings.Replace(read, "http://h:1", "http://h:1/"+strings.Repeat("x", 1+len(q)), 1)})
		if given := string(g.store.objects[0].Given); !strings.Contains(given, "Wjq7secret") {
			t.Errorf("written back%s, it is %s", q, given)
		}
	}
	if list := g.get("/targets").body; strings.Contains(list, "Wjq7secret") {
		t.Errorf("list: %s", list)
	}
}

// TestSecretsInBadYAML: a secret that is no text to YAML, because it begins with a sign of YAML's own or
// for another mistake, is refused without being quoted.
func TestSecretsInBadYAML(t *testing.T) {
	const secret = "Wjq7secret"
	for _, value := range []string{"!S", "!!S", "!<S>", "*S", "&S", "&S x", "@S", "`S", "%S", "'S", `"S`, "[S", "{S", "[S]", "{S: x}", "{x: S}", "S: x", "- S", "| S", ">S", `"\qS"`, "? S", "\n- S", "\n    S:\n   x", "S\n\tS", "<<: S", "!!binary S", "!!timestamp S", "*S:", "--- S", "\t S"} {
		g := newRig(t, nil)
		value = strings.ReplaceAll(value, "S", secret)
		told := ""
		for _, q := range []request{
			{method: "POST", path: "/targets", body: "name: loki\nloki:\n  url: http://h:1\n  bearerToken: " + value + "\n"},
			{method: "POST", path: "/targets", body: "name: loki\nloki:\n  url: http://h:1\n  basicAuth:\n    username: ada\n    password: " + value + "\n"},
			{method: "POST", path: "/tls-bundles", body: "name: siem\nkeyPem: " + value + "\n"},
			{method: "POST", path: "/apply", body: "targets:\n- name: loki\n  loki:\n    url: http://h:1\n    bearerToken: " + value + "\n"},
		} {
			q.contentType = "application/yaml"
			a := g.send(q)
			told += a.body + strings.Join(a.header.Values("Warning"), " ")
		}
		if told += g.log.take() + g.get("/history").body; strings.Contains(told, secret) {
			t.Errorf("%q is told: %s", value, told)
		}
	}
}
