package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPlanKeepsSecretsWhereTheyAre: who does not know a secret cannot have it sent to another place.
func TestPlanKeepsSecretsWhereTheyAre(t *testing.T) {
	const base = `
tlsBundles: [{name: b, caFile: x}, {name: c, caFile: x}]
targets:
- {name: a, loki: {url: "https://Loki.example.net/x", tlsBundle: b, bearerToken: s3cret}}
- {name: p, loki: {url: "http://loki:3100", basicAuth: {username: u, password: s3cret}}}
- {name: r, rsyslog: {address: "x:1"}}
`
	const again = "give it again: the target's "
	for name, c := range map[string]struct{ target, want string }{
		"the same":          {`{name: a, loki: {url: "https://Loki.example.net/x", tlsBundle: b, bearerToken: "(hidden)"}, queueBytes: 2MiB}`, ""},
		"the same, written": {`{name: a, loki: {url: "https://loki.example.net:443/y", tlsBundle: b, bearerToken: "(hidden)"}}`, ""},
		"host":              {`{name: a, loki: {url: "https://evil.example.net/x", tlsBundle: b, bearerToken: "(hidden)"}}`, "loki.bearerToken: " + again + "url has changed"},
		"dot":               {`{name: a, loki: {url: "https://loki.example.net./x", tlsBundle: b, bearerToken: "(hidden)"}}`, "loki.bearerToken: " + again + "url has changed"},
		"port":              {`{name: a, loki: {url: "https://loki.example.net:444/x", tlsBundle: b, bearerToken: "(hidden)"}}`, "loki.bearerToken: " + again + "url has changed"},
		"no TLS":            {`{name: a, loki: {url: "http://loki.example.net:443/x", bearerToken: "(hidden)"}}`, "loki.bearerToken: " + again + "url has changed"},
		"other bundle":      {`{name: a, loki: {url: "https://loki.example.net/x", tlsBundle: c, bearerToken: "(hidden)"}}`, "loki.bearerToken: " + again + "tlsBundle has changed"},
		"no bundle":         {`{name: a, loki: {url: "https://loki.example.net/x", bearerToken: "(hidden)"}}`, "loki.bearerToken: " + again + "tlsBundle has changed"},
		"server name":       {`{name: a, loki: {url: "https://loki.example.net/x", tlsBundle: b, serverName: evil, bearerToken: "(hidden, changed)"}}`, "loki.bearerToken: " + again + "serverName has changed"},
		"password":          {`{name: p, loki: {url: "http://evil:3100", basicAuth: {username: u, password: "(hidden)"}}}`, "loki.basicAuth.password: " + again + "url has changed"},
		"given again":       {`{name: a, loki: {url: "https://evil.example.net", bearerToken: n3w}}`, ""},
		"given up":          {`{name: a, loki: {url: "https://evil.example.net"}}`, ""},
		"no secret":         {`{name: r, rsyslog: {address: "evil:1"}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, _, err := Plan(stored(t, base), []Change{draft(t, KindTarget, c.target)})
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var problems Problems
			if !errors.As(err, &problems) || len(problems) != 1 || !strings.HasSuffix(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// TestNewFiles: what makes the contents of a file go where they did not go before.
func TestNewFiles(t *testing.T) {
	const base = `
tlsBundles: [{name: b, caFile: /ca}]
targets:
- {name: a, loki: {url: "https://x", bearerTokenFile: /token}}
- {name: p, loki: {url: "https://x", basicAuth: {username: u, passwordFile: /password}}}
- {name: none, loki: {url: "https://x"}}
`
	for _, c := range []struct {
		kind Kind
		text string
		want []string
	}{
		{KindTarget, `{name: a, loki: {url: "https://x/path", bearerTokenFile: /token, tenantId: t}}`, nil},
		{KindTarget, `{name: a, loki: {url: "https://x"}}`, nil},
		{KindTarget, `{name: a, loki: {url: "https://y"}}`, nil},
		{KindTarget, `{name: a, loki: {url: "https://x", bearerTokenFile: /etc/shadow}}`, []string{"loki.bearerTokenFile"}},
		{KindTarget, `{name: a, loki: {url: "https://y", bearerTokenFile: /token}}`, []string{"loki.bearerTokenFile"}},
		{KindTarget, `{name: a, loki: {url: "https://x", tlsBundle: b, bearerTokenFile: /token}}`, []string{"loki.bearerTokenFile"}},
		{KindTarget, `{name: a, loki: {url: "https://x", basicAuth: {username: u, passwordFile: /token}}}`, []string{"loki.basicAuth.passwordFile"}},
		{KindTarget, `{name: p, loki: {url: "https://x", basicAuth: {username: v, passwordFile: /password}}}`, nil},
		{KindTarget, `{name: p, loki: {url: "https://x:444", basicAuth: {username: u, passwordFile: /password}}}`, []string{"loki.basicAuth.passwordFile"}},
		{KindTarget, `{name: none, loki: {url: "https://x", bearerTokenFile: /token}}`, []string{"loki.bearerTokenFile"}},
		{KindTarget, `{name: new, loki: {url: "https://x", bearerTokenFile: /token}}`, []string{"loki.bearerTokenFile"}},
		{KindTLSBundle, `{name: b, caFile: /ca, certFile: /cert, keyFile: /key}`, []string{"certFile", "keyFile"}},
		{KindSource, `{name: s, file: {paths: [/var/log/x]}}`, nil},
	} {
		change := draft(t, c.kind, c.text)
		var have Stored
		if s := find(stored(t, base), string(c.kind)+"/"+change.Name); s != nil {
			have = *s
		}
		if diff := cmp.Diff(c.want, NewFiles(have, *change.Draft)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.text, diff)
		}
	}
}
