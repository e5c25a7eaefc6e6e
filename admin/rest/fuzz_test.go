package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/lbshipd/lbshipd/admin/rest"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/sinks"
)

// planted is a secret that is put into each secret of a body. No part of it
// may be in an answer or in the log.
const planted = "Wjq7-PLANTED-Kx2"

// seeds are bodies of each kind.
var seeds = map[config.Kind][]string{
	config.KindSource: {
		`{"name":"app","journald":{"units":["ssh"],"identifiers":["sudo"],"matches":["_UID=0"],"directory":"/j","fields":["*"]},"minLevel":"info","labels":{"a":"b"}}`,
		`{"name":"app","file":{"paths":["/var/log/**/*.log"],"exclude":["/x"],"maxLineBytes":"1MiB","maxHeldAge":"1h"},"logFormat":"auto","startAt":"beginning","timeZone":"Europe/Berlin","nodes":["n*"],"nodeSelector":{"role":"x"}}`,
	},
	config.KindTarget: {
		`{"name":"loki","loki":{"url":"http://h:1","tenantId":"t","bearerToken":"` + planted + `","labels":{"a":"b"},"structuredMetadata":["pid"]},"queueBytes":8388608}`,
		`{"name":"loki","loki":{"url":"https://h:1","basicAuth":{"username":"u","password":"` + planted + `"}},"startAt":"now","spool":{},"deadLetters":{}}`,
		`{"name":"loki","loki":{"url":"https://h:1","basicAuth":{"username":"u","password":["` + planted + `"]}}}`,
		`{"name":"loki","loki":{"url":"https://h:1","bearerToken":{"x":"` + planted + `"}}}`,
		`{"name":"loki","loki":{"url":"https://h:1","bearerToken":"` + planted + `","bearerToken":"` + planted + `"}}`,
		`{"name":"loki","loki":{"url":"https://h:1","bearerTokem":"` + planted + `"}}`,
		`{"name":"siem","bearerToken":"` + planted + `","rsyslog":{"addresses":["a:1","b:2"],"protocol":"relp","framing":"newline","facility":"local3","fingerprints":["sha-1:AB"]}}`,
		`{"name":"console","stdout":{"format":"json"}}`,
	},
	config.KindTLSBundle: {
		`{"name":"siem","keyPem":"` + planted + `"}`,
		`{"name":"siem","caPem":"x","certPem":"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n","keyPem":"-----BEGIN PRIVATE KEY-----\n` + planted + `\n-----END PRIVATE KEY-----\n"}`,
		`{"name":"siem","caFile":"/ca.pem","keyPem":7,"certFile":"c"}`,
	},
	config.KindFormat:  {`{"name":"own","regex":"^(?P<time>\\S+) (?P<message>.*)$","timeLayout":"2006-01-02"}`},
	config.KindService: {`{"name":"own","logFormat":"regex:own"}`},
}

// isSecret says in which fields a body may hold what is never told.
var isSecret = map[string]bool{"keyPem": true, "password": true, "bearerToken": true}

// FuzzBody sends bodies to all endpoints of a kind, and as a part of apply: no panic, always a well-formed
// answer of a known status, and what stands in a secret's field is never told.
func fuzzBody(f *testing.F, kind config.Kind) {
	for _, s := range seeds[kind] {
		f.Add([]byte(s), false)
		if y := asYAML(f, s); y != "" {
			f.Add([]byte(y), true)
		}
		for _, hostile := range []string{s + s, s[:len(s)/2], strings.Repeat(`{"a":`, 70), strings.Replace(s, `"name":`, `"name":"x","name":`, 1), "\ufeff" + s, strings.ReplaceAll(s, `"`, `'`), "[" + s + "]", `{"` + kind.List() + `":[` + s + `]}`} {
			f.Add([]byte(hostile), false)
			f.Add([]byte(hostile), true)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, asYAML bool) {
		if len(body) > 64<<10 {
			t.Skip("too large to learn anything from")
		}
		store, log := &memory{}, &logBuffer{}
		h := as(rest.New(rest.Options{Store: store, Collectors: store, Log: slog.New(slog.NewJSONHandler(log, nil)),
			Test: func(context.Context, *config.Target, *config.TLSBundle) any { return sinks.TestReport{} }}))
		paths := []request{{method: "POST", path: "/" + kind.Plural()}, {method: "PUT", path: "/" + kind.Plural() + "/app"}, {method: "POST", path: "/apply?prune=true"}}
		if kind == config.KindTarget {
			paths = append(paths, request{method: "POST", path: "/targets/test"})
		}
		var told strings.Builder
		for _, q := range paths {
			text := body
			if q.path == "/apply?prune=true" && !asYAML {
				text = fmt.Appendf(nil, `{%q:[%s]}`, kind.List(), body)
			}
			told.WriteString(serve(t, h, q, string(text), asYAML))
		}
		for _, q := range []string{"/" + kind.Plural(), "/" + kind.Plural() + "?defaults=false", "/history"} {
			told.WriteString(serve(t, h, request{method: "GET", path: q}, "", false))
		}
		told.WriteString(log.take())
		if onlySecrets(body, asYAML) && leaks(told.String()) {
			t.Errorf("a secret is told: %s", told.String())
		}
	})
}

