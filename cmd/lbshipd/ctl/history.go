package ctl

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
	"github.com/lbshipd/lbshipd/config"
)

type historyOptions struct {
	*Connection
	out       *output
	noHeaders bool
}

func newHistory(o Options) *cobra.Command {
	h := &historyOptions{}
	c := &cobra.Command{
		Use:   "history [ID]",
		Short: "Show who has changed what, and when",
		Long: `Show the last changes (at most 50), newest first; with an ID what that one has
changed. Secrets are shown as changed, never as what they are.`,
		Example: "  lbshipd history\n  lbshipd history 42",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("%s takes one ID at most", c.CommandPath())
			}
			return checkID(args)
		},
		ValidArgsFunction: completeRevisions(o),
	}
	h.out = addOutput(c, outTable, outWide, outJSON, outYAML)
	c.Flags().BoolVar(&h.noHeaders, "no-headers", false, "leave out the titles of columns")
	h.Connection = NewConnection(c, o)
	c.RunE = h.run
	return c
}

// checkID checks the ID of a revision, if there is one.
func checkID(args []string) error {
	if len(args) > 0 {
		if id, err := strconv.ParseInt(args[0], 10, 64); err != nil || id <= 0 {
			return usage("%q is no ID of a change: lbshipd history lists them", args[0])
		}
	}
	return nil
}

func (h *historyOptions) run(c *cobra.Command, args []string) error {
	if err := h.out.check(); err != nil {
		return err
	}
	api, err := h.Client(c.ErrOrStderr())
	if err != nil {
		return err
	}
	revisions, err := api.History(c.Context())
	if err != nil {
		return err
	}
	if len(args) == 1 {
		return h.one(c, revisions, args[0])
	}
	if h.out.structured() {
		return h.out.printValue(c.OutOrStdout(), map[string]any{"revisions": append([]config.Revision{}, revisions...)})
	}
	if len(revisions) == 0 {
		fmt.Fprintln(c.ErrOrStderr(), "Nothing has been changed yet.")
		return nil
	}
	t := &screen.Table{Cut: cutCells}
	if h.out.form == outWide {
		t.Cut = 0
	}
	if !h.noHeaders {
		t.Add("ID", "TIME", "WHO", "CHANGES")
	}
	for i := range revisions {
		r := &revisions[i]
		t.Add(strconv.FormatInt(r.ID, 10), r.Time.UTC().Format(time.RFC3339), who(r), changesText(r))
	}
	return t.Flush(c.OutOrStdout())
}

// one shows what one revision has changed.
func (h *historyOptions) one(c *cobra.Command, revisions []config.Revision, id string) error {
	for i := range revisions {
		r := &revisions[i]
		if strconv.FormatInt(r.ID, 10) != id {
			continue
		}
		w := c.OutOrStdout()
		if h.out.structured() {
			return h.out.printValue(w, r)
		}
		fmt.Fprintf(w, "%d: %s by %s\n", r.ID, r.Time.UTC().Format(time.RFC3339), screen.OneLine(who(r)))
		if r.Reason != "" {
			fmt.Fprintf(w, "reason: %s\n", screen.OneLine(r.Reason))
		}
		for _, change := range r.Changes {
			fmt.Fprintf(w, "\n%s %s\n", screen.OneLine(ref{change.Kind, change.Name}.String()), screen.OneLine(past(change.Action)))
			printDiff(w, change.Diff)
		}
		return nil
	}
	return hinted{fmt.Errorf("change %s is not known, or not any more", id), "lbshipd history lists those that are."}
}

func who(r *config.Revision) string {
	if r.Via == "" {
		return r.Author
	}
	return r.Author + " (" + r.Via + ")"
}

func changesText(r *config.Revision) string {
	var parts []string
	for _, change := range r.Changes {
		parts = append(parts, past(change.Action)+" "+ref{change.Kind, change.Name}.String())
	}
	text := strings.Join(parts, ", ")
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	return text
}

type rollbackOptions struct {
	*Connection
	how client.Write
	out *output
}

func newRollback(o Options) *cobra.Command {
	r := &rollbackOptions{}
	c := &cobra.Command{
		Use:   "rollback ID",
		Short: "Make all objects what they were just after a change",
		Long: `Make all objects what they were just after the change ID, which lbshipd history
lists. That is a change of its own, which can be rolled back as well.`,
		Example: "  lbshipd rollback 41 --dry-run",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("%s takes one ID: lbshipd history lists them", c.CommandPath())
			}
			return checkID(args)
		},
		ValidArgsFunction: completeRevisions(o),
	}
	addHow(c, &r.how)
	r.out = addOutput(c, outMessage, outJSON, outYAML)
	r.Connection = NewConnection(c, o)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := r.out.check(); err != nil {
			return err
		}
		api, err := r.Client(c.ErrOrStderr())
		if err != nil {
			return err
		}
		id, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil {
			return err
		}
		done, err := api.Rollback(c.Context(), id, r.how)
		if client.NotFound(err) {
			return hinted{fmt.Errorf("change %d is not known, or not any more", id), "lbshipd history lists those that are."}
		}
		if err != nil {
			return err
		}
		return printApplied(c, r.out, done, r.how.DryRun)
	}
	return c
}
