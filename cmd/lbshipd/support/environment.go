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

// hideAssignments hides the values of variables among the words of a command line.
func hideAssignments(words []string) []string {
	out := slices.Clone(words)
	for i, word := range out {
		if m := assignment.FindStringSubmatch(word); m != nil {
			out[i] = shownVariable(m[1], m[2])
		}
	}
	return out
}

// settingsText is a unit, a drop-in, or a file of variables, without comments, and without the
// values of variables and credentials.
func settingsText(text string) string {
	var out strings.Builder
	joined := strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\\\n", " ")
	for line := range strings.Lines(joined) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		out.WriteString(settingsLine(line))
		out.WriteByte('\n')
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
		return name + "=" + strings.Join(hideAssignments(words), " ")
	case assignment.MatchString(line) && name == strings.ToUpper(name): // of a file of variables
		return shownVariable(name, value)
	}
	return line
}

// split takes words apart as systemd does, quotes taken off; false if a quote does not end.
func split(text string) (words []string, ok bool) {
	var word strings.Builder
	quote, inWord := rune(0), false
	for _, r := range text {
		switch {
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
