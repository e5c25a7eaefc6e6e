package config

import "strings"

// Secret is a text that is never printed.
type Secret string

// hidden is what is printed in place of a secret.
const hidden = "(hidden)"

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString hides the secret.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the secret: secrets are write-only.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the secret.
func (s *Secret) UnmarshalText(text []byte) error { *s = Secret(text); return nil }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// isHidden reports whether a text is what is printed in place of a secret: "(hidden)",
// or "(hidden, sha-256 of ...)".
func isHidden(text string) bool {
	return text == hidden || strings.HasPrefix(text, hidden[:len(hidden)-1]+",")
}
