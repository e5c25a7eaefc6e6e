package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// byteUnits are the units of Bytes, largest first.
var byteUnits = []struct {
	name string
	size int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// ParseBytes reads a size: digits, with or without one of B, KiB, MiB and GiB
// behind them. Fractions and decimal units are refused, so that no two people
// read one size differently.
func ParseBytes(text string) (Bytes, error) {
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	number, unit := text[:digits], strings.TrimLeft(text[digits:], " ")
	if digits == 0 || strings.ContainsAny(unit, "0123456789") && unit[0] != '.' {
		return 0, fmt.Errorf("must be a size such as 65536, 64KiB or 1MiB, is %q", cut(text))
	}
	size, err := unitSize(number, unit)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n > math.MaxInt64/size {
		return 0, fmt.Errorf("%q is more bytes than can be counted", cut(text))
	}
	return Bytes(n * size), nil
}

func unitSize(number, unit string) (int64, error) {
	if unit == "" {
		return 1, nil
	}
	for _, u := range byteUnits {
		if unit == u.name {
			return u.size, nil
		}
	}
	if strings.HasPrefix(unit, ".") {
		return 0, fmt.Errorf("must be a whole number of B, KiB, MiB or GiB, is %q", cut(number+unit))
	}
	for _, u := range byteUnits {
		if strings.EqualFold(strings.ReplaceAll(u.name, "i", ""), unit) || strings.EqualFold(u.name, unit) ||
			strings.EqualFold(u.name[:1], unit) {
			return 0, fmt.Errorf("unknown unit %q, did you mean %s%s?", cut(unit), cut(number), u.name)
		}
	}
	return 0, fmt.Errorf("unknown unit %q (known: B, KiB, MiB, GiB)", cut(unit))
}

// String returns the size in the largest unit that holds it without a
// fraction; ParseBytes reads it.
func (b Bytes) String() string {
	for _, u := range byteUnits {
		if u.size > 1 && b != 0 && int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText writes what String returns.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads what ParseBytes reads.
func (b *Bytes) UnmarshalText(text []byte) error {
	got, err := ParseBytes(string(text))
	if err == nil {
		*b = got
	}
	return err
}

// UnmarshalJSON takes a number as well as a text.
func (b *Bytes) UnmarshalJSON(data []byte) error {
	return b.UnmarshalText(unquote(data))
}

// unquote returns the text of a JSON number or of a JSON string without escapes.
func unquote(data []byte) []byte {
	if n := len(data); n >= 2 && data[0] == '"' && data[n-1] == '"' {
		return data[1 : n-1]
	}
	return data
}

// ParseDuration reads a time span with units, such as 500ms or 1m30s.
func ParseDuration(text string) (Duration, error) {
	d, err := time.ParseDuration(text)
	if err == nil {
		return Duration(d), nil
	}
	if _, numberErr := strconv.ParseFloat(text, 64); numberErr == nil {
		return 0, fmt.Errorf("%q needs a unit: 500ms, 2s or 1m", cut(text))
	}
	return 0, fmt.Errorf("must be a time span such as 500ms, 2s or 1m, is %q", cut(text))
}

// String returns the time span as Go writes it, without units that are zero.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes what String returns.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	got, err := ParseDuration(string(text))
	if err == nil {
		*d = got
	}
	return err
}

// parseLevel reads a level by a word. Numbers are refused: 4 is a warning for
// syslog and nothing for pino, and a configuration is read by people.
func parseLevel(text string) (record.Level, error) {
	if text == "" {
		return record.LevelUnknown, nil
	}
	if _, err := strconv.Atoi(text); err == nil || len(text) == 1 {
		return record.LevelUnknown, fmt.Errorf("must be the word for a level, not %q (known: %s)",
			text, strings.Join(record.Levels(), ", "))
	}
	level := record.ParseLevel([]byte(text))
	if level == record.LevelUnknown {
		return level, errors.New("unknown level " + strconv.Quote(cut(text)) + didYouMean(text, record.Levels()))
	}
	return level, nil
}

// cut shortens what a message quotes.
func cut(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
