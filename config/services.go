package config

import (
	"path/filepath"
	"slices"
	"strings"
)

// wellKnown are the services whose format is known without an entry under
// services. The doc comment of Service lists them.
var wellKnown = []Service{
	{"node-manager", "logfmt"},
	{"cluster-manager", "logfmt"},
	{"api-service", "logfmt"},
	{"discovery-service", "logfmt"},
	{"upgrade-manager", "logfmt"},
	{"lightbox-exporter", "logfmt"},
	{"etcd", "zap-json"},
	{"duroslight", "auto"},
	{"gftl", "auto"},
}

// WellKnownServices returns the services that are known without an entry.
func WellKnownServices() []Service { return slices.Clone(wellKnown) }

// serviceTable gives the format of a service by its name.
type serviceTable map[string]string

// newServiceTable makes the table of what is known anyway and of what a user says,
// which wins.
func newServiceTable(services []Service) serviceTable {
	t := make(serviceTable, len(wellKnown)+len(services))
	for _, s := range wellKnown {
		t[s.Name] = s.LogFormat
	}
	for _, s := range services {
		t[s.Name] = s.LogFormat
	}
	return t
}

// defaultFormat returns the logFormat of a source that gives none.
func (t serviceTable) defaultFormat(s *Source) string {
	if format := t.ofServices(s); format != "" {
		return format
	}
	if s.File != nil {
		return defaultFileFormat
	}
	return defaultJournaldFormat
}

// ofServices returns the one format of all services that a source names, ""
// if it names none, or anything else as well.
func (t serviceTable) ofServices(s *Source) string {
	var found string
	for _, candidates := range servicesOf(s) {
		format := ""
		for _, name := range candidates {
			if format = t[name]; format != "" {
				break
			}
		}
		if format == "" || found != "" && format != found {
			return ""
		}
		found = format
	}
	return found
}

// servicesOf returns, for each thing that a source names, the names that its
// service may have, the likeliest first.
func servicesOf(s *Source) (named [][]string) {
	if j := s.Journald; j != nil {
		for _, unit := range j.Units {
			unit = strings.TrimSuffix(unit, ".service")
			template, _, _ := strings.Cut(unit, "@") // etcd@a is an etcd
			named = append(named, []string{unit, template})
		}
		for _, identifier := range j.Identifiers {
			named = append(named, []string{identifier})
		}
	}
	if s.File != nil {
		for _, glob := range s.File.Paths {
			named = append(named, baseNames(glob))
		}
	}
	return named
}

// baseNames returns a path's last step, and what is left of it as one
// extension after the other is taken off: a.b.log, a.b, a.
func baseNames(path string) []string {
	name := filepath.Base(path)
	names := []string{name}
	for i := strings.LastIndexByte(name, '.'); i > 0; i = strings.LastIndexByte(name, '.') {
		name = name[:i]
		names = append(names, name)
	}
	return names
}
