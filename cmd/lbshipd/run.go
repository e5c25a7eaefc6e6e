package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/admin"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/config/filestore"
	"github.com/lbshipd/lbshipd/internal/ratelog"
	"github.com/lbshipd/lbshipd/pipeline"
	"github.com/lbshipd/lbshipd/positions"
)

//go:embed default.yaml
var defaultConfig []byte

// oneCauseEvery is how often one cause of trouble may speak in our own log.
const oneCauseEvery = 30 * time.Second

type runOptions struct {
	config      string
	dataDir     string
	listen      string
	logFormat   string
	logLevel    string
	stopTimeout time.Duration
}

func newRun() *cobra.Command {
	o := &runOptions{}
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon",
		Long: `Run the daemon: read the sources and ship them to the targets of the
configuration file, which is watched and applied again whenever it changes (and
on SIGHUP). Without a configuration file this machine's journal and
/var/log/*.log are printed to standard output.

SIGTERM and SIGINT stop it: it reads no more, sends what is queued, saves its
positions and exits with 0. A second one stops it at once.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runDaemon(c.Context(), o, c.ErrOrStderr()) },
	}
	f := c.Flags()
	f.StringVar(&o.config, "config", "", "configuration file (YAML or JSON)")
	dataDirFlag(c, &o.dataDir)
	f.StringVar(&o.listen, "listen", "127.0.0.1:9600", "address of the admin port (metrics, health); off for none")
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
	sup    *pipeline.Supervisor
	store  *positions.Store
	notify notifier
	admin  net.Listener // nil if off
}

// gcPercent is how much the heap may grow over what lives in it, in percent;
// the environment variable GOGC wins.
const gcPercent = 50

func runDaemon(ctx context.Context, o *runOptions, stderr io.Writer) error {
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

	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	events, reload, err := configurations(watching, o, log)
	if err != nil {
		return err
	}
	first := <-events
	if first.Err != nil {
		return configError(stderr, configFileHint(first.Err))
	}

	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("finding this machine's name: %w", err)
	}
	store, err := positions.Open(o.dataDir, log)
	if err != nil {
		return dataDirHint(err)
	}
	defer store.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	d := &running{o: o, log: log, stderr: stderr, store: store, notify: notifier{log}}
	d.sup = pipeline.New(pipeline.Options{Log: log, Store: store, Registry: registry, Host: host, Version: ownVersion(), DataDir: o.dataDir})
	if err := d.listen(registry); err != nil {
		d.sup.Stop(canceled())
		return err
	}
	return d.run(ctx, first, events, reload, signals)
}

// canceled is a context that has ended: stop at once.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// configurations returns the channel of configurations and what SIGHUP does.
func configurations(ctx context.Context, o *runOptions, log *slog.Logger) (<-chan filestore.Event, func(), error) {
	if o.config == "" {
		cfg, err := config.Parse("default.yaml", defaultConfig)
		if err != nil {
			return nil, nil, err
		}
		events := make(chan filestore.Event, 1)
		events <- filestore.Event{Config: cfg}
		return events, func() { log.Info("there is no configuration file to read again") }, nil
	}
	store, err := filestore.Open(o.config, log)
	if err != nil {
		return nil, nil, err
	}
	return store.Watch(ctx), store.Reload, nil
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

func (d *running) listen(registry *prometheus.Registry) error {
	if d.o.listen == "off" {
		return nil
	}
	var err error
	if d.admin, err = net.Listen("tcp", d.o.listen); err != nil {
		return listenHint(fmt.Errorf("opening the admin port (--listen): %w", err))
	}
	server := admin.NewServer(d.sup, registry, ownVersion())
	server.ErrorLog = slog.NewLogLogger(d.log.Handler(), slog.LevelWarn)
	go func() {
		if err := server.Serve(d.admin); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			d.log.Error("the admin port has failed", "error", err)
		}
	}()
	return nil
}

func (d *running) run(ctx context.Context, first filestore.Event, events <-chan filestore.Event, reload func(), signals <-chan os.Signal) error {
	saving, stopSaving := context.WithCancel(context.Background())
	defer stopSaving()
	go d.store.Run(saving)
	boundMemory(first.Config)
	if err := d.sup.Apply(first.Config); err != nil {
		d.sup.Stop(canceled())
		return err
	}
	address := "off"
	if d.admin != nil {
		defer d.admin.Close()
		address = "http://" + d.admin.Addr().String() + "/metrics, /-/ready, /-/healthy, /status, /version"
	}
	banner(d.stderr, d.o, first.Config, address)
	d.warn(first.Config)
	d.notify.ready(d.sup.Status())
	go d.notify.run(saving, d.sup)
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
				reload()
				if d.o.config == "" {
					d.notify.ready(d.sup.Status())
				}
				continue
			}
			d.log.Info("stopping: sending what is queued", "signal", s.String(), "for_at_most", d.o.stopTimeout.String())
			return d.stop(signals)
		case <-ctx.Done():
			return d.stop(signals)
		}
	}
}

// change applies a new configuration, or says why it does not.
func (d *running) change(e filestore.Event) {
	if e.Reloaded {
		defer func() { d.notify.ready(d.sup.Status()) }()
	}
	err := e.Err
	if err == nil {
		err = d.sup.Apply(e.Config)
	} else {
		d.sup.Refuse(err)
	}
	if err == nil {
		boundMemory(e.Config)
		d.warn(e.Config)
		d.log.Info("configuration applied", "sources", len(e.Config.Sources), "targets", len(e.Config.Targets))
		return
	}
	var problems config.Problems
	if !errors.As(err, &problems) {
		d.log.Error("the new configuration is refused, the old one goes on", "error", err)
		return
	}
	for i := range problems {
		d.log.Error("the new configuration is refused, the old one goes on", "reason", problems[i].String())
	}
}

func (d *running) warn(cfg *config.Config) {
	for _, w := range cfg.Warnings() {
		d.log.Warn("configuration", "reason", w.String())
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
