package pipeline

import (
	"slices"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/parse"
)

// What the configuration takes for a format is what there is a parser for.
func TestFormatsOfConfigurationAndParsersAreTheSame(t *testing.T) {
	fixed := slices.DeleteFunc(parse.Names(), func(name string) bool { return strings.HasPrefix(name, "regex:") })
	known := slices.DeleteFunc(config.LogFormats(), func(name string) bool { return strings.HasPrefix(name, "regex:") })
	slices.Sort(known)
	if !slices.Equal(fixed, known) {
		t.Errorf("parsers: %v\nconfiguration: %v", fixed, known)
	}
}
