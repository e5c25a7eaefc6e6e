package config

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// checker holds a Config against its rules.
type checker struct {
	c        *Config
	problems Problems
	warnings Problems

	// An object that stands by itself is checked: what it names need not be there.
	alone bool
	// Secrets may be "(hidden)", and the key of a certificate missing.
	incomplete bool
	// Objects that are left out, and why.
	gone map[key]string
	// If not nil, the problems of each object are noted here too.
	byObject map[path]Problems
}

func (k *checker) fail(p path, format string, args ...any) {
	if len(k.problems) >= maxFindings || k.c.doc.isBad(p) {
		return
	}
	problem := k.c.problem(p, format, args...)
	k.problems = append(k.problems, problem)
	if k.byObject != nil {
		k.byObject[p.object()] = append(k.byObject[p.object()], problem)
	}
}

func (k *checker) failIf(wrong bool, p path, format string, args ...any) {
	if wrong {
		k.fail(p, format, args...)
	}
}

func (k *checker) warn(p path, format string, args ...any) {
	if len(k.warnings) < maxFindings && !k.c.doc.isBad(p) {
		k.warnings = append(k.warnings, k.c.problem(p, format, args...))
	}
}

// config checks everything.
func (k *checker) config() {
	c := k.c
	names := unique{what: "source", seen: map[string]path{}}
	for i := range c.Sources {
		p := path("sources").index(i)
		k.name(p, c.Sources[i].Name, &names)
		k.source(p, &c.Sources[i])
	}
	names = unique{what: "target", seen: map[string]path{}}
	for i := range c.Targets {
		p := path("targets").index(i)
		k.name(p, c.Targets[i].Name, &names)
		k.target(p, &c.Targets[i])
	}
	names = unique{what: "TLS bundle", seen: map[string]path{}}
	for i := range c.TLSBundles {
		p := path("tlsBundles").index(i)
		k.name(p, c.TLSBundles[i].Name, &names)
		k.bundle(p, &c.TLSBundles[i])
	}
	names = unique{what: "format", seen: map[string]path{}}
	for i := range c.Formats {
		p := path("formats").index(i)
		k.name(p, c.Formats[i].Name, &names)
		k.format(p, &c.Formats[i])
	}
	names = unique{what: "service", seen: map[string]path{}}
	for i := range c.Services {
		p := path("services").index(i)
		k.name(p, c.Services[i].Name, &names)
		k.service(p, &c.Services[i])
	}
	k.count("sources", len(c.Sources))
	k.count("targets", len(c.Targets))
	k.count("tlsBundles", len(c.TLSBundles))
	k.count("formats", len(c.Formats))
	k.count("services", len(c.Services))
	k.bounds("", reflect.ValueOf(c).Elem())
	k.oddities()
}

func (k *checker) count(list path, n int) {
	if n > maxObjects {
		k.fail(list, "has %d items, more than %d", n, maxObjects)
	}
}

