package config

import "time"

// Where a Target may start, beside a time.
const (
	StartAtBeginning = "beginning"
	StartAtNow       = "now"
)

// startAt checks where a target starts.
func (k *checker) startAt(p path, text string) {
	if text == "" || text == StartAtBeginning || text == StartAtNow {
		return
	}
	if at, ok := ParseStartTime(text); ok {
		if time.Now().Before(at) {
			k.warn(p, "%s is in the future: that is the same as now", text)
		}
		return
	}
	if text[0] >= '0' && text[0] <= '9' {
		k.fail(p, "%q is no time as in RFC 3339, such as 2026-11-20T08:00:00Z or 2026-11-20T09:00:00+01:00", cut(text))
		return
	}
	k.oneOf(p, text, []string{StartAtBeginning, StartAtNow, "a time such as 2026-11-20T08:00:00Z"})
}

// ParseStartTime reads a startAt that is a time (RFC 3339 section 5.6), between
// the years 1 and 9999.
func ParseStartTime(text string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.UTC().Year() < 1 || t.UTC().Year() > 9999 {
		return time.Time{}, false
	}
	return t, true
}
