package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// DecodeAll reads a whole file, YAML or JSON, of several documents and lists: what
// lbshipd apply -f takes. A document is what the configuration file is (sources: [...]
// and so on), one object, or a list of objects. An object by itself says what it is by
// "kind: source", unless it has a field that only one kind has (journald, file,
// loki, rsyslog, stdout, regex, and a bundle's own).
//
// Each of its objects becomes a Change without conditions, in the order of the
// file. Each is checked as Decode does; the error is a Problems with all that is wrong.
func DecodeAll(name string, data []byte) ([]Change, error) {
	docs, problems := parseDocuments(name, data, MaxFileBytes)
	if len(problems) > 0 {
		return nil, problems
	}
	f := fileDecoder{objects: objectDecoder{file: name}, lines: map[key]int{}, counts: map[Kind]int{}}
	for _, n := range docs {
		f.document(n)
	}
	if len(f.changes) == 0 && len(f.problems) == 0 {
		f.fail(1, "", "there is no object in it")
	}
	if err := f.problems.ordered().err(); err != nil {
		return nil, err
	}
	return f.changes, nil
}

// key is what tells objects apart.
type key struct {
	kind Kind
	name string
}

func (k key) String() string { return fmt.Sprintf("%s %q", k.kind.Title(), cut(k.name)) }

// fileDecoder decodes the objects of a file.
type fileDecoder struct {
	objects  objectDecoder
	changes  []Change
	problems Problems
	lines    map[key]int
	counts   map[Kind]int
	broken   map[key]Stored // if not nil, objects that are wrong are put here
}

func (f *fileDecoder) fail(line int, object, format string, args ...any) {
	if len(f.problems) < maxFindings {
		f.problems = append(f.problems, Problem{File: f.objects.file, Line: max(line, 1), Object: object, Message: fmt.Sprintf(format, args...)})
	}
}

// document decodes one document.
func (f *fileDecoder) document(n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		f.mapping(n)
		return
	}
	for _, item := range n.Content {
		f.mapping(resolveAlias(item))
	}
}

// mapping decodes an object, or the lists of a configuration.
func (f *fileDecoder) mapping(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		f.fail(n.Line, "", "must be an object or lists of objects (sources: ...), is %s", kindOf(n))
		return
	}
	if isWhole(n) {
		f.whole(n)
		return
	}
	kind, ok := f.kindOf(n)
	if ok {
		f.object(kind, n, 0)
	}
}

// isWhole reports whether a mapping holds lists of objects.
func isWhole(n *yaml.Node) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if kinds[n.Content[i].Value] != "" {
			return true
		}
	}
	return false
}

// whole decodes what a configuration file holds.
func (f *fileDecoder) whole(n *yaml.Node) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, line, list := n.Content[i].Value, n.Content[i].Line, resolveAlias(n.Content[i+1])
		kind, ok := ParseKind(name)
		switch {
		case !ok || kind.List() != name:
			f.fail(line, "", "%s: unknown field%s", stepName(name), didYouMean(name, lists()))
		case seen[name] > 0:
			f.fail(line, "", "%s: given twice, first on line %d", name, seen[name])
		case isNull(list):
		case list.Kind != yaml.SequenceNode:
			f.fail(line, "", "%s: must be a list (- ... for each item), is %s", name, kindOf(list))
		default:
			for number, item := range list.Content {
				f.object(kind, item, number)
			}
		}
		seen[name] = line
	}
}

// lists returns what the lists of objects are called in files.
func lists() (names []string) {
	for _, k := range Kinds() {
		names = append(names, k.List())
	}
	return names
}

// object decodes one object, the one of the given number in its list.
func (f *fileDecoder) object(kind Kind, n *yaml.Node, number int) {
	if len(f.problems) >= maxFindings {
		return
	}
	if f.counts[kind]++; f.counts[kind] > maxObjects {
		if f.counts[kind] == maxObjects+1 {
			f.fail(n.Line, "", "%s: more than %d of them", kind.List(), maxObjects)
		}
		return
	}
	draft, problems := f.objects.decode(kind, n, number)
	if len(problems) > 0 && f.broken != nil {
		if name := valueOf(resolveAlias(n), "name"); validName.MatchString(name) {
			draft = Draft{Object: nameOnly(kind, name)}
			f.broken[key{kind, name}] = Stored{Kind: kind, Name: name, Err: problems}
			problems = nil
		}
	}
	if len(problems) > 0 {
		f.problems = append(f.problems, problems...)
		return
	}
	k := key{kind, draft.Object.ObjectName()}
	if first, twice := f.lines[k]; twice {
		f.fail(n.Line, k.String(), "stands on line %d already", first)
		return
	}
	f.lines[k] = n.Line
	f.changes = append(f.changes, Change{Kind: k.kind, Name: k.name, Draft: &draft})
}

// marks are the fields that only objects of one kind have.
var marks = map[string]Kind{
	"journald": KindSource, "file": KindSource, "loki": KindTarget, "rsyslog": KindTarget, "stdout": KindTarget, "regex": KindFormat,
	"caPem": KindTLSBundle, "certPem": KindTLSBundle, "keyPem": KindTLSBundle,
	"caFile": KindTLSBundle, "certFile": KindTLSBundle, "keyFile": KindTLSBundle,
}

// kindOf returns what an object that stands by itself is.
func (f *fileDecoder) kindOf(n *yaml.Node) (Kind, bool) {
	found := []Kind{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i].Value, n.Content[i+1]
		if name == "kind" {
			kind, ok := ParseKind(value.Value)
			if !ok {
				f.fail(value.Line, "", "kind: is %s%s", describe(value, false), didYouMean(value.Value, kindNames()))
			}
			return kind, ok
		}
		if kind, ok := marks[name]; ok && !slices.Contains(found, kind) {
			found = append(found, kind)
		}
	}
	if len(found) == 1 {
		return found[0], true
	}
	f.fail(n.Line, "", "an object of which it is not clear what it is: add kind: (one of %s)", strings.Join(kindNames(), ", "))
	return "", false
}

func kindNames() (names []string) {
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	return names
}
