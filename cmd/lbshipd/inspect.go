package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/positions"
)

func newInspect() *cobra.Command {
	c := &cobra.Command{
		Use:   "inspect",
		Short: "Look into journals and into lbshipd's own files",
		Args:  noArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newInspectJournal(), newInspectPositions(), newInspectDeadLetters(), newInspectSpool())
	return c
}

func newInspectPositions() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "positions",
		Short: "Print how far each target has answered for each input",
		Long: `Print how far each target has answered for each input: the positions from
which a restart goes on. The daemon may be running; its file is only read.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			entries, err := positions.ReadDir(dir)
			if errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("%s holds no positions: has lbshipd run with --data-dir %s?", filepath.Clean(dir), dir)
			}
			if errors.Is(err, os.ErrPermission) {
				return hintedError{err, permissionHint("the data directory")}
			}
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "SOURCE\tTARGET\tUPDATED\tINPUT\tPOSITION")
			for _, e := range entries {
				if e.Input == "" {
					continue // the mark that a source was seen
				}
				pos := string(e.Position)
				if pos == "" {
					pos = "(beginning)"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.Source, e.Target, time.Unix(e.Updated, 0).UTC().Format(time.RFC3339), e.Input, pos)
			}
			return w.Flush()
		},
	}
	dataDirFlag(c, &dir)
	return c
}
