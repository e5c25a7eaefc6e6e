package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
)

// configurationIntro is what stands above the objects. Its verbs are the size
// of a file and the words for levels.
const configurationIntro = `<!-- Made by "go run ./internal/docgen" from config/objects.go. Do not edit it here. -->

# Configuration

The configuration is one YAML or JSON file of at most %v. It is read at the
start and again by itself when its contents change, or those of a file that it
names. If something is wrong with it, all that is wrong is said at once, each
with its line, and what runs goes on unchanged:

    lbshipd.yaml:12: target "siem": rsyslog.adress: unknown field, did you mean "address"?

Unknown fields, fields given twice, wrong types and values out of bounds are
mistakes; there is nothing that is left out silently. What is legal but odd,
such as a certificate that soon expires, is a warning.

Complete examples are in [examples](examples/): [the journal to
Loki](examples/journald-to-loki.yaml), [files to rsyslog with certificates on
both sides](examples/files-to-rsyslog-mtls.yaml), and [every field there
is](examples/everything.yaml).

## Values

| type | what is written |
|---|---|
| text | Numbers and the like need no quotes: ` + "`007`" + ` stays ` + "`007`" + `. |
| size | A number of bytes, or a whole number with ` + "`B`, `KiB`, `MiB` or `GiB`" + ` behind it. |
| time span | Numbers with units: ` + "`500ms`, `2s`, `1m30s`" + `. |
| level | %s. The usual other words for them, such as ` + "`warn` and `fatal`" + `, are known as well. |
| secret | A text that is never shown again: not in messages, not in listings. |
| name | 1 to 63 of a-z, 0-9, ".", "_" and "-", beginning with a letter or digit. |

Paths of files that are relative are relative to the folder of the
configuration file. YAML's anchors, aliases and merge keys (` + "`<<`" + `) are known, tags
and second documents are not.

`

// configuration writes docs/configuration.md.
func configuration(root string) ([]byte, error) {
	objects, err := readObjects(filepath.Join(root, "config", "objects.go"))
	if err != nil {
		return nil, err
	}
	byName := map[string]object{}
	for _, o := range objects {
		byName[o.name] = o
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, configurationIntro, config.Bytes(config.MaxFileBytes), codes(record.Levels()))
	w := writer{out: &out, objects: byName, written: map[string]bool{}}
	if err := w.object("Config", ""); err != nil {
		return nil, err
	}
	for _, o := range objects {
		if !w.written[o.name] {
			return nil, fmt.Errorf("%s is part of no other object", o.name)
		}
	}
	return append(bytes.TrimRight(out.Bytes(), "\n"), '\n'), nil
}

// writer writes objects, each below the one that holds it.
type writer struct {
	out     *bytes.Buffer
	objects map[string]object
	written map[string]bool
}

// object writes one object, which stands at a place such as sources[].file,
// and then those that it holds.
func (w *writer) object(name, place string) error {
	o, ok := w.objects[name]
	if !ok {
		return fmt.Errorf("there is no object %s", name)
	}
	w.written[name] = true
	title := "## The file"
	if place != "" {
		title = "## " + place
	}
	fmt.Fprintf(w.out, "%s\n\n%s\n\n| field | type | default | bounds | meaning |\n|---|---|---|---|---|\n", title, escape(o.text))
	for _, f := range o.fields {
		kind, err := w.kind(f, place)
		if err != nil {
			return fmt.Errorf("%s.%s: %w", name, f.name, err)
		}
		fmt.Fprintf(w.out, "| `%s` | %s | %s | %s | %s |\n", f.name, kind, defaultText(f), boundsText(f), escape(f.text))
	}
	fmt.Fprintf(w.out, "\n```yaml\n%s```\n\n", o.example)
	for _, f := range o.fields {
		inner, at := innerPlace(f, place)
		if _, ok := w.objects[inner]; ok && !w.written[inner] {
			if err := w.object(inner, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// innerPlace returns the object that a field holds and where that stands.
func innerPlace(f field, place string) (name, at string) {
	name, at = f.typ, f.name
	if place != "" {
		at = place + "." + f.name
	}
	if list, ok := strings.CutPrefix(name, "[]"); ok {
		name, at = list, at+"[]"
	}
	return name, at
}

// kinds are the types that are no objects, in a user's words.
var kinds = map[string]string{
	"string": "text", "[]string": "list of texts", "map[string]string": "names and texts", "bool": "`true` or `false`",
	"Bytes": "size", "Duration": "time span", "int": "number", "Secret": "secret", "record.Level": "level",
}

func (w *writer) kind(f field, place string) (string, error) {
	if f.name == "name" {
		return "name", nil
	}
	if kind, ok := kinds[f.typ]; ok {
		return kind, nil
	}
	inner, at := innerPlace(f, place)
	if _, ok := w.objects[inner]; !ok {
		return "", fmt.Errorf("type %s has no words here", f.typ)
	}
	link := fmt.Sprintf("[%s](#%s)", escape(at), anchor(at))
	if strings.HasPrefix(f.typ, "[]") {
		return "list of " + link, nil
	}
	return link, nil
}

// anchor is what GitHub makes of a heading.
func anchor(heading string) string {
	return strings.NewReplacer(".", "", "[", "", "]", "").Replace(strings.ToLower(heading))
}

func defaultText(f field) string {
	switch {
	case f.required:
		return "required"
	case f.def == "":
		return ""
	case strings.Contains(f.def, " for "):
		return escape(f.def) // words and not a value
	}
	return codes(strings.Split(f.def, ", "))
}

func boundsText(f field) string {
	if f.max == "" {
		return ""
	}
	return f.min + " to " + f.max
}

// codes writes words as code, with commas between them.
func codes(words []string) string { return "`" + strings.Join(words, "`, `") + "`" }

// escape keeps Markdown from reading signs in a text as its own.
func escape(text string) string {
	return strings.NewReplacer("|", "\\|", "*", "\\*", "<", "\\<").Replace(text)
}
