package journald

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

var unitSuffixes = []string{".service", ".socket", ".target", ".device", ".mount", ".automount",
	".swap", ".timer", ".path", ".slice", ".scope"}

const (
	unitChars = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:-_.\\@"
	globChars = unitChars + "[]!-*?"
)

// isGlob reports whether s holds a character of shell patterns.
func isGlob(s string) bool { return strings.ContainsAny(s, "*?[") }

func within(s, chars string) bool {
	return strings.Trim(s, chars) == ""
}

func hasUnitSuffix(s string) bool {
	for _, suffix := range unitSuffixes {
		if strings.HasSuffix(s, suffix) {
			return true
		}
	}
	return false
}

// mangleUnit turns what a user writes into a unit name as journalctl -u does:
// an absolute path becomes a mount (or device) unit, what a unit name cannot
// hold is escaped, and a name without a suffix is a service. Globs keep theirs.
func mangleUnit(name string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("unit name is empty")
	}
	if isUnitName(name) || isGlob(name) && within(name, globChars) {
		return name, nil
	}
	if strings.HasPrefix(name, "/") && !isGlob(name) {
		suffix := ".mount"
		if strings.HasPrefix(name, "/dev/") || strings.HasPrefix(name, "/sys/") {
			suffix = ".device"
		}
		return escapePath(name) + suffix, nil
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '/':
			b.WriteByte('-')
		case strings.IndexByte(globChars, c) < 0:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	s := b.String()
	if !isGlob(s) && !hasUnitSuffix(s) {
		s += ".service"
	}
	if len(s) > 255 && !isGlob(s) {
		return "", fmt.Errorf("unit name %.80q... is longer than 255 bytes", name)
	}
	return s, nil
}

func isUnitName(name string) bool {
	return len(name) < 256 && hasUnitSuffix(name) && within(name, unitChars) && name[0] != '.' && name[0] != '@'
}

// escapePath escapes a path for a unit name (systemd.unit(5)).
func escapePath(path string) string {
	var parts []string
	for _, p := range strings.Split(path, "/") {
		if p != "" && p != "." {
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return "-"
	}
	var b strings.Builder
	for i, c := range []byte(strings.Join(parts, "/")) {
		switch {
		case c == '/':
			b.WriteByte('-')
		case c == '-' || c == '\\' || i == 0 && c == '.' || strings.IndexByte(unitChars, c) < 0 || c == '@':
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// matchGlob matches s against a shell pattern as fnmatch(3) with FNM_NOESCAPE
// does: *, ?, [a-z], [!a-z]; a backslash is itself; / is nothing special.
func matchGlob(pattern, s string) bool {
	// star and from are where to go back to: linear memory, no recursion.
	star, from := -1, 0
	p, i := 0, 0
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			star, from = p, i
			p++
			continue
		}
		if n, m, ok := matchOne(pattern[p:], s[i:]); ok {
			p += n
			i += m
			continue
		}
		if star < 0 {
			return false
		}
		_, m := utf8.DecodeRuneInString(s[from:])
		from += m
		p, i = star+1, from
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchOne matches one character: n bytes of the pattern and m of s.
func matchOne(pattern, s string) (n, m int, ok bool) {
	if pattern == "" {
		return 0, 0, false
	}
	c, m := utf8.DecodeRuneInString(s)
	switch pattern[0] {
	case '?':
		return 1, m, true
	case '[':
		if n, in := matchSet(pattern, c); n > 0 {
			return n, m, in
		}
	}
	want, n := utf8.DecodeRuneInString(pattern)
	return n, m, want == c && pattern[:n] == s[:m]
}

// matchSet matches c against the bracket expression that pattern begins with;
// n is its length, or 0 if it never closes and "[" is an ordinary character.
func matchSet(pattern string, c rune) (n int, in bool) {
	i, not := 1, false
	if i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^') {
		not = true
		i++
	}
	for first := true; i < len(pattern); first = false {
		if pattern[i] == ']' && !first {
			return i + 1, in != not
		}
		lo, w := utf8.DecodeRuneInString(pattern[i:])
		i += w
		hi := lo
		if i+1 < len(pattern) && pattern[i] == '-' && pattern[i+1] != ']' {
			hi, w = utf8.DecodeRuneInString(pattern[i+1:])
			i += 1 + w
		}
		in = in || lo <= c && c <= hi
	}
	return 0, false
}
