//go:build !appliance

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lbshipd/lbshipd/cmd/lbshipd/doctor"
	"github.com/lbshipd/lbshipd/config"
)

// exitUnknown is the exit code of doctor if it could not look at all: 1 and 2 are warnings and errors.
const exitUnknown = 3

type doctorOptions struct {
	run     runOptions // the flags that are the daemon's too
	socket  string
	user    string
	output  string
	timeout time.Duration
	list    bool
}

func newDoctor() *cobra.Command {
	o := &doctorOptions{}
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong on this node, and tell what mends it",
		Long: `Look for what keeps the daemon from doing its work: permissions, the journal,
unreadable and deleted files, the clock, the disk, limits of the kernel, each
target (DNS, TCP, TLS, HTTP), certificates, etcd and what is in it, and what the
running daemon says of itself. Each finding says where and why, and has the
command that mends it; docs/doctor.md explains them all, --list lists them.

Without flags it looks at the daemon that runs on this node, with the flags
that it was started with, or at what its unit would start. With --config or
--etcd-endpoints it looks at that configuration instead, whether a daemon
runs or not. Best run as root: others are told what they cannot look at.

Nothing is changed, no program is run, and no record is sent to any target:
lbshipd test target sends a marked one.

The exit code is 0 if nothing was found, 1 if there are warnings only, 2 if
there are errors, and 3 if it could not look (wrong usage). A check that could not
be made changes none of them; it is listed at the end, with the reason.`,
		Args: func(c *cobra.Command, args []string) error {
			if err := noArgs(c, args); err != nil {
				return doctorUsage(c, err)
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return runDoctor(c, o) },
	}
	f := c.Flags()
	f.StringVar(&o.run.config, "config", "", "configuration file (default: the daemon's)")
	f.StringVar(&o.run.dataDir, "data-dir", "", "directory of the daemon's state (default: the daemon's)")
	o.run.etcd.registerAccess(f)
	f.Lookup("etcd-endpoints").Usage += " (default: the daemon's)"
	o.run.node.register(f)
	f.StringVar(&o.socket, "admin-socket", "", "Unix socket of the daemon's admin API (default: looked for at the usual places)")
	f.StringVar(&o.user, "user", "", "whose permissions are looked at (default: the user of the daemon that runs, else the unit's, else yours)")
	f.StringVarP(&o.output, "output", "o", "table", "table or json")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long all of it may take")
	f.BoolVar(&o.list, "list", false, "list everything that can be found, and look at nothing")
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return doctorUsage(c, unknownFlag(c, err)) })
	return c
}

// doctorUsage tells what is wrong with the command line. Its exit code must not be that of errors that were found.
func doctorUsage(c *cobra.Command, err error) error {
	fmt.Fprintln(c.ErrOrStderr(), "lbshipd: "+err.Error()+"\nSee: "+c.CommandPath()+" --help")
	return exitError{exitUnknown}
}

func runDoctor(c *cobra.Command, o *doctorOptions) error {
	switch {
	case o.output != "table" && o.output != "json":
		return doctorUsage(c, fmt.Errorf("-o %q: want table or json", o.output))
	case o.timeout <= 0:
		return doctorUsage(c, errors.New("--timeout must be above 0"))
	case o.list && o.output == "json":
		e := json.NewEncoder(c.OutOrStdout())
		e.SetIndent("", "  ")
		return e.Encode(doctor.Kinds())
	case o.list:
		return doctor.WriteKinds(c.OutOrStdout())
	}
	ctx, cancel := context.WithTimeout(c.Context(), o.timeout)
	defer cancel()
	options, err := o.options(ctx, c.Flags())
	if err != nil {
		return doctorUsage(c, err)
	}
	report := doctor.Run(ctx, *options)
	if o.output == "json" {
		err = report.WriteJSON(c.OutOrStdout())
	} else {
		err = report.WriteText(c.OutOrStdout())
	}
	if code := report.ExitCode(); err == nil && code != 0 {
		err = exitError{code}
	}
	return err
}

