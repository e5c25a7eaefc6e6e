package ctl

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newMan writes the manual pages. They are made here and not by cobra/doc, which
// goes through Markdown: that takes the asterisks of paths for emphasis.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages, one for each command",
		Hidden: true,
		Args:   exactly(1, "one DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("making the directory of manual pages: %w", err)
			}
			return writePages(c.Root(), args[0])
		},
	}
}

func writePages(c *cobra.Command, dir string) error {
	path := filepath.Join(dir, pageName(c)+".1")
	if err := os.WriteFile(path, []byte(page(c)), 0o644); err != nil {
		return fmt.Errorf("writing a manual page: %w", err)
	}
	for _, sub := range documented(c) {
		if err := writePages(sub, dir); err != nil {
			return err
		}
	}
	return nil
}

// documented returns the commands below c that have a page.
func documented(c *cobra.Command) (list []*cobra.Command) {
	for _, sub := range c.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			list = append(list, sub)
		}
	}
	return list
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// page writes one page as man(7) has it.
func page(c *cobra.Command) string {
	var b strings.Builder
	name := pageName(c)
	fmt.Fprintf(&b, ".TH \"%s\" \"1\" \"\" \"lbshipd\" \"User Commands\"\n", troff(strings.ToUpper(name)))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", troff(name), troff(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", troff(c.UseLine()))
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	b.WriteString(".SH DESCRIPTION\n" + paragraphs(text))
	own, connection := SplitFlags(c.LocalFlags())
	manFlags(&b, "OPTIONS", own)
	manFlags(&b, "WHICH DAEMON, AND AS WHOM", connection)
	if c.HasExample() {
		b.WriteString(".SH EXAMPLES\n" + paragraphs(c.Example))
	}
	b.WriteString(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage\n")
	if connection.HasFlags() {
		fmt.Fprintf(&b, ".SH ENVIRONMENT\n.TP\n.B %s\nstands for \\-\\-endpoint\n.TP\n.B %s\nstands for \\-\\-jwt\n", envEndpoint, envJWT)
	}
	var others []string
	if c.HasParent() {
		others = append(others, pageName(c.Parent()))
	}
	for _, sub := range documented(c) {
		others = append(others, pageName(sub))
	}
	b.WriteString(".SH SEE ALSO\n")
	for i, other := range others {
		comma := ","
		if i == len(others)-1 {
			comma = ""
		}
		fmt.Fprintf(&b, ".BR %s (1)%s\n", troff(other), comma)
	}
	return b.String()
}

func manFlags(b *strings.Builder, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	b.WriteString(".SH " + title + "\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		value, text := pflag.UnquoteUsage(f)
		if f.NoOptDefVal != "" && value != "" {
			value = "[=" + value + "]"
		} else if value != "" {
			value = " " + value
		}
		if def := DefaultOf(f); def != "" {
			text += " (default " + def + ")"
		}
		fmt.Fprintf(b, ".TP\n\\fB%s\\fR%s\n%s\n", troff(name), troff(value), troff(text))
	})
}

// DefaultOf returns the default of a flag as people are told it, "" for none.
func DefaultOf(f *pflag.Flag) string {
	if told := f.Annotations["default"]; told != nil {
		return told[0] // depends on the machine; this says how
	}
	if f.DefValue == "[]" || f.DefValue == "false" {
		return ""
	}
	return f.DefValue
}

// paragraphs writes text; lines that are indented stay as they are.
func paragraphs(text string) string {
	var b strings.Builder
	asIs := false
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		line = strings.TrimRight(line, "\n")
		indented := strings.HasPrefix(line, " ")
		switch {
		case indented && !asIs:
			b.WriteString(".PP\n.nf\n")
		case !indented && asIs:
			b.WriteString(".fi\n")
		}
		asIs = indented
		if line == "" {
			line = ".PP"
		} else {
			line = troff(line)
		}
		b.WriteString(line + "\n")
	}
	if asIs {
		b.WriteString(".fi\n")
	}
	return b.String()
}

// troff writes a text so that nothing in it is a command of troff.
func troff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
