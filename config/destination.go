package config

import (
	"encoding/json"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// destination is what decides who gets a target's secrets: whom it connects to, and
// by what it knows that this is who it should be. The path of the URL is not
// in it, nor is what a TLS bundle holds, which others than those who write targets decide.
type destination struct{ url, tlsBundle, serverName string }

// destinationOf returns the destination of an object's secrets; all empty if they are sent nowhere.
func destinationOf(o Object) destination {
	t, ok := o.(*Target)
	if !ok || t == nil || t.Loki == nil {
		return destination{}
	}
	return destination{origin(t.Loki.URL), t.Loki.TLSBundle, t.Loki.ServerName}
}

// differs names the first field in which d is not like have, "" if there is none.
func (d destination) differs(have destination) string {
	switch {
	case d.url != have.url:
		return "url"
	case d.tlsBundle != have.tlsBundle:
		return "tlsBundle"
	case d.serverName != have.serverName:
		return "serverName"
	}
	return ""
}

// origin returns scheme, host and port of a URL, so that two ways to write the
// same are equal. A dot at a host's end is kept: without it the name may be another one.
func origin(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + " " + port
}

// NewFiles returns the fields of a draft by which the contents of a file are read, or sent
// to a place, that they were not before: those that name another file than in
// have, and all that name one if a target sends to another place. have
// is what is stored under the name, or zero.
func NewFiles(have Stored, draft Draft) []string {
	if isNil(draft.Object) {
		return nil
	}
	was := map[string]string{}
	if have.Err == nil && !isNil(have.Object) && destinationOf(draft.Object).differs(destinationOf(have.Object)) == "" {
		namedFiles("", reflect.ValueOf(have.Object).Elem(), func(field, file string) { was[field] = file })
	}
	var fields []string
	namedFiles("", reflect.ValueOf(draft.Object).Elem(), func(field, file string) {
		if was[field] != file {
			fields = append(fields, field)
		}
	})
	return fields
}

// GivenUp returns the fields of what is stored that name a file which the draft names nowhere; a
// nil draft deletes. Nothing keeps the file from sources then.
func GivenUp(have Stored, draft *Draft) (fields []string) {
	still := map[string]bool{}
	if draft != nil {
		filesIn(draft.Given, func(_, file string) { still[file] = true })
	}
	filesIn(have.Given, func(field, file string) {
		if !still[file] {
			fields = append(fields, field)
		}
	})
	return fields
}

// NamedFiles returns the files that the objects name, as their fields say it, also the
// objects that c was made without, since they are for other nodes or cannot be used: what
// the files hold is for those that they are sent to, and for nobody else.
func (c *Config) NamedFiles() []string {
	files := slices.Clone(c.named)
	found := func(_, file string) { files = append(files, file) }
	for i := range c.TLSBundles {
		namedFiles("", reflect.ValueOf(&c.TLSBundles[i]).Elem(), found)
	}
	for i := range c.Targets {
		namedFiles("", reflect.ValueOf(&c.Targets[i]).Elem(), found)
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// filesIn finds the fields that name a file in an object as it was given, which need
// not be one that can be used.
func filesIn(given []byte, found func(field, file string)) {
	var v any
	if json.Unmarshal(given, &v) == nil {
		filesBelow("", v, found)
	}
}

func filesBelow(p path, v any, found func(field, file string)) {
	fields, _ := v.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if file, is := fields[name].(string); is && strings.HasSuffix(name, "File") && file != "" {
			found(string(p.dot(name)), file)
		}
		filesBelow(p.dot(name), fields[name], found)
	}
}

// namedFiles finds the fields of a struct that name a file: caFile, loki.basicAuth.passwordFile.
func namedFiles(p path, v reflect.Value, found func(field, file string)) {
	for i := range v.NumField() {
		f, name := v.Field(i), jsonName(v.Type().Field(i))
		switch {
		case name == "":
		case f.Kind() == reflect.Pointer && !f.IsNil() && f.Elem().Kind() == reflect.Struct:
			namedFiles(p.dot(name), f.Elem(), found)
		case f.Kind() == reflect.String && strings.HasSuffix(name, "File") && f.String() != "":
			found(string(p.dot(name)), f.String())
		}
	}
}
