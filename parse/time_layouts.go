package parse

// scanStamp takes a date and time at the start of p, in any of the layouts of
// this file and of time_named.go, and returns where it ends, or 0 and a stamp that holds nothing.
// It looks at no more than about fifty bytes.
func (s *stamp) scanStamp(p []byte) int {
	*s = stamp{}
	if len(p) < 8 {
		return 0
	}
	end := 0
	switch c := p[0]; {
	case isDigit(c):
		end = s.scanNumeric(p)
	case c-'A' <= 25:
		end = s.scanNamed(p)
	}
	if end == 0 || wordAt(p, end) {
		*s = stamp{}
		return 0
	}
	return end
}

// scanNumeric tells the layouts that begin with a digit apart by the first
// byte that is none.
func (s *stamp) scanNumeric(p []byte) int {
	n := 1
	for n < len(p) && n < 20 && isDigit(p[n]) {
		n++
	}
	if n == len(p) {
		return s.scanEpoch(p, n)
	}
	switch c := p[n]; n {
	case 4:
		return s.scanISO(p)
	case 1, 2:
		switch c {
		case ':':
			if n == 2 {
				return s.scanTimeOnly(p)
			}
		case '-', '/', ' ', '.':
			return s.scanDayOrMonth(p, n, c)
		}
	case 6:
		return s.scanSixDigits(p)
	case 8:
		return s.scanEightDigits(p)
	default:
		return s.scanEpoch(p, n)
	}
	return 0
}

// scanISO takes ISO 8601 and its many relatives: yyyy-MM-dd, yyyy/MM/dd or
// yyyy.MM.dd, then T, a space, - or _, then hh:mm:ss (after -, also hh.mm.ss),
// a fraction set off by a point or a comma, and a zone.
func (s *stamp) scanISO(p []byte) int {
	if len(p) < 19 {
		return 0
	}
	sep := p[4]
	if p[7] != sep || sep != '-' && sep != '/' && sep != '.' {
		return 0
	}
	if !s.setDate(four(p, 0), two(p, 5), two(p, 8)) || s.year == 0 {
		return 0
	}
	clockSep, at := byte(':'), 11
	switch p[10] {
	case 'T', 't', '_', ':':
	case ' ':
		if p[11] == ' ' {
			at = 12
		}
	case '-':
		clockSep = p[13]
		if clockSep != ':' && clockSep != '.' {
			return 0
		}
	default:
		return 0
	}
	i := s.scanClock(p, at, clockSep)
	if i == 0 {
		return 0
	}
	return s.scanZone(p, i)
}

// scanTimeOnly takes hh:mm:ss with a fraction.
func (s *stamp) scanTimeOnly(p []byte) int {
	i := s.scanClock(p, 0, ':')
	if i > 0 && i < len(p) && p[i]|0x20 == 'z' {
		return s.scanZone(p, i)
	}
	return i
}

// scanDayOrMonth takes the layouts that begin with a day or month of n digits
// followed by sep.
func (s *stamp) scanDayOrMonth(p []byte, n int, sep byte) int {
	if i := n + 1; i+3 < len(p) && isLetter(p[i]) {
		return s.scanDayName(p, n, sep)
	}
	if n == 1 && sep != '/' {
		return 0
	}
	first, i := number(p, 0)
	second, j := number(p, i+1)
	if j == i+1 || j-i > 3 || j >= len(p) {
		return 0
	}
	switch {
	case p[j] == ' ' && sep != ' ' && n == 2 && j == 5: // MM-dd, MM/dd, MM.dd: Android, Proxifier
		if !s.setDate(0, first, second) {
			return 0
		}
		return s.scanClock(p, 6, ':')
	case p[j] != sep:
		return 0
	}
	third, k := number(p, j+1)
	if k+8 >= len(p) || p[k] != ' ' && p[k] != ',' && p[k] != 'T' && p[k] != '-' {
		return 0
	}
	ok := false
	switch digits := k - j - 1; {
	case digits == 2 && sep == '/' && n == 2: // yy/MM/dd: Spark, Hadoop
		ok = s.setDate(2000+first, second, third)
	case digits == 4 && sep == '/' && first <= 12: // MM/dd/yyyy
		ok = s.setDate(third, first, second)
	case digits == 4: // dd.MM.yyyy, dd-MM-yyyy, dd/MM/yyyy
		ok = s.setDate(third, second, first)
	}
	if !ok || s.year == 0 {
		return 0
	}
	if p[k] == ',' && p[k+1] == ' ' {
		k++
	}
	return s.scanClock12(p, k+1)
}

