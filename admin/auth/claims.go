package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// maxDepth bounds how deep a token's JSON may be nested.
const maxDepth = 32

// maxName bounds an identity's name, in bytes.
const maxName = 256

// lastDate is the end of the year 9999, in seconds since 1970. Beyond it, sums
// of times overflow.
const lastDate = 253402300799

// parseObject decodes one JSON object and nothing behind it. Unlike
// encoding/json it refuses names that are there twice (RFC 7519 section 4
// allows that): whoever reads the token next may take the other one.
func parseObject(text []byte) (map[string]any, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	v, err := parseValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is something behind it")
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("it is not an object")
	}
	return m, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	t, err := d.Token()
	if err != nil {
		return nil, errors.New("it is not JSON")
	}
	switch t {
	case json.Delim('{'):
		return parseMembers(d, depth)
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := parseValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, end(d)
	}
	return t, nil
}

func parseMembers(d *json.Decoder, depth int) (any, error) {
	m := map[string]any{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errors.New("it is not JSON")
		}
		if _, twice := m[name]; twice {
			return nil, fmt.Errorf("%.64q is in it twice", name)
		}
		if m[name], err = parseValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	return m, end(d)
}

// end takes the closing bracket.
func end(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return errors.New("it is not JSON")
	}
	return nil
}

// claims are a token's claims, strictly parsed.
type claims struct{ jwt.MapClaims }

// UnmarshalJSON makes golang-jwt use parseObject.
func (c *claims) UnmarshalJSON(text []byte) error {
	m, err := parseObject(text)
	if err != nil {
		return &claimsError{err.Error()}
	}
	c.MapClaims = m
	for _, name := range []string{"exp", "nbf", "iat"} {
		if err := checkDate(m, name); err != nil {
			return err
		}
	}
	for _, name := range []string{"iss", "sub"} {
		if v, ok := m[name]; ok {
			if _, ok := v.(string); !ok {
				return &claimsError{name + " is not a string"}
			}
		}
	}
	return checkAudience(m)
}

// claimsError is claims that are malformed.
type claimsError struct{ text string }

func (e *claimsError) Error() string { return e.text }

// checkDate takes a NumericDate (RFC 7519 section 2) within the years 1970 to
// 9999. golang-jwt takes 0 as missing, and huge ones wrap around.
func checkDate(m map[string]any, name string) error {
	v, ok := m[name]
	if !ok {
		return nil
	}
	seconds, ok := v.(float64)
	if !ok {
		return &claimsError{name + " is not a number"}
	}
	if seconds < 1 || seconds > lastDate {
		return &claimsError{name + " is no date between 1970 and 9999, in seconds since 1970"}
	}
	return nil
}

func checkAudience(m map[string]any) error {
	v, ok := m["aud"]
	if !ok {
		return nil
	}
	if _, ok := stringsOf(v); !ok {
		return &claimsError{"aud is neither a string nor a list of strings"}
	}
	return nil
}

// stringsOf takes a string or a list of strings.
func stringsOf(v any) ([]string, bool) {
	switch v := v.(type) {
	case string:
		return []string{v}, true
	case []any:
		list := make([]string, 0, len(v))
		for _, x := range v {
			s, ok := x.(string)
			if !ok {
				return nil, false
			}
			list = append(list, s)
		}
		return list, true
	}
	return nil, false
}

// lookup finds a claim: one that is called path as a whole, else the one that
// the path's parts, divided by dots, lead to through nested objects.
func lookup(m map[string]any, path string) (any, bool) {
	if v, ok := m[path]; ok {
		return v, true
	}
	for {
		first, rest, more := strings.Cut(path, ".")
		v, ok := m[first]
		if !ok || !more {
			return v, ok
		}
		if m, ok = v.(map[string]any); !ok {
			return nil, false
		}
		path = rest
	}
}

// checkName takes what may stand in logs and in the history.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("it does not say whom it is for (sub)")
	case len(name) > maxName:
		return fmt.Errorf("its sub has %d bytes, at most %d are allowed", len(name), maxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("its sub holds characters that cannot be printed")
	}
	return nil
}
