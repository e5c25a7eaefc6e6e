package positions

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// WriteText writes positions as a table for people.
func WriteText(w io.Writer, entries []Entry) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SOURCE\tTARGET\tUPDATED\tINPUT\tPOSITION")
	for _, e := range entries {
		pos := cmp.Or(string(e.Position), "(beginning)")
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", e.Source, e.Target, time.Unix(e.Updated, 0).UTC().Format(time.RFC3339), e.Input, pos)
	}
	return t.Flush()
}
