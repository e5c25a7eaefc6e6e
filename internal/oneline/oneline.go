// Package oneline makes one line of bounded length of what others have said,
// for logs, reports and terminals.
package oneline

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Of returns text as one line of at most most bytes (at least 3): valid UTF-8, without
// control characters, one space between words. A text that was cut ends in "...".
func Of(text string, most int) string {
	cut := false
	if len(text) > 4*most { // there is no need to look at all of it
		text, cut = text[:4*most], true
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= most && !cut {
		return text
	}
	at := min(len(text), most-len("..."))
	for at > 0 && at < len(text) && !utf8.RuneStart(text[at]) {
		at--
	}
	return text[:at] + "..."
}
