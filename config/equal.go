package config

import (
	"reflect"
	"slices"
	"strings"
)

// SourceEqual reports whether two sources read the same in the same way, so
// that a reload need not restart it: every field but those that say which nodes
// it is for, and the Format that logFormat names. Both have their defaults set.
func SourceEqual(a, b *Source, formatsA, formatsB []Format) bool {
	return a.IsEnabled() == b.IsEnabled() && equalAtWork(a, b) &&
		equal(reflect.ValueOf(namedFormat(a, formatsA)), reflect.ValueOf(namedFormat(b, formatsB)))
}

// TargetEqual reports whether two targets send the same to the same place:
// every field but those that say which nodes it is for, secrets by value, and
// the contents of the TLS bundle that they name. Both have their defaults set and, if they name files, are resolved.
func TargetEqual(a, b *Target, bundlesA, bundlesB []TLSBundle) bool {
	return a.IsEnabled() == b.IsEnabled() && equalAtWork(a, b) &&
		equal(reflect.ValueOf(Bundle(a.BundleName(), bundlesA)), reflect.ValueOf(Bundle(b.BundleName(), bundlesB)))
}

// Bundle returns the TLS bundle of a name, nil if there is none.
func Bundle(name string, bundles []TLSBundle) *TLSBundle {
	for i := range bundles {
		if name != "" && bundles[i].Name == name {
			return &bundles[i]
		}
	}
	return nil
}

// TLSBundle returns the bundle that a target of c names, nil if it names none.
func (c *Config) TLSBundle(t *Target) *TLSBundle { return Bundle(t.BundleName(), c.TLSBundles) }

// BundleName returns the name of the TLS bundle that the target names, "" if none.
func (t *Target) BundleName() string {
	switch {
	case t.Loki != nil:
		return t.Loki.TLSBundle
	case t.Rsyslog != nil:
		return t.Rsyslog.TLSBundle
	}
	return ""
}

// namedFormat returns the Format that a source names, nil if it is built in.
func namedFormat(s *Source, formats []Format) *Format {
	name, ok := strings.CutPrefix(s.LogFormat, RegexPrefix)
	for i := range formats {
		if ok && formats[i].Name == name {
			return &formats[i]
		}
	}
	return nil
}

// aside are the fields that say whether and where an object is at work, and not
// what it does there.
var aside = []string{"Enabled", "Nodes", "NodeSelector"}

// equalAtWork compares two structs, all fields but those.
func equalAtWork(a, b any) bool {
	va, vb := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for i := range va.NumField() {
		if !slices.Contains(aside, va.Type().Field(i).Name) && !equal(va.Field(i), vb.Field(i)) {
			return false
		}
	}
	return true
}

// equal is reflect.DeepEqual to which a list or map that is empty is the same
// as one that is not there.
func equal(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return equal(a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			if !equal(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice, reflect.Map:
		return a.Len() == 0 && b.Len() == 0 || reflect.DeepEqual(a.Interface(), b.Interface())
	}
	return a.Equal(b)
}
