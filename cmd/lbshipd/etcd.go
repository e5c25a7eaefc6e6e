//go:build !appliance

package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/config/etcdstore"
	"github.com/lbshipd/lbshipd/internal/ownfiles"
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

// keep adds the files with secrets that the flags name.
func (f *etcdFlags) keep(s *ownfiles.Set) {
	s.Keep("the cluster key", f.clusterKey)
	s.Keep("the key of the certificate for etcd", f.key)
	s.Keep("the password for etcd", f.passwordFile)
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
		collectors: store, cacheErr: store.CacheErr, warnings: store.Warnings(), waits: true, close: store.Close}, nil
}
