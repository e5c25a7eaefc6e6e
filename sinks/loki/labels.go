package loki

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/lbshipd/lbshipd/record"
)

// Loki's own limits (limits_config: max_label_names_per_series,
// max_label_name_length, max_label_value_length) at their defaults. A stream
// above them is refused with all its lines, so label sets are made to fit.
const (
	maxLabels     = 15
	maxLabelName  = 1024 // bytes
	maxLabelValue = 2048 // bytes
)

// What Deps.Note is told, once per label set that is made and not per record,
// but for invalidLine.
const (
	noteName    = "label_name"         // a label's name was made valid
	noteClash   = "label_collision"    // two labels had the same name; one was left out
	noteValue   = "label_value"        // a label's value was cut or made valid UTF-8
	noteCount   = "label_limit"        // more than 15 labels; the rest was left out
	invalidLine = "line_invalid_utf8"  // a line was made valid UTF-8
	noStream    = "stream_label_empty" // no label had a value; "source" was added
)

// validName makes a label name that Loki takes: [a-zA-Z_][a-zA-Z0-9_]*, at
// most 1024 bytes, and not with the "__" that is reserved for Loki's own. Each
// other character becomes one "_".
func validName(name string) string {
	valid := len(name) > 0 && len(name) <= maxLabelName && !strings.HasPrefix(name, "__")
	for i := 0; valid && i < len(name); i++ {
		valid = nameByte(name[i], i > 0)
	}
	if valid {
		return name
	}
	var b strings.Builder
	for _, c := range strings.TrimLeft(name, "_") {
		if c < utf8.RuneSelf && nameByte(byte(c), true) {
			b.WriteByte(byte(c))
		} else {
			b.WriteByte('_')
		}
	}
	out := strings.TrimLeft(b.String(), "_")
	switch {
	case out == "":
		return "_"
	case strings.HasPrefix(name, "_"), !nameByte(b.String()[0], false), b.String()[0] == '_':
		out = "_" + out // "__x", "1x" and "-x" stay apart from "x"
	}
	return out[:min(len(out), maxLabelName)]
}

func nameByte(c byte, digits bool) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || digits && c >= '0' && c <= '9'
}

// validValue makes a label value that Loki takes: UTF-8 of at most 2048
// bytes, cut between two characters. What is not UTF-8 becomes "?" and not
// U+FFFD, as in lines: Loki's parser takes a U+FFFD in labels for bytes that are not
// UTF-8 and refuses the whole push ("parse error: invalid UTF-8 rune").
func validValue(value string) string {
	value = strings.ReplaceAll(strings.ToValidUTF8(value, "?"), replacement, "?")
	if len(value) <= maxLabelValue {
		return value
	}
	cut := maxLabelValue
	for !utf8.RuneStart(value[cut]) {
		cut--
	}
	return value[:cut]
}

// labelSet builds the labels of one stream.
type labelSet struct {
	pairs []record.Label
	note  func(reason string, n int)
}

// offer adds a label unless its name is taken. Who is offered first wins.
func (s *labelSet) offer(l record.Label) {
	name, value := validName(l.Name), validValue(l.Value)
	if name != l.Name {
		s.note(noteName, 1)
	}
	if value != l.Value {
		s.note(noteValue, 1)
	}
	for i := range s.pairs {
		if s.pairs[i].Name == name {
			if l.Name != s.pairs[i].Name {
				s.note(noteClash, 1) // not a label that overrides another on purpose
			}
			return
		}
	}
	s.pairs = append(s.pairs, record.Label{Name: name, Value: value})
}

// offerAll offers labels in an order that does not depend on how they came:
// those whose names are valid as they are first, then by name.
func (s *labelSet) offerAll(labels []record.Label) {
	for _, asIs := range []bool{true, false} {
		for _, l := range labels {
			if (validName(l.Name) == l.Name) == asIs {
				s.offer(l)
			}
		}
	}
}

// text returns the label set as Prometheus' labels.Labels.String writes it,
// {a="b", c="d"}, sorted by name, values quoted as Go does. keep names the
// labels that stay when there are too many.
func (s *labelSet) text(keep []string) string {
	s.pairs = slices.DeleteFunc(s.pairs, func(l record.Label) bool { return l.Value == "" })
	if len(s.pairs) > maxLabels {
		s.note(noteCount, len(s.pairs)-maxLabels)
		slices.SortStableFunc(s.pairs, func(a, b record.Label) int {
			return rank(keep, a.Name) - rank(keep, b.Name)
		})
		s.pairs = s.pairs[:maxLabels]
	}
	slices.SortFunc(s.pairs, func(a, b record.Label) int { return strings.Compare(a.Name, b.Name) })
	buf := append(make([]byte, 0, 256), '{')
	for i, l := range s.pairs {
		if i > 0 {
			buf = append(buf, ", "...)
		}
		buf = append(buf, l.Name...)
		buf = append(buf, '=')
		buf = strconv.AppendQuote(buf, l.Value)
	}
	return string(append(buf, '}'))
}

func rank(keep []string, name string) int {
	if slices.Contains(keep, name) {
		return 0
	}
	return 1
}

// labelsOf returns the label set of a record's stream: the source's labels,
// then the target's, then the attributes; of equal names the first counts, and
// a label that is set to nothing is left out. Attributes stay when there are
// more than 15 labels: hosts must not run together.
func (s *Sink) labelsOf(o *record.Origin, r *record.Record) string {
	set := labelSet{pairs: make([]record.Label, 0, 16), note: s.deps.Note}
	set.offerAll(o.Labels)
	set.offerAll(s.targetLabels)
	for i, a := range s.streamAttrs {
		text, raw := a.value(o, r)
		if text == "" {
			text = string(raw)
		}
		set.offer(record.Label{Name: s.streamNames[i], Value: text})
	}
	text := set.text(s.streamNames)
	if text != "{}" {
		return text
	}
	// Loki refuses a stream without labels.
	s.deps.Note(noStream, 1)
	set.pairs = nil
	set.offer(record.Label{Name: "source", Value: o.Source})
	if text = set.text(nil); text != "{}" {
		return text
	}
	return `{source="unknown"}`
}
