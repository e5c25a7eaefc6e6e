package rsyslog

import (
	"bytes"
	"unicode/utf8"

	"github.com/lbshipd/lbshipd/record"
)

// newlineShown is what stands for a newline where a newline cannot be sent.
const newlineShown = "#012"

func indexNewline(b []byte) int {
	if n := bytes.IndexByte(b, '\n'); n >= 0 {
		return n
	}
	return len(b)
}

// setOrigin encodes the parameters that all records of an origin share: the
// source, the file's path, and the labels. A label named like one of our own
// parameters takes its place.
func (e *encoder) setOrigin(o *record.Origin) {
	e.origin = o
	p := e.originParams[:0]
	if !hasLabel(o, "source") {
		p = e.appendParam(p, "source", o.Source)
	}
	// A journal's directory tells nobody anything; the unit does.
	if o.Path != "" && o.Kind != "journald" && !hasLabel(o, "path") {
		p = e.appendParam(p, "path", o.Path)
	}
	for _, l := range o.Labels {
		p = e.appendParam(p, paramName(l.Name), l.Value)
	}
	e.originParams = p
}

func hasLabel(o *record.Origin, name string) bool {
	for i := range o.Labels {
		if o.Labels[i].Name == name {
			return true
		}
	}
	return false
}

// appendElement appends STRUCTURED-DATA (RFC 5424 section 6.3) up to where the
// fields come, and reports whether it is an element that is still open.
func (e *encoder) appendElement(m []byte, o *record.Origin, h *record.Header) ([]byte, bool) {
	if e.sdID == "" {
		return append(m, '-'), false
	}
	start := len(m)
	m = append(m, '[')
	m = append(m, e.sdID...)
	if e.overBudget(len(m)) {
		e.kept |= structuredDataCut
		return append(m[:start], '-'), false
	}
	if before := len(m); len(h.Unit) > 0 && !hasLabel(o, "unit") {
		m = appendValue(append(m, ` unit="`...), h.Unit, !e.framing.counted())
		if e.overBudget(len(m)) {
			m, e.kept = m[:before], e.kept|structuredDataCut
		}
	}
	if e.overBudget(len(m) + len(e.originParams)) {
		e.kept |= structuredDataCut
		return m, true
	}
	return append(m, e.originParams...), true
}

// overBudget reports whether a middle of n octets leaves MSG too little. PRI,
// VERSION and TIMESTAMP take at most 36 octets, "] " two.
func (e *encoder) overBudget(n int) bool { return n+38 > e.budget }

// appendFields appends the chosen fields of a record, as far as there is room.
func (e *encoder) appendFields(dst []byte, head int, r *record.Record) (_ []byte, cut bool) {
	if e.all {
		for i := range r.Fields {
			f := &r.Fields[i]
			before := len(dst)
			dst = append(dst, ' ')
			dst = appendParamName(dst, f.Name)
			dst = appendValue(append(dst, '=', '"'), f.Value, !e.framing.counted())
			if len(dst)-head+2 > e.budget {
				dst, cut = dst[:before], true
			}
		}
		return dst, cut
	}
	for i := range e.fields {
		value := r.Field(e.fields[i].field)
		if value == nil {
			continue
		}
		before := len(dst)
		dst = append(dst, ' ')
		dst = append(dst, e.fields[i].param...)
		dst = appendValue(append(dst, '=', '"'), value, !e.framing.counted())
		if len(dst)-head+2 > e.budget {
			dst, cut = dst[:before], true
		}
	}
	return dst, cut
}

// appendParam appends one SD-PARAM whose name is valid.
func (e *encoder) appendParam(dst []byte, name, value string) []byte {
	dst = append(dst, ' ')
	dst = append(dst, name...)
	return appendValue(append(dst, '=', '"'), value, !e.framing.counted())
}

// appendValue appends a PARAM-VALUE and the closing quote (RFC 5424 section
// 6.3.3): `"`, `\` and `]` are escaped, octets that are no UTF-8 become U+FFFD.
func appendValue[T string | []byte](dst []byte, value T, showNewlines bool) []byte {
	from := 0
	for i := 0; i < len(value); {
		c := value[i]
		if c < utf8.RuneSelf && c != '"' && c != '\\' && c != ']' && c != '\n' {
			i++
			continue
		}
		switch {
		case c >= utf8.RuneSelf:
			n := runeLen(value[i:])
			if n > 0 {
				i += n
				continue
			}
			dst = append(dst, value[from:i]...)
			dst = append(dst, "\uFFFD"...)
		case c == '\n' && !showNewlines:
			i++
			continue
		case c == '\n':
			dst = append(dst, value[from:i]...)
			dst = append(dst, newlineShown...)
		default:
			dst = append(dst, value[from:i]...)
			dst = append(dst, '\\', c)
		}
		i++
		from = i
	}
	dst = append(dst, value[from:]...)
	return append(dst, '"')
}

// runeLen returns the length of the valid UTF-8 character that value starts
// with, or 0.
func runeLen[T string | []byte](value T) int {
	var four [utf8.UTFMax]byte
	n := copy(four[:], value)
	if r, size := utf8.DecodeRune(four[:n]); r != utf8.RuneError || size > 1 {
		return size
	}
	return 0
}

// paramName makes an SD-NAME of a name (RFC 5424 section 6.3.2).
func paramName(name string) string { return string(appendParamName(nil, []byte(name))) }

// appendParamName appends name as an SD-NAME: 1 to 32 printable US-ASCII
// characters; what is not allowed becomes "_".
func appendParamName(dst, name []byte) []byte {
	if len(name) == 0 {
		return append(dst, '_')
	}
	start := len(dst)
	for i, c := range name {
		if len(dst)-start == maxSDName {
			break
		}
		switch {
		case c > ' ' && c < 0x7f && c != '=' && c != ']' && c != '"':
			dst = append(dst, c)
		case c&0xc0 != 0x80 || i == 0 || name[i-1] < 0x80:
			dst = append(dst, '_')
		}
	}
	return dst
}
