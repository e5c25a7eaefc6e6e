package main

import (
	"bufio"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/sources/journald"
)

func newInspectJournal() *cobra.Command {
	var o journald.InspectOptions
	outputs := []string{"export", "json", "cat"}
	c := &cobra.Command{
		Use:   "journal [--directory D | --file F]... [FIELD=VALUE]...",
		Short: "Print journal entries through lbshipd's own reader",
		Long: `Print journal entries as journalctl of systemd 252 prints them, read by the
reader that ships them: byte for byte the same with -o export. Without
--directory and --file it is this machine's journal. What is damaged is
skipped, and named on standard error.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains(outputs, o.Output) {
				return usageError{fmt.Errorf("-o %q: want one of %v", o.Output, outputs)}
			}
			if len(o.Directories) > 0 && len(o.Files) > 0 {
				return usageError{fmt.Errorf("--directory and --file exclude each other")}
			}
			for _, match := range args {
				if !strings.Contains(match, "=") {
					return usageError{fmt.Errorf("%q: want FIELD=VALUE, as journalctl takes it", match)}
				}
			}
			o.Matches = args
			o.Log = slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
			w := bufio.NewWriterSize(c.OutOrStdout(), 64<<10)
			if err := journald.Inspect(c.Context(), w, o); err != nil {
				w.Flush()
				return err
			}
			return w.Flush()
		},
	}
	f := c.Flags()
	f.StringArrayVarP(&o.Directories, "directory", "D", nil, "directory of journal files; may be given several times")
	f.StringArrayVar(&o.Files, "file", nil, "journal file; may be given several times")
	f.StringArrayVarP(&o.Units, "unit", "u", nil, "only entries of, or about, this unit, as journalctl -u; may be given several times")
	f.StringArrayVarP(&o.Identifiers, "identifier", "t", nil, "only entries with this SYSLOG_IDENTIFIER; may be given several times")
	f.StringVar(&o.AfterCursor, "after-cursor", "", "only entries behind the one of this cursor, as journalctl's")
	f.StringVarP(&o.Output, "output", "o", "export", "export, json or cat, as journalctl -o")
	return c
}
