package config

import "strings"

// Kinds returns all kinds, in the order in which they are applied and printed.
func Kinds() []Kind {
	return []Kind{KindTLSBundle, KindFormat, KindService, KindSource, KindTarget}
}

// Plural is the kind's name in URLs and in etcd's keys: sources, tls-bundles.
func (k Kind) Plural() string { return string(k) + "s" }

// List is the kind's name as a list in JSON and YAML: sources, tlsBundles.
func (k Kind) List() string {
	if k == KindTLSBundle {
		return "tlsBundles"
	}
	return string(k) + "s"
}

// Title is what messages call an object of the kind: source, TLS bundle.
func (k Kind) Title() string { return kinds[k.List()] }

// ParseKind takes what people write: source, sources, tls-bundle, tlsbundles, tlsBundles.
func ParseKind(text string) (Kind, bool) {
	plain := func(s string) string { return strings.TrimSuffix(plainName(s), "s") }
	for _, k := range Kinds() {
		if plain(text) == plain(string(k)) {
			return k, true
		}
	}
	return "", false
}
