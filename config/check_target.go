package config

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// attributes of a record that may become labels of a Loki stream.
var attributes = []string{"source", "host", "unit", "identifier", "filename", "level"}

// Limits of a target's texts.
const (
	maxURL      = 2048
	maxTenant   = 150 // Loki's own limit
	maxHost     = 253 // RFC 1035
	maxAppName  = 48  // RFC 5424 section 6.2.5
	maxSDName   = 32  // RFC 5424 section 6.3.2
	maxMetadata = 256 // bytes of a field's name
	maxUDP      = 65507
)

// target checks one target.
func (k *checker) target(p path, t *Target) {
	k.exactlyOne(p, []string{"loki", "rsyslog", "stdout"}, t.Loki != nil, t.Rsyslog != nil, t.Stdout != nil)
	k.startAt(p.dot("startAt"), t.StartAt)
	if t.Loki != nil {
		k.loki(p.dot("loki"), t.Loki)
	}
	if t.Rsyslog != nil {
		k.rsyslog(p.dot("rsyslog"), t.Rsyslog)
	}
	if t.Stdout != nil {
		k.oneOf(p.dot("stdout").dot("format"), t.Stdout.Format, []string{"text", "json", "logfmt"})
	}
	k.nodes(p, t.Nodes, t.NodeSelector)
}

func (k *checker) loki(p path, l *LokiTarget) {
	u := k.url(p.dot("url"), l.URL)
	if u != nil && u.Scheme == "http" {
		k.plainHTTP(p, l)
	}
	k.bundleRef(p.dot("tlsBundle"), l.TLSBundle)
	k.serverName(p.dot("serverName"), l.ServerName)
	k.tenant(p.dot("tenantId"), l.TenantID)
	k.lokiAuth(p, l)
	k.labels(p.dot("labels"), l.Labels)
	seen := map[string]bool{}
	for i, name := range l.StreamLabels {
		place := p.dot("streamLabels").index(i)
		if k.oneOf(place, name, attributes) && seen[name] {
			k.fail(place, "%q is given twice", name)
		}
		seen[name] = true
	}
	k.plainList(p.dot("structuredMetadata"), "name", l.StructuredMetadata, maxMetadata)
}

// url checks the address of an HTTP server and returns it if it can be read.
// A URL is quoted only when it is known to hold no password.
func (k *checker) url(p path, text string) *url.URL {
	if text == "" {
		k.fail(p, "is missing")
		return nil
	}
	if !k.plain(p, "URL", text, maxURL) {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		k.fail(p, "is no URL such as https://loki.example.net:3100")
		return nil
	case u.User != nil:
		k.fail(p, "holds a user name; use basicAuth, which is not printed")
		return nil
	case u.Scheme != "http" && u.Scheme != "https":
		k.fail(p, "must begin with http:// or https://")
		return nil
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(text, "#"):
		k.fail(p, "must end before any ? or #")
	case u.Port() != "" && !validPort(u.Port()), strings.HasSuffix(u.Host, ":"):
		k.fail(p, "port must be 1 to 65535")
	case !validHost(u.Hostname()):
		k.fail(p, "%q is no host name or IP address", cut(u.Hostname()))
	}
	return u
}

// plainHTTP says what cannot be had without TLS.
func (k *checker) plainHTTP(p path, l *LokiTarget) {
	const message = "is given, but the URL begins with http://; make it https://"
	k.failIf(l.TLSBundle != "", p.dot("tlsBundle"), message)
	k.failIf(l.ServerName != "", p.dot("serverName"), message)
	if l.BasicAuth != nil || l.BearerToken != "" || l.BearerTokenFile != "" {
		k.warn(p.dot("url"), "http:// sends the password or token readable by everybody on the way")
	}
}

// validTenant is what Loki takes as a tenant's name.
var validTenant = regexp.MustCompile(`^[a-zA-Z0-9!._*'()-]+$`)

func (k *checker) tenant(p path, id string) {
	switch {
	case id == "":
	case len(id) > maxTenant:
		k.fail(p, "is %d bytes long, more than %d", len(id), maxTenant)
	case id == "." || id == ".." || !validTenant.MatchString(id):
		k.fail(p, "%q is no tenant of Loki: letters, digits and !-_.*'() are allowed", cut(id))
	}
}

