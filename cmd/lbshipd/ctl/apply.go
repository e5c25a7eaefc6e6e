package ctl

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
)

type applyOptions struct {
	*Connection
	files     []string
	recursive bool
	prune     bool
	how       client.Write
	out       *output
}

func (a *applyOptions) add(c *cobra.Command, o Options) {
	f := c.Flags()
	f.StringSliceVarP(&a.files, "filename", "f", nil, "file, directory (its *.yaml, *.yml and *.json) or - for standard input; may be given several times")
	f.BoolVarP(&a.recursive, "recursive", "R", false, "directories with all that is in them")
	f.BoolVar(&a.prune, "prune", false, "also delete what the files do not hold, of those kinds that they have a list of ([] for an empty one)")
	a.Connection = NewConnection(c, o)
	if err := c.MarkFlagFilename("filename", "yaml", "yml", "json"); err != nil {
		panic(err) // no such flag: a mistake in this program
	}
}

// filesOnly refuses arguments, which are likely meant as files.
func filesOnly(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("unknown argument %q for %q; did you mean %q?", args[0], c.CommandPath(), "-f "+args[0])
	}
	return nil
}

func newApply(o Options) *cobra.Command {
	a := &applyOptions{}
	c := &cobra.Command{
		Use:   "apply -f FILE|DIR|-...",
		Short: "Make the objects be what files say, all in one step",
		Long: `Make the objects be what files say: YAML or JSON with the lists of a configuration
file (sources, targets, tlsBundles, formats, services), several documents to a file
if you like. All of it is done in one step, or nothing is; what changes is shown.
Objects that the files do not hold stay as they are, unless --prune is given.`,
		Example: "  lbshipd apply -f logging.yaml\n  lbshipd apply -f /etc/logging/ --prune --dry-run\n  generate | lbshipd apply -f -",
		Args:    filesOnly,
	}
	a.add(c, o)
	addHow(c, &a.how)
	a.out = addOutput(c, outMessage, outJSON, outYAML)
	c.RunE = func(c *cobra.Command, _ []string) error {
		_, err := a.run(c)
		return err
	}
	return c
}

func newDiff(o Options) *cobra.Command {
	a := &applyOptions{how: client.Write{DryRun: true}}
	c := &cobra.Command{
		Use:   "diff -f FILE|DIR|-...",
		Short: "Show what lbshipd apply would change",
		Long: `Show what lbshipd apply would change, and change nothing. Secrets that differ are
shown as changed, never as what they are.

The exit code is that of diff(1): 0 if nothing would change, 1 if something would,
and 2 if that cannot be said: the daemon does not answer, or refuses, or the
command line or a file is wrong.`,
		Example: "  lbshipd diff -f logging.yaml",
		Args:    filesOnly,
	}
	a.add(c, o)
	a.out = addOutput(c, outMessage, outJSON, outYAML)
	c.RunE = func(c *cobra.Command, _ []string) error {
		done, err := a.run(c)
		switch {
		case err != nil:
			return TroubleError{err}
		case len(done.Changes) > 0:
			return ExitError{1}
		}
		return nil
	}
	return c
}

func (a *applyOptions) run(c *cobra.Command) (client.Applied, error) {
	var done client.Applied
	if err := a.out.check(); err != nil {
		return done, err
	}
	if len(a.files) == 0 {
		return done, usage("-f FILE, DIRECTORY or - is needed")
	}
	api, err := a.Client(c.ErrOrStderr())
	if err != nil {
		return done, err
	}
	body, err := readAllFiles(a.files, a.recursive, a.prune, c.InOrStdin())
	if err != nil {
		return done, err
	}
	done, err = api.Apply(c.Context(), body, a.prune, a.how)
	if err != nil {
		return done, err
	}
	return done, printApplied(c, a.out, done, a.how.DryRun)
}

// printApplied says what several changes have done.
func printApplied(c *cobra.Command, out *output, done client.Applied, dryRun bool) error {
	for _, warning := range done.Warnings {
		fmt.Fprintln(c.ErrOrStderr(), "warning: "+screen.OneLine(warning.String()))
	}
	w := c.OutOrStdout()
	if out.structured() {
		return out.printValue(w, done)
	}
	if len(done.Changes) == 0 {
		_, err := fmt.Fprintln(w, "nothing changes")
		return err
	}
	for _, change := range done.Changes {
		fmt.Fprintf(w, "%s %s%s\n", screen.OneLine(ref{change.Kind, change.Name}.String()), screen.OneLine(past(change.Action)), dryRunNote(dryRun))
		printDiff(w, change.Diff)
	}
	return nil
}

// past writes create as created.
func past(action string) string { return strings.TrimSuffix(action, "e") + "ed" }

// printDiff writes a diff, in colours on a terminal.
func printDiff(w io.Writer, diff string) {
	colours := isTerminal(w) && os.Getenv("NO_COLOR") == ""
	for line := range strings.Lines(screen.Lines(diff)) {
		line = strings.TrimRight(line, "\n")
		if colour, ok := map[byte]string{'+': "\x1b[32m", '-': "\x1b[31m", '@': "\x1b[36m"}[first(line)]; ok && colours {
			line = colour + line + "\x1b[0m"
		}
		fmt.Fprintf(w, "  %s\n", line)
	}
}

func first(line string) byte {
	if line == "" {
		return 0
	}
	return line[0]
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