// scanDayName takes dd Mon yyyy, dd-Mon-yyyy and dd/Mon/yyyy with the time
// behind a space, a colon or two colons.
func (s *stamp) scanDayName(p []byte, n int, sep byte) int {
	i := n + 4
	if i+14 > len(p) || p[i] != sep || !isDigit(p[i+1]) {
		return 0
	}
	day, _ := number(p, 0)
	year, j := number(p, i+1)
	if j-i != 5 || !s.setDate(year, monthAt(p, n+1), day) || s.year == 0 {
		return 0
	}
	if p[j] != ' ' && p[j] != ':' {
		return 0
	}
	j++
	if p[j] == ':' { // Erlang: 2-May-2024::10:11:12
		j++
	}
	k := s.scanClock(p, j, ':')
	if k == 0 {
		return 0
	}
	return s.scanZone(p, k)
}

// scanSixDigits takes yyMMdd HHmmss (HDFS) and yyMMdd HH:mm:ss (MySQL 5).
func (s *stamp) scanSixDigits(p []byte) int {
	if p[6] != ' ' || len(p) < 13 || !s.setDate(2000+two(p, 0), two(p, 2), two(p, 4)) || two(p, 0) < 0 {
		return 0
	}
	if p[7] == ' ' { // MySQL pads the hour with a space
		return s.scanClock12(p, 8)
	}
	if p[9] == ':' {
		return s.scanClock(p, 7, ':')
	}
	return s.scanPlainClock(p, 7)
}

// scanEightDigits takes yyyyMMdd, then -, T or a space, then HHmmss or HH:mm:ss.
func (s *stamp) scanEightDigits(p []byte) int {
	if p[8] != '-' && p[8] != 'T' && p[8] != ' ' || len(p) < 15 {
		return 0
	}
	if !s.setDate(four(p, 0), two(p, 4), two(p, 6)) || s.year < 1970 {
		return 0
	}
	i := 0
	if p[11] == ':' {
		i = s.scanClock(p, 9, ':')
	} else {
		i = s.scanPlainClock(p, 9)
	}
	if i == 0 {
		return 0
	}
	return s.scanZone(p, i)
}

// scanPlainClock takes HHmmss with a fraction.
func (s *stamp) scanPlainClock(p []byte, i int) int {
	if i+6 > len(p) || !s.setClock(two(p, i), two(p, i+2), two(p, i+4)) {
		return 0
	}
	i += 6
	if i+1 < len(p) && (p[i] == '.' || p[i] == ',') && isDigit(p[i+1]) {
		return s.scanFraction(p, i+1)
	}
	return i
}

// scanEpoch takes a Unix time: n digits, 10 for seconds (with a fraction), 13,
// 16 or 19 for what is finer; of the years 2001 to 2065, so that not every
// long number is a time.
func (s *stamp) scanEpoch(p []byte, n int) int {
	if p[0] != '1' && p[0] != '2' {
		return 0
	}
	end := n
	switch n {
	case 10:
		if end < len(p) && p[end] == '.' && digitAt(p, end+1) {
			for end++; end < len(p) && isDigit(p[end]) && end < 24; end++ {
			}
		}
	case 13, 16, 19:
	default:
		return 0
	}
	ns, ok := parseEpoch(p[:end])
	if !ok {
		return 0
	}
	s.epoch, s.unixNanos = true, ns
	return end
}

// scanClock12 takes h:mm:ss or hh:mm:ss, with AM or PM behind it if there.
func (s *stamp) scanClock12(p []byte, i int) int {
	end := 0
	if i+1 < len(p) && isDigit(p[i]) && p[i+1] == ':' {
		if i+7 > len(p) || p[i+4] != ':' || !s.setClock(int(p[i]-'0'), two(p, i+2), two(p, i+5)) {
			return 0
		}
		if end = i + 7; end+1 < len(p) && (p[end] == '.' || p[end] == ',') && isDigit(p[end+1]) {
			end = s.scanFraction(p, end+1)
		}
	} else if end = s.scanClock(p, i, ':'); end == 0 {
		return 0
	}
	if end+3 > len(p) || p[end] != ' ' || p[end+2]|0x20 != 'm' || wordAt(p, end+3) {
		return end
	}
	switch p[end+1] | 0x20 {
	case 'a':
		if s.hour == 12 {
			s.hour = 0
		} else if s.hour > 12 {
			return 0
		}
	case 'p':
		if s.hour < 12 {
			s.hour += 12
		} else if s.hour > 12 {
			return 0
		}
	default:
		return end
	}
	return end + 3
}

// number reads up to four digits at p[i].
func number(p []byte, i int) (v, end int) {
	end = i
	for end < len(p) && end < i+4 && isDigit(p[end]) {
		v = v*10 + int(p[end]-'0')
		end++
	}
	return v, end
}
