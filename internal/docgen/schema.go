package main

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lbshipd/lbshipd/admin/rest"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// schema is a JSON Schema (2020-12) or any other part of an OpenAPI document.
// encoding/json writes its keys in alphabetical order: the file is the same each time.
type schema = map[string]any

// schemas makes the schemas of Go types as JSON has them.
type schemas struct {
	comments comments
	made     map[string]schema // components/schemas
}

// newSchemas knows the types that are not structs.
func newSchemas(c comments) *schemas {
	return &schemas{c, map[string]schema{
		"Bytes": {"type": []string{"string", "integer"}, "pattern": `^[0-9]+ *(B|KiB|MiB|GiB)?$`, "minimum": 0,
			"description": "A size: a number of bytes, or a whole number with B, KiB, MiB or GiB behind it. Answers have texts.", "examples": []string{"8MiB"}},
		"Duration": {"type": "string", "description": "A time span: numbers with units.", "examples": []string{"500ms", "1m30s"}},
		"Level":    {"type": "string", "enum": record.Levels(), "description": "A level. The usual other words, such as warn, are taken as well."},
		"Secret": {"type": "string", "format": "password",
			"description": "A text that is never shown again: answers have \"(hidden)\" in its place, which means what is stored already when it is sent back."},
		"Int64":   {"type": "string", "pattern": `^-?[0-9]+$`, "description": "A number of 64 bits, as a text."},
		"Empty":   {"type": "object", "additionalProperties": false, "description": "Nothing."},
		"OpenAPI": {"type": "object", "required": []string{"openapi", "info", "paths"}, "additionalProperties": true, "description": "An OpenAPI document."},
	}}
}

func ref(name string) schema { return schema{"$ref": "#/components/schemas/" + name} }

// words are the fields whose values are few words.
var words = map[string][]string{
	"Collector.alloyStatus":     {"ALLOY_UNSPECIFIED", config.AlloyOnline, config.AlloyStale, config.AlloyOffline},
	"Collector.remotecfgStatus": {"REMOTECFG_UNSPECIFIED", config.RemotecfgUp, config.RemotecfgDown},
	"Collector.pipelineHealth":  {"UNSPECIFIED", config.HealthHealthy, config.HealthDegraded, config.HealthUnknown, config.HealthError},
	"Whoami.role":               {"viewer", "editor", "admin"},
	"RevisionChange.action":     {"create", "update", "delete"},
	"Step.name":                 {sinks.StepConfig, sinks.StepDNS, sinks.StepTCP, sinks.StepTLS, sinks.StepHTTP, sinks.StepRELP, sinks.StepRecord},
	"Step.cause": {sinks.CauseName, sinks.CauseRefused, sinks.CauseUnreachable, sinks.CauseExpired, sinks.CauseNotYet, sinks.CauseAuthority, sinks.CauseServerName,
		sinks.CauseFingerprint, sinks.CauseHandshake, sinks.CauseAuth, sinks.CauseLimited, sinks.CauseNotLoki},
	"Source.startAt":         {"end", "beginning"},
	"RsyslogTarget.protocol": {"tls", "tcp", "udp", "relp", "relp-tls"},
	"RsyslogTarget.framing":  {"octet-counting", "newline"},
	"RsyslogTarget.facility": config.Facilities(),
	"StdoutTarget.format":    {"text", "json", "logfmt"},
}

// alternatives are the fields of an object of which exactly one is given.
var alternatives = map[string][]string{
	"Source": {"journald", "file"}, "Target": {"loki", "rsyslog", "stdout"}, "RsyslogTarget": {"address", "addresses"},
}

// of returns the schema of a type, a reference if it has a name of its own.
func (s *schemas) of(t reflect.Type) (schema, error) {
	switch t {
	case reflect.TypeFor[config.Bytes]():
		return ref("Bytes"), nil
	case reflect.TypeFor[config.Duration]():
		return ref("Duration"), nil
	case reflect.TypeFor[record.Level]():
		return ref("Level"), nil
	case reflect.TypeFor[config.Secret]():
		return ref("Secret"), nil
	case reflect.TypeFor[config.Kind]():
		return schema{"type": "string", "enum": config.Kinds()}, nil
	case reflect.TypeFor[time.Time]():
		return schema{"type": "string", "format": "date-time"}, nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.String:
		return schema{"type": "string"}, nil
	case reflect.Bool:
		return schema{"type": "boolean"}, nil
	case reflect.Int, reflect.Int64:
		return schema{"type": "integer"}, nil
	case reflect.Int32:
		return schema{"type": "integer", "format": "int32"}, nil
	case reflect.Float64:
		return schema{"type": "number"}, nil
	case reflect.Slice:
		items, err := s.of(t.Elem())
		return schema{"type": "array", "items": items}, err
	case reflect.Map:
		values, err := s.of(t.Elem())
		return schema{"type": "object", "additionalProperties": values}, err
	case reflect.Struct:
		return ref(t.Name()), s.object(t)
	}
	return nil, fmt.Errorf("type %v has no schema", t)
}

