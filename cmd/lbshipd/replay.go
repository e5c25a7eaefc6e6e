package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/deadletters"
	"github.com/lbshipd/lbshipd/pipeline"
)

// exitLeft is replay's: letters are left.
const exitLeft = 3

type replayOptions struct {
	config, dataDir, target, to, reason string
	dryRun, keep                        bool
	timeout                             time.Duration
}

func newReplay() *cobra.Command {
	o := &replayOptions{}
	c := &cobra.Command{
		Use:   "replay --config FILE --target T",
		Short: "Send the records that a target refused once more",
		Long: `Send the dead letters of a target once more, as the records that they were:
with the same time, labels, line and metadata, to the same target or to another
one. What is delivered is removed; what is refused again stays, with the new
reason. The daemon may be running; what it keeps meanwhile is for the next
replay. A replay that is killed loses nothing; what it had sent last may be sent
twice.

Exit codes: 0 all letters that were asked for are delivered (or there were
none), 1 failed, 2 wrong usage, 3 letters are left: refused again, or the target
took nothing for --timeout.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case o.config == "":
				return usageError{errors.New("--config FILE is needed: it says how to reach the target")}
			case o.target == "":
				return usageError{errors.New("--target NAME is needed: whose letters are to be sent")}
			case o.timeout <= 0:
				return usageError{errors.New("--timeout must be above 0")}
			}
			return replay(c, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.config, "config", "", "configuration file with the target (YAML or JSON)")
	dataDirFlag(c, &o.dataDir)
	f.StringVar(&o.target, "target", "", "the target whose letters are sent")
	f.StringVar(&o.to, "to", "", "send them to this target of the configuration instead")
	f.StringVar(&o.reason, "reason", "", "only letters refused for this reason")
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would be sent, and send nothing")
	f.BoolVar(&o.keep, "keep", false, "leave the letters as they are, delivered or not")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long the target may take nothing before the rest is left")
	return c
}

func replay(c *cobra.Command, o *replayOptions) error {
	cfg, err := config.Load(o.config)
	if err != nil {
		return configError(c.ErrOrStderr(), configFileHint(err))
	}
	name := o.to
	if name == "" {
		name = o.target
	}
	to := findTarget(cfg, name)
	if to == nil {
		return hintedError{fmt.Errorf("%s has no target %q", o.config, name), "It has: " + orNone(targetNames(cfg)) + ". Send to another one with --to."}
	}
	if _, err := letterTargets(o.dataDir, o.target); err != nil {
		return err
	}
	if o.dryRun {
		return dryRun(c.OutOrStdout(), c.ErrOrStderr(), o, name)
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("finding this machine's name: %w", err)
	}
	ctx, stop := signal.NotifyContext(c.Context(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	signal.Ignore(unix.SIGPIPE)
	r := &pipeline.Replay{DataDir: o.dataDir, From: o.target, Config: cfg, To: to, Reason: o.reason, Keep: o.keep, Timeout: o.timeout,
		Log: slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn})), Host: host}
	res, err := r.Run(ctx)
	report(c.OutOrStdout(), o, name, &res)
	if err != nil {
		return letterHint(err)
	}
	if res.Err != nil {
		fmt.Fprintf(c.ErrOrStderr(), "lbshipd: target %q: %v\n", name, res.Err)
	}
	if res.Err != nil || len(res.Refused) > 0 || res.Left > 0 {
		return exitError{exitLeft}
	}
	return nil
}

func findTarget(cfg *config.Config, name string) *config.Target {
	for i := range cfg.Targets {
		if cfg.Targets[i].Name == name {
			return &cfg.Targets[i]
		}
	}
	return nil
}

func targetNames(cfg *config.Config) (names []string) {
	for i := range cfg.Targets {
		names = append(names, cfg.Targets[i].Name)
	}
	return names
}

// dryRun counts what would be sent, by reason.
func dryRun(w, stderr io.Writer, o *replayOptions, to string) error {
	byReason, all := map[string]int{}, 0
	err := deadletters.Read(o.dataDir, o.target, func(l *deadletters.Letter, _ []byte) error {
		if o.reason == "" || l.Reason == o.reason {
			byReason[l.Reason]++
			all++
		}
		return nil
	}, func(path string, l deadletters.Line) {
		fmt.Fprintf(stderr, "%s:%d: would be skipped: %v\n", path, l.Number, l.Err)
	})
	if err != nil {
		return letterHint(err)
	}
	fmt.Fprintf(w, "would send %s of target %s to %s\n", screen.Count(all, "letter"), o.target, to)
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		fmt.Fprintf(w, "  %s: %d\n", reason, byReason[reason])
	}
	return nil
}

// report says what a replay did.
func report(w io.Writer, o *replayOptions, to string, r *pipeline.Replayed) {
	again := 0
	for _, n := range r.Refused {
		again += n
	}
	var more []string
	add := func(n int, what string) {
		if n > 0 {
			more = append(more, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(again, "refused again")
	add(r.Left, "left")
	add(r.Other, "of other reasons")
	add(r.Repeats, "repeated and not sent")
	add(r.Damaged, "damaged and skipped")
	text := ""
	if len(more) > 0 {
		text = "; " + strings.Join(more, ", ")
	}
	fmt.Fprintf(w, "delivered %s of target %s to %s%s\n", screen.Count(r.Delivered, "letter"), o.target, to, text)
	for _, reason := range slices.Sorted(maps.Keys(r.Refused)) {
		fmt.Fprintf(w, "  refused again: %s: %d: %s\n", reason, r.Refused[reason], harmless(r.Details[reason]))
	}
}
