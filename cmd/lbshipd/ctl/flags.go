package ctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/config"
)

// maxFlagFile bounds what is read from a file that a flag names, in bytes.
const maxFlagFile = 1 << 20

// objectFlags are the flags of one kind's fields.
type objectFlags struct {
	kind   config.Kind
	fields []field
	values map[string]*flagValue // by flag
	unset  []string
}

// flagValue is what was given for a field.
type flagValue struct {
	field *field
	given []string
}

func (v *flagValue) String() string { return "" }

// Type is what help calls the value.
func (v *flagValue) Type() string {
	if v.field.shape == shapePart {
		return string(shapeBool)
	}
	return string(v.field.shape)
}

// Set takes one more value. What can be seen to be wrong at once is an error.
func (v *flagValue) Set(text string) error {
	switch v.field.shape {
	case shapeBool, shapePart:
		if _, err := strconv.ParseBool(text); err != nil {
			return errors.New("want true or false")
		}
	case shapeNumber:
		if _, err := strconv.Atoi(text); err != nil {
			return errors.New("want a whole number")
		}
	case shapeSize:
		if _, err := config.ParseBytes(text); err != nil {
			return err
		}
	case shapeDuration:
		if _, err := config.ParseDuration(text); err != nil {
			return err
		}
	case shapeLabels:
		if name, _, ok := strings.Cut(text, "="); name == "" || !ok && !strings.HasSuffix(text, "-") {
			return errors.New("want NAME=VALUE, or NAME- to take it away")
		}
	}
	v.given = append(v.given, text)
	return nil
}

// addFlags gives a command a flag for each field of a kind.
func addFlags(c *cobra.Command, kind config.Kind, defaults bool) *objectFlags {
	o := &objectFlags{kind: kind, fields: fieldsOf(kind), values: map[string]*flagValue{}}
	aliases := map[string]string{}
	for i := range o.fields {
		f := &o.fields[i]
		v := &flagValue{field: f}
		o.values[f.flag] = v
		flag := c.Flags().VarPF(v, f.flag, "", flagText(f))
		if defaults {
			flag.DefValue = f.def
		}
		if f.shape == shapeBool || f.shape == shapePart {
			flag.NoOptDefVal = "true"
		}
		if f.alias != "" {
			aliases[f.alias] = f.flag
		}
	}
	for i := range o.fields {
		delete(aliases, o.fields[i].flag) // a flag of its own
	}
	c.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if real, ok := aliases[name]; ok {
			name = real
		}
		return pflag.NormalizedName(name)
	})
	completeFields(c, o)
	return o
}

// flagText is a flag's help.
func flagText(f *field) string {
	text := strings.ReplaceAll(f.text, "`", "'") // pflag takes a word in backquotes for the value's name
	switch f.shape {
	case shapePEM:
		return text + " (a file, whose contents are sent; - for standard input)"
	case shapeSecret:
		return text + " (@FILE, whose contents are sent, or - for standard input)"
	case shapePart:
		return text + " (with defaults; =false takes it away)"
	}
	return text
}

// edit is one change of an object.
type edit struct {
	path   []string
	value  any
	remove bool
}

// edits returns what the flags say, in the order of the fields. Files and
// standard input are read here, once.
func (o *objectFlags) edits(c *cobra.Command) ([]edit, error) {
	var list []edit
	for _, name := range o.unset {
		path, err := o.unsetPath(name)
		if err != nil {
			return nil, err
		}
		list = append(list, edit{path: path, remove: true})
	}
	reader := valueReader{in: c.InOrStdin(), warn: c.ErrOrStderr()}
	for i := range o.fields {
		f := &o.fields[i]
		given := o.values[f.flag].given
		if len(given) == 0 {
			continue
		}
		some, err := reader.edits(f, given)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", f.flag, err)
		}
		list = append(list, some...)
	}
	return list, nil
}

// unsetPath finds what --unset names: a flag, a field as in JSON, or a part.
func (o *objectFlags) unsetPath(name string) ([]string, error) {
	name = strings.TrimPrefix(name, "--")
	for i := range o.fields {
		f := &o.fields[i]
		if name == f.flag || name == f.json() || name == f.alias && name != "" {
			return f.path, nil
		}
		for n := 1; n < len(f.path); n++ {
			if part := strings.Join(f.path[:n], "."); name == part || name == kebab(part) {
				return f.path[:n], nil
			}
		}
	}
	return nil, usage("--unset %q: a %s has no such field", name, o.kind)
}