// unique finds names that are given twice.
type unique struct {
	what string
	seen map[string]path
}

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,62})$`)

// name checks an object's name: positions are kept under it and metrics carry it.
func (k *checker) name(object path, name string, names *unique) {
	p := object.dot("name")
	if name == "" {
		k.fail(p, "is missing")
		return
	}
	if !validName.MatchString(name) {
		k.fail(p, "%q must be 1 to 63 of a-z, 0-9, \".\", \"_\" and \"-\", and begin with a letter or digit", cut(name))
		return
	}
	if k.c.doc.isBad(p) {
		return
	}
	first, twice := names.seen[name]
	if !twice {
		names.seen[name] = object
		return
	}
	if line := k.c.doc.line(first.dot("name")); line > 0 {
		k.fail(p, "a %s of this name stands on line %d already", names.what, line)
		return
	}
	k.fail(p, "there is a %s of this name already", names.what)
}

// bounds holds every Bytes and Duration against its min and max tags.
func (k *checker) bounds(p path, v reflect.Value) {
	for i := range v.NumField() {
		f, t := v.Field(i), v.Type().Field(i)
		name := jsonName(t)
		if name == "" {
			continue
		}
		place := p.dot(name)
		switch {
		case f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.Struct && !f.IsNil():
			k.bounds(place, f.Elem())
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			for j := range f.Len() {
				k.bounds(place.index(j), f.Index(j))
			}
		case t.Tag.Get("max") != "":
			least, most := tagNumber(f.Type(), t.Tag.Get("min")), tagNumber(f.Type(), t.Tag.Get("max"))
			if n := f.Int(); n < least || n > most {
				k.fail(place, "must be between %s and %s, is %v", t.Tag.Get("min"), t.Tag.Get("max"), f.Interface())
			}
		}
	}
}

// oneOf checks that a word is one of those that are known.
func (k *checker) oneOf(p path, word string, known []string) bool {
	if slices.Contains(known, word) {
		return true
	}
	if word == "" {
		k.fail(p, "is empty (known: %s)", strings.Join(known, ", "))
		return false
	}
	near := nearest(word, known)
	if near == "" {
		k.fail(p, "%q is not known (known: %s)", cut(word), strings.Join(known, ", "))
		return false
	}
	k.fail(p, "%q is not known, did you mean %q?", cut(word), near)
	return false
}

// exactlyOne checks how many of the alternatives of an object are given.
func (k *checker) exactlyOne(p path, alternatives []string, given ...bool) {
	var have []string
	for i, name := range alternatives {
		if given[i] {
			have = append(have, name)
		}
	}
	last := len(alternatives) - 1
	all := strings.Join(alternatives[:last], ", ") + " and " + alternatives[last]
	switch {
	case len(have) == 0:
		k.fail(p, "exactly one of %s must be given, none is", all)
	case len(have) > 1:
		k.fail(p.dot(have[1]), "exactly one of %s must be given, %s is there as well", all, have[0])
	}
}

// plain checks a text that goes into headers, labels and messages.
func (k *checker) plain(p path, what, text string, most int) bool {
	switch {
	case text == "":
		k.fail(p, "%s is empty", what)
	case len(text) > most:
		k.fail(p, "%s is %d bytes long, more than %d", what, len(text), most)
	case strings.ContainsFunc(text, unicode.IsControl):
		k.fail(p, "%s holds a control character (a line break, perhaps)", what)
	default:
		return true
	}
	return false
}

// plainList checks a list of such texts, each given once.
func (k *checker) plainList(p path, what string, texts []string, most int) {
	seen := make(map[string]bool, len(texts))
	for i, text := range texts {
		place := p.index(i)
		if !k.plain(place, what, text, most) {
			continue
		}
		if seen[text] {
			k.fail(place, "%q is given twice", cut(text))
		}
		seen[text] = true
	}
}

// maxLabels is how many label names Loki takes per stream by default
// (max_label_names_per_series).
const maxLabels = 15

// maxLabelName and maxLabelValue are Loki's limits by default.
const (
	maxLabelName  = 1024
	maxLabelValue = 2048
)

var validLabel = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// labels checks labels as Loki takes them.
func (k *checker) labels(p path, labels map[string]string) {
	if len(labels) > maxLabels {
		k.fail(p, "has %d labels, Loki takes at most %d", len(labels), maxLabels)
	}
	for _, name := range sortedKeys(labels) {
		place := p.dot(stepName(name))
		switch {
		case !validLabel.MatchString(name):
			k.fail(place, "label name %q must be letters, digits and \"_\", and not begin with a digit", cut(name))
		case strings.HasPrefix(name, "__"):
			k.fail(place, "label name %q: names that begin with \"__\" are Loki's own", cut(name))
		case len(name) > maxLabelName:
			k.fail(place, "label name is %d bytes long, more than %d", len(name), maxLabelName)
		}
		k.plain(place, "value", labels[name], maxLabelValue)
	}
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// oddities warns of what is legal but not what anybody would want.
func (k *checker) oddities() {
	c := k.c
	source, target := false, false
	for i := range c.Sources {
		source = source || c.Sources[i].IsEnabled()
	}
	for i := range c.Targets {
		target = target || c.Targets[i].IsEnabled()
	}
	switch {
	case len(c.Sources) == 0:
		k.warn("sources", "there are none: nothing is read")
	case !source:
		k.warn("sources", "none is enabled: nothing is read")
	}
	switch {
	case len(c.Targets) == 0:
		k.warn("targets", "there are none: nothing is sent")
	case !target:
		k.warn("targets", "none is enabled: nothing is sent")
	}
	k.unused()
	k.labelSums()
}

// unused warns of bundles and formats that nothing names.
func (k *checker) unused() {
	used := map[string]bool{}
	for i := range k.c.Targets {
		used["tls:"+k.c.Targets[i].BundleName()] = true
	}
	for i := range k.c.Sources {
		used[k.c.Sources[i].LogFormat] = true
	}
	for i := range k.c.Services {
		used[k.c.Services[i].LogFormat] = true
	}
	for i := range k.c.TLSBundles {
		if name := k.c.TLSBundles[i].Name; !used["tls:"+name] {
			k.warn(path("tlsBundles").index(i), "no target names it")
		}
	}
	for i := range k.c.Formats {
		if name := k.c.Formats[i].Name; !used[RegexPrefix+name] {
			k.warn(path("formats").index(i), "no source names it")
		}
	}
}

// labelSums warns of streams that would carry more labels than Loki takes.
func (k *checker) labelSums() {
	for i := range k.c.Targets {
		l := k.c.Targets[i].Loki
		if l == nil {
			continue
		}
		for j := range k.c.Sources {
			names := map[string]bool{}
			for _, name := range l.StreamLabels {
				names[name] = true
			}
			for name := range l.Labels {
				names[name] = true
			}
			for name := range k.c.Sources[j].Labels {
				names[name] = true
			}
			if len(names) > maxLabels {
				k.warn(path("targets").index(i).dot("loki"), "with source %q streams have %d labels, Loki takes %d unless told otherwise",
					k.c.Sources[j].Name, len(names), maxLabels)
				break
			}
		}
	}
}
