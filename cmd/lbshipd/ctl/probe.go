package ctl

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
	"github.com/lbshipd/lbshipd/config"
)

// testTimeout is how long the test of a target may take; the daemon gives up before.
const testTimeout = 30 * time.Second

func newTest(o Options) *cobra.Command {
	var connection *Connection
	var out *output
	c := &cobra.Command{
		Use:   "test target NAME",
		Short: "Test a target step by step, with one marked record",
		Long: `Have the daemon that is asked connect to a target, authenticate and send it one
marked record, and show what became of each step. Other nodes may fare otherwise:
ask their daemons with --endpoint.

The exit code is 0 if the target has taken the record, 1 if not, 2 on wrong usage.`,
		Example: "  lbshipd test target siem",
		Args: func(c *cobra.Command, args []string) error {
			r, err := oneRef(c, args)
			if err == nil && r.kind != config.KindTarget {
				err = usage("only targets can be tested, not a %s", r.kind)
			}
			return err
		},
		ValidArgsFunction: completeRefsOf(o, config.KindTarget),
	}
	out = addOutput(c, outTable, outJSON, outYAML)
	connection = NewConnection(c, o)
	timeout := c.Flags().Lookup("timeout")
	connection.timeout, timeout.DefValue = testTimeout, testTimeout.String()
	c.RunE = func(c *cobra.Command, args []string) error { return test(c, connection, out, args) }
	return c
}

func test(c *cobra.Command, connection *Connection, out *output, args []string) error {
	if err := out.check(); err != nil {
		return err
	}
	r, err := oneRef(c, args)
	if err != nil {
		return err
	}
	api, err := connection.Client(c.ErrOrStderr())
	if err != nil {
		return err
	}
	result, text, err := api.TestTarget(c.Context(), r.name)
	if err != nil {
		return about(r, missingHint(r, err))
	}
	w := c.OutOrStdout()
	if out.structured() {
		err = out.print(w, text)
	} else {
		t := &screen.Table{}
		t.Add("STEP", "RESULT", "TIME", "MESSAGE")
		for _, s := range result.Steps {
			outcome := "ok"
			if !s.OK {
				outcome = "FAILED"
			}
			t.Add(s.Name, outcome, time.Duration(s.Seconds*float64(time.Second)).Round(time.Millisecond/10).String(), s.Message)
		}
		err = t.Flush(w)
		if result.OK {
			fmt.Fprintf(w, "%s has taken a record.\n", r)
		} else {
			fmt.Fprintf(w, "%s does not work from this node.\n", r)
		}
	}
	if err == nil && !result.OK {
		err = ExitError{1}
	}
	return err
}

func newWhoAmI(o Options) *cobra.Command {
	var connection *Connection
	var out *output
	c := &cobra.Command{
		Use:   "whoami",
		Short: "Show who you are to the daemon, and what you may do",
		Long: `Show who you are to the daemon, how it knows, and your role: a viewer reads; an
editor also writes sources, targets, formats and services and tests targets; an
admin also writes TLS bundles, rolls back and forgets collectors.`,
		Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			api, err := connection.Client(c.ErrOrStderr())
			if err != nil {
				return err
			}
			id, err := api.WhoAmI(c.Context())
			if err != nil {
				return err
			}
			if out.structured() {
				return out.printValue(c.OutOrStdout(), id)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s (%s), role %s, at %s (lbshipd %s)\n", screen.OneLine(id.Name), screen.OneLine(id.Via),
				screen.OneLine(id.Role), api.Endpoint(), screen.OneLine(id.Version))
			return err
		},
	}
	out = addOutput(c, outMessage, outJSON, outYAML)
	connection = NewConnection(c, o)
	return c
}