// options finds out which daemon is meant, and with which flags it was started.
func (o *doctorOptions) options(ctx context.Context, given *pflag.FlagSet) (*doctor.Options, error) {
	d := doctor.Find(ctx, o.sockets())
	run := &runOptions{}
	flags := newRunWith(run).Flags()
	if d.Socket == "" && o.run.dataDir != "" {
		run.listen = "" // the daemon at the usual port may be another one
	}
	explicit := o.run.config != "" || len(o.run.etcd.endpoints) > 0
	if len(d.Args) > 1 {
		if err := flags.Parse(d.Args[1:]); err != nil {
			return nil, fmt.Errorf("the flags of %s: %w", d.From, err)
		}
	}
	dir := d.Dir
	if explicit && !o.isOf(run, dir) {
		// Another configuration than that of the daemon that was found.
		*run = runOptions{}
		flags = newRunWith(run).Flags()
		d, dir, run.listen = doctor.Daemon{}, "", ""
		if o.socket != "" {
			d = doctor.Find(ctx, []string{o.socket})
		}
	}
	if err := copyFlags(flags, given); err != nil {
		return nil, err
	}
	if !flags.Changed("data-dir") {
		run.dataDir = defaultDataDir()
		if d.StateDir != "" {
			run.dataDir = d.StateDir
		}
	}
	if d.Socket == "" && o.socket == "" {
		if found := doctor.Find(ctx, []string{filepath.Join(absoluteIn(dir, run.dataDir), "admin.sock")}); found.Socket != "" {
			d.Socket, d.PID, d.From = found.Socket, found.PID, found.From
		}
	}
	return o.build(run, d, dir)
}

// sockets are where a daemon is looked for.
func (o *doctorOptions) sockets() []string {
	switch {
	case o.socket == "off":
		return nil
	case o.socket != "":
		return []string{o.socket}
	case o.run.dataDir != "":
		return []string{filepath.Join(o.run.dataDir, "admin.sock")}
	}
	return ctlOptions().Sockets
}

// isOf reports whether the configuration that was given is that of the daemon.
func (o *doctorOptions) isOf(run *runOptions, dir string) bool {
	if o.run.config != "" {
		mine, err := filepath.Abs(o.run.config)
		return err == nil && run.config != "" && mine == absoluteIn(dir, run.config)
	}
	return slices.Equal(o.run.etcd.endpoints, run.etcd.endpoints)
}

// absoluteIn is the path that a relative one has in a directory, ours if that is not known.
func absoluteIn(dir, path string) string {
	if !filepath.IsAbs(path) && dir != "" {
		return filepath.Join(dir, path)
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// copyFlags sets in to what was given in from, for the flags that both know.
func copyFlags(to, from *pflag.FlagSet) (err error) {
	from.Visit(func(f *pflag.Flag) {
		other := to.Lookup(f.Name)
		if other == nil || err != nil {
			return
		}
		list, isList := f.Value.(pflag.SliceValue)
		if into, ok := other.Value.(pflag.SliceValue); ok && isList {
			err = into.Replace(list.GetSlice())
			other.Changed = true
			return
		}
		err = to.Set(f.Name, f.Value.String())
	})
	return err
}

// build makes the options out of the daemon's flags.
func (o *doctorOptions) build(run *runOptions, d doctor.Daemon, dir string) (*doctor.Options, error) {
	if err := run.etcd.check(run.config); err != nil {
		return nil, err
	}
	node, err := run.node.node()
	if err != nil {
		return nil, err
	}
	in := func(path string) string {
		if path == "" {
			return ""
		}
		return absoluteIn(dir, path)
	}
	out := &doctor.Options{Version: ownVersion(), Node: node, Dir: in("."), DataDir: in(run.dataDir), Listen: run.listen,
		User: o.user, Daemon: d, Timeout: o.timeout}
	for _, c := range []doctor.CertFile{{Flag: "tls-cert", Path: run.auth.TLSCert}, {Flag: "tls-client-ca", Path: run.auth.TLSClientCA},
		{Flag: "etcd-ca", Path: run.etcd.ca}, {Flag: "etcd-cert", Path: run.etcd.cert}} {
		if c.Path = in(c.Path); c.Path != "" {
			out.Certs = append(out.Certs, c)
		}
	}
	for _, s := range []string{run.auth.TLSKey, run.etcd.key, run.etcd.passwordFile, run.etcd.clusterKey} {
		if s != "" {
			out.Secrets = append(out.Secrets, in(s))
		}
	}
	switch {
	case len(run.etcd.endpoints) > 0:
		for _, path := range []*string{&run.etcd.ca, &run.etcd.cert, &run.etcd.key, &run.etcd.passwordFile, &run.etcd.clusterKey} {
			*path = in(*path)
		}
		options, err := run.etcd.options(slog.New(slog.DiscardHandler))
		out.Etcd, out.EtcdErr, out.ClusterKey = &options, err, run.etcd.clusterKey
	case run.config != "":
		out.Config = in(run.config)
		out.Dir = filepath.Dir(out.Config)
	default:
		if out.Default, err = config.Parse("default.yaml", defaultConfig); err != nil {
			return nil, err
		}
	}
	return out, nil
}