// object makes the schema of a struct and of all that it holds.
func (s *schemas) object(t reflect.Type) error {
	name := t.Name()
	if _, done := s.made[name]; done {
		return nil
	}
	properties, required := schema{}, []string{}
	out := schema{"type": "object", "properties": properties, "additionalProperties": false}
	s.made[name] = out
	if text := s.comments[t.String()]; text != "" {
		out["description"] = text
	}
	for i := range t.NumField() {
		f := t.Field(i)
		field, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if field == "" || field == "-" {
			continue
		}
		property, err := s.property(t, f, options)
		if err != nil {
			return fmt.Errorf("%s.%s: %w", name, f.Name, err)
		}
		properties[field] = property
		if !strings.Contains(options, "omitempty") {
			required = append(required, field)
		}
	}
	if len(required) > 0 {
		out["required"] = required
	}
	if fields := alternatives[name]; fields != nil {
		var oneOf []schema
		for _, field := range fields {
			oneOf = append(oneOf, schema{"required": []string{field}})
		}
		out["oneOf"] = oneOf
	}
	return nil
}

// property makes the schema of a field, with what its tags and comments say.
func (s *schemas) property(t reflect.Type, f reflect.StructField, options string) (schema, error) {
	out, err := s.of(f.Type)
	if err != nil {
		return nil, err
	}
	field, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if strings.Contains(options, "string") {
		out = ref("Int64")
	}
	if field == "name" && slices.Contains(objectTypes, t) {
		out["pattern"] = rest.NamePattern
	}
	if values := words[t.Name()+"."+field]; values != nil {
		out["enum"] = values
	}
	text := s.comments[t.String()+"."+f.Name]
	if least, most := f.Tag.Get("min"), f.Tag.Get("max"); most != "" {
		if f.Type.Kind() == reflect.Int {
			out["minimum"], _ = strconv.Atoi(least)
			out["maximum"], _ = strconv.Atoi(most)
		} else {
			text += " From " + least + " to " + most + "."
		}
	}
	if def, ok := f.Tag.Lookup("default"); ok {
		text = s.byDefault(out, f.Type, def, text)
	}
	if t == reflect.TypeFor[config.TLSBundle]() && field == "keyPem" {
		out["writeOnly"] = true
	}
	if text != "" {
		out["description"] = strings.TrimSpace(text)
	}
	return out, nil
}

// byDefault sets the default if it is a value, and says it in the text if it is words.
func (s *schemas) byDefault(out schema, t reflect.Type, def, text string) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case strings.Contains(def, " for "):
		return text + " Default: " + def + "."
	case t.Kind() == reflect.Bool:
		out["default"] = def == "true"
	case t.Kind() == reflect.Int:
		out["default"], _ = strconv.Atoi(def)
	case t.Kind() == reflect.Slice:
		out["default"] = strings.Split(def, ", ")
	default:
		out["default"] = def
	}
	return text
}

// objectTypes are the types of the stored objects.
var objectTypes = []reflect.Type{reflect.TypeFor[config.Source](), reflect.TypeFor[config.Target](),
	reflect.TypeFor[config.TLSBundle](), reflect.TypeFor[config.Format](), reflect.TypeFor[config.Service]()}

// bundleFacts are what answers say of a TLS bundle's certificate.
var bundleFacts = map[string]string{
	"fingerprint": "SHA-256 of the certificate.", "subject": "Whom the certificate is of.", "issuer": "Who has signed the certificate.",
	"notBefore": "When the certificate begins to be valid.", "notAfter": "When the certificate ends to be valid.",
}

// all makes every schema that an endpoint names.
func (s *schemas) all() error {
	answers := []reflect.Type{reflect.TypeFor[config.Config](), reflect.TypeFor[rest.Error](), reflect.TypeFor[rest.Applied](),
		reflect.TypeFor[rest.RevisionList](), reflect.TypeFor[rest.CollectorList](), reflect.TypeFor[rest.Whoami](), reflect.TypeFor[config.Rejected](), reflect.TypeFor[sinks.TestReport]()}
	for _, t := range append(slices.Clone(objectTypes), answers...) {
		if err := s.object(t); err != nil {
			return err
		}
	}
	for name, text := range bundleFacts {
		fact := schema{"type": "string", "readOnly": true, "description": text}
		if strings.HasPrefix(name, "not") {
			fact["format"] = "date-time"
		}
		s.made["TLSBundle"]["properties"].(schema)[name] = fact
	}
	for _, kind := range config.Kinds() {
		s.made[rest.ListSchema(kind)] = schema{"type": "object", "additionalProperties": false, "required": []string{kind.List()},
			"description": "The " + rest.Noun(kind) + "s, by name.",
			"properties": schema{
				kind.List():     schema{"type": "array", "items": ref(rest.Schema(kind))},
				"nextPageToken": schema{"type": "string", "description": "Leads to the next page; left out on the last one."},
				"rejected":      schema{"type": "array", "items": ref("Rejected"), "description": "Those that are stored and cannot be used. Left out if there are none."},
			}}
	}
	return nil
}
