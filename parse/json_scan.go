package parse

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/lbshipd/lbshipd/record"
)

// maxJSONDepth is how deep objects and arrays may be nested within a line.
// encoding/json allows 10000; no log needs that, and a line that is deeper is
// shipped as it is.
const maxJSONDepth = 512

// jsonScan walks the members of one JSON object (RFC 8259). It accepts exactly
// what encoding/json accepts, but for maxJSONDepth; like it, it does not ask
// for valid UTF-8.
type jsonScan struct {
	p     []byte
	i     int
	first bool // no member was read yet
	ended bool // the closing brace was seen, and nothing but white space behind it
}

// member is one name and value of an object.
type member struct {
	key, val []byte // of strings without the quotes, still escaped
	kind     byte   // the value's first byte: '"', '{', '[', 't', 'f', 'n', '-' or a digit
	keyEsc   bool   // key holds escapes
	valEsc   bool   // val is a string that holds escapes
}

// open enters the object; false if p does not begin with one.
func (s *jsonScan) open(p []byte) bool {
	i := skipSpace(p, 0)
	if i >= len(p) || p[i] != '{' {
		return false
	}
	s.p, s.i, s.first, s.ended = p, i+1, true, false
	return true
}

// next reads a member. At the end of the object, or where the text is not
// JSON, it returns false; ended tells which.
func (s *jsonScan) next(m *member) bool {
	p, i := s.p, skipSpace(s.p, s.i)
	if i >= len(p) {
		return false
	}
	switch c := p[i]; {
	case c == '}':
		s.ended = skipSpace(p, i+1) == len(p)
		return false
	case s.first:
		s.first = false
	case c == ',':
		i = skipSpace(p, i+1)
	default:
		return false
	}
	if i >= len(p) || p[i] != '"' {
		return false
	}
	end, esc := scanString(p, i+1)
	if end < 0 {
		return false
	}
	m.key, m.keyEsc = p[i+1:end:end], esc
	if i = skipSpace(p, end+1); i >= len(p) || p[i] != ':' {
		return false
	}
	if i = skipSpace(p, i+1); i >= len(p) {
		return false
	}
	m.kind, m.valEsc = p[i], false
	if p[i] == '"' {
		end, esc = scanString(p, i+1)
		if end < 0 {
			return false
		}
		m.val, m.valEsc = p[i+1:end:end], esc
		s.i = end + 1
		return true
	}
	if end = skipValue(p, i, maxJSONDepth-1); end < 0 {
		return false
	}
	m.val = p[i:end:end]
	s.i = end
	return true
}

