package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/lbshipd/lbshipd/admin/collector"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/config/filestore"
)

// nodeFlags say what this node is called and what is said of it.
type nodeFlags struct {
	name   string
	labels []string
}

func (f *nodeFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.name, "node-name", "", "what this node is called in nodes and among the collectors (default: the host name)")
	fs.StringArrayVar(&f.labels, "node-label", nil, "NAME=VALUE that nodeSelector is held against; repeatable")
}

func (f *nodeFlags) node() (config.Node, error) {
	n := config.Node{Name: f.name, Labels: map[string]string{}}
	if n.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			return n, fmt.Errorf("finding this machine's name (--node-name gives one): %w", err)
		}
		n.Name = host
	}
	if len(n.Name) > 253 || strings.ContainsAny(n.Name, "/\x00 \t\n") {
		return n, usageError{fmt.Errorf("--node-name %q: want at most 253 bytes without slashes and spaces", n.Name)}
	}
	for _, text := range f.labels {
		name, value, ok := strings.Cut(text, "=")
		if _, twice := n.Labels[name]; !ok || name == "" || twice {
			return n, usageError{fmt.Errorf("--node-label %q: want NAME=VALUE, each name once", text)}
		}
		n.Labels[name] = value
	}
	return n, nil
}

// origin is where the configuration comes from.
type origin struct {
	from       string // in words
	dir        string // what relative names of files are relative to
	watcher    config.Watcher
	store      config.Store // nil if nothing can be changed
	collectors config.Collectors
	cacheErr   func() error // why what it holds is not kept on disk; nil: it need not be
	warnings   []string     // to be said at each start
	// waits is set if a daemon without a configuration is of use: one may come.
	waits bool
	close func()
}

func openOrigin(o *runOptions, node config.Node, log *slog.Logger) (*origin, error) {
	switch {
	case len(o.etcd.endpoints) > 0:
		return etcdOrigin(o, node, log)
	case o.config != "":
		return fileOrigin(o, node, log)
	}
	cfg, err := config.Parse("default.yaml", defaultConfig)
	if err != nil {
		return nil, err
	}
	fixed := &fixedWatcher{cfg: cfg, log: log, events: make(chan config.Event, 1)}
	fixed.events <- config.Event{Config: cfg}
	return &origin{from: "built-in default (no --config given)", watcher: fixed, collectors: &collector.Local{}, close: func() {}}, nil
}

func fileOrigin(o *runOptions, node config.Node, log *slog.Logger) (*origin, error) {
	store, err := filestore.Open(o.config, log)
	if err != nil {
		return nil, err
	}
	store.KeepHistory(o.dataDir)
	return &origin{from: o.config, dir: filepath.Dir(store.Path()), watcher: store, store: store, collectors: &collector.Local{}, close: func() {}}, nil
}

// fixedWatcher hands out the built-in configuration, which never changes.
type fixedWatcher struct {
	cfg    *config.Config
	log    *slog.Logger
	events chan config.Event
}

// Watch sends it once.
func (f *fixedWatcher) Watch(context.Context) <-chan config.Event { return f.events }

// Reload sends it again, so that whoever asked for it has an answer.
func (f *fixedWatcher) Reload() {
	f.log.Info("there is no configuration file to read again")
	select {
	case f.events <- config.Event{Config: f.cfg, Reloaded: true}:
	default:
	}
}
