package parse

import "time"

// stamp is a point in time as a line spells it, before a year, a date or a
// zone that it leaves out has been filled in.
type stamp struct {
	year      int32 // 0: the line names none
	nanos     int32
	offset    int32 // seconds east of UTC, if zoned
	month     uint8 // 0: the line names no date at all
	day       uint8
	hour      uint8
	min       uint8
	sec       uint8
	zoned     bool
	comma     bool // the fraction is set off by a comma, as Python and log4j do
	epoch     bool // unixNanos holds it all
	bracketed bool // the closing bracket belongs to the stamp
	unixNanos int64
}

// Years whose every nanosecond fits an int64 of Unix nanoseconds.
const (
	minYear = 1678
	maxYear = 2261
)

// futureSlack is how far in the future a time may lie that carries no year:
// clocks and zones of other machines may be ahead by about a day.
const futureSlack = 25 * time.Hour

// daySlack is the same for a time that carries no date.
const daySlack = time.Hour

// unix returns the stamp in Unix nanoseconds; false if it cannot be told.
func (s *stamp) unix(o *Options) (int64, bool) {
	switch {
	case s.epoch:
		return s.unixNanos, true
	case s.month == 0:
		return s.nearestDay(o)
	case s.year == 0:
		return s.nearestYear(o)
	}
	return s.at(int(s.year), o.Location)
}

func (s *stamp) at(year int, loc *time.Location) (int64, bool) {
	if year < minYear || year > maxYear || int(s.day) > daysIn(year, int(s.month)) {
		return 0, false
	}
	if s.zoned || loc == time.UTC {
		secs := daysSinceEpoch(year, int(s.month), int(s.day))*86400 +
			int64(s.hour)*3600 + int64(s.min)*60 + int64(s.sec) - int64(s.offset)
		return secs*1e9 + int64(s.nanos), true
	}
	t := time.Date(year, time.Month(s.month), int(s.day), int(s.hour), int(s.min), int(s.sec), int(s.nanos), loc)
	return t.UnixNano(), true
}

// nearestYear takes the latest year that does not put the time further in the
// future than futureSlack. February 29 goes back to a leap year.
func (s *stamp) nearestYear(o *Options) (int64, bool) {
	now := o.now()
	if now.IsZero() {
		return 0, false
	}
	limit := now.UnixNano() + int64(futureSlack)
	year := now.Year() + 1
	for back := 0; back < 10; back++ {
		if ns, ok := s.at(year-back, o.Location); ok && ns <= limit {
			return ns, true
		}
	}
	return 0, false
}

// nearestDay takes the latest day that does not put the time further in the
// future than daySlack.
func (s *stamp) nearestDay(o *Options) (int64, bool) {
	now := o.now()
	if now.IsZero() {
		return 0, false
	}
	limit := now.UnixNano() + int64(daySlack)
	d := *s
	for _, add := range [...]int{1, 0, -1, -2} {
		year, month, day := now.In(o.Location).AddDate(0, 0, add).Date()
		d.month, d.day = uint8(month), uint8(day)
		if ns, ok := d.at(year, o.Location); ok && ns <= limit {
			return ns, true
		}
	}
	return 0, false
}

func isLeap(year int) bool { return year%4 == 0 && (year%100 != 0 || year%400 == 0) }

func daysIn(year, month int) int {
	if month == 2 && isLeap(year) {
		return 29
	}
	return int(monthDays[month&15])
}

// monthDays[2] is 28; years that are not known yet are let through up to 29
// by validDate and settled by at.
var monthDays = [16]uint8{0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0}

// daysSinceEpoch counts the days from 1970-01-01 in the proleptic Gregorian
// calendar (Howard Hinnant, days_from_civil).
func daysSinceEpoch(year, month, day int) int64 {
	if month <= 2 {
		year--
	}
	era := year / 400
	yoe := year - era*400
	doy := (153*((month+9)%12)+2)/5 + day - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return int64(era)*146097 + int64(doe) - 719468
}

// setDate checks and sets the date; year 0 is one that is not known.
func (s *stamp) setDate(year, month, day int) bool {
	if month < 1 || month > 12 || day < 1 {
		return false
	}
	days := daysIn(year, month)
	if year == 0 && month == 2 {
		days = 29
	}
	if day > days {
		return false
	}
	if year != 0 && (year < minYear || year > maxYear) {
		return false
	}
	s.year, s.month, s.day = int32(year), uint8(month), uint8(day)
	return true
}

// two returns the two digits at p[i], or -1. p[i+1] must exist.
func two(p []byte, i int) int {
	a, b := p[i]-'0', p[i+1]-'0'
	if a > 9 || b > 9 {
		return -1
	}
	return int(a)*10 + int(b)
}

// four returns the four digits at p[i], or -1. p[i+3] must exist.
func four(p []byte, i int) int {
	a, b := two(p, i), two(p, i+2)
	if a < 0 || b < 0 {
		return -1
	}
	return a*100 + b
}

func isDigit(c byte) bool { return c-'0' <= 9 }

func isLetter(c byte) bool { return c|0x20-'a' <= 25 }