// valueReader makes values of what flags say.
type valueReader struct {
	in    io.Reader
	warn  io.Writer
	taken bool // standard input was read
}

func (r *valueReader) edits(f *field, given []string) ([]edit, error) {
	last := given[len(given)-1]
	one := func(value any) []edit { return []edit{{path: f.path, value: value}} }
	switch f.shape {
	case shapeBool:
		yes, _ := strconv.ParseBool(last) // Set has looked
		return one(yes), nil
	case shapePart:
		yes, _ := strconv.ParseBool(last)
		return []edit{{path: f.path, value: map[string]any{}, remove: !yes}}, nil
	case shapeNumber:
		return one(json.Number(last)), nil
	case shapeList:
		items := []any{}
		for _, text := range given {
			for _, item := range splitList(text) {
				items = append(items, item)
			}
		}
		return one(items), nil
	case shapeLabels:
		return labelEdits(f, given), nil
	case shapeSecret:
		text, err := r.secret(f, last)
		return one(text), err
	case shapePEM:
		text, err := r.pem(last)
		return one(text), err
	}
	return one(last), nil
}

func labelEdits(f *field, given []string) (list []edit) {
	for _, text := range given {
		name, value, ok := strings.Cut(text, "=")
		e := edit{value: value}
		if !ok {
			name, e.remove = strings.TrimSuffix(text, "-"), true
		}
		e.path = append(append([]string{}, f.path...), name)
		list = append(list, e)
	}
	return list
}

// splitList splits at commas, but not within braces ({a,b} is a glob), and not
// after a backslash. An empty text is an empty list.
func splitList(text string) (items []string) {
	if text == "" {
		return nil
	}
	var item strings.Builder
	depth := 0
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case b == '\\' && i+1 < len(text) && text[i+1] == ',':
			i++
			item.WriteByte(',')
		case b == ',' && depth == 0:
			items = append(items, item.String())
			item.Reset()
		default:
			if b == '{' {
				depth++
			}
			if b == '}' && depth > 0 {
				depth--
			}
			item.WriteByte(b)
		}
	}
	return append(items, item.String())
}

// secret returns the contents of @FILE or of standard input, without the newline at their end.
func (r *valueReader) secret(f *field, text string) (string, error) {
	path, isFile := strings.CutPrefix(text, "@")
	if text != "-" && !isFile {
		fmt.Fprintf(r.warn, "warning: --%s: others on this machine can see a secret on a command line; give @FILE, or - for standard input\n", f.flag)
		return text, nil
	}
	if !isFile {
		path = "-"
	}
	b, err := r.file(path)
	text = strings.TrimRight(string(b), "\r\n")
	if err == nil && text == "" {
		err = fmt.Errorf("%s is empty", fileName(path))
	}
	return text, err
}

// pem returns the contents of a file. A PEM text itself is taken as well.
func (r *valueReader) pem(text string) (string, error) {
	if strings.Contains(text, "-----BEGIN") {
		return text, nil
	}
	b, err := r.file(strings.TrimPrefix(text, "@"))
	if err == nil && !strings.Contains(string(b), "-----BEGIN") {
		err = fmt.Errorf("%s is no PEM file", fileName(text))
	}
	return string(b), err
}

// file reads a file, or standard input (-), once.
func (r *valueReader) file(path string) ([]byte, error) {
	if path != "-" {
		return readFile(path, maxFlagFile)
	}
	if r.taken {
		return nil, usage("standard input (-) can be given to one flag only")
	}
	r.taken = true
	return readAll(r.in, "standard input", maxFlagFile)
}

func fileName(path string) string {
	if path == "-" {
		return "standard input"
	}
	return path
}

// nameFlags says which flag each thing belongs to that the daemon finds wrong.
func (o *objectFlags) nameFlags(err error) error {
	var e *client.Error
	if !errors.As(err, &e) {
		return err
	}
	for i := range e.Details {
		d := &e.Details[i]
		for j := range o.fields {
			if f := &o.fields[j]; d.Field == f.json() || strings.HasPrefix(d.Field, f.json()+"[") {
				d.Field += " (--" + f.flag + ")"
				break
			}
		}
	}
	return err
}
