package pipeline

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/sinks"
)

// TestOptions say on whose behalf a target is tested.
type TestOptions struct {
	Host string // this node's name
	By   string // who asked for it, for the record that is sent; empty: nobody says
	Dir  string // the folder that relative paths are relative to
	// NoRecord leaves out the record: nothing is stored anywhere.
	NoRecord bool
	// Read reads the files that the target and its bundle name; nil: config.ReadFile.
	Read func(path string, limit int64) ([]byte, fs.FileMode, error)
}

// TestTarget tests a target that is valid and has its defaults, enabled or not,
// with connections of its own: nothing that runs is touched. bundle is the TLS bundle that
// the target names, nil if it names none; files that either names are read. How long it may take is
// the target's timeout for each of up to 6 steps, of all addresses at once; ctx ends it sooner.
func TestTarget(ctx context.Context, t *config.Target, bundle *config.TLSBundle, o TestOptions) sinks.TestReport {
	fails := func(format string, args ...any) sinks.TestReport {
		return sinks.NewTestReport([]sinks.Step{{Name: sinks.StepConfig, Message: fmt.Sprintf(format, args...)}})
	}
	if name := t.BundleName(); name != "" && bundle == nil {
		return fails("there is no TLS bundle %q", name)
	}
	t, bundle, err := withFiles(t, bundle, &o)
	if err != nil {
		return fails("%v", err)
	}
	sink, kind, err := newSink(t, sinks.Deps{Log: slog.New(slog.DiscardHandler), Host: o.Host, Bundle: bundle,
		Request: func(time.Duration, string) {}, Note: func(string, int) {}})
	if err != nil {
		return fails("%v", err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainOnChange)
		defer cancel()
		_ = sink.Close(closing) // it has sent what it had
	}()
	tester, ok := sink.(sinks.Tester)
	if !ok {
		return fails("targets of kind %s cannot be tested", kind)
	}
	if o.NoRecord {
		return sinks.NewTestReport(tester.Probe(ctx))
	}
	return sinks.NewTestReport(tester.Test(ctx, o.By))
}

// withFiles reads the files that a target and its bundle name.
func withFiles(t *config.Target, bundle *config.TLSBundle, o *TestOptions) (*config.Target, *config.TLSBundle, error) {
	cfg := &config.Config{Targets: []config.Target{*t}}
	if bundle != nil {
		cfg.TLSBundles = []config.TLSBundle{*bundle}
	}
	read := o.Read
	if read == nil {
		read = config.ReadFile
	}
	cfg, rejected := cfg.ResolveEach(o.Dir, read)
	if len(rejected) > 0 {
		r := &rejected[0]
		return nil, nil, fmt.Errorf("%s %q cannot be used: %s", r.Kind, r.Name, r.Reason)
	}
	return &cfg.Targets[0], cfg.TLSBundle(&cfg.Targets[0]), nil
}
