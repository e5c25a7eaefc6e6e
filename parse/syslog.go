package parse

import "github.com/lbshipd/lbshipd/record"

// scanPRI takes <PRI> (RFC 5424 section 6.2.1, RFC 3164 section 4.1.1) at the
// start of p and returns where it ends, or 0. Leading zeros are let through.
func scanPRI(p []byte) (pri, end int) {
	if len(p) < 3 || p[0] != '<' {
		return 0, 0
	}
	i := 1
	for ; i < 4 && digitAt(p, i); i++ {
		pri = pri*10 + int(p[i]-'0')
	}
	if i == 1 || i >= len(p) || p[i] != '>' || pri > 191 {
		return 0, 0
	}
	return pri, i + 1
}

// priLevel is the level of the line's PRI, or LevelUnknown.
func priLevel(line []byte) record.Level {
	pri, end := scanPRI(line)
	if end == 0 {
		return record.LevelUnknown
	}
	return record.FromSeverity(uint8(pri & 7))
}

// isTagByte reports whether c may be part of a program's name in a TAG.
func isTagByte(c byte) bool {
	return c > ' ' && c < 0x7f && c != ':' && c != '[' && c != ']' && c != '"' && c != '<' && c != '>' && c != '='
}

// isHostByte reports whether c may be part of a host name or address.
func isHostByte(c byte) bool {
	return isDigit(c) || isLetter(c) || c == '.' || c == '-' || c == '_' || c == ':' || c == '/' || c == '%'
}

// The longest names that are taken from a header; longer ones are message.
const (
	maxTag  = 128
	maxHost = 255
)

// scanTag takes tag: or tag[pid]: at p[i] and returns where the message
// begins, behind one space; 0 if there is no tag.
func scanTag(p []byte, i int) (tag, pid []byte, end int) {
	at := i
	for i < len(p) && i-at <= maxTag && isTagByte(p[i]) {
		i++
	}
	if i == at || i-at > maxTag || i >= len(p) {
		return nil, nil, 0
	}
	tag = p[at:i:i]
	closed := false
	if p[i] == '[' {
		at = i + 1
		for i = at; i < len(p) && i-at <= maxTag && p[i] > ' ' && p[i] != ']'; i++ {
		}
		if i >= len(p) || p[i] != ']' {
			return nil, nil, 0
		}
		pid = p[at:i:i]
		i++
		closed = true
	}
	if i < len(p) && p[i] == ':' {
		i++
		if i < len(p) && p[i] != ' ' && !closed {
			return nil, nil, 0 // a:b is a word, not a tag
		}
		closed = true
	} else if i < len(p) && p[i] != ' ' {
		return nil, nil, 0
	}
	if !closed {
		return nil, nil, 0
	}
	if i < len(p) && p[i] == ' ' {
		i++
	}
	return tag, pid, i
}

// scanHost takes a host name at p[i] with the space behind it and returns
// where the next word begins; 0 if there is none.
func scanHost(p []byte, i int) (host []byte, end int) {
	at := i
	for i < len(p) && i-at <= maxHost && isHostByte(p[i]) {
		i++
	}
	if i == at || i-at > maxHost || i >= len(p) || p[i] != ' ' || p[i-1] == ':' {
		return nil, 0
	}
	return p[at:i:i], i + 1
}
