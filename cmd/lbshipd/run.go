package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/admin/auth"
	"github.com/lbshipd/lbshipd/admin/collector"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/ownfiles"
	"github.com/lbshipd/lbshipd/internal/ratelog"
	"github.com/lbshipd/lbshipd/pipeline"
	"github.com/lbshipd/lbshipd/positions"
)

// oneCauseEvery is how often one cause of trouble may speak in our own log.
const oneCauseEvery = 30 * time.Second

type runOptions struct {
	config      string
	dataDir     string
	listen      string
	logFormat   string
	logLevel    string
	stopTimeout time.Duration
	etcd        etcdFlags
	node        nodeFlags
	auth        auth.Flags
}

func newRun() *cobra.Command { return newRunWith(&runOptions{}) }

// newRunWith is the command run whose flags go into o.
func newRunWith(o *runOptions) *cobra.Command {
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon",
		Long: `Run the daemon: read the sources and ship them to the targets of the
configuration, which is one file (--config) or what etcd holds for all nodes
(--etcd-endpoints). Either is watched, and applied again whenever it changes
(and on SIGHUP). Without one this machine's journal and /var/log/*.log are
printed to standard output.

SIGTERM and SIGINT stop it: it reads no more, sends what is queued, saves its
positions and exits with 0. A second one stops it at once.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runDaemon(c.Context(), o, c.ErrOrStderr()) },
	}
	f := c.Flags()
	f.StringVar(&o.config, "config", "", "configuration file (YAML or JSON)")
	dataDirFlag(c, &o.dataDir)
	o.etcd.register(f)
	o.node.register(f)
	f.StringVar(&o.listen, "listen", "127.0.0.1:9600", "address of the admin port (metrics, health, API); off for none; a socket that systemd hands over takes its place")
	o.auth.Register(f)
	f.StringVar(&o.logFormat, "log-format", "text", "format of our own log on standard error: text or json")
	f.StringVar(&o.logLevel, "log-level", "info", "least level of our own log: debug, info, warn or error")
	f.DurationVar(&o.stopTimeout, "stop-timeout", 15*time.Second, "how long targets may take what is queued when stopping")
	return c
}

// newLog makes the daemon's own log, in which one cause does not drown the others.
func newLog(o *runOptions, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return nil, usageError{fmt.Errorf("--log-level %q: want debug, info, warn or error", o.logLevel)}
	}
	options := &slog.HandlerOptions{Level: level}
	switch o.logFormat {
	case "text":
		return slog.New(ratelog.New(slog.NewTextHandler(w, options), oneCauseEvery)), nil
	case "json":
		return slog.New(ratelog.New(slog.NewJSONHandler(w, options), oneCauseEvery)), nil
	}
	return nil, usageError{fmt.Errorf("--log-format %q: want text or json", o.logFormat)}
}

// running is a daemon at work.
type running struct {
	o      *runOptions
	log    *slog.Logger
	stderr io.Writer
	host   string
	node   config.Node
	origin *origin
	own    *ownfiles.Set
	named  []string // files that the objects of the running configuration name
	sup    *pipeline.Supervisor
	store  *positions.Store
	notify notifier
	admin  *adminPort

	reporter *collector.Reporter
}

func runDaemon(ctx context.Context, o *runOptions, stderr io.Writer) error {
	startSparing()
	// First of all: a reload that comes early must not end us.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	log, err := newLog(o, stderr)
	if err != nil {
		return err
	}
	// A reader of our output that went away is an error to retry, not our end.
	signal.Ignore(unix.SIGPIPE)

	// Batches are pooled: there is little garbage, and memory matters more on a
	// storage node than the little time it takes to collect it sooner.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}

	if err := o.etcd.check(o.config); err != nil {
		return err
	}
	node, err := o.node.node()
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("finding this machine's name: %w", err)
	}
	d := &running{o: o, log: log, stderr: stderr, host: host, node: node, notify: notifier{log}, own: ownFiles(o)}
	if d.origin, err = openOrigin(o, node, log); err != nil {
		return err
	}
	defer d.origin.close()
	// Before the watch, which keeps things there too: one daemon a directory.
	if d.store, err = positions.Open(o.dataDir, log); err != nil {
		return dataDirHint(err)
	}
	defer d.store.Close()
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	events := d.origin.watcher.Watch(watching)
	first := <-events
	if first.Err != nil && !d.origin.waits {
		return configError(stderr, configFileHint(first.Err))
	}

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	admin, verifier, err := openAdmin(o, log)
	if err != nil {
		return err
	}
	d.admin = admin
	d.sup = pipeline.New(pipeline.Options{Log: log, Store: d.store, Registry: registry, Host: host, Version: ownVersion(), Revision: ownBuild().Commit, DataDir: o.dataDir,
		Refused: d.own.Check, CacheErr: d.origin.cacheErr})
	d.reporter = collector.NewReporter(collector.Options{Pipeline: d.sup, To: d.origin.collectors, Log: log,
		Node: collector.Node{Node: node, Version: ownVersion()}, Fleet: d.sup.Collectors})
	admin.serve(d.handler(registry, verifier), log)
	defer admin.close()
	return d.run(ctx, first, events, signals)
}

// canceled is a context that has ended: stop at once.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// configError tells every problem, a line each.
func configError(w io.Writer, err error) error {
	var problems config.Problems
	if !errors.As(err, &problems) {
		return err
	}
	fmt.Fprintln(w, problems)
	return failedError{}
}

func (d *running) run(ctx context.Context, first config.Event, events <-chan config.Event, signals <-chan os.Signal) error {
	saving, stopSaving := context.WithCancel(context.Background())
	defer stopSaving()
	go d.store.Run(saving)
	boundMemory(first.Config)
	if err := d.apply(first); err != nil && !d.origin.waits {
		d.sup.Stop(canceled())
		return err
	} else if err != nil {
		d.refused("there is no configuration yet", err)
	}
	banner(d.stderr, d.o, d.origin.from, first.Config, d.admin.describe())
	for _, w := range d.origin.warnings {
		d.log.Warn(w)
	}
	d.warn(&first)
	go keepSparing(saving)
	d.notify.ready(d.sup.Status())
	go d.notify.run(saving, d.sup)
	defer d.report()()
	for {
		select {
		case e, ok := <-events:
			if ok {
				d.change(e)
			} else {
				events = nil // only when ctx has ended
			}
		case s := <-signals:
			if s == unix.SIGHUP {
				d.notify.reloading()
				d.origin.watcher.Reload()
				continue
			}
			d.log.Info("stopping: sending what is queued", "signal", s.String(), "for_at_most", d.o.stopTimeout.String())
			return d.stop(signals)
		case <-ctx.Done():
			return d.stop(signals)
		}
	}
}

// report has this node report how it is, until what it returns is called.
func (d *running) report() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { d.reporter.Run(ctx) })
	return func() { cancel(); work.Wait() }
}

// apply makes what is for this node run. The files that its objects name are kept from
// sources before one can open them.
func (d *running) apply(e config.Event) error {
	if e.Config == nil {
		return d.sup.ApplyEvent(e)
	}
	named := e.Config.NamedFiles()
	d.own.Name(slices.Concat(d.named, named))
	e.Config = e.Config.ForNode(d.node)
	if err := d.sup.ApplyEvent(e); err != nil {
		return err
	}
	d.named = named
	d.own.Name(named)
	return nil
}

// change applies a new configuration, or says why it does not.
func (d *running) change(e config.Event) {
	if e.Reloaded {
		defer func() { d.notify.ready(d.sup.Status()) }()
	}
	if err := d.apply(e); err != nil {
		d.refused("the new configuration is refused, the old one goes on", err)
		return
	}
	boundMemory(e.Config)
	d.warn(&e)
	d.log.Info("configuration applied", "sources", len(e.Config.Sources), "targets", len(e.Config.Targets), "rejected", len(e.Rejected))
}

// refused says why a configuration does not run.
func (d *running) refused(what string, err error) {
	var problems config.Problems
	if !errors.As(err, &problems) {
		d.log.Error(what, "error", err)
		return
	}
	for i := range problems {
		d.log.Error(what, "reason", problems[i].String())
	}
}

// warn says what is odd in a configuration, and what it has to do without.
func (d *running) warn(e *config.Event) {
	if e.Config == nil {
		return
	}
	if e.Cached {
		d.log.Warn("etcd cannot be reached: the configuration is what it held last")
	}
	for _, w := range e.Config.Warnings() {
		d.log.Warn("configuration", "reason", w.String())
	}
	for _, r := range e.Rejected {
		d.log.Error("an object cannot be used, the others are", "kind", r.Kind, "name", r.Name, "reason", r.Reason)
	}
}

// stop ends reading, drains, and saves. A second signal ends the draining.
func (d *running) stop(signals <-chan os.Signal) error {
	d.notify.stopping()
	ctx, cancel := context.WithTimeout(context.Background(), d.o.stopTimeout)
	defer cancel()
	go func() {
		for s := range signals {
			if s != unix.SIGHUP {
				cancel()
			}
		}
	}()
	left := d.sup.Stop(ctx)
	if err := d.store.Save(); err != nil {
		return fmt.Errorf("saving the positions before the end: %w", err)
	}
	if left > 0 {
		d.log.Warn("stopped before every target had answered: the next start sends the rest", "records", left)
	}
	d.log.Info("stopped")
	return nil
}
