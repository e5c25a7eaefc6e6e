package pipeline

import (
	"fmt"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/sinks"
	"github.com/lbshipd/lbshipd/sinks/loki"
	"github.com/lbshipd/lbshipd/sinks/rsyslog"
	"github.com/lbshipd/lbshipd/sinks/stdout"
	"github.com/lbshipd/lbshipd/sources"
	"github.com/lbshipd/lbshipd/sources/journald"
)

// sourceKinds is the registry of sources: a new one is one line here.
var sourceKinds = []struct {
	name  string
	given func(*config.Source) bool
	make  func(*config.Source, sources.Deps) (sources.Source, error)
}{
	{"journald", func(s *config.Source) bool { return s.Journald != nil }, journald.New},
	{"file", func(s *config.Source) bool { return s.File != nil }, newFileSource},
}

// sinkKinds is the registry of sinks: a new one is one line here.
var sinkKinds = []struct {
	name  string
	given func(*config.Target) bool
	make  sinks.Factory
}{
	{"loki", func(t *config.Target) bool { return t.Loki != nil }, loki.New},
	{"rsyslog", func(t *config.Target) bool { return t.Rsyslog != nil }, rsyslog.New},
	{"stdout", func(t *config.Target) bool { return t.Stdout != nil }, stdout.New},
}

func newSource(s *config.Source, d sources.Deps) (sources.Source, string, error) {
	for _, k := range sourceKinds {
		if k.given(s) {
			src, err := k.make(s, d)
			return src, k.name, err
		}
	}
	return nil, "", fmt.Errorf("source %q: no kind is given", s.Name)
}

func newSink(t *config.Target, d sinks.Deps) (sinks.Sink, string, error) {
	for _, k := range sinkKinds {
		if k.given(t) {
			sink, err := k.make(t, d)
			return sink, k.name, err
		}
	}
	return nil, "", fmt.Errorf("target %q: no kind is given", t.Name)
}
