// Command lbshipd ships logs: journald and files in, Loki and syslog out.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/cmd/lbshipd/ctl"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/parse"
	"github.com/lbshipd/lbshipd/sinks/loki"
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

// failedError is an error that was told already: only the exit code is left.
type failedError struct{}

func (failedError) Error() string { return "failed" }

// exitError is an error that was told already and has an exit code of its own.
type exitError struct{ code int }

func (exitError) Error() string { return "failed" }

// usageError is a command line that cannot be meant.
type usageError struct{ error }

func main() {
	// Validation knows the built-in expressions without importing the parsers.
	for _, name := range parse.Names() {
		if short, ok := strings.CutPrefix(name, "regex:"); ok {
			config.BuiltinFormats = append(config.BuiltinFormats, short)
		}
	}
	loki.Version = ownVersion()
	os.Exit(execute(newRoot()))
}

// execute runs the command line and returns the exit code.
func execute(root *cobra.Command) int {
	asked, err := root.ExecuteContextC(context.Background())
	if err == nil {
		return 0
	}
	var exit exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	var ended ctl.ExitError
	if errors.As(err, &ended) {
		return ended.Code
	}
	if errors.As(err, new(failedError)) {
		return exitFailed
	}
	fmt.Fprintln(root.ErrOrStderr(), "lbshipd: "+screen.Lines(err.Error()+hint(err)))
	if errors.As(err, new(usageError)) || errors.As(err, new(ctl.UsageError)) {
		fmt.Fprintln(root.ErrOrStderr(), "See: "+asked.CommandPath()+" --help")
		return exitUsage
	}
	if errors.As(err, new(ctl.TroubleError)) {
		return ctl.ExitTrouble
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "lbshipd",
		Short:         "Ships logs from journald and files to Loki and syslog, losing nothing",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
	}
	// Not cobra's own --version, nor any text/template: with one of those in it the
	// linker keeps every method there is, 2 MB of them.
	version := root.Flags().BoolP("version", "v", false, "version for lbshipd")
	root.RunE = func(c *cobra.Command, _ []string) error {
		if !*version {
			return c.Help()
		}
		_, err := fmt.Fprintf(c.OutOrStdout(), "lbshipd %s\n", ownVersion())
		return err
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(unknownFlag)
	root.AddCommand(newRun(), newCheck(), newInspect(), newReplay(), newStatus(), newVersion())
	root.AddCommand(moreCommands()...)
	return root
}

// ctlOptions is what the commands that ask a daemon know of this program.
func ctlOptions() ctl.Options {
	return ctl.Options{Version: ownVersion(), Sockets: []string{"/run/lbshipd/admin.sock", filepath.Join(defaultDataDir(), "admin.sock"), "data/admin.sock"}}
}

// noArgs refuses arguments, as wrong usage.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		if why := leftOut(args[0]); why != "" {
			return usageError{fmt.Errorf("%s: %s", args[0], why)}
		}
		text := fmt.Sprintf("unknown command or argument %q for %q", args[0], c.CommandPath())
		c.SuggestionsMinimumDistance = 2
		if like := c.SuggestionsFor(args[0]); len(like) > 0 {
			text += fmt.Sprintf("; did you mean %q?", c.CommandPath()+" "+like[0])
		} else if c.Flags().Lookup("config") != nil {
			text += fmt.Sprintf("; did you mean %q?", "--config "+args[0])
		}
		return usageError{errors.New(text)}
	}
	return nil
}

// exactArgs wants n arguments, called what.
func exactArgs(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("%s takes %s", c.CommandPath(), what)}
		}
		return nil
	}
}
