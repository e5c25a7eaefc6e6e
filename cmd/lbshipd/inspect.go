package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
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
	var dir, output string
	c := &cobra.Command{
		Use:   "positions",
		Short: "Print how far each target has answered for each input",
		Long: `Print how far each target has answered for each input: the positions from
which a restart goes on. The daemon may be running; its file is only read.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return usageError{fmt.Errorf("-o %q: want text or json", output)}
			}
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
			// Without an input it is the mark that a source was seen.
			entries = slices.DeleteFunc(entries, func(e positions.Entry) bool { return e.Input == "" })
			if output == "json" {
				return positionsAsJSON(c.OutOrStdout(), entries)
			}
			return positions.WriteText(c.OutOrStdout(), entries)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "text", "text, or json: one object a line; an empty position is the beginning")
	dataDirFlag(c, &dir)
	return c
}

func positionsAsJSON(w io.Writer, entries []positions.Entry) error {
	out := json.NewEncoder(w)
	for _, e := range entries {
		if err := out.Encode(struct {
			Source   string    `json:"source"`
			Target   string    `json:"target"`
			Updated  time.Time `json:"updated"`
			Input    string    `json:"input"`
			Position string    `json:"position"`
		}{e.Source, e.Target, time.Unix(e.Updated, 0).UTC(), e.Input, string(e.Position)}); err != nil {
			return err
		}
	}
	return nil
}
