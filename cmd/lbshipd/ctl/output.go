package ctl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
)

// Outputs of commands that print objects.
const (
	outTable = "table"
	outWide  = "wide"
	outJSON  = "json"
	outYAML  = "yaml"
	outName  = "name"
)

// output is the flag -o.
type output struct {
	form  string
	known []string
}

// addOutput adds -o, which the first of the forms is the default of.
func addOutput(c *cobra.Command, forms ...string) *output {
	o := &output{known: forms}
	c.Flags().StringVarP(&o.form, "output", "o", forms[0], strings.Join(forms[:len(forms)-1], ", ")+" or "+forms[len(forms)-1])
	complete(c, "output", func() []string { return forms })
	return o
}

func (o *output) check() error {
	if !slices.Contains(o.known, o.form) {
		return usage("-o %q: want one of %s", o.form, strings.Join(o.known, ", "))
	}
	return nil
}

// structured reports whether it is for programs.
func (o *output) structured() bool { return o.form == outJSON || o.form == outYAML }

// print writes JSON as JSON or YAML.
func (o *output) print(w io.Writer, text []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		return fmt.Errorf("the daemon's answer: %w", err)
	}
	out := append(screen.JSON(b.Bytes()), '\n')
	if o.form == outYAML {
		var err error
		if out, err = toYAML(text); err != nil {
			return err
		}
	}
	_, err := w.Write(out)
	return err
}

// printValue writes what is ours as JSON or YAML.
func (o *output) printValue(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return o.print(w, text)
}
