package stdout

import (
	"bytes"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/lbshipd/lbshipd/record"
)

// ANSI colours of the level column (ECMA-48 section 8.3.117).
var colours = [...]string{
	record.LevelUnknown: "\x1b[2m", record.LevelTrace: "\x1b[2m", record.LevelDebug: "\x1b[2m", record.LevelInfo: "\x1b[32m",
	record.LevelNotice: "\x1b[36m", record.LevelWarning: "\x1b[33m", record.LevelError: "\x1b[31m", record.LevelCritical: "\x1b[1;31m",
	record.LevelAlert: "\x1b[1;31m", record.LevelEmergency: "\x1b[1;37;41m",
}

const colourOff = "\x1b[0m"

// textEncoder gives "TIME LEVEL source name: line". Control characters are made
// visible: a log line must not play with a terminal.
func textEncoder(colour bool) encoder {
	return func(dst []byte, o *record.Origin, r *record.Record) []byte {
		dst = time.Unix(0, r.Time).Local().AppendFormat(dst, "2006-01-02T15:04:05.000Z07:00")
		dst = append(dst, ' ')
		level := r.Level
		if int(level) >= len(colours) {
			level = record.LevelUnknown
		}
		if colour {
			dst = append(dst, colours[level]...)
		}
		at := len(dst)
		if level == record.LevelUnknown {
			dst = append(dst, '-')
		} else {
			dst = append(dst, level.String()...)
		}
		for len(dst)-at < len("critical") {
			dst = append(dst, ' ')
		}
		if colour {
			dst = append(dst, colourOff...)
		}
		dst = append(dst, ' ')
		dst = append(dst, o.Source...)
		if name := nameOf(o, r); len(name) > 0 {
			dst = append(dst, ' ')
			dst = appendVisible(dst, name)
		}
		dst = append(dst, ": "...)
		dst = appendVisible(dst, r.Line)
		if r.Flags&record.Truncated != 0 {
			dst = append(dst, " (truncated)"...)
		}
		return append(dst, '\n')
	}
}

// nameOf is what a person knows the writer by: its identifier, or its file.
func nameOf(o *record.Origin, r *record.Record) []byte {
	if len(r.Header.Identifier) > 0 {
		return r.Header.Identifier
	}
	if o.Kind == "file" {
		return unsafe.Slice(unsafe.StringData(o.Path), len(o.Path)) // read only, and no copy
	}
	return nil
}

// appendVisible appends p with control characters (C0, DEL, C1) and invalid
// UTF-8 written as \xNN, a tab kept.
func appendVisible(dst, p []byte) []byte {
	const hex = "0123456789abcdef"
	for i := 0; i < len(p); {
		c := p[i]
		if c >= 0x20 && c < 0x7f || c == '\t' {
			dst = append(dst, c)
			i++
			continue
		}
		if c == '\n' {
			dst = append(dst, `\n`...)
			i++
			continue
		}
		if c < utf8.RuneSelf {
			dst = append(dst, '\\', 'x', hex[c>>4], hex[c&15])
			i++
			continue
		}
		u, n := utf8.DecodeRune(p[i:])
		if u == utf8.RuneError && n <= 1 || u < 0xa0 {
			for _, c := range p[i : i+n] {
				dst = append(dst, '\\', 'x', hex[c>>4], hex[c&15])
			}
			i += n
			continue
		}
		dst = append(dst, p[i:i+n]...)
		i += n
	}
	return dst
}

