package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/deadletters"
)

func newInspectDeadLetters() *cobra.Command {
	var dir, target, reason, output string
	c := &cobra.Command{
		Use:   "dead-letters",
		Short: "Print the records that targets refused for good",
		Long: `Print the records that targets with deadLetters refused for good, target by
target, oldest first. The daemon and a replay may be running; files are only
read. A letter that stands there twice (after a crash) is printed once. What is
damaged is skipped, and named on standard error with its file and line.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return usageError{fmt.Errorf("-o %q: want text or json", output)}
			}
			targets, err := letterTargets(dir, target)
			if err != nil {
				return err
			}
			w := bufio.NewWriterSize(c.OutOrStdout(), 64<<10)
			for _, name := range targets {
				err := deadletters.Read(dir, name, func(l *deadletters.Letter, raw []byte) error {
					if reason != "" && l.Reason != reason {
						return nil
					}
					if output == "json" {
						_, err := w.Write(raw)
						return err
					}
					return printLetter(w, l)
				}, func(path string, l deadletters.Line) {
					fmt.Fprintf(c.ErrOrStderr(), "%s:%d: skipped: %v\n", path, l.Number, l.Err)
				})
				if err != nil {
					w.Flush()
					return letterHint(err)
				}
			}
			return w.Flush()
		},
	}
	dataDirFlag(c, &dir)
	f := c.Flags()
	f.StringVar(&target, "target", "", "only letters of this target")
	f.StringVar(&reason, "reason", "", "only letters refused for this reason, such as too_far_behind")
	f.StringVarP(&output, "output", "o", "text", "text for people, or json: the letters as they are kept")
	return c
}

// letterTargets lists the targets to look at: the one that was asked for, which
// must have letters, or all.
func letterTargets(dir, target string) ([]string, error) {
	all, err := deadletters.Targets(dir)
	if err != nil {
		return nil, letterHint(err)
	}
	if target == "" {
		return all, nil
	}
	if !slices.Contains(all, target) {
		return nil, hintedError{fmt.Errorf("there are no dead letters of target %q in %s", target, dir),
			"Letters are kept for targets with deadLetters, in the daemon's --data-dir. There are some of: " + orNone(all) + "."}
	}
	return []string{target}, nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "no target"
	}
	return strings.Join(names, ", ")
}

func letterHint(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return hintedError{err, permissionHint("the data directory")}
	}
	return err
}

// printLetter prints two lines for people: the record, and why it was refused.
func printLetter(w *bufio.Writer, l *deadletters.Letter) error {
	unit := ""
	if l.Unit != nil {
		unit = " " + harmless(*l.Unit)
	}
	fmt.Fprintf(w, "%s %s%s %s: %s\n", l.Time.Format(time.RFC3339Nano), harmless(l.Source), unit, l.Level, harmless(string(l.LineBytes())))
	_, err := fmt.Fprintf(w, "    refused by %s at %s: %s: %s\n", harmless(l.Target), l.Refused.Format(time.RFC3339), harmless(l.Reason), harmless(l.Detail))
	return err
}

// harmless shows what is not printable as Go writes it: \x1b, \n, \xff.
func harmless(s string) string {
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
