package parse

import "github.com/lbshipd/lbshipd/record"

// word reads a token that begins with a letter or an underscore.
func (h *header) word(first bool) token {
	p, at := h.p, h.i
	n := letters(p, at)
	end := n // of the whole token
	for end < len(p) && p[end] > ' ' && !isDivider(p[end]) {
		end++
	}
	if level := h.levelWord(at, n, end, first); level != record.LevelUnknown {
		h.i = n
		return token{kind: tokUpper, level: level}
	}
	if level := suffixLevel(p[at:end]); level != record.LevelUnknown {
		h.i = end
		return token{kind: tokName, level: level}
	}
	t := token{kind: h.kindOfWord(at, n, end)}
	if t.kind == tokName && n == end-1 && p[n] == ':' && isUpper(p[at:n]) {
		t.stop = true // PostgreSQL's DETAIL: and the like announce a message
		return t
	}
	if t.kind == tokPlain && !h.nameByPlace(at, end, first) {
		t.stop = true
		return t
	}
	h.i = end
	return t
}

// levelWord is the level of the word p[at:n] of the token p[at:end], if it is
// set like one.
func (h *header) levelWord(at, n, end int, first bool) record.Level {
	p, w := h.p, h.p[at:n]
	if len(w) == 1 {
		return h.letter(at, first)
	}
	if n == len(p) && h.cut {
		return record.LevelUnknown
	}
	if len(w) < 3 && !first {
		return record.LevelUnknown
	}
	level := record.ParseLevel(w)
	if level == record.LevelUnknown {
		if first && string(w) == "PHP" {
			return phpLevel(p[n:])
		}
		return level
	}
	colon := n < len(p) && p[n] == ':' && (n+1 == len(p) || p[n+1] <= ' ') ||
		n+2 < len(p) && p[n] == ' ' && p[n+1] == ':' && p[n+2] == ' '
	if isUpper(w) && len(w) >= 3 {
		switch {
		case isWeak(w):
			if (colon || wide(p, n)) && h.prev != tokUpper {
				return level
			}
			return record.LevelUnknown
		case endsLevel(p, n):
			return level
		}
		return record.LevelUnknown
	}
	if len(w) < 3 {
		return record.LevelUnknown
	}
	strong := !isWeak(w) || string(w) == "fail" || string(w) == "panic"
	switch {
	case colon:
		if strong && (first || h.afterTime || h.prev != tokPlain) {
			return level
		}
	case h.column, h.afterTime:
		// A column of its own: behind a tab, a bar or a comma, or padded.
		if strong && (wide(p, n) || h.column && n < len(p) && p[n] == '|') {
			return level
		}
	}
	return record.LevelUnknown
}

// letter is the level of a single capital in a place where letters are levels.
func (h *header) letter(at int, first bool) record.Level {
	p := h.p
	level := letterLevel(p[at])
	if level == record.LevelUnknown || at+2 >= len(p) || p[at] == 'T' || p[at] == 'C' || p[at] == 'N' {
		return record.LevelUnknown
	}
	switch c, d := p[at+1], p[at+2]; {
	case c == '!' && d == ' ' && h.afterTime: // Telegraf
		return level
	case c == ',' && d == ' ' && first && at+3 < len(p) && p[at+3] == '[': // Ruby
		return level
	case c == '/' && isLetter(d) && (h.afterTime || first && !h.afterTime && androidTag(p, at+2)): // logcat -v time, brief
		return level
	case c == ' ' && h.prev == tokNumber && !h.afterTime && (isLetter(d) || d == '['): // logcat -v threadtime
		return level
	case c == ' ' && h.afterTime && d == '[': // Gluster
		return level
	case c == ' ' && h.afterTime && (d == '-' || at+3 < len(p) && isUpper(p[at+2:at+4])): // MongoDB before 4.4
		return level
	}
	return record.LevelUnknown
}

// androidTag reports whether p[i] begins "Tag( 123): ", logcat's brief format.
func androidTag(p []byte, i int) bool {
	for ; i < len(p) && p[i] != '('; i++ {
		if p[i] == ':' {
			return false
		}
	}
	if i++; i >= len(p) {
		return false
	}
	for i < len(p) && (p[i] == ' ' || isDigit(p[i])) {
		i++
	}
	return i+1 < len(p) && p[i] == ')' && p[i+1] == ':'
}

