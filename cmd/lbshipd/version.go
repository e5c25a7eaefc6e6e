package main

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/internal/buildinfo"
)

// Set by the linker (-X main.version=...): the version, the commit and its date. Without them
// what the compiler recorded is shown.
var version, commit, commitDate string

// ownBuild is what this program was built from.
var ownBuild = sync.OnceValue(func() buildinfo.Info { return buildinfo.Read(version, commit, commitDate) })

func ownVersion() string { return ownBuild().Version }

func newVersion() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version, and what this program was built from",
		Long: `Print the version, the commit and its date, the version of Go, the platform and
the build tags. With -o json the libraries are in it too, with their checksums as
go.sum has them. The metric lbshipd_build_info says the same of a daemon that
runs. How versions are counted is in docs/upgrade.md.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch output {
			case "json":
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(ownBuild())
			case "text":
				return printVersion(c.OutOrStdout(), ownBuild())
			}
			return usageError{fmt.Errorf("-o %q: want text or json", output)}
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return c
}

// printVersion begins with the line that programs have been reading from the beginning.
func printVersion(w io.Writer, b buildinfo.Info) error {
	changed, tags := "", b.Tags
	if b.Modified {
		changed = ", with changes"
	}
	if tags == "" {
		tags = "none"
	}
	_, err := fmt.Fprintf(w, "lbshipd %s%s %s %s\ncommit %s of %s%s\ntags   %s\n", b.Version, flavour, b.GoVersion, b.Platform, b.Commit, b.Date, changed, tags)
	return err
}
