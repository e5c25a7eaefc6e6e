package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
	"github.com/lbshipd/lbshipd/config"
)

func newCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration file and tell every error at once",
		Long: `Check a configuration file, and the certificates and secrets that it names,
and tell every error at once, as FILE:LINE: object: field: what is wrong.
Nothing is connected to and nothing is changed. What is legal but odd is told
as a warning and does not change the exit code.`,
		Args: exactArgs(1, "one FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := config.Load(args[0])
			if err != nil {
				err = configFileHint(err)
				fmt.Fprintln(c.ErrOrStderr(), err.Error()+hint(err))
				return failedError{}
			}
			for _, w := range cfg.Warnings() {
				fmt.Fprintln(c.ErrOrStderr(), "warning: "+w.String())
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s: ok: %s, %s\n", args[0],
				screen.Count(len(cfg.Sources), "source"), screen.Count(len(cfg.Targets), "target"))
			return err
		},
	}
}
