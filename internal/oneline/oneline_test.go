package oneline

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestOf(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "",
		" a\n\tb ":                             "a b",
		"\x1b[2J\x07x\u009b":                   "[2J x",
		"bad \xff\xfe utf-8":                   "bad ? utf-8",
		strings.Repeat("a", 20):                strings.Repeat("a", 20),
		strings.Repeat("a", 21):                strings.Repeat("a", 17) + "...",
		strings.Repeat("é", 11):                strings.Repeat("é", 8) + "...",
		"a" + strings.Repeat(" ", 200) + "bcd": "a...",
	} {
		if got := Of(text, 20); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func FuzzOf(f *testing.F) {
	f.Add("a\nb", 10)
	f.Add(strings.Repeat("é\x00", 100), 7)
	f.Fuzz(func(t *testing.T, text string, most int) {
		most = 3 + (most&0xff)%200
		got := Of(text, most)
		if len(got) > most || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("%q becomes %q at %d", text, got, most)
		}
	})
}
