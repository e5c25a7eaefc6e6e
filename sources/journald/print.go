package journald

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

var timeZero time.Time

// jsonThreshold: journalctl -o json without --all prints null for fields of
// this size and more, "NAME=" included.
const jsonThreshold = 4096

// printer writes entries in one of journalctl's formats.
type printer struct {
	out *bufio.Writer
	z   *inflater
	buf []byte
	obj []jsonField
}

type printFunc func(p *printer, f *file, e *entry, j *journal) error

func printerOf(output string) (printFunc, error) {
	switch output {
	case "", "export":
		return (*printer).export, nil
	case "json":
		return (*printer).json, nil
	case "cat":
		return (*printer).cat, nil
	}
	return nil, fmt.Errorf("unknown output format %q (known: export, json, cat)", output)
}

// fields calls each for the entry's fields in the journal's order.
func (p *printer) fields(f *file, e *entry, j *journal, each func(name, value []byte)) {
	for _, off := range e.items {
		var h dataHeader
		data, _, err := f.payload(off, p.z, &h)
		if err != nil {
			j.damaged(f, off, "corrupt-data", err)
			continue
		}
		if name, value, ok := bytes.Cut(data, []byte{'='}); ok {
			each(name, value)
		}
	}
}

// export writes systemd's Journal Export Format.
func (p *printer) export(f *file, e *entry, j *journal) error {
	b := append(p.buf[:0], "__CURSOR="...)
	b = e.loc.appendCursor(b)
	b = append(b, "\n__REALTIME_TIMESTAMP="...)
	b = strconv.AppendUint(b, e.loc.realtime, 10)
	b = append(b, "\n__MONOTONIC_TIMESTAMP="...)
	b = strconv.AppendUint(b, e.loc.monotonic, 10)
	b = append(b, "\n_BOOT_ID="...)
	b = append(b, e.loc.boot.String()...)
	b = append(b, '\n')
	p.fields(f, e, j, func(name, value []byte) {
		if string(name) == "_BOOT_ID" || !printableName(name) {
			return
		}
		b = append(b, name...)
		if printable(value, false) {
			b = append(b, '=')
		} else {
			b = append(b, '\n')
			b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
		}
		b = append(b, value...)
		b = append(b, '\n')
	})
	b = append(b, '\n')
	p.buf = b
	_, err := p.out.Write(b)
	return err
}

// cat writes the message alone.
func (p *printer) cat(f *file, e *entry, j *journal) error {
	b := p.buf[:0]
	done := false
	p.fields(f, e, j, func(name, value []byte) {
		if !done && string(name) == "MESSAGE" {
			b = append(append(b, value...), '\n')
			done = true
		}
	})
	p.buf = b
	_, err := p.out.Write(b)
	return err
}

// jsonField collects the values of one name.
type jsonField struct {
	name   []byte
	values [][]byte // JSON of each
}

// json writes one object a line: values are strings, arrays of numbers where
// they are not text, null where they are long, arrays of these where a field
// is repeated.
func (p *printer) json(f *file, e *entry, j *journal) error {
	p.obj = p.obj[:0]
	p.fields(f, e, j, func(name, value []byte) {
		if string(name) == "_BOOT_ID" {
			return
		}
		p.add(name, appendJSONValue(nil, len(name), value))
	})
	b := append(p.buf[:0], `{"__CURSOR":"`...)
	b = e.loc.appendCursor(b)
	b = fmt.Appendf(b, `","__REALTIME_TIMESTAMP":"%d","__MONOTONIC_TIMESTAMP":"%d","_BOOT_ID":"%s"`,
		e.loc.realtime, e.loc.monotonic, e.loc.boot)
	for _, field := range p.obj {
		b = append(b, ',')
		b = appendJSONString(b, field.name)
		b = append(b, ':')
		if len(field.values) == 1 {
			b = append(b, field.values[0]...)
			continue
		}
		b = append(b, '[')
		b = append(b, bytes.Join(field.values, []byte{','})...)
		b = append(b, ']')
	}
	b = append(b, "}\n"...)
	p.buf = b
	_, err := p.out.Write(b)
	return err
}

func (p *printer) add(name, value []byte) {
	for i := range p.obj {
		if bytes.Equal(p.obj[i].name, name) {
			p.obj[i].values = append(p.obj[i].values, value)
			return
		}
	}
	p.obj = append(p.obj, jsonField{bytes.Clone(name), [][]byte{value}})
}

func appendJSONValue(b []byte, nameLen int, value []byte) []byte {
	switch {
	case nameLen+1+len(value) >= jsonThreshold:
		return append(b, "null"...)
	case printable(value, true):
		return appendJSONString(b, value)
	}
	b = append(b, '[')
	for i, c := range value {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(c), 10)
	}
	return append(b, ']')
}

func appendJSONString(b, s []byte) []byte {
	b = append(b, '"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < ' ' || c == 0x7f:
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// printableName reports whether journalctl prints a field of that name.
func printableName(name []byte) bool {
	if len(name) == 0 || len(name) > 64 || name[0] >= '0' && name[0] <= '9' {
		return false
	}
	for _, c := range name {
		if c != '_' && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// printable reports whether b is text as journalctl sees it: valid UTF-8 of
// characters that are neither control characters (tab apart) nor Unicode's
// noncharacters, and no newline unless allowed.
func printable(b []byte, newline bool) bool {
	for i := 0; i < len(b); {
		c := b[i]
		if c < utf8.RuneSelf {
			if c < ' ' && c != '\t' && (c != '\n' || !newline) || c == 0x7f {
				return false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 || r < 0xa0 || r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe {
			return false
		}
		i += n
	}
	return true
}
