package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
)

// fieldTexts writes what the command line says of its flags: for each field the
// first sentence of its doc comment.
func fieldTexts(root string) ([]byte, error) {
	objects, err := readObjects(filepath.Join(root, "config", "objects.go"))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, o := range objects {
		if o.name == "Config" {
			continue
		}
		for _, f := range o.fields {
			fmt.Fprintf(&out, "%s.%s\t%s\n", o.name, f.name, firstSentence(f.text))
		}
	}
	return out.Bytes(), nil
}

// firstSentence ends at a full stop that a capital follows, and is without it.
func firstSentence(text string) string {
	for i := range text {
		rest, ok := strings.CutPrefix(text[i:], ". ")
		if ok && rest != "" && unicode.IsUpper(rune(rest[0])) {
			return text[:i]
		}
	}
	return strings.TrimSuffix(text, ".")
}
