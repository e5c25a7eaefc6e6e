package file

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// encoding is how a file writes its text.
type encoding uint8

const (
	plain   encoding = iota // UTF-8, or any other that has ASCII's newline
	utf16le                 // by the byte order mark FF FE
	utf16be                 // by the byte order mark FE FF
)

// sniffEncoding returns what the first bytes of a file say, and the length of
// the byte order mark.
func sniffEncoding(head []byte) (encoding, int) {
	switch {
	case bytes.HasPrefix(head, []byte{0xef, 0xbb, 0xbf}):
		return plain, 3
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}):
		return utf16le, 2
	case bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return utf16be, 2
	}
	return plain, 0
}

// unit returns the UTF-16 unit at p[0:2].
func (e encoding) unit(p []byte) uint16 {
	if e == utf16le {
		return uint16(p[0]) | uint16(p[1])<<8
	}
	return uint16(p[1]) | uint16(p[0])<<8
}

// newline returns the length of the first line of p and that of its newline,
// or false. p begins at a unit.
func (e encoding) newline(p []byte) (line, end int, ok bool) {
	if e == plain {
		i := bytes.IndexByte(p, '\n')
		return i, 1, i >= 0
	}
	for at := 0; ; {
		i := bytes.IndexByte(p[at:], '\n')
		if i < 0 {
			return 0, 0, false
		}
		at += i
		first := at &^ 1
		if first+2 > len(p) {
			return 0, 0, false
		}
		if e.unit(p[first:]) == '\n' {
			return first, 2, true
		}
		at++
	}
}

// lastNewline returns the index behind the last newline of p, which begins at
// a unit, or -1.
func (e encoding) lastNewline(p []byte) int {
	if e == plain {
		if i := bytes.LastIndexByte(p, '\n'); i >= 0 {
			return i + 1
		}
		return -1
	}
	for i := len(p)&^1 - 2; i >= 0; i -= 2 {
		if e.unit(p[i:]) == '\n' {
			return i + 2
		}
	}
	return -1
}

// nuls returns how many bytes of NUL characters p begins with.
func (e encoding) nuls(p []byte) int {
	n := 0
	for len(p)-n >= 8 && p[n]|p[n+1]|p[n+2]|p[n+3]|p[n+4]|p[n+5]|p[n+6]|p[n+7] == 0 {
		n += 8
	}
	for n < len(p) && p[n] == 0 {
		n++
	}
	if e != plain {
		n &^= 1
	}
	return n
}

// trimReturn takes one carriage return from the end of a line.
func (e encoding) trimReturn(line []byte) []byte {
	n := len(line)
	switch {
	case e == plain:
		if n > 0 && line[n-1] == '\r' {
			return line[:n-1]
		}
	case n >= 2 && n%2 == 0 && e.unit(line[n-2:]) == '\r':
		return line[:n-2]
	}
	return line
}

// appendUTF8 appends the text of src, in UTF-16, to dst. Halves of pairs and
// an odd byte at the end become U+FFFD. It grows by at most 3 bytes for 2,
// and 3 for the odd byte.
func (e encoding) appendUTF8(dst, src []byte) []byte {
	for len(src) >= 2 {
		r := rune(e.unit(src))
		src = src[2:]
		if utf16.IsSurrogate(r) {
			pair := utf8.RuneError
			if len(src) >= 2 {
				pair = utf16.DecodeRune(r, rune(e.unit(src)))
			}
			if pair != utf8.RuneError {
				src = src[2:]
			}
			r = pair
		}
		dst = utf8.AppendRune(dst, r)
	}
	if len(src) == 1 {
		dst = utf8.AppendRune(dst, utf8.RuneError)
	}
	return dst
}

// cutText returns how many of the first max bytes of p to keep, so that no
// UTF-8 sequence is cut in two. p is longer than max.
func cutText(p []byte, max int) int {
	for n := max; n > 0 && n > max-utf8.UTFMax; n-- {
		if utf8.RuneStart(p[n]) {
			return n
		}
	}
	return max
}

// unitBytes is how many bytes the newline has.
func (e encoding) unitBytes() int {
	if e == plain {
		return 1
	}
	return 2
}
