package e2e

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// jwt makes a token by hand, as those do who should not.
func jwt(t *testing.T, header, claims map[string]any, sign func(text []byte) []byte) string {
	t.Helper()
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	text := part(header) + "." + part(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(text)))
}

// fortress is a daemon whose API is attacked while it ships.
type fortress struct {
	*cluster
	*node
	t      *testing.T
	rsa    *rsa.PrivateKey
	public []byte // of rsa, in PEM: what an attacker can have
	lab    ed25519.PrivateKey
	from   int // the next attacker's address
}

func startFortress(t *testing.T) (*fortress, string, *fakeLoki) {
	t.Helper()
	c, loki := &cluster{t: t, logs: t.TempDir()}, startFakeLoki(t)
	c.access()
	f := &fortress{cluster: c, t: t}
	var err error
	if f.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&f.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	f.public = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	block, _ := pem.Decode([]byte(readAll(t, filepath.Join(c.dir, "lab.key"))))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	f.lab = key.(ed25519.PrivateKey)
	conf := write(t, filepath.Join(t.TempDir(), "lbshipd.yaml"), fmt.Sprintf(commented, c.logs+"/*.log", loki.url))
	c.flags = append(c.flags, "--jwt-keys", write(t, filepath.Join(c.dir, "issuer.pub"), string(f.public)), "--config", conf, "--data-dir", t.TempDir())
	f.node = &node{c: c, name: "fortress", flags: c.flags}
	f.begin()
	return f, conf, loki
}

func (f *fortress) eddsa(text []byte) []byte { return ed25519.Sign(f.lab, text) }

func (f *fortress) rs256(text []byte) []byte {
	sum := sha256.Sum256(text)
	signature, err := rsa.SignPKCS1v15(rand.Reader, f.rsa, crypto.SHA256, sum[:])
	if err != nil {
		f.t.Fatal(err)
	}
	return signature
}

// claims are those of an administrator, with some changed; nil takes one out.
func claims(change map[string]any) map[string]any {
	now := time.Now()
	c := map[string]any{"sub": "mallory", "aud": "lbshipd", "roles": []string{"admin"}, "iat": now.Unix() - 10, "exp": now.Add(time.Hour).Unix()}
	for name, value := range change {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	return c
}

// dial connects over TLS from an address that nobody has used: who fails
// often is locked out for a while.
func (f *fortress) dial() *tls.Conn {
	f.t.Helper()
	f.from++
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 66, byte(f.from>>8), byte(f.from))}, Timeout: 20 * time.Second}
	c, err := tls.DialWithDialer(d, "tcp", f.admin, f.http.Transport.(*http.Transport).TLSClientConfig)
	if err != nil {
		f.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(60 * time.Second))
	return c
}

// raw sends bytes as they are and returns the answer, its body read.
func (f *fortress) raw(text string) (status int, body string) {
	f.t.Helper()
	c := f.dial()
	defer c.Close()
	go io.WriteString(c, text) // the answer may come before all is sent
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err.Error()
	}
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// attack is a request that must be refused.
type attack struct {
	name   string
	status int
	token  string // "": none
	method string
	path   string // below /api/v2/logs, or all of it
	whole  bool   // it is all of it
	header string
	body   string
}

const anObject = `{"name":"evil","file":{"paths":["/etc/shadow"]}}`