// phpLevel takes the rest of PHP's "PHP Warning:  text".
func phpLevel(p []byte) record.Level {
	for _, w := range [...]struct {
		prefix string
		level  record.Level
	}{
		{" Fatal error: ", record.LevelCritical}, {" Parse error: ", record.LevelCritical},
		{" Recoverable fatal error: ", record.LevelError}, {" Warning: ", record.LevelWarning},
		{" Notice: ", record.LevelNotice}, {" Deprecated: ", record.LevelNotice},
	} {
		if hasPrefix(p, w.prefix) {
			return w.level
		}
	}
	return record.LevelUnknown
}

// endsLevel reports whether a level in capitals may end at p[n].
func endsLevel(p []byte, n int) bool {
	if n >= len(p) {
		return true
	}
	switch p[n] {
	case ' ', '\t', '\r', ':', '|', ',', ']', ')', '>', '/', '[', 0x1b:
		return true
	}
	return false
}

// wide reports whether more than a single space is behind p[n].
func wide(p []byte, n int) bool {
	return n < len(p) && (p[n] == '\t' || n+1 < len(p) && p[n] == ' ' && (p[n+1] == ' ' || p[n+1] == '|' || p[n+1] == '\t'))
}

func isUpper(w []byte) bool {
	for _, c := range w {
		if c-'A' > 25 {
			return false
		}
	}
	return len(w) > 0
}

// suffixLevel takes the level out of channel.LEVEL: (Monolog) and level=word.
func suffixLevel(tok []byte) record.Level {
	if n := len(tok); tok[n-1] == ':' {
		dot := n - 2
		for dot > 0 && tok[dot]-'A' <= 25 {
			dot--
		}
		if dot > 0 && tok[dot] == '.' {
			return wordLevel(tok[dot+1 : n-1])
		}
		return record.LevelUnknown
	}
	for i, c := range tok {
		if c == '=' {
			if wellKnown(tok[:i]) == keyLevel {
				return record.ParseLevel(tok[i+1:])
			}
			break
		}
	}
	return record.LevelUnknown
}

// kindOfWord tells names from plain language: a name holds something that is
// not a letter and does not merely end a sentence, or is in capitals.
func (h *header) kindOfWord(at, n, end int) tokKind {
	p := h.p
	if n == end {
		if n-at >= 2 && isUpper(p[at:n]) {
			return tokUpper
		}
		return tokPlain
	}
	if n == end-1 {
		switch p[n] {
		case ',', '.', ';', '!', '?', '\'':
			return tokPlain
		}
	}
	if p[n] == '\'' {
		return tokPlain
	}
	return tokName
}

// nameByPlace reports whether a plain word is a name because of where it
// stands: before a dash, a bar or a bracket, padded, or as Python's
// logger name between a time with a comma and a level in capitals.
func (h *header) nameByPlace(at, end int, first bool) bool {
	p := h.p
	if end+1 >= len(p) {
		return false
	}
	switch {
	case p[end] == '[' || p[end] == '|' || p[end] == '(' || wide(p, end):
		return true
	case end+2 < len(p) && p[end] == ' ' && (p[end+1] == '-' || p[end+1] == ':') && p[end+2] == ' ':
		return true
	case p[end] == ' ' && p[end+1] == '(': // Puppet (err): text
		return end+5 < len(p) && parenthesisedLevel(p[end+2:])
	case end+5 < len(p) && p[end] == ' ' && p[end+1] == '[' && p[end+5] == ']': // cluster [INF] text
		return isUpper(p[end+2:end+5]) && record.ParseLevel(p[end+2:end+5]) != record.LevelUnknown
	case h.asctime && first && p[end] == ' ':
		n := letters(p, end+1)
		w := p[end+1 : n]
		return len(w) >= 4 && isUpper(w) && endsLevel(p, n) && !isWeak(w) && record.ParseLevel(w) != record.LevelUnknown
	}
	return false
}

// parenthesisedLevel reports whether p begins with a level and "):".
func parenthesisedLevel(p []byte) bool {
	n := letters(p, 0)
	return n+1 < len(p) && p[n] == ')' && p[n+1] == ':' && wordLevel(p[:n]) != record.LevelUnknown
}