// digitAt reports whether p has a digit at i.
func digitAt(p []byte, i int) bool { return i < len(p) && isDigit(p[i]) }

// wordAt reports whether p has a letter or digit at i.
func wordAt(p []byte, i int) bool { return i < len(p) && (isDigit(p[i]) || isLetter(p[i])) }

// scanClock takes hh:mm:ss with an optional fraction at p[i], where sep is
// ':' or '.', and returns where it ends, or 0.
func (s *stamp) scanClock(p []byte, i int, sep byte) int {
	if i+8 > len(p) || p[i+2] != sep || p[i+5] != sep {
		return 0
	}
	h, m, sec := two(p, i), two(p, i+3), two(p, i+6)
	if !s.setClock(h, m, sec) {
		return 0
	}
	i += 8
	if i+1 >= len(p) {
		return i
	}
	switch p[i] {
	case '.', ',':
		if isDigit(p[i+1]) {
			s.comma = p[i] == ','
			return s.scanFraction(p, i+1)
		}
	case ':':
		// hh:mm:ss:mmm, as some Java and mobile loggers have it.
		if i+4 <= len(p) && isDigit(p[i+1]) && isDigit(p[i+2]) && isDigit(p[i+3]) && !wordAt(p, i+4) {
			return s.scanFraction(p, i+1)
		}
	}
	if isDigit(p[i]) {
		return 0
	}
	return i
}

func (s *stamp) setClock(h, m, sec int) bool {
	if uint(h) > 23 || uint(m) > 59 || uint(sec) > 59 {
		return false
	}
	s.hour, s.min, s.sec = uint8(h), uint8(m), uint8(sec)
	return true
}

var pow10 = [...]int32{1, 10, 100, 1000, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// scanFraction takes the digits of a second's fraction; what is finer than a
// nanosecond is cut off.
func (s *stamp) scanFraction(p []byte, i int) int {
	n, v := 0, int32(0)
	for ; i < len(p) && isDigit(p[i]); i++ {
		if n < 9 {
			v = v*10 + int32(p[i]-'0')
			n++
		}
	}
	s.nanos = v * pow10[9-n]
	return i
}

// scanZone takes a zone at p[i], with or without a space before it, and
// returns where it ends; i if there is none.
func (s *stamp) scanZone(p []byte, i int) int {
	if i >= len(p) {
		return i
	}
	switch c := p[i]; {
	case c|0x20 == 'z':
		if wordAt(p, i+1) {
			return i
		}
		s.zoned, s.offset = true, 0
		return i + 1
	case c == '+' || c == '-':
		return s.scanOffset(p, i, true)
	case c == ' ' && i+1 < len(p):
		if d := p[i+1]; d == '+' || d == '-' {
			if end := s.scanOffset(p, i+1, false); end > i+1 {
				return end
			}
			return i
		}
		if end := s.scanZoneName(p, i+1); end > i+1 {
			return end
		}
	case isLetter(c):
		return s.scanZoneName(p, i)
	}
	return i
}

// scanOffset takes +hh:mm, +hhmm and, if short, +hh.
func (s *stamp) scanOffset(p []byte, i int, short bool) int {
	if i+3 > len(p) {
		return i
	}
	h, m, end := two(p, i+1), 0, i+3
	switch {
	case i+6 <= len(p) && p[i+3] == ':' && isDigit(p[i+4]):
		m, end = two(p, i+4), i+6
	case digitAt(p, i+3):
		if i+5 > len(p) {
			return i
		}
		m, end = two(p, i+3), i+5
	case !short:
		return i
	}
	if uint(h) > 23 || uint(m) > 59 || wordAt(p, end) {
		return i
	}
	s.zoned, s.offset = true, int32(h*3600+m*60)
	if p[i] == '-' {
		s.offset = -s.offset
	}
	return end
}

// scanZoneName takes a zone abbreviation. UTC and GMT are what they say, and
// so are some that mean the same everywhere; an ambiguous one (CST, IST, BST)
// is left to the source's own zone.
func (s *stamp) scanZoneName(p []byte, i int) int {
	end := i
	for end < len(p) && end < i+5 && p[end]-'A' <= 25 {
		end++
	}
	if end-i < 3 || wordAt(p, end) {
		return i
	}
	hours := int32(0)
	switch string(p[i:end]) {
	case "UTC", "GMT", "WET":
	case "CET", "WEST", "MEZ":
		hours = 1
	case "CEST", "EET", "MESZ":
		hours = 2
	case "EEST", "MSK":
		hours = 3
	case "JST", "KST":
		hours = 9
	case "AEST":
		hours = 10
	case "AEDT":
		hours = 11
	case "NZST":
		hours = 12
	case "EDT":
		hours = -4
	case "EST", "CDT":
		hours = -5
	case "MDT":
		hours = -6
	case "MST", "PDT":
		hours = -7
	case "PST":
		hours = -8
	case "CST", "IST", "BST", "HKT", "SGT":
		return end
	default:
		return i
	}
	s.zoned, s.offset = true, hours*3600
	return end
}
