// Package scrub takes secrets out of texts that are to be shown to others: those
// that it was told of, however they are written, and what looks like one.
package scrub

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// Hidden is what stands in the place of a secret.
const Hidden = "(hidden)"

// Lengths of what is looked for, in bytes. What is shorter is part of other words by chance,
// and the holes it would leave would tell what it is.
const (
	minSecret = 5
	maxSecret = 64 << 10
	minLine   = 12 // of one line of a secret of several, such as a PEM key
)

// Scrubber knows secrets. The zero Scrubber knows none, and hides what looks like one.
// It may be used by several goroutines once nothing is added any more.
type Scrubber struct {
	secrets map[string]bool // in all the ways they may be written
	replace *strings.Replacer
}

// Add makes a secret known. White space around it is no part of it; each long line of
// one that has several is a secret by itself.
func (s *Scrubber) Add(secret string) {
	secret = strings.TrimSpace(secret)
	if len(secret) > maxSecret {
		secret = secret[:maxSecret]
	}
	lines := strings.Split(secret, "\n")
	if len(lines) == 1 {
		s.add(secret, minSecret)
		return
	}
	s.add(secret, minLine)
	for _, line := range lines {
		// What frames a PEM block is in every certificate.
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
			s.add(line, minLine)
		}
	}
}

func (s *Scrubber) add(secret string, least int) {
	if len(secret) < least || strings.Contains(Hidden, secret) || strings.Contains(secret, Hidden) {
		return
	}
	if s.secrets == nil {
		s.secrets = map[string]bool{}
	}
	for _, form := range Forms(secret) {
		s.secrets[form] = true
	}
	s.replace = nil
}

// Known returns how many texts are looked for.
func (s *Scrubber) Known() int { return len(s.secrets) }

// Ready makes the Scrubber ready for use by several goroutines.
func (s *Scrubber) Ready() { s.replacer() }

func (s *Scrubber) replacer() *strings.Replacer {
	if s.replace == nil {
		all := make([]string, 0, len(s.secrets))
		for text := range s.secrets {
			all = append(all, text)
		}
		// At one place the longest wins, so that no end of it is left.
		slices.SortFunc(all, func(a, b string) int {
			if len(a) != len(b) {
				return len(b) - len(a)
			}
			return strings.Compare(a, b)
		})
		pairs := make([]string, 0, 2*len(all))
		for _, text := range all {
			pairs = append(pairs, text, Hidden)
		}
		s.replace = strings.NewReplacer(pairs...)
	}
	return s.replace
}

// Text returns a text without secrets.
func (s *Scrubber) Text(text string) string {
	// Hiding one may bring the parts of another one together: once more, until nothing changes.
	for range 4 {
		next := s.replacer().Replace(text)
		if strings.Contains(next, "PRIVATE KEY") {
			next = privateKey.ReplaceAllString(next, "(hidden private key)")
		}
		next = lines(next)
		if next == text {
			break
		}
		text = next
	}
	return s.replacer().Replace(text)
}

// lines hides what looks like a secret, line by line: nothing of that goes over several.
func lines(text string) string {
	var out strings.Builder
	kept := 0 // of text, behind what is in out
	for at := 0; at < len(text); {
		end := len(text)
		if n := strings.IndexByte(text[at:], '\n'); n >= 0 {
			end = at + n + 1
		}
		line := text[at:end]
		if hidden := hide(line); hidden != line {
			out.WriteString(text[kept:at])
			out.WriteString(hidden)
			kept = end
		}
		at = end
	}
	if kept == 0 {
		return text
	}
	out.WriteString(text[kept:])
	return out.String()
}

func hide(line string) string {
	lower := strings.ToLower(line)
	for i := range patterns {
		p := &patterns[i]
		if slices.ContainsFunc(p.needs, func(word string) bool { return strings.Contains(lower, word) }) {
			line = p.hide(line)
		}
	}
	return line
}

// Bytes is Text for bytes.
func (s *Scrubber) Bytes(b []byte) []byte {
	out := s.Text(string(b))
	if bytes.Equal(b, []byte(out)) {
		return b
	}
	return []byte(out)
}

// pattern is one way in which secrets are written.
type pattern struct {
	// needs are words in small letters, of which a line must have one: expressions are slow.
	needs []string
	re    *regexp.Regexp
	// with is what a match becomes.
	with string
	// unless, if not nil, keeps a match, by its first group.
	unless func(name string) bool
}

func (p *pattern) hide(text string) string {
	if p.unless == nil {
		return p.re.ReplaceAllString(text, p.with)
	}
	return p.re.ReplaceAllStringFunc(text, func(match string) string {
		at := p.re.FindStringSubmatchIndex(match)
		if p.unless(match[at[2]:at[3]]) {
			return match
		}
		return string(p.re.ExpandString(nil, p.with, match, at))
	})
}

