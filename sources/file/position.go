package file

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/lbshipd/lbshipd/record"
)

// fingerprintSpan is how many bytes, at most, each of the two hashes of a
// fingerprint covers.
const fingerprintSpan = 1 << 10

// place is a position taken apart. Its text is
//
//	position = "1:" offset [ "s" ] [ "d" ] ":" head ":" tail ":" path
//	offset   = decimal without leading zeros, 0 to 2^63-1
//	head     = 16 lower-case hexadecimal digits: XXH64 of the first min(offset, 1024) bytes of the file
//	tail     = 16 lower-case hexadecimal digits: XXH64 of the last min(offset, 1024) bytes before offset
//	path     = the file's path when it was first seen; bytes other than
//	           0x21 to 0x7e, and "%", as "%" and two upper-case hexadecimal digits
//
// "s" says that offset lies within a line that was cut, and that the rest of
// it up to the newline is to be passed over; "d" that the file had been deleted when it was read up to
// there, to its end: nothing of it is lost if nobody finds it again. Every place has exactly one text.
type place struct {
	offset     int64
	skip       bool
	deleted    bool
	head, tail uint64
	path       string // escaped
}

// SaysMore reports whether a position is the same place as another one and tells, beyond that, that
// the file had been deleted and was read to its end: nothing can be lost of it.
func SaysMore(position, than record.Position) bool {
	p, err := parsePosition(position)
	q, err2 := parsePosition(than)
	if err != nil || err2 != nil || !p.deleted || q.deleted {
		return false
	}
	p.deleted = false
	return p == q
}

// emptyHash is the hash of no bytes.
var emptyHash = xxhash.Sum64(nil)

func (p *place) text() record.Position {
	b := make([]byte, 0, 64+len(p.path))
	b = append(b, "1:"...)
	b = strconv.AppendInt(b, p.offset, 10)
	if p.skip {
		b = append(b, 's')
	}
	if p.deleted {
		b = append(b, 'd')
	}
	b = appendHash(append(b, ':'), p.head)
	b = appendHash(append(b, ':'), p.tail)
	b = append(b, ':')
	b = append(b, p.path...)
	return record.Position(b)
}

func appendHash(b []byte, h uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[h>>shift&15])
	}
	return b
}

// parsePosition takes a stored position apart. The empty position is the
// beginning.
func parsePosition(pos record.Position) (place, error) {
	if pos == "" {
		return place{head: emptyHash, tail: emptyHash}, nil
	}
	p, ok := takePosition(string(pos))
	if !ok {
		return place{}, fmt.Errorf("position %q of a file cannot be read", pos)
	}
	return p, nil
}

func takePosition(s string) (p place, ok bool) {
	s, ok = strings.CutPrefix(s, "1:")
	if !ok {
		return p, false
	}
	offset, s, _ := strings.Cut(s, ":")
	head, s, _ := strings.Cut(s, ":")
	tail, path, ok := strings.Cut(s, ":")
	if !ok {
		return p, false
	}
	offset, p.deleted = strings.CutSuffix(offset, "d")
	offset, p.skip = strings.CutSuffix(offset, "s")
	n, err := strconv.ParseUint(offset, 10, 63)
	if err != nil || len(offset) > 1 && offset[0] == '0' {
		return p, false
	}
	p.offset = int64(n)
	if p.head, ok = takeHash(head); !ok {
		return p, false
	}
	if p.tail, ok = takeHash(tail); !ok {
		return p, false
	}
	p.path = path
	plain, ok := unescapePath(path)
	return p, ok && escapePath(plain) == path
}

func takeHash(s string) (h uint64, ok bool) {
	if len(s) != 16 {
		return 0, false
	}
	for i := range len(s) {
		d := strings.IndexByte("0123456789abcdef", s[i])
		if d < 0 {
			return 0, false
		}
		h = h<<4 | uint64(d)
	}
	return h, true
}

func plainByte(c byte) bool { return c > ' ' && c < 0x7f && c != '%' }

// escapePath writes a path, which may hold any byte, in printable ASCII.
func escapePath(path string) string {
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, len(path))
	for i := range len(path) {
		if c := path[i]; plainByte(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return string(b)
}

func unescapePath(s string) (path string, ok bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return "", false
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			c, i = byte(n), i+2
		}
		b = append(b, c)
	}
	return string(b), true
}
