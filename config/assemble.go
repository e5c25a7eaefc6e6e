package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Assemble makes a Config of all objects that can be used together, with
// defaults, and says why the others cannot: those that have an Err, and those
// that name what is not there or cannot be used. An object that is rejected
// takes only those with it that cannot do without it. The order of the objects is kept.
func Assemble(objects []Stored) (*Config, []Rejected) {
	a := assembly{c: &Config{settled: true}, gone: map[key]string{}}
	a.add(objects, KindTLSBundle, KindFormat, KindService)
	a.prune() // so that no source has its format of a service that cannot be used
	a.add(objects, KindSource, KindTarget)
	a.c.giveFormats(objects)
	a.prune()
	a.unknown(objects)
	for _, s := range objects {
		if s.Kind == KindTLSBundle || s.Kind == KindTarget {
			filesIn(s.Given, func(_, file string) { a.c.named = append(a.c.named, file) })
		}
	}
	return a.c, a.rejected()
}

// assembly is a Config that is made of what can be used.
type assembly struct {
	c    *Config
	gone map[key]string // what is left out, and why
}

// add appends the objects of some kinds that may be used by themselves.
func (a *assembly) add(objects []Stored, kinds ...Kind) {
	seen, counts := map[key]bool{}, map[Kind]int{}
	for _, s := range objects {
		k := key{s.Kind, s.Name}
		if !slices.Contains(kinds, s.Kind) {
			continue
		}
		switch reason := unusable(s); {
		case seen[k]:
			continue // no store holds an object twice; the first one counts
		case reason != "":
			a.gone[k] = reason
		case counts[s.Kind] == maxObjects:
			a.gone[k] = fmt.Sprintf("there are more than %d %s", maxObjects, s.Kind.List())
		default:
			counts[s.Kind]++
			list := a.c.list(s.Kind)
			list.Set(reflect.Append(list, reflect.ValueOf(s.Object).Elem()))
		}
		seen[k] = true
	}
}

// unusable says why an object cannot be used even by itself, "" if it can.
func unusable(s Stored) string {
	switch {
	case s.Err != nil:
		return reasonOf(s.Err)
	case isNil(s.Object):
		return "is empty"
	case s.Object.Kind() != s.Kind:
		return fmt.Sprintf("is a %s and not a %s", s.Object.Kind().Title(), s.Kind.Title())
	case s.Object.ObjectName() != s.Name:
		return fmt.Sprintf("name: is %q and not %q", cut(s.Object.ObjectName()), cut(s.Name))
	}
	return ""
}

// unknown notes objects of kinds that are not known here.
func (a *assembly) unknown(objects []Stored) {
	for _, s := range objects {
		if s.Kind.Title() == "" {
			a.gone[key{s.Kind, s.Name}] = fmt.Sprintf("unknown kind %q", cut(string(s.Kind)))
		}
	}
}

// prune checks the Config, and takes out what cannot be used, until all that is
// left can. It replaces the warnings.
func (a *assembly) prune() {
	for {
		k := checker{c: a.c, gone: a.gone, byObject: map[path]Problems{}}
		k.config()
		if len(k.byObject) == 0 {
			a.c.warnings = k.warnings.ordered()
			return
		}
		a.drop(k.byObject)
	}
}

// drop takes objects out, each for what is wrong with it.
func (a *assembly) drop(wrong map[path]Problems) {
	for _, kind := range Kinds() {
		list := a.c.list(kind)
		kept := reflect.MakeSlice(list.Type(), 0, list.Len())
		for i := range list.Len() {
			problems := wrong[path(kind.List()).index(i)]
			if len(problems) == 0 {
				kept = reflect.Append(kept, list.Index(i))
				continue
			}
			a.gone[key{kind, a.c.at(kind, i).ObjectName()}] = reasonOf(problems.ordered())
		}
		if kept.Len() < list.Len() {
			list.Set(kept)
			a.c.doc, a.c.settled = nil, true // its places are no longer true
		}
	}
}

// rejected lists what was left out, by kind and name.
func (a *assembly) rejected() []Rejected {
	var out []Rejected
	for k, reason := range a.gone {
		out = append(out, Rejected{Kind: k.kind, Name: k.name, Reason: reason})
	}
	slices.SortFunc(out, func(a, b Rejected) int { return compareKeys(key{a.Kind, a.Name}, key{b.Kind, b.Name}) })
	return out
}

// compareKeys orders objects by kind and name.
func compareKeys(a, b key) int {
	if order := slices.Index(Kinds(), a.kind) - slices.Index(Kinds(), b.kind); order != 0 {
		return order
	}
	return strings.Compare(string(a.kind)+a.name, string(b.kind)+b.name)
}

// maxReasons bounds how much is said of one object that is rejected.
const maxReasons = 10

// reasonOf writes what is wrong with one object in one line, without its name.
func reasonOf(err error) string {
	problems, ok := err.(Problems)
	if !ok {
		return err.Error()
	}
	var parts []string
	for i, p := range problems {
		if i == maxReasons {
			parts = append(parts, fmt.Sprintf("and %d more", len(problems)-i))
			break
		}
		p.File, p.Object = "", ""
		parts = append(parts, p.String())
	}
	return strings.Join(parts, "; ")
}

// giveFormats gives the sources that name no format the one of their services.
func (c *Config) giveFormats(objects []Stored) {
	silent := map[string]bool{}
	for _, s := range objects {
		silent[s.Name] = silent[s.Name] || s.Kind == KindSource && !givesFormat(s.Given)
	}
	table := newServiceTable(c.Services)
	for i := range c.Sources {
		if s := &c.Sources[i]; s.LogFormat == "" || silent[s.Name] {
			s.LogFormat = table.defaultFormat(s)
		}
	}
}

// givesFormat reports whether a source (Draft.Given) says what its format is. One that
// was made in code does.
func givesFormat(given []byte) bool {
	var source struct {
		LogFormat *json.RawMessage `json:"logFormat"`
	}
	return json.Unmarshal(given, &source) != nil || source.LogFormat != nil
}

// WithServices returns objects in which the sources that give no logFormat
// have the one of the services among objects, as Assemble gives it to them; without it
// they have that of the services that are known anyway. What a Store lists has gone through it.
func WithServices(objects []Stored) []Stored {
	var services []Service
	for _, s := range objects {
		if service, ok := s.Object.(*Service); ok && unusable(s) == "" {
			services = append(services, *service)
		}
	}
	table := newServiceTable(services)
	out := slices.Clone(objects)
	for i := range out {
		source, ok := out[i].Object.(*Source)
		if !ok || source == nil || givesFormat(out[i].Given) {
			continue
		}
		copied := *source
		copied.LogFormat = table.defaultFormat(source)
		out[i].Object = &copied
	}
	return out
}
