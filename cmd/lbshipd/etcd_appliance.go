//go:build appliance

package main

import (
	"errors"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/ownfiles"
)

// etcdFlags are none: see leftOut.
type etcdFlags struct{ endpoints []string }

func (*etcdFlags) register(*pflag.FlagSet) {}
func (*etcdFlags) keep(*ownfiles.Set)      {}
func (*etcdFlags) check(string) error      { return nil }

func etcdOrigin(*runOptions, config.Node, *slog.Logger) (*origin, error) {
	return nil, errors.New(noEtcd)
}