// appendJSON gives one object a line: time, level, source, what is known of
// the writer, line, message if it is another text, labels and fields.
func appendJSON(dst []byte, o *record.Origin, r *record.Record) []byte {
	dst = append(dst, `{"time":"`...)
	dst = time.Unix(0, r.Time).UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, '"')
	if r.Level != record.LevelUnknown {
		dst = appendMember(dst, "level", []byte(r.Level.String()))
	}
	dst = append(dst, `,"source":`...)
	dst = appendQuoted(dst, []byte(o.Source))
	if o.Kind == "file" {
		dst = append(dst, `,"filename":`...)
		dst = appendQuoted(dst, []byte(o.Path))
	}
	h := r.Header
	dst = appendMember(dst, "host", h.Host)
	dst = appendMember(dst, "unit", h.Unit)
	dst = appendMember(dst, "identifier", h.Identifier)
	dst = appendMember(dst, "pid", h.PID)
	dst = appendMember(dst, "msgid", h.MsgID)
	if r.Flags&record.Truncated != 0 {
		dst = append(dst, `,"truncated":true`...)
	}
	dst = append(dst, `,"line":`...)
	dst = appendQuoted(dst, r.Line)
	if !bytes.Equal(r.Line, r.Message) {
		dst = appendMember(dst, "message", r.Message)
	}
	if len(o.Labels) > 0 {
		dst = append(dst, `,"labels":{`...)
		for i, l := range o.Labels {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendQuoted(dst, []byte(l.Name))
			dst = append(dst, ':')
			dst = appendQuoted(dst, []byte(l.Value))
		}
		dst = append(dst, '}')
	}
	if len(r.Fields) > 0 {
		// A list and not an object: names may repeat.
		dst = append(dst, `,"fields":[`...)
		for i := range r.Fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, '[')
			dst = appendQuoted(dst, r.Fields[i].Name)
			dst = append(dst, ',')
			dst = appendQuoted(dst, r.Fields[i].Value)
			dst = append(dst, ']')
		}
		dst = append(dst, ']')
	}
	return append(dst, '}', '\n')
}

func appendMember(dst []byte, name string, value []byte) []byte {
	if len(value) == 0 {
		return dst
	}
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	return appendQuoted(dst, value)
}

// appendQuoted appends p as a JSON string (RFC 8259 section 7); invalid UTF-8
// becomes U+FFFD, one for each byte.
func appendQuoted(dst, p []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(p); {
		c := p[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= 0x20 && c < utf8.RuneSelf && c != 0x7f:
			dst = append(dst, c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c < utf8.RuneSelf:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			u, n := utf8.DecodeRune(p[i:])
			if u == utf8.RuneError && n <= 1 {
				dst = append(dst, "\ufffd"...)
			} else if u < 0xa0 { // C1 controls: valid JSON, and yet read by terminals
				dst = append(dst, '\\', 'u', '0', '0', hex[u>>4], hex[u&15])
			} else {
				dst = append(dst, p[i:i+n]...)
			}
			i += n
			continue
		}
		i++
	}
	return append(dst, '"')
}

// appendLogfmt gives key=value pairs; values are quoted where they hold
// anything but plain characters.
func appendLogfmt(dst []byte, o *record.Origin, r *record.Record) []byte {
	dst = append(dst, "time="...)
	dst = time.Unix(0, r.Time).UTC().AppendFormat(dst, time.RFC3339Nano)
	if r.Level != record.LevelUnknown {
		dst = appendPair(dst, []byte("level"), []byte(r.Level.String()))
	}
	dst = appendPair(dst, []byte("source"), []byte(o.Source))
	if o.Kind == "file" {
		dst = appendPair(dst, []byte("filename"), []byte(o.Path))
	}
	h := r.Header
	for _, p := range [...]struct {
		name  string
		value []byte
	}{{"host", h.Host}, {"unit", h.Unit}, {"identifier", h.Identifier}, {"pid", h.PID}, {"msgid", h.MsgID}} {
		if len(p.value) > 0 {
			dst = appendPair(dst, []byte(p.name), p.value)
		}
	}
	for _, l := range o.Labels {
		dst = appendPair(dst, []byte(l.Name), []byte(l.Value))
	}
	for i := range r.Fields {
		dst = appendPair(dst, r.Fields[i].Name, r.Fields[i].Value)
	}
	if r.Flags&record.Truncated != 0 {
		dst = append(dst, " truncated=true"...)
	}
	dst = appendPair(dst, []byte("line"), r.Line)
	return append(dst, '\n')
}

func appendPair(dst, name, value []byte) []byte {
	dst = append(dst, ' ')
	at := len(dst)
	for _, c := range name {
		if c <= ' ' || c == '=' || c == '"' || c >= 0x7f {
			c = '_'
		}
		dst = append(dst, c)
	}
	if len(dst) == at {
		dst = append(dst, '_')
	}
	dst = append(dst, '=')
	if plain(value) {
		return append(dst, value...)
	}
	return appendQuoted(dst, value)
}

func plain(value []byte) bool {
	if len(value) == 0 {
		return false
	}
	for _, c := range value {
		if c <= ' ' || c == '=' || c == '"' || c == '\\' || c >= 0x7f {
			return false
		}
	}
	return true
}
