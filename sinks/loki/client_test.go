package loki

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grafana/loki/pkg/push"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/sinks"
)

func TestHeadersAndSecrets(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	os.WriteFile(token, []byte("first\n"), 0o600)
	last := func() http.Header { return f.heads[len(f.heads)-1] }

	r := newRig(t, config.LokiTarget{URL: f.URL + "/", TenantID: "one", BearerTokenFile: token}, nil)
	r.send(t, batchOf(numbered("a", 1)...))
	h := last()
	if h.Get("Authorization") != "Bearer first" || h.Get("X-Scope-OrgID") != "one" || h.Get("User-Agent") != "lbshipd/"+Version ||
		h.Get("Content-Type") != "application/x-protobuf" || h["Idempotency-Key"] != nil {
		t.Errorf("headers %v", h)
	}
	os.WriteFile(token, []byte("second token"), 0o600)
	r.send(t, batchOf(numbered("a", 1)...))
	if got := last().Get("Authorization"); got != "Bearer second token" {
		t.Errorf("after the file changed: %q", got)
	}
	os.Remove(token)
	if _, err := r.wantError(t, sinks.ClassLocal, batchOf(numbered("a", 1)...)); !strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "second") {
		t.Errorf("error %v", err)
	}
	r = newRig(t, config.LokiTarget{URL: f.URL, BasicAuth: &config.BasicAuth{Username: "u", Password: "geheim"}}, nil)
	r.send(t, batchOf(numbered("a", 1)...))
	if got := last().Get("Authorization"); got != "Basic dTpnZWhlaW0=" {
		t.Errorf("basic authentication %q", got)
	}
	f.decide(always(403, "", "", "no"))
	url := strings.Replace(f.URL, "http://", "http://user:geheim@", 1)
	r = newRig(t, config.LokiTarget{URL: url}, nil)
	if _, err := r.wantError(t, sinks.ClassAuth, batchOf(numbered("a", 1)...)); strings.Contains(err.Error(), "geheim") {
		t.Errorf("the password is in the error: %v", err)
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		target config.LokiTarget
		bundle *config.TLSBundle
		says   string
	}{
		{config.LokiTarget{URL: "loki:3100"}, nil, "url"},
		{config.LokiTarget{URL: "ftp://x"}, nil, "want http://"},
		{config.LokiTarget{URL: "http://user:geheim@\x7f"}, nil, "is not a URL"},
		{config.LokiTarget{URL: "http://x", StreamLabels: []string{"pid"}}, nil, `"pid"`},
		{config.LokiTarget{URL: "https://x"}, &config.TLSBundle{Name: "b", CAPem: "no"}, `TLS bundle "b": reading caPem`},
		{config.LokiTarget{URL: "https://x"}, &config.TLSBundle{Name: "b", CertPem: "no"}, `TLS bundle "b": reading certPem`},
	} {
		_, err := New(&config.Target{Name: "central", Loki: &c.target}, sinks.Deps{Bundle: c.bundle})
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "target central") || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%+v: error %v, want one with %q", c.target, err, c.says)
		}
	}
}

// TestErrorsRepeatNoSecret: what a server says of a push is shown at /status and in the log; some
// servers and proxies repeat the headers that they do not like.
func TestErrorsRepeatNoSecret(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("geheim-in-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]config.LokiTarget{
		"token":    {BearerToken: "geheim-token"},
		"file":     {BearerTokenFile: file},
		"password": {BasicAuth: &config.BasicAuth{Username: "u", Password: "geheim-password"}},
	} {
		t.Run(name, func(t *testing.T) {
			for status, class := range map[int]string{401: sinks.ClassAuth, 500: sinks.ClassServer, 307: sinks.ClassHTTP} {
				f := newFake(t)
				f.decide(func(w http.ResponseWriter, r *http.Request, _ *push.PushRequest) bool {
					sent := r.Header.Get("Authorization")
					_, password, _ := r.BasicAuth()
					if status == 307 {
						w.Header().Set("Location", "http://elsewhere/?"+sent+password)
					}
					w.WriteHeader(status)
					io.WriteString(w, "I do not like "+strings.Repeat("x", maxDetail-len(sent)-len("I do not like "))+sent+" "+password)
					return false
				})
				l.URL = f.URL
				_, err := newRig(t, l, nil).wantError(t, class, batchOf(numbered("a", 1)...))
				if strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), "dTpnZWhlaW") || !strings.Contains(err.Error(), "(hidden)") {
					t.Errorf("HTTP %d: %v", status, err)
				}
			}
		})
	}
}
