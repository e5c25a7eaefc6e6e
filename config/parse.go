package config

import (
	"reflect"
)

// Parse reads one configuration, YAML or JSON. It has no side effects: it
// reads no file but data, not even those that the configuration names; that is
// Resolve's part. name is what messages call the file.
//
// An error is a Problems that holds everything that is wrong. The Config that
// is returned has its defaults set; what is legal but odd is in its Warnings.
func Parse(name string, data []byte) (*Config, error) {
	root, problems := parseSyntax(name, data)
	if len(problems) > 0 {
		return nil, problems
	}
	c := &Config{doc: &document{file: name, lines: map[path]int{"": root.Line}, bad: map[path]bool{}}}
	d := decoder{c: c, doc: c.doc}
	d.value("", root, reflect.ValueOf(c).Elem())
	if c.doc.bad[""] {
		return nil, d.problems().ordered()
	}
	c.setFormatDefaults()
	k := checker{c: c}
	k.config()
	if all := append(d.problems(), k.problems...); len(all) > 0 {
		return nil, all.ordered()
	}
	c.warnings = k.warnings.ordered()
	return c, nil
}

// Validate checks a Config whose defaults are set, as Parse does; the error is
// a Problems. It has no side effects, but replaces the Warnings.
func (c *Config) Validate() error {
	k := checker{c: c}
	k.config()
	c.warnings = k.warnings.ordered()
	return k.problems.ordered().err()
}

// Warnings returns what is legal but odd, as far as the last of Parse,
// Validate and Resolve has seen it.
func (c *Config) Warnings() Problems { return c.warnings }
