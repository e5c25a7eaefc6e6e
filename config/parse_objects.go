package config

import (
	"reflect"

	"go.yaml.in/yaml/v3"
)

// ParseObjects reads a configuration file as its objects, each by itself, in the
// order of the file: what is wrong with one is its Err. name is what messages call the file. The error is a Problems: the
// text cannot be read, or holds more than lists of objects. A file that Parse takes has no
// Err anywhere; the other way round it may be that objects name what is not there.
func ParseObjects(name string, data []byte) ([]Stored, error) {
	root, problems := parseSyntax(name, data)
	if len(problems) > 0 {
		return nil, problems
	}
	if deep := tooDeep(root, maxNesting); deep != nil {
		return nil, Problems{{File: name, Line: max(deep.Line, 1), Message: errNesting.Error()}}
	}
	f := fileDecoder{objects: objectDecoder{file: name, complete: true, strict: true}, lines: map[key]int{}, counts: map[Kind]int{}}
	f.broken = map[key]Stored{}
	if root.Kind != yaml.MappingNode {
		f.fail(root.Line, "", "must be fields (name: value), is %s", kindOf(root))
	} else {
		f.whole(root)
	}
	if err := f.problems.ordered().err(); err != nil {
		return nil, err
	}
	out := make([]Stored, 0, len(f.changes))
	for _, c := range f.changes {
		if s, broken := f.broken[key{c.Kind, c.Name}]; broken {
			out = append(out, s)
			continue
		}
		out = append(out, Stored{Kind: c.Kind, Name: c.Name, Draft: *c.Draft})
	}
	return WithServices(out), nil
}

// nameOnly makes an object that has a name and nothing else.
func nameOnly(kind Kind, name string) Object {
	v := reflect.New(typeOf(kind))
	v.Elem().FieldByName("Name").SetString(name)
	return v.Interface().(Object)
}