// word is what the names of secrets hold.
const word = `(?:passw(?:or)?d|passphrase|secret|token|jwt|api[_.-]?key|access[_.-]?key|private[_.-]?key|key[_.-]?pem|credential|cookie|` +
	`tenant[_.-]?id|org[_.-]?id|session[_.-]?id|client[_.-]?key[_.-]?data)`

// words are what one of word has in it.
var words = []string{"passw", "passphrase", "secret", "token", "jwt", "key", "credential", "cookie", "tenant", "org", "session"}

// privateKey is a private key of RFC 7468. One without an end reaches to the end of the text.
var privateKey = regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)`)

// patterns are tried one after the other, on each line.
var patterns = []pattern{
	// A JWT (RFC 7519): two JSON objects in base64, and a signature.
	{needs: []string{"eyj"}, re: regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?`), with: Hidden},
	// user:password@ of a URL, up to the last @: a password may hold anything.
	{needs: []string{"@"}, re: regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*:(?:\\?/){2})[^\s"'<>` + "`" + `]*@`), with: "${1}" + Hidden + "@"},
	// user:password@host:port without a scheme: a URL where an address was to be.
	{needs: []string{"@"}, re: regexp.MustCompile(`\b([A-Za-z0-9._-]+:)[^\s"'<>(]{3,}@([A-Za-z0-9.-]+:[0-9]+\b|\[[0-9A-Fa-f:.]+\]:[0-9]+\b)`), with: "${1}" + Hidden + "@${2}"},
	// The query of a URL.
	{needs: []string{"?"}, re: regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*:(?:\\?/){2}[^\s"'<>?` + "`" + `]*\?)[^\s"'<>` + "`" + `]+`), with: "${1}" + Hidden},
	// Headers: all of the value.
	{needs: []string{"authorization", "orgid", "cookie", "api-key"}, re: regexp.MustCompile(`(?i)((?:proxy-)?authorization|x-scope-orgid|set-cookie|cookie|x-api-key)(\\*["']?[ \t]*[:=][ \t]*(?:\[[ \t]*)?\\*["']?)[^\r\n"'\\]+`), with: "${1}${2}" + Hidden},
	{needs: []string{"bearer", "basic"}, re: regexp.MustCompile(`(?i)\b(bearer|basic)([ \t]+|%20)[A-Za-z0-9._~+/=%-]{8,}`), with: "${1}${2}" + Hidden},
	// NAME=value, NAME: value, "NAME": "value", of names that say what they are.
	{needs: words, re: named(`(\\+["'])[^\r\n]*?\\+["']`), with: "${1}${2}${3}" + Hidden + "${3}", unless: plain},
	{needs: words, re: named(`(")(?:[^"\\\r\n]|\\.)*"?`), with: "${1}${2}${3}" + Hidden + "${3}", unless: plain},
	{needs: words, re: named(`(')[^'\r\n]*'?`), with: "${1}${2}${3}" + Hidden + "${3}", unless: plain},
	{needs: words, re: named(`[^\s,;&"'{}\[\]\\]+`), with: "${1}${2}" + Hidden, unless: plain},
	// --jwt TOKEN
	{needs: append([]string{"-j"}, words...), re: regexp.MustCompile(`(?i)(\B--?(?:[a-z-]*` + word + `|J))([ \t]+)(?:"[^"\r\n]*"?|'[^'\r\n]*'?|[^\s"'-][^\s"']*)`), with: "${1}${2}" + Hidden, unless: plain},
	// Tokens that say what they are: GitHub, GitLab, Grafana, Slack, AWS.
	{needs: []string{"gh", "github", "glpat", "glc_", "glsa_", "xox", "akia", "asia"}, re: regexp.MustCompile(`\b(?:gh[pousr]_|github_pat_|glpat-|glc_|glsa_|xox[abeprs]-|AKIA|ASIA)[A-Za-z0-9_+/=-]{10,}`), with: Hidden},
}

// named is what a secret's name and the given value look like.
func named(value string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)([a-z0-9_.-]*` + word + `[a-z0-9_.-]*)(\\*["']?[ \t]*(?:[:=]|%3[ad])[ \t]*)` + value)
}

// plain reports whether a name that holds the word for a secret is that of something
// else: where the secret is, how many there are.
func plain(name string) bool {
	name = strings.ToLower(name)
	for _, end := range []string{"file", "files", "path", "dir", "directory", "keys", "claim", "issuer", "audience", "ttl", "seconds", "bytes", "count", "total", "age"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// Names reports whether a name, of a variable or a field, is that of a secret.
func Names(name string) bool { return secretName.MatchString(name) && !plain(name) }

var secretName = regexp.MustCompile(`(?i)` + word + `|authorization|auth$|(?:^|[_.-])key$|(?:^|[_.-])pass$`)
