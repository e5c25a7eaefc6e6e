// Package screen writes what people read on a terminal: numbers, times, and what
// others have said, of which nothing is to reach the terminal as a command.
package screen

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// OneLine makes one line of what somebody else has said: control characters, and
// those that turn the direction of writing, become spaces.
func OneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unsafe(r) {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// Lines is OneLine that keeps the lines of a text, and what they begin with.
func Lines(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		if unsafe(r) {
			return ' '
		}
		return r
	}, s)
}

// JSON writes what would reach the terminal as a command as \u escapes. text is valid JSON that was indented or compacted.
func JSON(text []byte) []byte {
	var b strings.Builder
	for _, r := range string(text) {
		if unsafe(r) && r != '\n' && r != '\t' {
			fmt.Fprintf(&b, "\\u%04x", r) // all of them are below U+10000
			continue
		}
		b.WriteRune(r)
	}
	return []byte(b.String())
}

// unsafe reports whether a terminal takes r as more than a letter.
func unsafe(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// Count writes 1 source, 2 sources.
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Grouped writes 1234567 as 1,234,567.
func Grouped(n int64) string {
	if n < 0 {
		return "-" + Grouped(-n)
	}
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Rate writes records a second.
func Rate(perSecond float64) string {
	if perSecond > 0 && perSecond < 10 {
		return fmt.Sprintf("%.1f/s", perSecond)
	}
	return Grouped(int64(math.Round(perSecond))) + "/s"
}

// Size writes a number of bytes in the unit that keeps it short.
func Size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

// Seconds is Rough of a number of seconds.
func Seconds(s float64) string { return Rough(time.Duration(s * float64(time.Second))) }

// Rough writes a duration as people say it.
func Rough(d time.Duration) string {
	switch {
	case d <= 0:
		return "0s"
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.Round(time.Second).String()
}
