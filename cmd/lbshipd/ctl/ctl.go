// Package ctl holds the commands that ask a daemon, this node's or any other's:
// lbshipd get, apply, edit and so on. Flags in, requests out; what is right and
// what is wrong is for the daemon to say.
package ctl

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// UsageError is a command line that cannot be meant.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }
func (e UsageError) Unwrap() error { return e.Err }

func usage(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// ExitError is an end that needs no more words: what there was to say is said.
type ExitError struct{ Code int }

func (e ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// TroubleError is an error of a command whose exit code 1 says something else: it ends with ExitTrouble.
type TroubleError struct{ Err error }

func (e TroubleError) Error() string { return e.Err.Error() }
func (e TroubleError) Unwrap() error { return e.Err }

// ExitTrouble is the exit code of a TroubleError.
const ExitTrouble = 2

// hinted is an error of which it is known what to do about it.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }

// Hint says what to do about it.
func (e hinted) Hint() string { return e.hint }

// Options are what the commands need to know of the program that they are in.
type Options struct {
	// Version of the program.
	Version string
	// Sockets are where a daemon of this machine may listen, the likeliest first.
	Sockets []string
}

// Commands returns the commands.
func Commands(o Options) []*cobra.Command {
	list := []*cobra.Command{
		newGet(o), newCreate(o), newUpdate(o), newDelete(o), newApply(o), newDiff(o), newEdit(o),
		newSwitch(o, "enable", true), newSwitch(o, "disable", false),
		newTest(o), newHistory(o), newRollback(o), newWhoAmI(o), newCompletion(), newMan(),
	}
	for _, c := range list {
		groupFlags(c)
	}
	return list
}

// groupFlags has a command and those below it show their flags in groups.
func groupFlags(c *cobra.Command) {
	c.SetUsageFunc(printUsage)
	for _, sub := range c.Commands() {
		groupFlags(sub)
	}
}

// printUsage is cobra's, with the flags of the connection apart.
func printUsage(c *cobra.Command) error {
	var b strings.Builder
	b.WriteString("Usage:\n")
	if c.Runnable() {
		fmt.Fprintf(&b, "  %s\n", c.UseLine())
	}
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s [command]\n\nCommands:\n", c.CommandPath())
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, "  %-*s  %s\n", sub.NamePadding(), sub.Name(), sub.Short)
			}
		}
	}
	if c.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", c.Example)
	}
	own, connection := SplitFlags(c.LocalFlags())
	if own.HasAvailableFlags() {
		fmt.Fprintf(&b, "\nFlags:\n%s", own.FlagUsagesWrapped(wrapAt))
	}
	if connection.HasAvailableFlags() {
		fmt.Fprintf(&b, "\nWhich daemon, and as whom:\n%s", connection.FlagUsagesWrapped(wrapAt))
	}
	_, err := fmt.Fprint(c.OutOrStderr(), b.String())
	return err
}

// wrapAt is the width of help, in letters.
const wrapAt = 100

// exactly wants n arguments, called what.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usage("%s takes %s", c.CommandPath(), what)
		}
		return nil
	}
}

// group refuses what is no command of a group of commands.
func group(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	text := fmt.Sprintf("unknown kind %q for %q", args[0], c.CommandPath())
	c.SuggestionsMinimumDistance = 2
	if like := c.SuggestionsFor(args[0]); len(like) > 0 {
		text += fmt.Sprintf("; did you mean %q?", c.CommandPath()+" "+like[0])
	}
	return UsageError{errors.New(text)}
}

// interruptible ends the command's context at the first Ctrl-C.
func interruptible(c *cobra.Command) (stop func()) {
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, unix.SIGTERM)
	c.SetContext(ctx)
	return stop
}
