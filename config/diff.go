package config

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Diff says what the changes do, each as a unified diff of redacted YAML: of what
// was given, with "(hidden)" for a secret, and "(hidden, changed)" for one that
// is another now.
func Diff(before []Stored, changes []Change) []RevisionChange {
	have := make(map[key]Stored, len(before))
	for _, s := range before {
		have[key{s.Kind, s.Name}] = s
	}
	out := make([]RevisionChange, 0, len(changes))
	for _, c := range changes {
		old, exists := have[key{c.Kind, c.Name}]
		change := RevisionChange{Kind: c.Kind, Name: c.Name, Action: "update"}
		was, is := "/dev/null", "/dev/null"
		name := c.Kind.Plural() + "/" + c.Name
		var a, b string
		secrets := map[string]string{}
		if exists {
			was, a = name, diffText(old, func(path, value string) string { secrets[path] = value; return hidden })
		}
		if c.Draft != nil {
			is, b = name, diffText(Stored{Kind: c.Kind, Name: c.Name, Draft: *c.Draft}, func(path, value string) string {
				if exists && old.Err == nil && secrets[path] != value {
					return hidden[:len(hidden)-1] + ", changed)"
				}
				return hidden
			})
		}
		switch {
		case !exists && c.Draft == nil:
			continue
		case !exists:
			change.Action = "create"
		case c.Draft == nil:
			change.Action = "delete"
		}
		if hunks := unified(a, b); hunks != "" {
			change.Diff = fmt.Sprintf("--- %s\n+++ %s\n%s", was, is, hunks)
		}
		out = append(out, change)
	}
	return out
}

// diffText writes what was given of an object as YAML, with what mark makes of its secrets.
func diffText(s Stored, mark func(path, value string) string) string {
	var n *yaml.Node
	marked, err := Secrets(s.Kind, s.Given, func(path, value string) (string, error) { return mark(path, value), nil })
	if err == nil && s.Err == nil {
		docs, _ := parseJSON(marked) // just made
		n = docs[0]
	} else if n, err = redactedGiven(s.Kind, s.Name, s.Given); err != nil {
		return ""
	}
	plainStyle(n)
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if enc.Encode(n) != nil {
		return ""
	}
	return out.String()
}

// plainStyle makes nodes that were read from JSON look as people write YAML.
func plainStyle(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		n.SetString(n.Value)
	}
	for _, inner := range n.Content {
		plainStyle(inner)
	}
}

// around is how many equal lines stand before and behind a difference.
const around = 3

// unified returns the hunks of a unified diff of two texts, "" if they are equal.
func unified(a, b string) string {
	steps := diffLines(lines(a), lines(b))
	var out strings.Builder
	for i := 0; i < len(steps); {
		if steps[i].sign == ' ' {
			i++
			continue
		}
		begin, end := max(0, i-around), i
		for quiet := 0; end < len(steps) && quiet <= 2*around; end++ {
			if quiet++; steps[end].sign != ' ' {
				quiet = 0
			}
		}
		last := end
		for last > i && steps[last-1].sign == ' ' {
			last--
		}
		end = min(len(steps), last+around)
		writeHunk(&out, steps[begin:end])
		i = end
	}
	return out.String()
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// step is one line of a diff, with the number that it has, or would have, in each text.
type step struct {
	sign byte // ' ', '-' or '+'
	line string
	a, b int
}

func writeHunk(out *strings.Builder, steps []step) {
	inA, inB := 0, 0
	for _, s := range steps {
		if s.sign != '+' {
			inA++
		}
		if s.sign != '-' {
			inB++
		}
	}
	first := func(n, count int) int {
		if count == 0 {
			return n // the line before, as diff -u has it
		}
		return n + 1
	}
	fmt.Fprintf(out, "@@ -%d,%d +%d,%d @@\n", first(steps[0].a, inA), inA, first(steps[0].b, inB), inB)
	for _, s := range steps {
		fmt.Fprintf(out, "%c%s\n", s.sign, s.line)
	}
}

// maxCells bounds the table of two texts' longest common lines; beyond it what
// differs is written as replaced as a whole.
const maxCells = 4 << 20

// diffLines compares two texts line by line.
func diffLines(a, b []string) []step {
	var steps []step
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		steps = append(steps, step{' ', a[head], head, head})
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	steps = append(steps, diffMiddle(a[head:len(a)-tail], b[head:len(b)-tail], head)...)
	for i := len(a) - tail; i < len(a); i++ {
		steps = append(steps, step{' ', a[i], i, i - len(a) + len(b)})
	}
	return steps
}

// diffMiddle compares what is between the lines that two texts begin and end with.
func diffMiddle(a, b []string, at int) (steps []step) {
	var common [][]int32 // common[i][j]: lines that a[i:] and b[j:] have in common
	if len(a)*len(b) <= maxCells {
		common = make([][]int32, len(a)+1)
		for i := range common {
			common[i] = make([]int32, len(b)+1)
		}
		for i := len(a) - 1; i >= 0; i-- {
			for j := len(b) - 1; j >= 0; j-- {
				if common[i][j] = max(common[i+1][j], common[i][j+1]); a[i] == b[j] {
					common[i][j] = common[i+1][j+1] + 1
				}
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case common != nil && i < len(a) && j < len(b) && a[i] == b[j]:
			steps = append(steps, step{' ', a[i], at + i, at + j})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && (common == nil || common[i+1][j] >= common[i][j+1]):
			steps = append(steps, step{'-', a[i], at + i, at + j})
			i++
		default:
			steps = append(steps, step{'+', b[j], at + i, at + j})
			j++
		}
	}
	return steps
}
