package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// complete puts the stored secrets into a draft that leaves them out, and
// checks it.
func complete(k key, draft Draft, have Stored) (Draft, Problems) {
	one := func(field, format string, args ...any) Problems {
		return Problems{{Object: k.String(), Field: field, Message: fmt.Sprintf(format, args...)}}
	}
	old := map[string]string{}
	if have.Err == nil && len(have.Given) > 0 {
		// What cannot be read has no secrets that could be kept.
		_, _ = Secrets(k.kind, have.Given, func(path, value string) (string, error) {
			old[path] = value
			return value, nil
		})
	}
	var missing Problems
	var kept []string
	given, err := Secrets(k.kind, draft.Given, func(path, value string) (string, error) {
		if !isHidden(value) {
			return value, nil
		}
		if old[path] == "" && have.Err != nil {
			missing = append(missing, one(path, "is what a listing shows in place of a secret, and what is stored cannot be read here: give the secret itself, or ask a node that can read it")...)
		} else if old[path] == "" {
			missing = append(missing, one(path, "is what a listing shows in place of a secret, and none is stored: give the secret itself")...)
		}
		kept = append(kept, path)
		return old[path], nil
	})
	if err != nil {
		return Draft{}, one("", "%v", err)
	}
	if len(missing) > 0 {
		return Draft{}, missing
	}
	if k.kind == KindTLSBundle && old["keyPem"] != "" {
		given = withKey(given, have.Given, old["keyPem"])
	}
	out, err := decodeText(k.kind, "", given, true)
	if err != nil {
		problems, _ := err.(Problems)
		return Draft{}, problems
	}
	if name := out.Object.ObjectName(); name != k.name {
		return Draft{}, one("name", "is %q, and the object to be written is %q: a name cannot be changed", name, cut(k.name))
	}
	// Who may write a target need not know its secrets: they must not follow to where he points it.
	var moved Problems
	if field := destinationOf(out.Object).differs(destinationOf(have.Object)); field != "" {
		for _, path := range kept {
			moved = append(moved, one(path, "give it again: the target's %s has changed", field)...)
		}
	}
	if len(moved) > 0 {
		return Draft{}, moved
	}
	return out, nil
}

// withKey adds the stored private key to a bundle that gives none beside the same certificate.
func withKey(given, stored []byte, keyPem string) []byte {
	now, err := parseJSON(given)
	was, wasErr := parseJSON(stored)
	if err != nil || wasErr != nil || len(now) != 1 || len(was) != 1 {
		return given
	}
	n, old := now[0], was[0]
	for _, field := range []string{"keyPem", "keyFile"} {
		if hasField(n, field) {
			return given
		}
	}
	for _, field := range []string{"certPem", "certFile"} {
		if valueOf(n, field) != valueOf(old, field) {
			return given
		}
	}
	n.Content = append(n.Content, text("keyPem"), text(keyPem))
	out, err := nodeJSON(n)
	if err != nil {
		return given
	}
	return out
}

func hasField(n *yaml.Node, field string) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == field {
			return true
		}
	}
	return false
}

// users returns the objects that name k: targets their TLS bundle, sources and
// services their format; and the sources that have their format of a service
// and would have another one without it. The service itself may be among before only.
func users(k key, objects []Stored, before map[key]Stored) (found []key) {
	isUser := func(s Stored) bool { return false }
	switch k.kind {
	case KindTLSBundle:
		isUser = func(s Stored) bool { t, ok := s.Object.(*Target); return ok && t.BundleName() == k.name }
	case KindFormat:
		isUser = func(s Stored) bool {
			switch o := s.Object.(type) {
			case *Source:
				return o.LogFormat == RegexPrefix+k.name
			case *Service:
				return o.LogFormat == RegexPrefix+k.name
			}
			return false
		}
	case KindService:
		isUser = usesService(k, objects, before)
	}
	for _, s := range objects {
		if !isNil(s.Object) && s.Err == nil && isUser(s) {
			found = append(found, key{s.Kind, s.Name})
		}
	}
	return found
}

// usesService returns what tells the sources that have their format of a service.
func usesService(k key, objects []Stored, before map[key]Stored) func(Stored) bool {
	service, ok := before[k].Object.(*Service)
	if !ok || service == nil {
		return func(Stored) bool { return false }
	}
	var others []Service
	for _, s := range objects {
		if o, ok := s.Object.(*Service); ok && o != nil && o.Name != k.name {
			others = append(others, *o)
		}
	}
	with, without := newServiceTable(append(slices.Clone(others), *service)), newServiceTable(others)
	return func(s Stored) bool {
		source, ok := s.Object.(*Source)
		return ok && !givesFormat(s.Given) && with.defaultFormat(source) != without.defaultFormat(source)
	}
}

// reasonLimit bounds what is said of an object that another one cannot do without.
const reasonLimit = 300

// because continues a message with why an object is left out.
func because(reason string) string {
	if len(reason) > reasonLimit {
		reason = strings.ToValidUTF8(reason[:reasonLimit], "") + "..."
	}
	return "cannot be used: " + reason
}
