package support

import (
	"regexp"
	"slices"
	"strings"

	"github.com/lbshipd/lbshipd/internal/scrub"
)

// shown are the variables whose values are told. What is secret in them (user and
// password of a proxy) is for the scrubber.
var shown = []string{
	"CONFIGURATION_DIRECTORY", "CREDENTIALS_DIRECTORY", "GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK", "HOME", "HTTPS_PROXY", "HTTP_PROXY",
	"INVOCATION_ID", "JOURNAL_STREAM", "LANG", "LBSHIPD_CONFIG", "LBSHIPD_ENDPOINT", "LBSHIPD_OPTIONS", "LC_ALL", "LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID",
	"LOGNAME", "LOGS_DIRECTORY", "NOTIFY_SOCKET", "NO_PROXY", "PATH", "RUNTIME_DIRECTORY", "SHELL", "SSL_CERT_DIR", "SSL_CERT_FILE", "STATE_DIRECTORY",
	"SYSTEMD_EXEC_PID", "TZ", "USER", "WATCHDOG_PID", "WATCHDOG_USEC", "XDG_STATE_HOME",
}

// shownVariable is NAME=VALUE, or that the value is hidden.
func shownVariable(name, value string) string {
	if _, known := slices.BinarySearch(shown, strings.ToUpper(name)); !known && value != "" {
		value = scrub.Hidden
	}
	return name + "=" + value
}

// assignment is a variable of the environment with a value.
var assignment = regexp.MustCompile(`^["']?([A-Za-z_][A-Za-z0-9_]*)=(.*)$`)

// hideAssignments hides the values of variables among the words of a command line, also
// in a word that is a command line itself (sh -c '...').
func hideAssignments(words []string) []string {
	out := slices.Clone(words)
	for i, word := range out {
		if m := assignment.FindStringSubmatch(word); m != nil {
			out[i] = shownVariable(m[1], m[2])
		} else if inner := strings.Fields(word); len(inner) > 1 {
			out[i] = strings.Join(hideAssignments(inner), " ")
		}
	}
	return out
}

// settingsText is a unit or a drop-in, without comments, and without the values of
// variables and credentials.
func settingsText(text string) string {
	var out, whole strings.Builder
	for line := range strings.Lines(strings.ReplaceAll(text, "\r\n", "\n")) {
		line = strings.TrimSpace(line)
		if line != "" && (line[0] == '#' || line[0] == ';') {
			continue // also among the lines of one setting, which goes on behind it
		}
		part, more := strings.CutSuffix(line, "\\")
		whole.WriteString(part)
		if more {
			whole.WriteByte(' ')
			continue
		}
		if whole.Len() > 0 {
			out.WriteString(settingsLine(strings.TrimSpace(whole.String())) + "\n")
		}
		whole.Reset()
	}
	if whole.Len() > 0 {
		out.WriteString(settingsLine(strings.TrimSpace(whole.String())) + "\n")
	}
	return out.String()
}

func settingsLine(line string) string {
	name, value, ok := strings.Cut(line, "=")
	name = strings.TrimSpace(name)
	switch {
	case !ok:
		return line
	case strings.HasPrefix(name, "SetCredential"):
		id, _, _ := strings.Cut(value, ":")
		return name + "=" + id + ":" + scrub.Hidden
	case name == "Environment" || strings.HasPrefix(name, "Exec"):
		words, ok := split(value)
		if !ok {
			return name + "=" + scrub.Hidden
		}
		for i, word := range words {
			if name == "Environment" && !assignment.MatchString(word) {
				words[i] = scrub.Hidden // a piece of a value, if of anything
			}
		}
		return name + "=" + strings.Join(hideAssignments(words), " ")
	}
	return line
}

// variablesText is a file of variables, without comments and values that are not known to
// say nothing secret. A value may go over several lines, in quotes or with \ at their ends.
func variablesText(text string) string {
	var out strings.Builder
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\\\n", " ")
	for {
		if text = strings.TrimLeft(text, " \t\n"); text == "" {
			return out.String()
		}
		line, _, _ := strings.Cut(text, "\n")
		name, value, ok := strings.Cut(line, "=")
		end := len(line)
		switch {
		case line[0] == '#' || line[0] == ';':
		case !ok:
			out.WriteString(scrub.Hidden + "\n")
		default:
			value = strings.TrimLeft(value, " \t")
			begin := len(line) - len(value)
			if value != "" && (value[0] == '"' || value[0] == '\'') {
				end = begin + quoted(text[begin:])
			}
			value = strings.TrimSpace(text[begin:end])
			if strings.Contains(value, "\n") {
				value = scrub.Hidden
			}
			out.WriteString(shownVariable(strings.TrimSpace(name), value) + "\n")
		}
		text = text[end:]
	}
}

// quoted returns how long the text is that begins with a quote, to the end of the line in which
// that ends; all of it if it does not end.
func quoted(text string) int {
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && text[0] == '"':
			i++
		case text[i] == text[0]:
			if n := strings.IndexByte(text[i:], '\n'); n >= 0 {
				return i + n
			}
			return len(text)
		}
	}
	return len(text)
}

// split takes words apart as systemd does, quotes and \ taken off; false if a quote does not end.
func split(text string) (words []string, ok bool) {
	var word strings.Builder
	quote, inWord, escaped := rune(0), false, false
	for _, r := range text {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped, inWord = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, inWord = r, true
		case quote == 0 && (r == ' ' || r == '\t'):
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, quote == 0
}
