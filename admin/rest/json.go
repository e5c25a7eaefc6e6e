package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of a JSON body.
const (
	maxDepth = 64  // objects and lists within each other
	maxKey   = 200 // bytes of a field's name
)

// checkJSON checks that data is one JSON value that everybody reads alike (RFC 8259
// with RFC 7493): UTF-8, no field twice in an object, no half of a surrogate pair,
// nothing behind it, not nested too deep.
//
// config.Decode, which is given the body next, finds what is given twice or nested too deep as well, but takes more:
// YAML, several texts one behind the other, and what encoding/json mends silently (U+FFFD for what is no
// UTF-8 or half a pair). What says that it is JSON must not become YAML where it is none ({a: NaN}), and here the
// scanner that finds the place of a bad text meets the names of fields and the depth in any case.
//
// The errors name the place and quote nothing of what the body holds but the names of fields.
func checkJSON(data []byte) error {
	if !utf8.Valid(data) {
		at := 0
		for {
			r, size := utf8.DecodeRune(data[at:])
			if r == utf8.RuneError && size == 1 {
				return badJSON(position(data, at), "byte 0x%02x is not UTF-8", data[at])
			}
			at += size
		}
	}
	var all json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return syntaxError(data, err)
	}
	s := scanner{in: data}
	return s.value(0)
}

// syntaxError says where it is that JSON ends to be JSON.
func syntaxError(data []byte, err error) error {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return badJSON("", "not valid JSON")
	}
	if strings.Contains(syntax.Error(), "exceeded max depth") {
		return badJSON("", "is nested more than %d deep", maxDepth)
	}
	at := min(max(int(syntax.Offset)-1, 0), len(data))
	return badJSON(position(data, at), "not valid JSON: %s", syntax.Error())
}

func badJSON(place, format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	f := invalid("%s", message)
	if place != "" {
		f.Message = place + ": " + message
	}
	f.Details = []Detail{{Field: place, Message: message}}
	return f
}

// position writes an offset as people count.
func position(data []byte, at int) string {
	before := data[:at]
	line := bytes.Count(before, []byte("\n"))
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	return fmt.Sprintf("line %d, column %d", line+1, column+1)
}

// scanner walks over JSON that is known to be valid.
type scanner struct {
	in   []byte
	at   int
	path []byte // where it is: targets[2].loki.url
}

// next skips white space and returns the byte behind it.
func (s *scanner) next() byte {
	for {
		switch b := s.in[s.at]; b {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return b
		}
	}
}

func (s *scanner) value(depth int) error {
	first := s.next()
	if depth >= maxDepth && (first == '{' || first == '[') {
		return badJSON(cut(string(s.path)), "is nested more than %d deep", maxDepth)
	}
	switch first {
	case '{':
		return s.object(depth)
	case '[':
		return s.list(depth)
	case '"':
		_, err := s.raw()
		return err
	default: // a number, true, false or null
		for s.at < len(s.in) && strings.IndexByte(" \t\r\n,]}", s.in[s.at]) < 0 {
			s.at++
		}
	}
	return nil
}

func (s *scanner) object(depth int) error {
	s.at++
	seen := map[string]bool{}
	whole := len(s.path)
	for s.next() != '}' {
		if len(seen) > 0 {
			s.at++ // the comma
			s.next()
		}
		key, err := s.key()
		if err != nil {
			return err
		}
		if len(key) > maxKey {
			return badJSON(cut(string(s.path)), "the name of a field is %d bytes long, more than %d", len(key), maxKey)
		}
		s.path = appendStep(s.path, key)
		if seen[key] {
			return badJSON(string(s.path), "is given twice")
		}
		seen[key] = true
		s.next()
		s.at++ // the colon
		if err := s.value(depth + 1); err != nil {
			return err
		}
		s.path = s.path[:whole]
	}
	s.at++
	return nil
}

func (s *scanner) list(depth int) error {
	s.at++
	whole := len(s.path)
	for i := 0; s.next() != ']'; i++ {
		if i > 0 {
			s.at++ // the comma
		}
		s.path = append(strconv.AppendInt(append(s.path, '['), int64(i), 10), ']')
		if err := s.value(depth + 1); err != nil {
			return err
		}
		s.path = s.path[:whole]
	}
	s.at++
	return nil
}

// raw reads a string with its quotes, as it stands there.
func (s *scanner) raw() ([]byte, error) {
	end, escaped := s.at+1, false
	for s.in[end] != '"' {
		if s.in[end] == '\\' {
			escaped = true
			end++
		}
		end++
	}
	raw := s.in[s.at : end+1]
	s.at = end + 1
	if escaped && halfSurrogate(raw) {
		return nil, badJSON(string(s.path), "holds half of a surrogate pair (\\ud800 to \\udfff)")
	}
	return raw, nil
}

// key reads the name of a field.
func (s *scanner) key() (string, error) {
	raw, err := s.raw()
	if err != nil {
		return "", err
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), nil
	}
	var key string
	if err := json.Unmarshal(raw, &key); err != nil {
		return "", badJSON(string(s.path), "the name of a field cannot be read")
	}
	return key, nil
}

// halfSurrogate finds an escaped surrogate that is not one of a pair, for which
// encoding/json puts U+FFFD.
func halfSurrogate(raw []byte) bool {
	for i := 0; i+6 <= len(raw); {
		if raw[i] != '\\' {
			i++
			continue
		}
		if raw[i+1] != 'u' {
			i += 2
			continue
		}
		switch unit := codeUnit(raw[i+2:]); {
		case unit < 0xd800 || unit > 0xdfff:
			i += 6
		case unit < 0xdc00 && i+12 <= len(raw) && raw[i+6] == '\\' && raw[i+7] == 'u' && codeUnit(raw[i+8:])&0xfc00 == 0xdc00:
			i += 12
		default:
			return true
		}
	}
	return false
}

// codeUnit reads four hexadecimal digits.
func codeUnit(digits []byte) uint64 {
	n, _ := strconv.ParseUint(string(digits[:4]), 16, 32) // valid JSON
	return n
}

// appendStep adds a field's name to a path.
func appendStep(path []byte, key string) []byte {
	if len(path) > 0 {
		path = append(path, '.')
	}
	for _, r := range key {
		if r < '!' || r > '~' || r == '.' || r == '[' {
			return strconv.AppendQuoteToASCII(path, cut(key))
		}
	}
	return append(path, cut(key)...)
}
