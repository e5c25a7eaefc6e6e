package loki

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/lbshipd/lbshipd/record"
)

// attribute is something that every record has or may have beside its line
// and fields.
type attribute uint8

const (
	attrField attribute = iota // not an attribute: a field of that name
	attrSource
	attrHost
	attrUnit
	attrIdentifier
	attrFilename
	attrLevel
	attrPID
	attrMsgID
	attrTruncated
)

// attributes are the names that a configuration uses.
var attributes = map[string]attribute{
	"source":     attrSource,
	"host":       attrHost,
	"unit":       attrUnit,
	"identifier": attrIdentifier,
	"filename":   attrFilename,
	"level":      attrLevel,
	"pid":        attrPID,
	"msgid":      attrMsgID,
	"truncated":  attrTruncated,
}

// StreamLabels are the attributes that may become stream labels, and do so by
// default. A process number or a message number is none: each new value would
// be a new stream.
func StreamLabels() []string {
	return []string{"source", "host", "unit", "identifier", "filename", "level"}
}

// value returns a record's attribute as text or as bytes; whichever is not
// empty counts.
func (a attribute) value(o *record.Origin, r *record.Record) (string, []byte) {
	switch a {
	case attrSource:
		return o.Source, nil
	case attrHost:
		if len(r.Header.Host) > 0 {
			return "", r.Header.Host
		}
		return o.Host, nil
	case attrUnit:
		return "", r.Header.Unit
	case attrIdentifier:
		return "", r.Header.Identifier
	case attrFilename:
		if o.Kind == "file" {
			return o.Path, nil
		}
	case attrLevel:
		return r.Level.Loki(), nil
	case attrPID:
		return "", r.Header.PID
	case attrMsgID:
		return "", r.Header.MsgID
	case attrTruncated:
		if r.Flags&record.Truncated != 0 {
			return "true", nil
		}
	}
	return "", nil
}

// metadatum is one structured metadata entry that records carry if they have
// the attribute or field.
type metadatum struct {
	name  string // valid as a label name
	attr  attribute
	field string // if attr is attrField
}

// metadata is what a target wants as structured metadata, sorted by name.
type metadata []metadatum

// newMetadata takes the names of a configuration. A name that becomes the same
// as an earlier one is left out.
func newMetadata(names []string) metadata {
	var m metadata
	for _, name := range names {
		d := metadatum{name: validName(name), attr: attributes[name], field: name}
		if !slices.ContainsFunc(m, func(e metadatum) bool { return e.name == d.name }) {
			m = append(m, d)
		}
	}
	slices.SortFunc(m, func(a, b metadatum) int { return strings.Compare(a.name, b.name) })
	return m
}

// usesFields reports whether any of it is a field.
func (m metadata) usesFields() bool {
	return slices.ContainsFunc(m, func(e metadatum) bool { return e.attr == attrField })
}

func (d *metadatum) value(o *record.Origin, r *record.Record) (string, []byte) {
	if d.attr == attrField {
		return "", r.Field(d.field)
	}
	return d.attr.value(o, r)
}

// pairLen is the length of the record's LabelPair message, 0 if it has none.
func (d *metadatum) pairLen(o *record.Origin, r *record.Record) int {
	text, raw := d.value(o, r)
	n := validTextLen(text, raw)
	if n == 0 {
		return 0
	}
	return bytesFieldLen(len(d.name)) + bytesFieldLen(n)
}

// appendPair appends the record's LabelPair with its tag and length.
func (d *metadatum) appendPair(buf []byte, o *record.Origin, r *record.Record) []byte {
	text, raw := d.value(o, r)
	n := validTextLen(text, raw)
	if n == 0 {
		return buf
	}
	buf = append(buf, tagMetadata)
	buf = appendVarint(buf, uint64(bytesFieldLen(len(d.name))+bytesFieldLen(n)))
	buf = appendVarint(append(buf, tagName), uint64(len(d.name)))
	buf = append(buf, d.name...)
	buf = appendVarint(append(buf, tagValue), uint64(n))
	// The lengths do not tell whether it is valid: U+FFFD has three bytes, and
	// so may have what it stands for.
	switch {
	case len(raw) > 0 && utf8.Valid(raw):
		return append(buf, raw...)
	case len(raw) > 0:
		return appendValid(buf, raw)
	case utf8.ValidString(text):
		return append(buf, text...)
	}
	return appendValid(buf, []byte(text))
}

// validTextLen is the length of the one of the two that is not empty, once it
// is valid UTF-8.
func validTextLen(text string, raw []byte) int {
	if len(raw) > 0 {
		if utf8.Valid(raw) {
			return len(raw)
		}
		return validLen(raw)
	}
	if utf8.ValidString(text) {
		return len(text)
	}
	return validLen([]byte(text))
}
