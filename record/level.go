package record

import (
	"fmt"
)

// Level is how severe a record is. The zero value, LevelUnknown, means that
// nothing in the record says so; it is below every other level in the table
// but is never filtered by a minimum level.
type Level uint8

// The levels, from least to most severe. Info to Emergency are the eight
// syslog severities (RFC 5424 section 6.2.1) without debug; Trace is below
// syslog's debug and is sent as debug where the target has no trace.
const (
	LevelUnknown Level = iota
	LevelTrace
	LevelDebug
	LevelInfo
	LevelNotice
	LevelWarning
	LevelError
	LevelCritical
	LevelAlert
	LevelEmergency
)

// levels is the one table of level names: ours (configuration, metrics,
// command line), the syslog severity (RFC 5424 table 2, which is journald's
// PRIORITY too), and the name that Loki and Grafana know.
var levels = [...]struct {
	name     string
	severity uint8
	loki     string
}{
	LevelUnknown:   {"unknown", 6, "unknown"},
	LevelTrace:     {"trace", 7, "trace"},
	LevelDebug:     {"debug", 7, "debug"},
	LevelInfo:      {"info", 6, "info"},
	LevelNotice:    {"notice", 5, "notice"},
	LevelWarning:   {"warning", 4, "warn"},
	LevelError:     {"error", 3, "error"},
	LevelCritical:  {"critical", 2, "critical"},
	LevelAlert:     {"alert", 1, "alert"},
	LevelEmergency: {"emergency", 0, "emerg"},
}

// Levels lists every level name a configuration may use, least severe first.
func Levels() []string {
	names := make([]string, 0, len(levels)-1)
	for _, l := range levels[LevelTrace:] {
		names = append(names, l.name)
	}
	return names
}

// String returns our name of the level, as configuration files spell it.
func (l Level) String() string {
	if int(l) >= len(levels) {
		return "unknown"
	}
	return levels[l].name
}

// Severity returns the syslog severity, 0 (emergency) to 7 (debug); a record
// of unknown level is sent as informational (6).
func (l Level) Severity() uint8 {
	if int(l) >= len(levels) {
		return levels[LevelUnknown].severity
	}
	return levels[l].severity
}

// Loki returns the level's name as Loki's level detection and Grafana's level
// colours know it.
func (l Level) Loki() string {
	if int(l) >= len(levels) {
		return levels[LevelUnknown].loki
	}
	return levels[l].loki
}

// FromSeverity returns the level of a syslog severity or journald PRIORITY
// (0 to 7); anything above 7 is LevelUnknown.
func FromSeverity(s uint8) Level {
	if s > 7 {
		return LevelUnknown
	}
	return LevelEmergency - Level(s)
}

// Passes reports whether a record of level l passes the minimum level min.
// An unknown level always passes, and so does everything when min is unknown.
func (l Level) Passes(min Level) bool {
	return l >= min || l == LevelUnknown
}

// MarshalText writes the level's name; LevelUnknown becomes the empty text.
func (l Level) MarshalText() ([]byte, error) {
	if l == LevelUnknown {
		return nil, nil
	}
	return []byte(l.String()), nil
}

// UnmarshalText takes a level name as a configuration spells it, and the
// words in the wild that ParseLevel knows.
func (l *Level) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*l = LevelUnknown
		return nil
	}
	got := ParseLevel(text)
	if got == LevelUnknown {
		return fmt.Errorf("unknown level %q (known: %v)", text, Levels())
	}
	*l = got
	return nil
}

