package config

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"
)

// Limits of an expression. Go's own would let one take 128 MB, and a
// millisecond per line.
const (
	maxRegex        = 4096   // bytes
	maxInstructions = 10_000 // of what it compiles to
	maxRanges       = 50_000 // of letters, in all its classes
)

// format checks one format.
func (k *checker) format(p path, f *Format) {
	if slices.Contains(BuiltinFormats, f.Name) {
		k.warn(p.dot("name"), "takes the place of the built-in format of this name")
	}
	place := p.dot("regex")
	if f.Regex == "" {
		k.fail(place, "is missing")
		return
	}
	if len(f.Regex) > maxRegex {
		k.fail(place, "is %d bytes long, more than %d", len(f.Regex), maxRegex)
		return
	}
	names, err := groups(f.Regex)
	if err != nil {
		k.fail(place, "%v", err)
		return
	}
	k.failIf(len(names) == 0, place, "has no named group (?P<message>...): nothing would be taken out of a line")
	for i := 1; i < len(names); i++ {
		k.failIf(names[i] == names[i-1], place, "two groups are named %q", cut(names[i]))
	}
	k.timeLayout(p.dot("timeLayout"), f.TimeLayout, slices.Contains(names, "time"))
}

// groups returns the names of an expression's groups, sorted. The error says
// what is wrong with the expression, or that it is too large.
func groups(text string) ([]string, error) {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	if n := ranges(tree); n > maxRanges {
		return nil, fmt.Errorf("names %d ranges of letters in all its classes, more than %d", n, maxRanges)
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err
	}
	if n := len(program.Inst); n > maxInstructions {
		return nil, fmt.Errorf("compiles to %d instructions, more than %d", n, maxInstructions)
	}
	expression, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	names := slices.DeleteFunc(expression.SubexpNames(), func(n string) bool { return n == "" })
	slices.Sort(names)
	return names, nil
}

// ranges counts the ranges of the classes of an expression.
func ranges(tree *syntax.Regexp) int {
	n := 0
	if tree.Op == syntax.OpCharClass {
		n = len(tree.Rune) / 2
	}
	for _, sub := range tree.Sub {
		n += ranges(sub)
	}
	return n
}

// timeLayout checks a layout of package time.
func (k *checker) timeLayout(p path, layout string, used bool) {
	if layout == "" {
		return
	}
	if !k.plain(p, "layout", layout, 256) {
		return
	}
	if !used {
		k.fail(p, "is given, but the expression has no group (?P<time>...)")
		return
	}
	// Two moments that differ in everything: a layout that prints them alike names nothing.
	a := time.Date(2001, 2, 3, 4, 5, 6, 789012345, time.UTC)
	b := time.Date(2012, 11, 25, 21, 47, 58, 123456789, time.FixedZone("X", 3600))
	if a.Format(layout) == b.Format(layout) {
		k.fail(p, "%q names no part of Go's reference time, Mon Jan 2 15:04:05 2006", cut(layout))
	}
}