func skipSpace(p []byte, i int) int {
	for i < len(p) && (p[i] == ' ' || p[i] == '\t' || p[i] == '\n' || p[i] == '\r') {
		i++
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// scanString finds the end of a string from p[i], behind its opening quote:
// the index of the closing quote, or -1. esc says whether it holds escapes.
// Eight bytes at a time are looked at for a quote, a backslash or a control
// character; the lowest byte found is exact, higher ones need not be.
func scanString(p []byte, i int) (end int, esc bool) {
	for {
		for i+8 <= len(p) {
			x := binary.LittleEndian.Uint64(p[i:])
			q, b := x^(ones*'"'), x^(ones*'\\')
			hit := ((q-ones)&^q | (b-ones)&^b | (x-ones*0x20)&^x) & highs
			if hit != 0 {
				i += bits.TrailingZeros64(hit) >> 3
				if p[i] == '"' {
					return i, esc
				}
				break
			}
			i += 8
		}
		for i < len(p) && p[i] != '"' && p[i] != '\\' && p[i] >= 0x20 {
			i++
		}
		if i >= len(p) || p[i] < 0x20 {
			return -1, esc
		}
		if p[i] == '"' {
			return i, esc
		}
		esc = true
		if i = skipEscape(p, i+1); i < 0 {
			return -1, esc
		}
	}
}

func skipEscape(p []byte, i int) int {
	if i >= len(p) {
		return -1
	}
	switch p[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if i+5 <= len(p) && hex4(p, i+1) >= 0 {
			return i + 5
		}
	}
	return -1
}

func hex4(p []byte, i int) rune {
	var v rune
	for _, c := range p[i : i+4] {
		d := unhex(c)
		if d < 0 {
			return -1
		}
		v = v<<4 | rune(d)
	}
	return v
}

func unhex(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case c|0x20-'a' <= 5:
		return int(c|0x20-'a') + 10
	}
	return -1
}

// skipValue returns the end of the value at p[i], or -1. depth is how many
// more levels may be opened.
func skipValue(p []byte, i, depth int) int {
	if i >= len(p) {
		return -1
	}
	switch c := p[i]; {
	case c == '"':
		end, _ := scanString(p, i+1)
		if end < 0 {
			return -1
		}
		return end + 1
	case c == '{':
		return skipObject(p, i+1, depth)
	case c == '[':
		return skipArray(p, i+1, depth)
	case c == '-' || isDigit(c):
		return skipNumber(p, i)
	case c == 't':
		return skipWord(p, i, "true")
	case c == 'f':
		return skipWord(p, i, "false")
	case c == 'n':
		return skipWord(p, i, "null")
	}
	return -1
}

func skipWord(p []byte, i int, word string) int {
	if len(p)-i < len(word) || string(p[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

func skipNumber(p []byte, i int) int {
	if p[i] == '-' {
		i++
	}
	if !digitAt(p, i) {
		return -1
	}
	if p[i] == '0' {
		i++
	} else {
		for digitAt(p, i) {
			i++
		}
	}
	if i < len(p) && p[i] == '.' {
		if i++; !digitAt(p, i) {
			return -1
		}
		for digitAt(p, i) {
			i++
		}
	}
	if i < len(p) && p[i]|0x20 == 'e' {
		if i++; i < len(p) && (p[i] == '+' || p[i] == '-') {
			i++
		}
		if !digitAt(p, i) {
			return -1
		}
		for digitAt(p, i) {
			i++
		}
	}
	return i
}

func skipObject(p []byte, i, depth int) int {
	if depth <= 0 {
		return -1
	}
	if i = skipSpace(p, i); i < len(p) && p[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(p) || p[i] != '"' {
			return -1
		}
		end, _ := scanString(p, i+1)
		if end < 0 {
			return -1
		}
		if i = skipSpace(p, end+1); i >= len(p) || p[i] != ':' {
			return -1
		}
		if i = skipValue(p, skipSpace(p, i+1), depth-1); i < 0 {
			return -1
		}
		if i = skipSpace(p, i); i >= len(p) {
			return -1
		}
		if p[i] == '}' {
			return i + 1
		}
		if p[i] != ',' {
			return -1
		}
		i = skipSpace(p, i+1)
	}
}

func skipArray(p []byte, i, depth int) int {
	if depth <= 0 {
		return -1
	}
	if i = skipSpace(p, i); i < len(p) && p[i] == ']' {
		return i + 1
	}
	for {
		if i = skipValue(p, i, depth-1); i < 0 {
			return -1
		}
		if i = skipSpace(p, i); i >= len(p) {
			return -1
		}
		if p[i] == ']' {
			return i + 1
		}
		if p[i] != ',' {
			return -1
		}
		i = skipSpace(p, i+1)
	}
}

// unescapeJSON returns the text of a JSON string that scanString has passed,
// in the batch's memory. As in encoding/json, half of a surrogate pair becomes
// U+FFFD; bytes that are not UTF-8 stay as they are.
func unescapeJSON(b *record.Batch, p []byte) []byte {
	out := b.Alloc(len(p)) // never grows: the shortest escape of a rune is as long as its UTF-8
	n := 0
	for i := 0; i < len(p); {
		if p[i] != '\\' {
			out[n] = p[i]
			n, i = n+1, i+1
			continue
		}
		c := p[i+1]
		i += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hex4(p, i)
			i += 4
			if utf16.IsSurrogate(r) {
				r, i = lowSurrogate(p, i, r)
			}
			n += utf8.EncodeRune(out[n:], r)
			continue
		}
		out[n] = c
		n++
	}
	b.Shrink(len(out), n)
	return out[:n:n]
}

// lowSurrogate joins r with the escape at p[i] if that is its second half.
func lowSurrogate(p []byte, i int, r rune) (rune, int) {
	if i+6 <= len(p) && p[i] == '\\' && p[i+1] == 'u' {
		if joined := utf16.DecodeRune(r, hex4(p, i+2)); joined != utf8.RuneError {
			return joined, i + 6
		}
	}
	return utf8.RuneError, i
}
