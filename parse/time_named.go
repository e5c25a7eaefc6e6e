package parse

// scanNamed takes the layouts that begin with the name of a day or a month.
func (s *stamp) scanNamed(p []byte) int {
	i := 0
	weekday := false
	if isWeekday(p) {
		weekday = true
		if i = 3; p[i] == ',' {
			i++
		}
		if p[i] != ' ' {
			return 0
		}
		i++
		if i+20 <= len(p) && (isDigit(p[i]) || p[i] == ' ') {
			return s.scanRFC1123(p, i)
		}
	}
	if i+14 > len(p) || p[i+3] != ' ' {
		return 0
	}
	month := monthAt(p, i)
	if month == 0 {
		return 0
	}
	i += 4
	if p[i] == ' ' {
		i++
	}
	day, j := number(p, i)
	if j == i || j-i > 2 || j+9 > len(p) {
		return 0
	}
	if p[j] == ',' || p[j] == ' ' && (j+6 < len(p) && isDigit(p[j+3]) && isDigit(p[j+4])) {
		return s.scanYearThenClock(p, j, month, day)
	}
	if p[j] != ' ' || !s.setDate(0, month, day) {
		return 0
	}
	k := s.scanClock12(p, j+1)
	if k == 0 {
		return 0
	}
	return s.scanTrailingYear(p, k, weekday)
}

// scanYearThenClock takes the rest of May 02 2024 10:11:12, May 2, 2024
// 10:11:12 AM (java.util.logging) and the like; p[j] is behind the day.
func (s *stamp) scanYearThenClock(p []byte, j, month, day int) int {
	if p[j] == ',' {
		j++
	}
	if p[j] != ' ' {
		return 0
	}
	year, k := number(p, j+1)
	if k-j != 5 || k+8 > len(p) || !s.setDate(year, month, day) || s.year == 0 {
		return 0
	}
	if p[k] == ',' {
		k++
	}
	if p[k] != ' ' {
		return 0
	}
	end := s.scanClock12(p, k+1)
	if end == 0 {
		return 0
	}
	return s.scanZone(p, end)
}

// scanTrailingYear takes " 2005" and, behind a weekday, " UTC 2005".
func (s *stamp) scanTrailingYear(p []byte, i int, weekday bool) int {
	at := i
	if weekday {
		at = s.scanZone(p, i)
	}
	if at+5 <= len(p) && p[at] == ' ' && !wordAt(p, at+5) {
		year := four(p, at+1)
		month, day := int(s.month), int(s.day)
		if year >= 1970 && s.setDate(year, month, day) {
			return at + 5
		}
		s.setDate(0, month, day)
	}
	return at
}

// scanRFC1123 takes 02 May 2024 10:11:12 GMT behind the weekday.
func (s *stamp) scanRFC1123(p []byte, i int) int {
	if p[i] == ' ' {
		i++
	}
	_, j := number(p, i)
	if j == i || j-i > 2 || p[j] != ' ' && p[j] != '-' || !isLetter(p[j+1]) {
		return 0
	}
	end := s.scanDayName(p[i:], j-i, p[j])
	if end == 0 {
		return 0
	}
	return i + end
}

// monthAt returns the month that the three letters at p[i] name, in English, or 0.
func monthAt(p []byte, i int) int {
	switch string([]byte{p[i] | 0x20, p[i+1] | 0x20, p[i+2] | 0x20}) {
	case "jan":
		return 1
	case "feb":
		return 2
	case "mar":
		return 3
	case "apr":
		return 4
	case "may":
		return 5
	case "jun":
		return 6
	case "jul":
		return 7
	case "aug":
		return 8
	case "sep":
		return 9
	case "oct":
		return 10
	case "nov":
		return 11
	case "dec":
		return 12
	}
	return 0
}

func isWeekday(p []byte) bool {
	switch string(p[:3]) {
	case "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun":
		return true
	}
	return false
}
