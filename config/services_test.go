package config

import (
	"fmt"
	"testing"
)

// TestDefaultFormats: which format a source has that gives none.
func TestDefaultFormats(t *testing.T) {
	for source, want := range map[string]string{
		"journald: {}":                                                "raw",
		"journald: {units: [ssh]}":                                    "raw",
		"journald: {units: [node-manager]}":                           "logfmt",
		"journald: {units: [node-manager.service]}":                   "logfmt",
		"journald: {units: [etcd@a.service]}":                         "zap-json",
		"journald: {units: [etcd@.service, etcd]}":                    "zap-json",
		"journald: {units: ['etcd*']}":                                "raw",
		"journald: {identifiers: [gftl]}":                             "auto",
		"journald: {identifiers: [etcd], units: [etcd]}":              "zap-json",
		"journald: {identifiers: [etcd], units: [ssh]}":               "raw",
		"journald: {identifiers: [node-manager, etcd]}":               "raw",
		"journald: {identifiers: [api-service, gftl]}":                "raw",
		"journald: {identifiers: [api-service, billing]}":             "raw",
		"journald: {identifiers: [upgrade-manager, mine]}":            "logfmt",
		"journald: {identifiers: [duroslight]}":                       "klog",
		"journald: {identifiers: [billing]}":                          "regex:b",
		"journald: {identifiers: [etcd]}, logFormat: json":            "json",
		"file: {paths: [/var/log/app.log]}":                           "auto",
		"file: {paths: [/var/log/etcd.log]}":                          "zap-json",
		"file: {paths: [/var/log/etcd]}":                              "zap-json",
		"file: {paths: ['/var/log/etcd.*']}":                          "zap-json",
		"file: {paths: ['/var/log/**/etcd.log']}":                     "zap-json",
		"file: {paths: ['/var/log/etcd/*.log']}":                      "auto",
		"file: {paths: ['/var/log/etcd*.log']}":                       "auto",
		"file: {paths: [/a/cluster-manager.log, /b/api-service.log]}": "logfmt",
		"file: {paths: [/a/cluster-manager.log, /b/other.log]}":       "auto",
		"file: {paths: [/a/with.dot.log]}":                            "klog",
		"file: {paths: [/a/.etcd]}":                                   "auto",
	} {
		c, err := Parse("x.yaml", fmt.Appendf(nil, `
sources: [{name: x, %s}]
targets: []
formats: [{name: b, regex: '(?P<message>.*)'}]
services:
- {name: billing, logFormat: regex:b}
- {name: mine, logFormat: logfmt}
- {name: duroslight, logFormat: klog}
- {name: with.dot, logFormat: klog}
`, source))
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got := c.Sources[0].LogFormat; got != want {
			t.Errorf("%s: %s, want %s", source, got, want)
		}
	}
}

// TestWellKnownServices holds the table against what may stand in an entry.
func TestWellKnownServices(t *testing.T) {
	c := Config{Services: WellKnownServices()}
	if err := c.Validate(); err != nil || len(c.Services) != 9 {
		t.Errorf("%d services, %v", len(c.Services), err)
	}
}

func TestParseKind(t *testing.T) {
	for text, want := range map[string]Kind{
		"source": KindSource, "sources": KindSource, "Source": KindSource, "tls-bundle": KindTLSBundle, "tlsbundles": KindTLSBundle,
		"tlsBundles": KindTLSBundle, "TLSBundle": KindTLSBundle, "targets": KindTarget, "format": KindFormat, "services": KindService,
	} {
		if got, ok := ParseKind(text); !ok || got != want {
			t.Errorf("%s is %q, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "s", "sourcess", "tls", "pipeline", "sources/"} {
		if got, ok := ParseKind(text); ok {
			t.Errorf("%q is %q", text, got)
		}
	}
	for _, k := range Kinds() {
		for _, name := range []string{string(k), k.Plural(), k.List()} {
			if got, ok := ParseKind(name); !ok || got != k {
				t.Errorf("%s is %q, %v", name, got, ok)
			}
		}
		if k.Title() == "" {
			t.Errorf("%s is called nothing", k)
		}
	}
}
