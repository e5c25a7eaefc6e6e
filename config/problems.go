package config

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration, or odd in it.
type Problem struct {
	File    string // as it was given to Parse; empty for a Config made in code
	Line    int    // 1 for the first; 0 if the Config was made in code
	Object  string // such as target "siem"; empty for the configuration as a whole
	Field   string // such as rsyslog.address or paths[1]; empty for the object as a whole
	Message string // never holds a secret
}

// String returns FILE:LINE: target "siem": rsyslog.address: MESSAGE, without
// the parts that are not known.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	for _, part := range []string{p.Object, p.Field} {
		if part != "" {
			b.WriteString(part)
			b.WriteString(": ")
		}
	}
	b.WriteString(p.Message)
	return b.String()
}

// maxProblems bounds what one configuration is told at once.
const maxProblems = 500

// Problems is everything that is wrong with a configuration, by line. It is
// the error that Parse, Validate and Resolve return.
type Problems []Problem

// Error returns one problem per line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// err returns p as an error, nil if nothing is wrong.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// ordered returns the problems by line, those of one line in the order in
// which they were found, without those said already, and cuts what nobody
// would read.
func (p Problems) ordered() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int { return a.Line - b.Line })
	p = slices.Compact(p) // what an alias brings in many times is wrong once
	if more := len(p) - maxProblems; more > 0 {
		last := p[maxProblems]
		last.Object, last.Field = "", ""
		last.Message = fmt.Sprintf("%d more problems from here on", more)
		p = append(p[:maxProblems:maxProblems], last)
	}
	return p
}

// path names a place in a Config: targets[2].rsyslog.address.
type path string

func (p path) dot(name string) path {
	if p == "" {
		return path(name)
	}
	return p + "." + path(name)
}

func (p path) index(i int) path { return path(fmt.Sprintf("%s[%d]", string(p), i)) }

// parent returns the path without its last step, "" at the top.
func (p path) parent() path {
	if i := strings.LastIndexAny(string(p), ".["); i >= 0 {
		return p[:i]
	}
	return ""
}

// object returns the path of the object that p is in, "" if it is in none.
func (p path) object() path {
	i := strings.IndexByte(string(p), ']')
	return p[:i+1]
}

// document remembers where the parts of a Config stand in its file. It does
// not change once Parse has returned.
type document struct {
	file  string
	lines map[path]int
	bad   map[path]bool // could not be decoded: nothing more is said of it or below it
	first int           // number of the first object in its list, if the Config holds one of many
}

// line returns the line of p, or of the nearest thing around it.
func (d *document) line(p path) int {
	if d == nil {
		return 0
	}
	for ; ; p = p.parent() {
		if n, ok := d.lines[p]; ok {
			return n
		}
		if p == "" {
			return 1
		}
	}
}

func (d *document) isBad(p path) bool {
	if d == nil || len(d.bad) == 0 {
		return false
	}
	for ; p != ""; p = p.parent() {
		if d.bad[p] {
			return true
		}
	}
	return false
}

// kinds are the lists of a Config, and what one object of each is called.
var kinds = map[string]string{"sources": "source", "targets": "target", "tlsBundles": "TLS bundle", "formats": "format", "services": "service"}

// problem makes the Problem of a place.
func (c *Config) problem(p path, format string, args ...any) Problem {
	out := Problem{Line: c.doc.line(p), Field: string(p), Message: fmt.Sprintf(format, args...)}
	if c.doc != nil {
		out.File = c.doc.file
	}
	list, rest, ok := strings.Cut(string(p), "[")
	kind := kinds[list]
	if !ok || kind == "" {
		return out
	}
	number, rest, _ := strings.Cut(rest, "]")
	out.Field = strings.TrimPrefix(rest, ".")
	var i int
	if _, err := fmt.Sscanf(number, "%d", &i); err != nil {
		return out
	}
	if name := c.nameAt(list, i); name != "" {
		out.Object = fmt.Sprintf("%s %q", kind, name)
	} else {
		if c.doc != nil {
			i += c.doc.first
		}
		out.Object = fmt.Sprintf("%s number %d", kind, i+1)
	}
	return out
}

func (c *Config) nameAt(list string, i int) string {
	switch {
	case list == "sources" && i < len(c.Sources):
		return c.Sources[i].Name
	case list == "targets" && i < len(c.Targets):
		return c.Targets[i].Name
	case list == "tlsBundles" && i < len(c.TLSBundles):
		return c.TLSBundles[i].Name
	case list == "formats" && i < len(c.Formats):
		return c.Formats[i].Name
	case list == "services" && i < len(c.Services):
		return c.Services[i].Name
	}
	return ""
}
