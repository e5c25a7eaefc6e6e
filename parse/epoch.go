package parse

// parseEpoch reads a Unix time from a decimal number, with or without a
// fraction and an exponent, and tells its unit by its magnitude: [1e8,1e11) is
// seconds, [1e11,1e14) milliseconds, [1e14,1e17) microseconds, and above that
// nanoseconds; each of them begins in March 1973. Smaller numbers are not
// times (they are durations, counters and the like). It is exact to the
// nanosecond; finer digits are cut off.
func parseEpoch(p []byte) (int64, bool) {
	mant, exp, ok := decimal(p)
	if !ok || mant <= 0 {
		return 0, false
	}
	// Magnitude: digits before the decimal point.
	digits := exp
	for m := mant; m > 0; m /= 10 {
		digits++
	}
	var shift int // decimal exponent that turns the unit into nanoseconds
	switch {
	case digits >= 9 && digits <= 11:
		shift = 9
	case digits >= 12 && digits <= 14:
		shift = 6
	case digits >= 15 && digits <= 17:
		shift = 3
	case digits >= 18 && digits <= 19:
		shift = 0
	default:
		return 0, false
	}
	for e := exp + shift; e != 0; {
		if e > 0 {
			if mant > (1<<63-1)/10 {
				return 0, false
			}
			mant *= 10
			e--
			continue
		}
		mant /= 10
		e++
	}
	if mant/1e9 >= 9214646400 { // 2262-01-01
		return 0, false
	}
	return mant, true
}

// decimal splits a decimal number into mant*10^exp. Digits that do not fit
// mant are cut off. The exponent is bounded to +-40.
func decimal(p []byte) (mant int64, exp int, ok bool) {
	const full = (1<<63 - 1 - 9) / 10 // another digit fits up to here
	i := 0
	for ; i < len(p) && isDigit(p[i]); i++ {
		if exp == 0 && mant <= full {
			mant = mant*10 + int64(p[i]-'0')
			continue
		}
		exp++
	}
	ok = i > 0
	if i < len(p) && p[i] == '.' {
		cut := exp > 0
		i++
		ok = ok && digitAt(p, i)
		for ; i < len(p) && isDigit(p[i]); i++ {
			if cut = cut || mant > full; !cut {
				mant = mant*10 + int64(p[i]-'0')
				exp--
			}
		}
	}
	if i < len(p) && p[i]|0x20 == 'e' {
		var e int
		if e, i = exponent(p, i+1); i < 0 {
			return 0, 0, false
		}
		exp += e
	}
	return mant, exp, ok && i == len(p) && exp <= 40 && exp >= -40
}

func exponent(p []byte, i int) (e, end int) {
	neg := false
	if i < len(p) && (p[i] == '+' || p[i] == '-') {
		neg = p[i] == '-'
		i++
	}
	if !digitAt(p, i) {
		return 0, -1
	}
	for ; i < len(p) && isDigit(p[i]); i++ {
		e = min(e*10+int(p[i]-'0'), 1000)
	}
	if neg {
		e = -e
	}
	return e, i
}
