package parse

import (
	"fmt"
	"regexp"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// Regex is a line format given as a regular expression.
type Regex struct {
	// Pattern is an RE2 expression (package regexp), matched anywhere in the
	// line. Its groups named time, level, message, host, identifier and pid are
	// taken as such, the first that matched of each name; the other named groups are fields.
	Pattern string
	// TimeLayout of the group time, as package time writes it. Empty: found out
	// from the text.
	TimeLayout string
}

// regexFormat takes lines that a regular expression matches. It is an order of
// magnitude slower than the other formats, and package regexp allocates once
// for each match that has groups.
type regexFormat struct {
	re     *regexp.Regexp
	groups []regexGroup // the named ones
	layout string
	levels bool
}

// regexGroup is a named group: its index, and what it is taken for.
type regexGroup struct {
	index int
	class keyClass
	name  []byte
}

func newRegex(name string, x Regex) (Format, error) {
	re, err := regexp.Compile(x.Pattern)
	if err != nil {
		return nil, fmt.Errorf("compiling the expression of format %q: %w", name, err)
	}
	f := &regexFormat{re: re, layout: x.TimeLayout}
	for i, group := range re.SubexpNames() {
		if group == "" {
			continue
		}
		g := regexGroup{i, groupClass(group), []byte(group)}
		f.levels = f.levels || g.class == keyLevel
		f.groups = append(f.groups, g)
	}
	if len(f.groups) == 0 {
		return nil, fmt.Errorf("expression of format %q has no named group, such as (?P<message>.*)", name)
	}
	return f, nil
}

func groupClass(name string) keyClass {
	switch name {
	case "time":
		return keyTime
	case "level":
		return keyLevel
	case "message":
		return keyMessage
	case "host":
		return keyHost
	case "identifier":
		return keyIdentifier
	case "pid":
		return keyPID
	}
	return keyOther
}

// Level matches the whole expression; an expression without a group named
// level costs nothing.
func (f *regexFormat) Level(line []byte) record.Level {
	if !f.levels {
		return record.LevelUnknown
	}
	m := f.re.FindSubmatchIndex(line)
	if m == nil {
		return record.LevelUnknown
	}
	return f.level(line, m)
}

func (f *regexFormat) level(line []byte, m []int) record.Level {
	for _, g := range f.groups {
		if g.class != keyLevel || m[2*g.index] < 0 {
			continue
		}
		if l := record.ParseLevel(trimSpace(line[m[2*g.index]:m[2*g.index+1]])); l != record.LevelUnknown {
			return l
		}
	}
	return record.LevelUnknown
}

func (f *regexFormat) Parse(b *record.Batch, r *record.Record, o *Options) bool {
	line := r.Line
	m := f.re.FindSubmatchIndex(line)
	if m == nil {
		return false
	}
	got := found{level: f.level(line, m)}
	add := fieldAdder{b, r, 0}
	if o.Fields {
		add.left = o.MaxFields
	}
	for _, g := range f.groups {
		start, end := m[2*g.index], m[2*g.index+1]
		if start < 0 {
			continue
		}
		val := line[start:end:end]
		switch g.class {
		case keyLevel:
		case keyTime:
			if !got.hasTime {
				got.time, got.hasTime = f.time(val, o)
			}
		case keyMessage:
			if got.message == nil {
				got.message = val
			}
		case keyOther:
			add.add(g.name, val)
		default:
			if len(val) > 0 && string(val) != "-" {
				got.setHeaderBytes(g.class, val)
			}
		}
	}
	got.apply(b, r)
	return true
}

// time reads the group time. A layout of the user's own goes through package
// time, which needs a string; a year or a date that it leaves out is filled in.
func (f *regexFormat) time(val []byte, o *Options) (int64, bool) {
	if f.layout == "" {
		return parseTime(val, o)
	}
	t, err := time.ParseInLocation(f.layout, string(val), o.Location)
	if err != nil {
		return 0, false
	}
	if t.Year() != 0 {
		if t.Year() < minYear || t.Year() > maxYear {
			return 0, false
		}
		return t.UnixNano(), true
	}
	s := stamp{
		hour: uint8(t.Hour()), min: uint8(t.Minute()), sec: uint8(t.Second()), nanos: int32(t.Nanosecond()),
		month: uint8(t.Month()), day: uint8(t.Day()),
	}
	if t.Month() == 1 && t.Day() == 1 && !layoutHasDate(f.layout) {
		s.month = 0
	}
	if _, offset := t.Zone(); t.Location() != o.Location {
		s.zoned, s.offset = true, int32(offset)
	}
	return s.unix(o)
}

// layoutHasDate reports whether a layout names a month, by formatting two dates with it.
func layoutHasDate(layout string) bool {
	return time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).Format(layout) != time.Date(0, 2, 2, 0, 0, 0, 0, time.UTC).Format(layout)
}