func (k *checker) lokiAuth(p path, l *LokiTarget) {
	if l.BearerToken != "" && l.BearerTokenFile != "" && !k.c.resolved {
		k.fail(p.dot("bearerTokenFile"), "bearerToken is given as well; one of them is enough")
	}
	k.shown(p.dot("bearerToken"), l.BearerToken)
	if !isHidden(l.BearerToken.Reveal()) && strings.ContainsFunc(l.BearerToken.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		k.fail(p.dot(k.fieldOf("bearerToken", "bearerTokenFile", l.BearerTokenFile)), "holds a space, a line break or a character that is not ASCII")
	}
	b := l.BasicAuth
	if b == nil {
		return
	}
	p = p.dot("basicAuth")
	k.shown(p.dot("password"), b.Password)
	if l.BearerToken != "" || l.BearerTokenFile != "" {
		k.fail(p, "a bearer token is given as well; a request carries only one of them")
	}
	if k.plain(p.dot("username"), "user name", b.Username, maxIdentifier) && strings.Contains(b.Username, ":") {
		k.fail(p.dot("username"), "must not hold a colon (RFC 7617 section 2)")
	}
	switch {
	case b.Password != "" && b.PasswordFile != "" && !k.c.resolved:
		k.fail(p.dot("passwordFile"), "password is given as well; one of them is enough")
	case b.Password == "" && b.PasswordFile == "":
		k.warn(p, "has no password")
	case strings.ContainsAny(b.Password.Reveal(), "\r\n\x00"):
		k.fail(p.dot(k.fieldOf("password", "passwordFile", b.PasswordFile)), "holds a line break")
	}
}

// shown refuses what a listing shows in place of a secret.
func (k *checker) shown(p path, s Secret) {
	k.failIf(!k.incomplete && isHidden(s.Reveal()), p, "is what a listing shows in place of a secret, not the secret")
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// validHostName is more lenient than RFC 1123: "_" is used in real names.
var validHostName = regexp.MustCompile(`^[a-zA-Z0-9_]([a-zA-Z0-9_-]*[a-zA-Z0-9_])?(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]*[a-zA-Z0-9_])?)*\.?$`)

func validHost(host string) bool {
	address, _, _ := strings.Cut(host, "%")
	if net.ParseIP(address) != nil {
		return true
	}
	return len(host) <= maxHost && validHostName.MatchString(host)
}

func (k *checker) serverName(p path, name string) {
	if name != "" && !validHost(name) {
		k.fail(p, "%q is no host name or IP address", cut(name))
	}
}

// bundleRef checks that a named TLS bundle is there.
func (k *checker) bundleRef(p path, name string) {
	if name == "" || k.alone && validName.MatchString(name) {
		return
	}
	var known []string
	for i := range k.c.TLSBundles {
		known = append(known, k.c.TLSBundles[i].Name)
	}
	if slices.Contains(known, name) {
		return
	}
	if reason, gone := k.gone[key{KindTLSBundle, name}]; gone {
		k.fail(p, "TLS bundle %q %s", cut(name), because(reason))
		return
	}
	if len(known) == 0 {
		k.fail(p, "there is no TLS bundle %q; add it under tlsBundles", cut(name))
		return
	}
	k.fail(p, "there is no TLS bundle %q%s", cut(name), didYouMean(name, known))
}

// fingerprintBytes are the lengths of the digests that RFC 5425 section 4.2.2
// has names for.
var fingerprintBytes = map[string]int{"sha-1": 20, "sha-256": 32}

var hexPairs = regexp.MustCompile(`^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2})*$`)

func (k *checker) fingerprint(p path, text string) {
	algorithm, digest, _ := strings.Cut(text, ":")
	size, ok := fingerprintBytes[strings.ToLower(algorithm)]
	switch {
	case !ok:
		k.fail(p, "%q must begin with \"sha-256:\" or \"sha-1:\" (RFC 5425 section 4.2.2)", cut(text))
	case !hexPairs.MatchString(digest):
		k.fail(p, "%q must be pairs of hexadecimal digits with colons between them (RFC 5425 section 4.2.2)", cut(text))
	case len(digest) != 3*size-1:
		k.fail(p, "length is %d, a %s has %d bytes", (len(digest)+1)/3, strings.ToLower(algorithm), size)
	}
}
