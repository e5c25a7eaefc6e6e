package parse

import "github.com/lbshipd/lbshipd/record"

// header walks the tokens of a text line's header.
type header struct {
	p         []byte
	i         int
	cut       bool // p was cut from a longer line
	asctime   bool // the time has a comma before its fraction
	afterTime bool // nothing but punctuation since the time
	column    bool // the next word stands in a column of its own
	prev      tokKind
}

type tokKind uint8

const (
	tokNone tokKind = iota
	tokPunct
	tokNumber
	tokBracket
	tokUpper // a word in capitals
	tokName  // a name of a thing: it holds digits, dots, slashes and the like
	tokPlain // a word of plain language
)

// token is what header.token has read.
type token struct {
	kind  tokKind
	level record.Level
	stop  bool // the header ends before this token, which was not consumed
}

// skipBlank skips spaces, tabs and ANSI colour sequences.
func (h *header) skipBlank() {
	for h.i < len(h.p) {
		switch h.p[h.i] {
		case ' ', '\t', '\r':
			h.i++
		case 0x1b:
			j := skipANSI(h.p, h.i)
			if j == h.i {
				return
			}
			h.i = j
		default:
			return
		}
	}
}

// skipANSI skips an escape sequence ESC [ ... letter (ECMA-48 CSI).
func skipANSI(p []byte, i int) int {
	if i+1 >= len(p) || p[i] != 0x1b || p[i+1] != '[' {
		return i
	}
	for j := i + 2; j < len(p) && j < i+24; j++ {
		if p[j] >= 0x40 && p[j] <= 0x7e {
			return j + 1
		}
	}
	return i
}

func (h *header) skipWord() {
	at := h.i
	for h.i < len(h.p) && h.p[h.i] > ' ' && (h.p[h.i] != '[' || h.i == at) {
		h.i++
	}
}

// quoted reports whether the next token is a quotation, which is message.
func (h *header) quoted() bool {
	h.skipBlank()
	return h.i < len(h.p) && h.p[h.i] == '"' && !(h.i+1 < len(h.p) && isDigit(h.p[h.i+1]))
}

// token reads the token at h.i, which is not blank. first says that nothing
// that could be message stands before it.
func (h *header) token(first bool) token {
	var t token
	switch c := h.p[h.i]; {
	case c == '[' || c == '(' || c == '<':
		t = h.bracket(first)
	case isLetter(c) || c == '_':
		t = h.word(first)
	case isDigit(c):
		t.kind = tokNumber
		for h.i < len(h.p) && h.p[h.i] > ' ' && !isDivider(h.p[h.i]) {
			h.i++
		}
	case c < 0x80 && c != '"' && c != '\'' && c != '`' && c != '/' && c != '\\' && c != '{':
		t.kind = tokPunct
		h.i++
		if c == '|' {
			h.column = true
		}
		return h.done(t)
	default:
		t.stop = true
	}
	if !t.stop {
		h.column = false
	}
	return h.done(t)
}

func (h *header) done(t token) token {
	if !t.stop && t.kind != tokPunct || h.prev == tokNone {
		h.prev = t.kind
	}
	return t
}

// isDivider reports whether c ends a token that is not blank-separated.
func isDivider(c byte) bool {
	switch c {
	case '|', '[', ']', '(', ')', '<', '>', '"', ',', 0x1b:
		return true
	}
	return false
}

// bracket reads a bracketed group; brackets of one kind may be nested.
func (h *header) bracket(first bool) token {
	open := h.p[h.i]
	closing := byte(']')
	switch open {
	case '(':
		closing = ')'
	case '<':
		closing = '>'
	}
	depth := 0
	for j := h.i; j < len(h.p); j++ {
		switch h.p[j] {
		case open:
			depth++
		case closing:
			depth--
		}
		if depth == 0 {
			t := token{kind: tokBracket, level: bracketLevel(h.p[h.i+1:j], h.p[j+1:], first)}
			h.i = j + 1
			return t
		}
	}
	h.i++ // never closed: a mark like any other
	return token{kind: tokPunct, stop: open == '<'}
}

// bracketLevel is the level that fills a bracketed group, or that stands behind
// a module's name in it, as in Apache's [core:notice].
func bracketLevel(in, rest []byte, first bool) record.Level {
	for len(in) > 0 && in[0] == 0x1b {
		j := skipANSI(in, 0)
		if j == 0 {
			return record.LevelUnknown
		}
		in = in[j:]
	}
	in = trimSpace(in)
	n := letters(in, 0)
	if n < len(in) && in[n] == 0x1b {
		in = in[:n]
	}
	if n == len(in) {
		switch {
		case n == 1:
			return letterLevel(in[0])
		case string(in) == "System" && hasPrefix(rest, " [MY-"):
			return record.LevelNotice // MySQL
		case string(in) == "FAILED" && first:
			return record.LevelError // systemd on the console
		case isWeakInBrackets(in):
			return record.LevelUnknown
		}
		return wordLevel(in)
	}
	if n < len(in) && (in[n] == ':' || n > 0 && in[n] == '_') {
		colon := -1
		for i, c := range in {
			switch {
			case c == ':':
				colon = i
			case c <= ' ':
				return record.LevelUnknown
			}
		}
		if colon >= 0 && letters(in, colon+1) == len(in) {
			return wordLevel(in[colon+1:])
		}
	}
	return record.LevelUnknown
}

// letters returns where the run of letters at p[i] ends.
func letters(p []byte, i int) int {
	for i < len(p) && isLetter(p[i]) {
		i++
	}
	return i
}

// wordLevel is the level of a word of three letters and more.
func wordLevel(w []byte) record.Level {
	if len(w) < 3 {
		return record.LevelUnknown
	}
	return record.ParseLevel(w)
}

// fold lowers the letters of a word of up to eight; "" if it is longer.
func fold(w []byte, buf *[8]byte) []byte {
	if len(w) > len(buf) {
		return nil
	}
	for i, c := range w {
		buf[i] = c | 0x20
	}
	return buf[:len(w)]
}

// isWeakInBrackets names level words that a component is as likely to be called.
func isWeakInBrackets(w []byte) bool {
	switch string(w) {
	case "log", "Log", "config", "Config", "statement", "success", "fine", "system", "audit":
		return true
	}
	return false
}

// isWeak names level words that are common words too: they count only with a
// colon, and not behind another word.
func isWeak(w []byte) bool {
	var buf [8]byte
	switch string(fold(w, &buf)) {
	case "log", "config", "success", "note", "fail", "failure", "alert", "panic", "fine", "system", "audit", "event", "all":
		return true
	}
	return len(w) == 9 && w[0]|0x20 == 's' // statement
}
