package config

import (
	"encoding/pem"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// maxSecretFile bounds a file that holds a password or a token.
const maxSecretFile = 64 << 10

// ReadFunc reads a whole file of at most limit bytes. ReadFile is one.
type ReadFunc func(path string, limit int64) (data []byte, mode fs.FileMode, err error)

// Resolve returns a copy of c with the files that it names read: the contents
// of caFile, certFile and keyFile stand in caPem, certPem and keyPem, those of
// bearerTokenFile and passwordFile in bearerToken and password (without the
// line break at the end). The paths stay, made absolute: relative ones are
// relative to dir, the configuration file's folder. c itself is not changed.
//
// The error is a Problems that names every file that cannot be read or holds
// the wrong thing. The copy's Warnings hold c's and those about the files.
func (c *Config) Resolve(dir string) (*Config, error) { return c.ResolveWith(dir, ReadFile) }

// ResolveWith is Resolve with another way to read files.
func (c *Config) ResolveWith(dir string, read ReadFunc) (*Config, error) {
	out := c.clone()
	r := resolver{checker: checker{c: out}, dir: dir, read: read}
	r.all()
	if len(r.problems) > 0 {
		return nil, r.problems.ordered()
	}
	out.resolved = true
	if err := out.Validate(); err != nil {
		return nil, err
	}
	out.warnings = append(out.warnings, r.warnings...).ordered()
	return out, nil
}

// ResolveEach is ResolveWith to which a file that cannot be read, or holds the wrong
// thing, harms only the objects that need it: it leaves them out, and targets
// whose TLS bundle is left out, and says why.
func (c *Config) ResolveEach(dir string, read ReadFunc) (*Config, []Rejected) {
	out := c.clone()
	out.named = nil
	for _, file := range c.NamedFiles() { // also of those that are left out below
		out.named = append(out.named, absolute(dir, file))
	}
	r := resolver{checker: checker{c: out, byObject: map[path]Problems{}}, dir: dir, read: read}
	r.all()
	a := assembly{c: out, gone: map[key]string{}}
	a.drop(r.byObject)
	out.resolved = true
	a.prune()
	out.warnings = append(out.warnings, r.warnings...).ordered()
	return out, a.rejected()
}

// resolver reads files into the copy of a Config.
type resolver struct {
	checker
	dir  string
	read ReadFunc
}

// all reads the files of all objects.
func (r *resolver) all() {
	for i := range r.c.TLSBundles {
		r.bundle(path("tlsBundles").index(i), &r.c.TLSBundles[i])
	}
	for i := range r.c.Targets {
		if l := r.c.Targets[i].Loki; l != nil {
			r.loki(path("targets").index(i).dot("loki"), l)
		}
	}
}

func (r *resolver) bundle(p path, b *TLSBundle) {
	if b.CAFile != "" {
		b.CAPem, _ = r.file(p.dot("caFile"), &b.CAFile, maxPEM)
	}
	if b.CertFile != "" {
		text, _ := r.file(p.dot("certFile"), &b.CertFile, maxPEM)
		b.CertPem = withoutKeys(text)
	}
	if b.KeyFile != "" {
		text, mode := r.file(p.dot("keyFile"), &b.KeyFile, maxPEM)
		b.KeyPem = Secret(text)
		r.readableByOthers(p.dot("keyFile"), mode)
	}
}

func (r *resolver) loki(p path, l *LokiTarget) {
	if l.BearerTokenFile != "" {
		l.BearerToken = r.secret(p.dot("bearerTokenFile"), &l.BearerTokenFile)
	}
	if b := l.BasicAuth; b != nil && b.PasswordFile != "" {
		b.Password = r.secret(p.dot("basicAuth").dot("passwordFile"), &b.PasswordFile)
	}
}

// secret reads a password or token.
func (r *resolver) secret(p path, name *string) Secret {
	text, mode := r.file(p, name, maxSecretFile)
	r.readableByOthers(p, mode)
	text = strings.TrimRight(text, "\r\n")
	if text == "" && mode != 0 {
		r.fail(p, "%s is empty", *name)
	}
	return Secret(text)
}

// file reads one file and makes its name absolute. The mode is 0 if it cannot
// be read, which is then a problem.
func (r *resolver) file(p path, name *string, limit int64) (string, fs.FileMode) {
	*name = absolute(r.dir, *name)
	data, mode, err := r.read(*name, limit)
	if err != nil {
		r.fail(p, "%v", err)
		return "", 0
	}
	return string(data), mode | fs.ModeIrregular // never 0, whatever the permissions
}

func absolute(dir, name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(dir, name)
}

func (r *resolver) readableByOthers(p path, mode fs.FileMode) {
	if mode&0o004 != 0 {
		r.warn(p, "everybody on this machine may read this file (mode %04o)", mode.Perm())
	}
}

// withoutKeys keeps the certificates of a file that holds the key as well:
// certPem is printed, a key must not be in it.
func withoutKeys(text string) string {
	if !strings.Contains(text, "PRIVATE KEY-----") {
		return text
	}
	var out strings.Builder
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return out.String()
		}
		if block.Type == "CERTIFICATE" {
			out.Write(pem.EncodeToMemory(block))
		}
	}
}