// tokens are attacks on the token.
func (f *fortress) tokens() (list []attack) {
	t := f.t
	ed, rs := map[string]any{"alg": "EdDSA", "typ": "JWT"}, map[string]any{"alg": "RS256", "typ": "JWT"}
	add := func(name string, status int, token string) {
		list = append(list, attack{name: name, status: status, token: token, method: "POST", path: "/sources", body: anObject})
	}
	mac := func(key []byte) func([]byte) []byte {
		return func(text []byte) []byte {
			h := hmac.New(sha256.New, key)
			h.Write(text)
			return h.Sum(nil)
		}
	}
	der, _ := pem.Decode(f.public)
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	now := time.Now().Unix()
	good := jwt(t, ed, claims(nil), f.eddsa)
	none := func([]byte) []byte { return nil }
	add("no token", 401, "")
	add("no JWT", 401, "admin")
	add("expired", 401, jwt(t, ed, claims(map[string]any{"exp": now - 120}), f.eddsa))
	add("without an end", 401, jwt(t, ed, claims(map[string]any{"exp": nil}), f.eddsa))
	add("not yet valid", 401, jwt(t, ed, claims(map[string]any{"nbf": now + 600}), f.eddsa))
	add("issued in the future", 401, jwt(t, ed, claims(map[string]any{"iat": now + 600}), f.eddsa))
	add("for another audience", 401, jwt(t, ed, claims(map[string]any{"aud": "grafana"}), f.eddsa))
	add("for no audience", 401, jwt(t, ed, claims(map[string]any{"aud": nil}), f.eddsa))
	add("alg none", 401, jwt(t, map[string]any{"alg": "none"}, claims(nil), none))
	add("alg nOnE", 401, jwt(t, map[string]any{"alg": "nOnE"}, claims(nil), none))
	add("without a signature", 401, jwt(t, ed, claims(nil), none))
	add("HS256 with the public key as PEM", 401, jwt(t, map[string]any{"alg": "HS256"}, claims(nil), mac(f.public)))
	add("HS256 with the public key as DER", 401, jwt(t, map[string]any{"alg": "HS256"}, claims(nil), mac(der.Bytes)))
	add("HS256 without a key", 401, jwt(t, map[string]any{"alg": "HS256"}, claims(nil), mac(nil)))
	add("RS256 with an EdDSA signature", 401, jwt(t, rs, claims(nil), f.eddsa))
	add("PS256", 401, jwt(t, map[string]any{"alg": "PS256"}, claims(nil), f.rs256))
	add("another's key", 401, jwt(t, ed, claims(nil), func(b []byte) []byte { return ed25519.Sign(stranger, b) }))
	add("another's key, which it brings along", 401, jwt(t, map[string]any{"alg": "EdDSA", "jwk": map[string]any{"kty": "OKP", "crv": "Ed25519",
		"x": base64.RawURLEncoding.EncodeToString(stranger.Public().(ed25519.PublicKey))}}, claims(nil), func(b []byte) []byte { return ed25519.Sign(stranger, b) }))
	add("a key from an address", 401, jwt(t, map[string]any{"alg": "EdDSA", "jku": "http://127.0.0.1/keys"}, claims(nil), func(b []byte) []byte { return ed25519.Sign(stranger, b) }))
	add("an extension that must be understood", 401, jwt(t, map[string]any{"alg": "EdDSA", "crit": []string{"b64"}, "b64": false}, claims(nil), f.eddsa))
	add("changed", 401, good[:len(good)-90]+"A"+good[len(good)-89:])
	add("too large", 401, jwt(t, ed, claims(map[string]any{"pad": strings.Repeat("x", 20<<10)}), f.eddsa))
	add("a role that is none", 403, jwt(t, ed, claims(map[string]any{"roles": []string{"root"}}), f.eddsa))
	add("no role", 403, jwt(t, ed, claims(map[string]any{"roles": nil}), f.eddsa))
	add("roles as an object", 403, jwt(t, ed, claims(map[string]any{"roles": map[string]any{"admin": true}}), f.eddsa))
	list = append(list,
		attack{name: "token in the address", status: 401, method: "GET", path: "/sources?access_token=" + good},
		attack{name: "two tokens", status: 401, token: good, method: "GET", path: "/sources", header: "Authorization: Bearer " + good + "\r\n"},
		attack{name: "token as a password", status: 401, method: "GET", path: "/sources",
			header: "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("ada:"+good)) + "\r\n"})
	return list
}

// roles are attacks by those who may do less.
func (f *fortress) roles() (list []attack) {
	for role, attacks := range map[string][]attack{
		"viewer": {{method: "POST", path: "/sources", body: anObject}, {method: "PUT", path: "/sources/app", body: `{"name":"app","journald":{}}`}, {method: "DELETE", path: "/sources/app"},
			{method: "POST", path: "/apply?prune=true", body: `{"sources":[]}`}, {method: "POST", path: "/sources?dryRun=true", body: anObject}, {method: "POST", path: "/targets/loki/test"}},
		"editor": {{method: "POST", path: "/tls-bundles", body: `{"name":"evil"}`}, {method: "DELETE", path: "/tls-bundles/x"}, {method: "POST", path: "/history/1/rollback"},
			{method: "DELETE", path: "/collectors/fortress"}, {method: "POST", path: "/apply", body: `{"tlsBundles":[{"name":"evil","caFile":"/etc/passwd"}]}`}},
	} {
		for _, a := range attacks {
			a.name, a.status, a.token = role+" "+a.method+" "+a.path, 403, f.token(role)
			list = append(list, a)
		}
	}
	return list
}

// bodies are attacks by one who may write.
func (f *fortress) bodies() []attack {
	editor := f.token("editor")
	post := func(name string, status int, body string) attack {
		return attack{name: name, status: status, token: editor, method: "POST", path: "/sources", body: body}
	}
	plain := post("a form", 415, anObject)
	plain.header = "Content-Type: application/x-www-form-urlencoded\r\n"
	return []attack{
		post("3 MiB", 413, `{"name":"`+strings.Repeat("a", 3<<20)+`"}`),
		post("100,000 objects in each other", 400, strings.Repeat(`{"a":`, 100_000)),
		post("lists 1,000 deep", 400, `{"name":"evil","file":{"paths":`+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)+`}}`),
		post("a name twice", 400, `{"name":"app","name":"evil","journald":{}}`),
		post("a name twice, once escaped", 400, `{"name":"app","n\u0061me":"evil","journald":{}}`),
		post("a name twice, within", 400, `{"name":"evil","file":{"paths":["/a"],"paths":["/etc/shadow"]}}`),
		post("two bodies", 400, anObject+anObject),
		post("not UTF-8", 400, "{\"name\":\"evil\",\"labels\":{\"a\":\"\xff\"},\"journald\":{}}"),
		post("a path as a name", 400, `{"name":"../targets/evil","journald":{}}`),
		post("nothing", 400, ""),
		plain,
	}
}

// paths are attacks by tricks with the address, without a token.
func paths() (list []attack) {
	for path, status := range map[string]int{
		"//api/v2/logs/sources": 401, "/api//v2/logs/sources": 401, "/api/v2/logs/../logs/sources": 401, "/metrics/../api/v2/logs/sources": 401, "/-/../api/v2/logs/sources": 401,
		"/-/ready/../../api/v2/logs/sources": 401, "/status/../api/v2/logs/sources": 401, "/-/%2e%2e/api/v2/logs/sources": 401, "/-/..%2fapi/v2/logs/sources": 401, "/API/v2/logs/sources": 401,
		"/api/v2/logs/sources/": 401, "/api/v2/logs/sources/app%00": 401, "/metrics;/api/v2/logs/sources": 401, "/metrics%2f..%2fapi": 401, "/debug/pprof/": 401, "/": 401,
	} {
		list = append(list, attack{name: "without a token " + path, status: status, method: "GET", path: path, whole: true})
	}
	return list
}

// tricks are the same with a token: they find nothing.
func (f *fortress) tricks() (list []attack) {
	viewer := f.token("viewer")
	for path, status := range map[string]int{
		"/api/v2/logs/sources/": 404, "/api/v2/logs/sources/../targets": 404, "/api/v2/logs/sources/%2e%2e/targets": 404, "/api/v2/logs/sources/..%2ftargets": 404, "/api/v2/logs/sources/app%00": 404,
		"/api/v2/logs//sources": 404, "/api/v2/logs/sources/app/../app": 404, "/api/v2/logs/%73ources": 404, "/api/v2/logs/sources/../../../../etc/passwd": 404,
		"/api/v2/logs/sources?limit=-1": 400, "/api/v2/logs/sources?defaults=maybe": 400, "/api/v2/logs/sources?unknown=1": 400,
	} {
		list = append(list, attack{name: "with a token " + path, status: status, token: viewer, method: "GET", path: path, whole: true})
	}
	return list
}

// send sends an attack byte by byte as it is written.
func (f *fortress) send(a *attack) (int, string) {
	f.t.Helper()
	path := a.path
	if !a.whole {
		path = "/api/v2/logs" + path
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s", a.method, path, f.admin, a.header)
	if a.token != "" {
		fmt.Fprintf(&text, "Authorization: Bearer %s\r\n", a.token)
	}
	if a.method != "GET" {
		if a.header == "" && a.method != "DELETE" {
			fmt.Fprint(&text, "Content-Type: application/json\r\n")
		}
		fmt.Fprintf(&text, "Content-Length: %d\r\n", len(a.body))
	}
	fmt.Fprintf(&text, "\r\n%s", a.body)
	return f.raw(text.String())
}

// Whoever attacks the API over its port is refused as he should be, learns nothing and changes
// nothing, and the daemon goes on shipping.
func TestHostileRequestsAreRefused(t *testing.T) {
	t.Parallel()
	f, conf, loki := startFortress(t)
	load := startLoad(t, filepath.Join(f.logs, "app.log"))
	before := readAll(t, conf)
	slow := f.slowHeaders()
	list := f.tokens()
	for _, more := range [][]attack{f.roles(), f.bodies(), paths(), f.tricks()} {
		list = append(list, more...)
	}
	for _, a := range list {
		status, body := f.send(&a)
		if status != a.status {
			t.Errorf("%s: %d %.300s, want %d", a.name, status, body, a.status)
		}
		if strings.Contains(body, "goroutine ") || strings.Contains(body, loki.url) {
			t.Errorf("%s tells something: %.300s", a.name, body)
		}
		var said struct {
			Code    int
			Message string
		}
		if err := json.Unmarshal([]byte(body), &said); err != nil || said.Code == 0 || said.Message == "" {
			t.Errorf("%s: no error of ours: %.300s", a.name, body)
		}
		if a.token != "" && len(a.token) > 20 && strings.Contains(f.stderr.String(), a.token[len(a.token)-20:]) {
			t.Errorf("%s: the token is in the log", a.name)
		}
	}
	f.connections()
	slow()
	// The same with what is right: the table is of refusals, not of a port that refuses all.
	for name, token := range map[string]string{"EdDSA": jwt(t, map[string]any{"alg": "EdDSA"}, claims(nil), f.eddsa), "RS256": jwt(t, map[string]any{"alg": "RS256"}, claims(nil), f.rs256)} {
		a := attack{token: token, method: "GET", path: "/sources"}
		if status, body := f.send(&a); status != 200 || !strings.Contains(body, `"app"`) {
			t.Errorf("a good token (%s): %d %s", name, status, body)
		}
	}
	if now := readAll(t, conf); now != before {
		t.Errorf("something was changed:\n%s", now)
	}
	f.as("admin").change("/sources/app", map[string]any{"minLevel": "info"})
	await(t, "a record", func() bool { _, ok := loki.since("fortress", time.Time{}, false); return ok })
	total := load.stop()
	await(t, "every record", func() bool { return loki.missingInfo("fortress", total) == 0 })
	t.Logf("figure: %d hostile requests refused", len(list))
}
