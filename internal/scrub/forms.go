package scrub

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
)

// minEncoded is how long what is left of a secret in base64 must be to be looked for.
const minEncoded = 6

// Forms returns a secret as it is written in plain, in JSON, quoted, quoted in what is quoted
// itself (an answer in JSON in a message of a log), escaped for URLs, in hexadecimal, and in
// base64, wherever in a longer text it begins.
func Forms(secret string) []string {
	forms := []string{secret}
	for _, once := range []string{unquoted(inJSON(secret)), unquoted(strconv.Quote(secret)), unquoted(strconv.QuoteToASCII(secret))} {
		if once != secret {
			forms = append(forms, once, unquoted(inJSON(once)), unquoted(strconv.Quote(once)))
		}
	}
	for _, form := range []string{
		url.QueryEscape(secret),
		url.PathEscape(secret),
		lowerEscapes(url.QueryEscape(secret)),
		lowerEscapes(url.PathEscape(secret)),
		url.UserPassword("", secret).String(),
		hex.EncodeToString([]byte(secret)),
		strings.ToUpper(hex.EncodeToString([]byte(secret))),
	} {
		if form = strings.TrimPrefix(form, ":"); form != secret {
			forms = append(forms, form)
		}
	}
	for shift := range 3 {
		for _, coding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if core := encodedCore(coding, secret, shift); len(core) >= minEncoded {
				forms = append(forms, core)
			}
		}
	}
	return forms
}

// encodedCore is what does not depend on what is around a secret that begins shift
// bytes into a group of three.
func encodedCore(coding *base64.Encoding, secret string, shift int) string {
	b := append(make([]byte, shift, shift+len(secret)), secret...)
	text := coding.EncodeToString(b)
	from := []int{0, 2, 3}[shift] // letters that hold bits of what is before
	to := len(b) / 3 * 4          // whole groups
	switch len(b) % 3 {
	case 1:
		to++
	case 2:
		to += 2
	}
	return text[min(from, to):to]
}

func inJSON(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		return ""
	}
	return string(b)
}

func unquoted(text string) string {
	return strings.TrimSuffix(strings.TrimPrefix(text, `"`), `"`)
}

// lowerEscapes writes %2F as %2f.
func lowerEscapes(text string) string {
	b := []byte(text)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], strings.ToLower(string(b[i+1:i+3])))
			i += 2
		}
	}
	return string(b)
}