// Files returns the absolute paths of the files that c names, each once.
func (c *Config) Files(dir string) []string {
	var names []string
	add := func(files ...string) {
		for _, f := range files {
			if f != "" {
				names = append(names, absolute(dir, f))
			}
		}
	}
	for i := range c.TLSBundles {
		b := &c.TLSBundles[i]
		add(b.CAFile, b.CertFile, b.KeyFile)
	}
	for i := range c.Targets {
		if l := c.Targets[i].Loki; l != nil {
			add(l.BearerTokenFile)
			if l.BasicAuth != nil {
				add(l.BasicAuth.PasswordFile)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// clone copies c as deep as Resolve changes it.
func (c *Config) clone() *Config {
	out := *c
	out.TLSBundles = slices.Clone(c.TLSBundles)
	out.Targets = slices.Clone(c.Targets)
	for i := range out.Targets {
		l := out.Targets[i].Loki
		if l == nil {
			continue
		}
		copied := *l
		out.Targets[i].Loki = &copied
		if l.BasicAuth != nil {
			auth := *l.BasicAuth
			copied.BasicAuth = &auth
		}
	}
	return &out
}

// Load reads, parses and resolves the configuration file at name. The error
// is a Problems, or says why the file itself could not be read (errors.Is
// finds fs.ErrNotExist and fs.ErrPermission).
func Load(name string) (*Config, error) { return LoadWith(name, ReadFile) }

// LoadWith is Load with another way to read files.
func LoadWith(name string, read ReadFunc) (*Config, error) {
	data, mode, err := read(name, MaxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	c, err := Parse(name, data)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return nil, fmt.Errorf("finding the folder of the configuration: %w", err)
	}
	inline := c.inlineSecrets(mode)
	if c, err = c.ResolveWith(dir, read); err != nil {
		return nil, err
	}
	c.warnings = append(c.warnings, inline...).ordered()
	return c, nil
}

// inlineSecrets warns of secrets in a file that everybody may read.
func (c *Config) inlineSecrets(mode fs.FileMode) Problems {
	k := checker{c: c}
	if mode&0o004 == 0 {
		return nil
	}
	warn := func(p path, s Secret) {
		if s != "" {
			k.warn(p, "a secret, and everybody on this machine may read this file (mode %04o)", mode.Perm())
		}
	}
	for i := range c.Targets {
		l, p := c.Targets[i].Loki, path("targets").index(i).dot("loki")
		if l == nil {
			continue
		}
		warn(p.dot("bearerToken"), l.BearerToken)
		if l.BasicAuth != nil {
			warn(p.dot("basicAuth").dot("password"), l.BasicAuth.Password)
		}
	}
	for i := range c.TLSBundles {
		warn(path("tlsBundles").index(i).dot("keyPem"), c.TLSBundles[i].KeyPem)
	}
	return k.warnings
}