// ParseLevel returns the level that a word or number stands for, or
// LevelUnknown. Case does not matter. Words are those of syslog, log4j, glog,
// logrus, zap, slog, Python, .NET, PostgreSQL, Windows and OpenTelemetry, and
// java.util.logging's where its locale is German, French, Italian or Spanish; one letter is
// glog's or Android's. "fatal" and "panic" are critical and not emergency: one process
// died, the system did not, and syslog broadcasts emergencies to terminals.
// "fail" is .NET's error. Numbers are read by ParseLevelNumber. It does not
// allocate.
func ParseLevel(word []byte) Level {
	if len(word) == 0 || len(word) > 13 {
		return LevelUnknown
	}
	if c := word[0]; c >= '0' && c <= '9' {
		n := 0
		for _, c := range word {
			if c < '0' || c > '9' || n > 1000 {
				return LevelUnknown
			}
			n = n*10 + int(c-'0')
		}
		return ParseLevelNumber(n)
	}
	var lower [13]byte
	for i, c := range word {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	if c := lower[len(word)-1]; c >= '0' && c <= '9' && len(word) > 1 {
		return numberedLevel(lower[:len(word)])
	}
	return levelWord(lower[:len(word)])
}

func levelWord(lower []byte) Level {
	switch string(lower) {
	case "trace", "trc", "trce", "verbose", "verb", "vrb", "finest", "finer", "v", "t":
		return LevelTrace
	case "debug", "dbg", "dbug", "debg", "d", "fine":
		return LevelDebug
	case "info", "inf", "i", "information", "informational", "informative", "log", "statement", "config", "success", "infos":
		return LevelInfo
	case "notice", "note", "ntc", "n", "notification", "audit":
		return LevelNotice
	case "warning", "warn", "wrn", "w", "warnning", "warnung", "avertissement", "avvertenza", "advertencia":
		return LevelWarning
	case "error", "err", "eror", "e", "severe", "failure", "fail", "schwerwiegend", "grave":
		return LevelError
	case "critical", "crit", "crt", "c", "fatal", "fatl", "ftl", "f", "panic", "dpanic", "dfatal", "assert", "wtf":
		return LevelCritical
	case "alert", "alrt", "a":
		return LevelAlert
	case "emergency", "emerg", "emrg":
		return LevelEmergency
	}
	return LevelUnknown
}

// numberedLevel takes the levels with a number behind them: slog's INFO+2 and
// DEBUG-4, OpenTelemetry's WARN2, PostgreSQL's DEBUG1, MongoDB's D1. A step
// above a level is that level, so that no record is called more severe than
// it is; four steps below slog's debug is what others call trace.
func numberedLevel(lower []byte) Level {
	n := len(lower)
	for n > 0 && lower[n-1] >= '0' && lower[n-1] <= '9' {
		n--
	}
	sign := lower[n-1]
	switch {
	case sign == '+' && n > 1:
		return slogLevel(lower[:n-1])
	case sign == '-' && string(lower[:n-1]) == "debug":
		return LevelTrace
	case len(lower)-n > 1:
		return LevelUnknown
	case n == 1 && lower[0] == 'd' || n == 5 && string(lower[:n]) == "debug":
		if d := lower[n]; d >= '1' && d <= '5' {
			return LevelDebug
		}
	case lower[n] >= '1' && lower[n] <= '4':
		switch string(lower[:n]) {
		case "trace", "info", "warn", "error", "fatal":
			return levelWord(lower[:n])
		}
	}
	return LevelUnknown
}

func slogLevel(lower []byte) Level {
	switch string(lower) {
	case "debug", "info", "warn", "error":
		return levelWord(lower)
	}
	return LevelUnknown
}

// ParseLevelNumber returns the level of a numeric level: 0 to 7 are syslog
// severities (GELF, journald); 10 to 69 are bunyan's and pino's (10 trace to
// 60 fatal), where a number between two steps is the lower one, so that no
// record is called more severe than it is. Anything else is unknown.
func ParseLevelNumber(n int) Level {
	switch {
	case n >= 0 && n <= 7:
		return FromSeverity(uint8(n))
	case n >= 10 && n < 20:
		return LevelTrace
	case n >= 20 && n < 30:
		return LevelDebug
	case n >= 30 && n < 40:
		return LevelInfo
	case n >= 40 && n < 50:
		return LevelWarning
	case n >= 50 && n < 60:
		return LevelError
	case n >= 60 && n < 70:
		return LevelCritical
	}
	return LevelUnknown
}
