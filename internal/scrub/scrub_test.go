package scrub

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

func TestWhatLooksLikeASecretIsHidden(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"nothing to see", "nothing to see"},
		{`time=2026 level=WARN msg="401 Unauthorized" authorization="Bearer abcdefgh12345"`, `time=2026 level=WARN msg="401 Unauthorized" authorization="(hidden)"`},
		{"Authorization: Basic dXNlcjpwYXNz and more\nnext", "Authorization: (hidden)\nnext"},
		{"map[Authorization:[Bearer xyz] Accept:[*]]", "map[Authorization:[(hidden)"},
		{"sent Bearer abcdefgh12345, refused", "sent Bearer (hidden), refused"},
		{"get https://me:pa@ss@loki.example:3100/x failed", "get https://(hidden)@loki.example:3100/x failed"},
		{`{"url":"http:\/\/me:pass@loki"}`, `{"url":"http:\/\/(hidden)@loki"}`},
		{"https://issuer/keys?token=abc&x=1 is down", "https://issuer/keys?(hidden) is down"},
		{`address: "me:hunt/er22@siem.example:6514" must be host:port`, `address: "me:(hidden)@siem.example:6514" must be host:port`},
		{"at 10:15:32 from root@node-7:22, git@example.com:a/b", "at 10:15:32 from root@node-7:22, git@example.com:a/b"},
		{"password: hunter22", "password: (hidden)"},
		{`"password": "hun\"ter22", "next": 1`, `"password": "(hidden)", "next": 1`},
		{`msg="{\"password\":\"hunter22\"}" next=1`, `msg="{\"password\":\"(hidden)\"}" next=1`},
		{"LOKI_PASSWORD=hunter22 next=1", "LOKI_PASSWORD=(hidden) next=1"},
		{"passwordFile: /etc/pw", "passwordFile: /etc/pw"},
		{"--etcd-password-file /etc/pw --jwt-keys /etc/jwt", "--etcd-password-file /etc/pw --jwt-keys /etc/jwt"},
		{"status --jwt abcdef -J ghijkl", "status --jwt (hidden) -J (hidden)"},
		{"status --jwt=abcdef x", "status --jwt=(hidden) x"},
		{"tenantId: storage", "tenantId: (hidden)"},
		{"X-Scope-OrgID: storage", "X-Scope-OrgID: (hidden)"},
		{"token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl here", "token (hidden) here"},
		{"-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----\nx", "(hidden private key)\nx"},
		{"-----BEGIN PRIVATE KEY-----\nabc", "(hidden private key)"},
		{"-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----"},
		{"ghp_abcdefghijklmnop", "(hidden)"},
		{`lbshipd_target_failing{class="http 401",target="loki"} 1`, `lbshipd_target_failing{class="http 401",target="loki"} 1`},
		{"password: (hidden)", "password: (hidden)"},
	} {
		var s Scrubber
		if got := s.Text(c.text); got != c.want {
			t.Errorf("%q becomes %q, want %q", c.text, got, c.want)
		}
	}
}

func TestKnownSecretsAreHiddenHoweverTheyAreWritten(t *testing.T) {
	const secret = "S3cret/with+\"odd\" & lett€rs"
	var s Scrubber
	s.Add(secret)
	for name, text := range map[string]string{
		"plain":        "a" + secret + "b",
		"query":        url.QueryEscape(secret),
		"path":         url.PathEscape(secret),
		"userinfo":     url.UserPassword("x", secret).String(),
		"hex":          hex.EncodeToString([]byte(secret)),
		"HEX":          strings.ToUpper(hex.EncodeToString([]byte(secret))),
		"base64":       base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64 url":   base64.URLEncoding.EncodeToString([]byte(secret)),
		"base64 +1":    base64.StdEncoding.EncodeToString([]byte("u" + secret + "zz")),
		"base64 +2":    base64.StdEncoding.EncodeToString([]byte("u:" + secret + "z")),
		"JSON":         inJSON(secret),
		"JSON in JSON": inJSON(inJSON(secret)),
		"in a quote":   strconv.Quote(strconv.Quote(secret)),
		"JSON quoted":  strconv.Quote(inJSON(secret)),
		"ASCII":        strconv.QuoteToASCII(secret),
		"twice in one": secret + secret,
	} {
		out := s.Text(text)
		if !strings.Contains(out, Hidden) {
			t.Errorf("%s: %q is left as %q", name, text, out)
		}
		for _, form := range Forms(secret) {
			if strings.Contains(out, form) {
				t.Errorf("%s: %q still holds %q", name, out, form)
			}
		}
	}
}

// A key of several lines is hidden line by line.
func TestEachLineOfAKeyIsHidden(t *testing.T) {
	var s Scrubber
	s.Add("-----BEGIN X-----\nMHcCAQEEIAbcdefghijk\nlmnopqrstuvwxyzABCDE\n-----END X-----\n")
	if got, want := s.Text("bad line lmnopqrstuvwxyzABCDE of -----BEGIN X-----"), "bad line (hidden) of -----BEGIN X-----"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Words that are too short are left: their holes would tell what they are.
func TestShortWordsAreLeft(t *testing.T) {
	var s Scrubber
	s.Add("log")
	s.Add("")
	if got := s.Text("the log"); got != "the log" || s.Known() != 0 {
		t.Errorf("%q, %d known", got, s.Known())
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{"LOKI_PASSWORD": true, "AWS_SECRET_ACCESS_KEY": true, "bearerToken": true, "tenantId": true, "LBSHIPD_JWT": true, "PGPASS": false, "DB_PASS": true,
		"API_KEY": true, "passwordFile": false, "HOME": false, "PATH": false, "LANG": false, "GOGC": false} {
		if Names(name) != want {
			t.Errorf("Names(%q) is %v", name, !want)
		}
	}
}

// Whatever the text and the secret: no form of it is left, and once is enough.
func FuzzScrub(f *testing.F) {
	f.Add("a hunter22 b", "hunter22")
	f.Add("aHidden(hidden)b", "a(hidden)b")
	f.Add("hunthunter22er22", "hunter22")
	f.Add("password=x\\\"y http://a:b@c?d=e", "hidden")
	f.Add("eyJ0eXAi.eyJzdWIi.x\xff\x00-----BEGIN PRIVATE KEY-----", "\xff\xfe\xfd\xfc\xfb")
	f.Add("password: (hidden", "word: (hid")
	f.Fuzz(func(t *testing.T, text, secret string) {
		if len(text) > 4<<10 || len(secret) > 256 {
			return
		}
		var s Scrubber
		s.Add(secret)
		for _, whole := range []string{text, text + secret, secret + text, text + base64.StdEncoding.EncodeToString([]byte(text+secret)) + text} {
			out := s.Text(whole)
			for form := range s.secrets {
				if strings.Contains(out, form) && !strings.Contains(form, "hidden") && !strings.Contains("(hidden private key)", form) {
					t.Fatalf("%q with the secret %q becomes %q, which holds %q", whole, secret, out, form)
				}
			}
		}
	})
}
