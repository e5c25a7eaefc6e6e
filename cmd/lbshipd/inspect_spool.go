package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/spool"
)

// spoolOptions are the flags of inspect spool.
type spoolOptions struct {
	dir, target, output string
	verify, records     bool
}

func newInspectSpool() *cobra.Command {
	var o spoolOptions
	c := &cobra.Command{
		Use:   "spool",
		Short: "Print what the spools of targets hold, and verify them",
		Long: `Print the segments of each target's spool: what they hold, from when it is,
and how far the target has answered. With --verify every byte is held against
its checksum, with --records the records that are not answered are printed.
The daemon may be running; files are only read.

The exit code is 1 if anything is damaged or missing.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.output != "text" && o.output != "json" {
				return usageError{fmt.Errorf("-o %q: want text or json", o.output)}
			}
			return o.run(c)
		},
	}
	dataDirFlag(c, &o.dir)
	f := c.Flags()
	f.StringVar(&o.target, "target", "", "only the spool of this target")
	f.BoolVar(&o.verify, "verify", false, "verify every checksum, and not only that nothing is missing")
	f.BoolVar(&o.records, "records", false, "print the records that the target has not answered for")
	f.StringVarP(&o.output, "output", "o", "text", "text, or json: one object a line")
	return c
}

func (o *spoolOptions) run(c *cobra.Command) error {
	targets, err := spool.Targets(filepath.Join(o.dir, "spool"))
	if errors.Is(err, fs.ErrPermission) {
		return hintedError{err, permissionHint("the data directory")}
	}
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(c.OutOrStdout(), 64<<10)
	defer w.Flush()
	damaged, found := false, false
	for _, target := range targets {
		if o.target != "" && o.target != target {
			continue
		}
		found = true
		rep, err := o.one(w, target)
		if err != nil {
			return err
		}
		damaged = damaged || rep.Damaged()
	}
	if o.target != "" && !found {
		return hintedError{fmt.Errorf("there is no spool of target %q in %s", o.target, o.dir),
			"Targets with spool have one, in the daemon's --data-dir. There are some of: " + orNone(targets) + "."}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if damaged {
		return failedError{}
	}
	return nil
}

// one prints one spool.
func (o *spoolOptions) one(w *bufio.Writer, target string) (spool.Report, error) {
	var visit func(*record.Batch, spool.Given)
	var failed error
	if o.records {
		visit = func(b *record.Batch, g spool.Given) {
			for i := range b.Records {
				if err := o.record(w, target, b, &b.Records[i], g.Appended); err != nil {
					failed = err
				}
			}
		}
	}
	rep, err := spool.Inspect(filepath.Join(o.dir, "spool", target), o.verify, visit)
	if err == nil {
		err = failed
	}
	if err != nil {
		return rep, err
	}
	if o.output == "json" {
		return rep, json.NewEncoder(w).Encode(struct {
			Target string `json:"target"`
			spool.Report
		}{target, rep})
	}
	return rep, printSpool(w, target, &rep)
}

// spoolRecord is one record as JSON.
type spoolRecord struct {
	Target  string    `json:"target"`
	Source  string    `json:"source"`
	Input   string    `json:"input"`
	Path    string    `json:"path,omitempty"`
	Spooled time.Time `json:"spooled"`
	Time    time.Time `json:"time"`
	Level   string    `json:"level"`
	Line    string    `json:"line"` // bytes that are not UTF-8 as U+FFFD
}

func (o *spoolOptions) record(w *bufio.Writer, target string, b *record.Batch, r *record.Record, spooled time.Time) error {
	at := time.Unix(0, r.Time).UTC()
	if o.output == "json" {
		return json.NewEncoder(w).Encode(spoolRecord{target, b.Origin.Source, b.Origin.Input, b.Origin.Path, spooled.UTC(), at,
			r.Level.String(), strings.ToValidUTF8(string(r.Line), "\ufffd")})
	}
	_, err := fmt.Fprintf(w, "%s %s %s: %s\n", at.Format(time.RFC3339Nano), harmless(b.Origin.Source), r.Level, harmless(string(r.Line)))
	return err
}

func printSpool(w *bufio.Writer, target string, rep *spool.Report) error {
	fmt.Fprintf(w, "%s: %d records not answered, %d bytes, answered up to frame %d\n", target, rep.Unanswered, rep.Bytes, rep.Answered)
	if len(rep.Segments) > 0 {
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "  SEGMENT\tBYTES\tFRAMES\tRECORDS\tOLDEST\tNEWEST")
		for _, s := range rep.Segments {
			fmt.Fprintf(tw, "  %s\t%d\t%d\t%d\t%s\t%s\n", s.Name, s.Bytes, s.Frames, s.Records, stamp(s.Oldest), stamp(s.Newest))
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	for _, s := range rep.Segments {
		for _, d := range s.Damage {
			fmt.Fprintf(w, "  damaged: %s: %s\n", s.Name, d)
		}
	}
	for _, d := range rep.Damage {
		fmt.Fprintf(w, "  damaged: %s\n", d)
	}
	for _, name := range rep.Aside {
		fmt.Fprintf(w, "  set aside: %s\n", harmless(name))
	}
	return nil
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-" // all of it is answered
	}
	return t.UTC().Format(time.RFC3339)
}