func FuzzSourceBody(f *testing.F)    { fuzzBody(f, config.KindSource) }
func FuzzTargetBody(f *testing.F)    { fuzzBody(f, config.KindTarget) }
func FuzzTLSBundleBody(f *testing.F) { fuzzBody(f, config.KindTLSBundle) }
func FuzzFormatBody(f *testing.F)    { fuzzBody(f, config.KindFormat) }
func FuzzServiceBody(f *testing.F)   { fuzzBody(f, config.KindService) }

// serve sends a request to the handler and checks the form of its answer.
func serve(t *testing.T, h http.Handler, q request, body string, asYAML bool) string {
	r := httptest.NewRequest(q.method, rest.Prefix+q.path, strings.NewReader(body))
	r.Header.Set(roleHeader, "admin")
	r.Header.Set("Content-Type", "application/json")
	if asYAML {
		r.Header.Set("Content-Type", "application/yaml")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	switch w.Code {
	case 200, 201, 400, 409, 413:
	case 404:
		t.Errorf("%s %s: 404 %s", q.method, q.path, w.Body)
	default:
		t.Errorf("%s %s: %d %s", q.method, q.path, w.Code, w.Body)
	}
	var e struct {
		Code    int
		Message string
		Details []rest.Detail
	}
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code >= 400 && (e.Code == 0 || e.Message == "" || e.Details == nil) {
		t.Errorf("%s %s: %d, badly formed: %s", q.method, q.path, w.Code, w.Body)
	}
	return w.Body.String() + strings.Join(w.Header().Values("Warning"), "\n")
}

// leaks finds the planted secret, or half of it.
func leaks(text string) bool {
	half := len(planted) / 2
	return strings.Contains(text, planted[:half]) || strings.Contains(text, planted[half:])
}

// onlySecrets reports whether whatever of the planted secret is in a body stands in
// secrets' fields: an address or the name of a field may well be told.
func onlySecrets(body []byte, asYAML bool) bool {
	if !leaks(string(body)) {
		return false
	}
	var v any
	if asYAML {
		defer func() { _ = recover() }()
		if yaml.Unmarshal(body, &v) != nil {
			return false
		}
	} else if json.Unmarshal(body, &v) != nil {
		return false
	}
	rest, _ := json.Marshal(withoutSecrets(v))
	// What a parser has thrown away, a comment or the first of two, counts as well.
	return !leaks(string(rest)) && strings.Count(string(body), planted[:4]) == 1
}

func withoutSecrets(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, value := range v {
			if !isSecret[name] {
				out[name] = withoutSecrets(value)
			}
		}
		return out
	case []any:
		for i := range v {
			v[i] = withoutSecrets(v[i])
		}
	}
	return v
}

// asYAML writes a JSON text as YAML.
func asYAML(f *testing.F, text string) string {
	var v any
	if yaml.Unmarshal([]byte(text), &v) != nil {
		return "" // a field twice
	}
	out, err := yaml.Marshal(v)
	if err != nil {
		f.Fatal(err)
	}
	return string(out)
}

// TestSeedsReachTheSecret: a fuzz target that never plants anything finds nothing.
func TestSeedsReachTheSecret(t *testing.T) {
	n := 0
	for _, list := range seeds {
		for _, s := range list {
			if onlySecrets([]byte(s), false) {
				n++
			}
		}
	}
	if n < 5 {
		t.Errorf("only %d seeds hold a secret where it belongs", n)
	}
	if _, err := os.Stat(filepath.Join("testdata", "fuzz")); err == nil {
		t.Log("there are findings in testdata/fuzz")
	}
}
