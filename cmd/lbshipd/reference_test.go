package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lbshipd/lbshipd/cmd/lbshipd/ctl"
)

var update = flag.Bool("update", false, "write docs/command-line.md")

// The reference of commands and flags is made from the commands themselves.
func TestCommandLineReferenceIsCurrent(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "command-line.md")
	want := reference(newRoot())
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/command-line.md is not what the commands say: run make docs")
	}
}

func reference(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# Command line\n\nMade from the commands themselves by `make docs`; do not edit.\n\n" +
		"Exit codes: 0 done, 1 failed, 2 wrong usage.\n")
	describe(&b, root)
	b.WriteString("\n## Which daemon, and as whom\n\nThe commands that ask a daemon take these flags:\n")
	whoami, _, err := root.Find([]string{"whoami"})
	if err != nil {
		panic(err)
	}
	_, connection := ctl.SplitFlags(whoami.LocalFlags())
	writeFlags(&b, connection)
	return b.String()
}

func describe(b *strings.Builder, c *cobra.Command) {
	if c.HasParent() {
		fmt.Fprintf(b, "\n## %s\n\n", c.CommandPath())
		text := c.Long
		if text == "" {
			text = c.Short + "."
		}
		fmt.Fprintf(b, "%s\n\n```\n%s\n```\n", strings.TrimSpace(text), c.UseLine())
		if c.HasExample() {
			fmt.Fprintf(b, "\n```\n%s\n```\n", unindented(c.Example))
		}
		describeFlags(b, c)
	}
	for _, sub := range c.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			describe(b, sub)
		}
	}
}

func describeFlags(b *strings.Builder, c *cobra.Command) {
	own, connection := ctl.SplitFlags(c.LocalFlags())
	writeFlags(b, own)
	if connection.HasFlags() {
		b.WriteString("\nAnd the flags of [which daemon, and as whom](#which-daemon-and-as-whom).\n")
	}
}

// writeFlags writes a table of flags, but --help.
func writeFlags(b *strings.Builder, flags *pflag.FlagSet) {
	header := "\n| flag | default | meaning |\n|---|---|---|\n"
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		def := ctl.DefaultOf(f)
		if def != "" {
			def = "`" + def + "`"
		}
		fmt.Fprintf(b, "%s| %s | %s | %s |\n", header, name, def, strings.NewReplacer("|", "\\|", "*", "\\*").Replace(f.Usage))
		header = ""
	})
}

// unindented takes the two blanks away that help begins examples with.
func unindented(text string) string {
	return strings.TrimPrefix(strings.ReplaceAll(text, "\n  ", "\n"), "  ")
}
