package ctl

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/config"
)

type deleteOptions struct {
	*Connection
	how           client.Write
	ignoreMissing bool
}

func newDelete(o Options) *cobra.Command {
	d := &deleteOptions{}
	c := &cobra.Command{
		Use:   "delete KIND NAME...",
		Short: "Delete sources, targets, TLS bundles, formats, services, or nodes that are gone",
		Long: `Delete objects. One that another one names cannot be deleted before that one. A
collector that is deleted is forgotten; it comes back if its node still runs.`,
		Example: "  lbshipd delete target siem\n  lbshipd delete source/app format/app\n  lbshipd delete collector node-7",
		Args: func(_ *cobra.Command, args []string) error {
			refs, err := parseRefs(args, kindCollector)
			if err == nil && len(refs) == 0 {
				err = usage("delete %s takes a NAME, or several", args[0])
			}
			return err
		},
		ValidArgsFunction: completeRefs(o, kindCollector),
	}
	addHow(c, &d.how)
	c.Flags().BoolVar(&d.ignoreMissing, "ignore-missing", false, "what is not there already is no error")
	d.Connection = NewConnection(c, o)
	c.RunE = d.run
	return c
}

func (d *deleteOptions) run(c *cobra.Command, args []string) error {
	refs, err := parseRefs(args, kindCollector)
	if err != nil {
		return err
	}
	api, err := d.Client(c.ErrOrStderr())
	if err != nil {
		return err
	}
	for _, r := range refs {
		if r.kind == kindCollector && d.how.DryRun {
			return usage("--dry-run is not for collectors")
		}
		var warnings []string
		if r.kind == kindCollector {
			err = api.Forget(c.Context(), r.name)
		} else if err = checkName(r.kind, r.name); err == nil {
			warnings, err = api.Delete(c.Context(), r.kind, r.name, d.how)
		}
		if client.NotFound(err) && d.ignoreMissing {
			continue
		}
		if err != nil {
			return about(r, missingHint(r, err))
		}
		tellWarnings(c, r, warnings)
		fmt.Fprintf(c.OutOrStdout(), "%s deleted%s\n", r, dryRunNote(d.how.DryRun))
	}
	return nil
}

// newSwitch makes enable and disable.
func newSwitch(o Options, verb string, on bool) *cobra.Command {
	d := &deleteOptions{}
	short := "Have targets sent to, or sources read, again"
	long := short + ": from where they were left."
	if !on {
		short = "Have targets not sent to, or sources not read, until they are enabled again"
		long = short + ". Positions are\nkept: nothing is lost that the sources still hold by then."
	}
	c := &cobra.Command{
		Use: verb + " target|source NAME...", Short: short, Long: long,
		Example: "  lbshipd " + verb + " target siem",
		Args: func(c *cobra.Command, args []string) error {
			_, err := switchRefs(c, args)
			return err
		},
		ValidArgsFunction: completeRefsOf(o, config.KindTarget, config.KindSource),
	}
	addHow(c, &d.how)
	d.Connection = NewConnection(c, o)
	c.RunE = func(c *cobra.Command, args []string) error { return d.turn(c, args, verb, on) }
	return c
}

func switchRefs(c *cobra.Command, args []string) ([]ref, error) {
	refs, err := parseRefs(args)
	if err == nil && len(refs) == 0 {
		err = usage("%s takes a NAME, or several", c.CommandPath())
	}
	for _, r := range refs {
		if r.kind != config.KindSource && r.kind != config.KindTarget {
			return nil, usage("only targets and sources can be enabled and disabled, not a %s", r.kind)
		}
		if err := checkName(r.kind, r.name); err != nil {
			return nil, err
		}
	}
	return refs, err
}

func (d *deleteOptions) turn(c *cobra.Command, args []string, verb string, on bool) error {
	refs, err := switchRefs(c, args)
	if err != nil {
		return err
	}
	api, err := d.Client(c.ErrOrStderr())
	if err != nil {
		return err
	}
	for _, r := range refs {
		// Enabled is the default: it takes no field.
		now, changed, err := change(c.Context(), api, r, []edit{{path: []string{"enabled"}, value: false, remove: on}}, d.how)
		if err != nil {
			return about(r, err)
		}
		tellWarnings(c, r, now.Warnings)
		done := verb + "d" + dryRunNote(d.how.DryRun)
		if !changed {
			done = "was " + verb + "d already"
		}
		fmt.Fprintf(c.OutOrStdout(), "%s %s\n", r, done)
	}
	return nil
}
