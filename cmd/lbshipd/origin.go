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
	"github.com/lbshipd/lbshipd/config/etcdstore"
	"github.com/lbshipd/lbshipd/config/filestore"
	"github.com/lbshipd/lbshipd/internal/seal"
)

// etcdFlags say which etcd holds the configuration.
type etcdFlags struct {
	endpoints    []string
	prefix       string
	ca           string
	cert         string
	key          string
	user         string
	passwordFile string
	clusterKey   string
	thresholds   etcdstore.Thresholds
}

func (f *etcdFlags) register(fs *pflag.FlagSet) {
	f.registerAccess(fs)
	fs.DurationVar(&f.thresholds.LeaseTTL, "collector-stale-after", 0, "how long a node may be silent before it is reported as stale, at least 1s")
	fs.DurationVar(&f.thresholds.OfflineAfter, "collector-offline-after", 0, "how long a node may be silent before it is reported as offline")
	fs.Lookup("collector-stale-after").DefValue = "15s"
	fs.Lookup("collector-offline-after").DefValue = "5m"
}

// registerAccess adds the flags that say where etcd is and how it is come at.
func (f *etcdFlags) registerAccess(fs *pflag.FlagSet) {
	fs.StringSliceVar(&f.endpoints, "etcd-endpoints", nil, "etcd members that hold the configuration of all nodes, as URLs or HOST:PORT, instead of --config")
	fs.StringVar(&f.prefix, "etcd-prefix", "/lbshipd", "prefix of our keys in etcd")
	fs.StringVar(&f.ca, "etcd-ca", "", "authorities (PEM file) that sign etcd's certificates, instead of the system's")
	fs.StringVar(&f.cert, "etcd-cert", "", "certificate (PEM file) that is shown to etcd")
	fs.StringVar(&f.key, "etcd-key", "", "private key (PEM file) of --etcd-cert")
	fs.StringVar(&f.user, "etcd-user", "", "etcd user")
	fs.StringVar(&f.passwordFile, "etcd-password-file", "", "file with the password of --etcd-user, read again when it changes")
	fs.StringVar(&f.clusterKey, "cluster-key-file", "", "key file, the same on all nodes, that secrets in etcd are encrypted with (lbshipd keygen makes it)")
}

// options are those of the store that the flags say.
func (f *etcdFlags) options(log *slog.Logger) (o etcdstore.Options, err error) {
	o = etcdstore.Options{Endpoints: f.endpoints, CAFile: f.ca, CertFile: f.cert, KeyFile: f.key, User: f.user, PasswordFile: f.passwordFile,
		Prefix: f.prefix, Log: log, Thresholds: f.thresholds}
	if f.clusterKey != "" {
		if o.Keys, err = seal.Load(f.clusterKey); err != nil {
			return o, fmt.Errorf("--cluster-key-file: %w", err)
		}
	}
	return o, nil
}

// check says what is wrong with the flags together.
func (f *etcdFlags) check(config string) error {
	switch {
	case config != "" && len(f.endpoints) > 0:
		return usageError{fmt.Errorf("--config and --etcd-endpoints exclude each other: the configuration is in one place")}
	case len(f.endpoints) > 0:
		return nil
	}
	for name, value := range map[string]string{"etcd-ca": f.ca, "etcd-cert": f.cert, "etcd-key": f.key, "etcd-user": f.user,
		"etcd-password-file": f.passwordFile, "cluster-key-file": f.clusterKey} {
		if value != "" {
			return usageError{fmt.Errorf("--%s is given without --etcd-endpoints", name)}
		}
	}
	return nil
}

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
	reached    func() error // whether the store is; nil if it always is
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

func etcdOrigin(o *runOptions, node config.Node, log *slog.Logger) (*origin, error) {
	f := &o.etcd
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	options, err := f.options(log)
	if err != nil {
		return nil, err
	}
	options.Node, options.Dir, options.CacheFile = node, dir, filepath.Join(o.dataDir, "etcd-cache")
	store, err := etcdstore.New(options)
	if err != nil {
		return nil, err
	}
	return &origin{from: "etcd " + strings.Join(f.endpoints, ", ") + ", keys below " + f.prefix, dir: dir, watcher: store, store: store,
		collectors: store, warnings: store.Warnings(), waits: true, close: store.Close,
		reached: func() error { _, err := store.Reached(); return err }}, nil
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
