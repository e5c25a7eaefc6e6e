package parse

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// layouts are those that scanStamp claims, as package time writes them.
var layouts = []string{
	time.RFC3339, time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04:05.000", "2006-01-02 15:04:05",
	"2006-01-02 15:04:05.000000", "2006-01-02 15:04:05,000", "2006-01-02T15:04:05,000Z07:00", "2006-01-02 15:04:05.000 -0700",
	"2006-01-02 15:04:05 -07:00", "2006-01-02T15:04:05.000-0700", "2006-01-02 15:04:05-07", "2006-01-02 15:04:05 UTC",
	"2006/01/02 15:04:05", "2006/01/02 15:04:05.000000", "2006.01.02 15:04:05", "2006-01-02_15:04:05", "2006-01-02-15.04.05.000000",
	"2006/01/02-15:04:05.000000", "2006-01-02  15:04:05",
	time.ANSIC, time.UnixDate, time.RubyDate, "Mon Jan 02 15:04:05 2006", "Mon Jan 02 15:04:05.000000 2006", time.RFC1123, time.RFC1123Z, time.RFC850 + "\x00",
	"02/Jan/2006:15:04:05 -0700", "02/Jan/2006:15:04:05.000", "02-Jan-2006 15:04:05.000", "2-Jan-2006::15:04:05", "02 Jan 2006 15:04:05.000",
	"Jan 02, 2006 3:04:05 PM", "Jan 2, 2006 15:04:05", "Jan 02 2006 15:04:05", "Jan _2 15:04:05 2006",
	"01/02/2006 15:04:05", "1/2/2006 3:04:05 PM", "02.01.2006 15:04:05", "02-01-2006 15:04:05",
	"06/01/02 15:04:05", "060102 150405", "060102 15:04:05", "20060102 15:04:05", "20060102-150405", "20060102T150405Z", "20060102-15:04:05.000",
}

func testLayouts() []string {
	var out []string
	for _, l := range layouts {
		if l[len(l)-1] != 0 { // RFC 850 names the day in full and is not claimed
			out = append(out, l)
		}
	}
	return out
}

// TestStampAgreesWithTimeParse writes random times in every layout and reads
// them back: the result is package time's, and nothing is left over.
func TestStampAgreesWithTimeParse(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, loc := range []*time.Location{time.UTC, berlin, time.FixedZone("", -12600)} {
		o := &Options{Location: loc, Now: testNow}
		for _, layout := range testLayouts() {
			if loc != time.UTC && (strings.HasSuffix(layout, "UTC") || strings.HasSuffix(layout, "5Z")) {
				continue
			}
			for range 300 {
				from, span := int64(946684800), int64(1893456000) // two-digit years: 2000 to 2059
				when := time.Unix(from+rng.Int64N(span), rng.Int64N(1e9)).In(loc)
				if loc != time.UTC && (layout == time.UnixDate || layout == time.RFC1123) {
					when = when.UTC()
				}
				text := when.Format(layout)
				want, err := time.ParseInLocation(layout, text, loc)
				if err != nil {
					t.Fatal(err)
				}
				if layout[:2] == "06" && want.Year() < 2000 {
					continue // package time reads 69 to 99 as of the last century
				}
				var s stamp
				end := s.scanStamp([]byte(text))
				if end != len(text) {
					t.Fatalf("%q (%s): %d of %d bytes read", text, layout, end, len(text))
				}
				got, ok := s.unix(o)
				if !ok || got != want.UnixNano() {
					t.Fatalf("%q (%s, %v): %v, want %v", text, layout, loc, time.Unix(0, got).In(loc), want)
				}
			}
		}
	}
}

func TestStampRefuses(t *testing.T) {
	for _, text := range []string{
		"2023-02-29 10:11:12", "2100-02-29 10:11:12", "2024-02-30 10:11:12", "2024-04-31 10:11:12", "2024-00-10 10:11:12", "2024-13-10 10:11:12",
		"2024-05-00 10:11:12", "2024-05-32 10:11:12", "2024-05-02 24:00:00", "2024-05-02 10:60:12", "2024-05-02 10:11:60", "2024-05-02 10:11",
		"2024-05-02 10:11:123", "0000-05-02 10:11:12", "1500-05-02 10:11:12", "2999-05-02 10:11:12", "2024-05/02 10:11:12", "2024-05-02x10:11:12",
		"2024-05-02 1a:11:12", "20240230-101112", "Feb 30 10:11:12", "Foo 12 10:11:12", "May 32 10:11:12", "May  0 10:11:12", "May  2 24:11:12",
		"30/Feb/2024:10:11:12", "13/13/2024 10:11:12", "13.13.2024 10:11:12", "Jan 02, 2024 13:04:05 PM", "123456789", "12345678901", "9999999999",
		"240230 101112", "10:11", "", "1", "2024", "2024-05-02", "2024-05-02 ", "May", "Mon May", "Mon, 2",
	} {
		var s stamp
		if end := s.scanStamp([]byte(text)); end > 0 {
			if ns, ok := s.unix(testOptions()); ok {
				t.Errorf("%q is taken for %v (%d bytes)", text, time.Unix(0, ns).UTC(), end)
			}
		}
	}
	for _, text := range []string{"2024-02-29 10:11:12", "2000-02-29 10:11:12", "Feb 29 10:11:12", "2024-12-31 23:59:59"} {
		if _, ok := parseTime([]byte(text), testOptions()); !ok {
			t.Errorf("%q is refused", text)
		}
	}
}

func TestYearAndDayAreTakenFromNow(t *testing.T) {
	for _, c := range []struct{ now, text, want string }{
		{"2024-05-03T12:00:00Z", "May  3 11:59:59", "2024-05-03T11:59:59Z"},
		{"2024-05-03T12:00:00Z", "May  4 12:30:00", "2024-05-04T12:30:00Z"}, // a zone ahead
		{"2024-05-03T12:00:00Z", "May  5 12:30:00", "2023-05-05T12:30:00Z"},
		{"2024-05-03T12:00:00Z", "Dec 31 23:59:59", "2023-12-31T23:59:59Z"},
		{"2024-01-01T00:00:10Z", "Dec 31 23:59:59", "2023-12-31T23:59:59Z"},
		{"2023-12-31T23:59:50Z", "Jan  1 00:00:01", "2024-01-01T00:00:01Z"},
		{"2026-05-03T12:00:00Z", "Feb 29 10:00:00", "2024-02-29T10:00:00Z"},
		{"2024-05-03T12:00:00Z", "10:11:12.5", "2024-05-03T10:11:12.5Z"},
		{"2024-05-03T12:00:00Z", "12:30:00", "2024-05-03T12:30:00Z"},
		{"2024-05-03T12:00:00Z", "13:30:00", "2024-05-02T13:30:00Z"},
		{"2024-05-03T23:59:59Z", "00:00:01", "2024-05-04T00:00:01Z"},
		{"2024-03-01T00:00:01Z", "23:59:59", "2024-02-29T23:59:59Z"},
	} {
		now, _ := time.Parse(time.RFC3339, c.now)
		got, ok := parseTime([]byte(c.text), &Options{Location: time.UTC, Now: now})
		if want := stampOf(t, c.want); !ok || got != want {
			t.Errorf("%q at %s is %v, want %s", c.text, c.now, time.Unix(0, got).UTC(), c.want)
		}
	}
	if _, ok := parseTime([]byte("May  3 11:59:59"), &Options{Location: time.UTC}); ok {
		t.Error("a year was made up without a current time")
	}
}

func TestZones(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	o := &Options{Location: berlin, Now: testNow}
	for text, want := range map[string]string{
		"2024-05-02 10:11:12":         "2024-05-02T08:11:12Z", // summer time
		"2024-01-02 10:11:12":         "2024-01-02T09:11:12Z",
		"2024-05-02 10:11:12Z":        "2024-05-02T10:11:12Z",
		"2024-05-02 10:11:12 UTC":     "2024-05-02T10:11:12Z",
		"2024-05-02 10:11:12 CEST":    "2024-05-02T08:11:12Z",
		"2024-05-02 10:11:12 CST":     "2024-05-02T08:11:12Z", // ambiguous: the source's zone
		"2024-05-02 10:11:12.5-03:30": "2024-05-02T13:41:12.5Z",
		"May  2 10:11:12":             "2024-05-02T08:11:12Z",
		"1714644672":                  "2024-05-02T10:11:12Z",
		"2024-03-31 02:30:00":         "2024-03-31T01:30:00Z", // does not exist; as package time has it
	} {
		got, ok := parseTime([]byte(text), o)
		if !ok || got != stampOf(t, want) {
			t.Errorf("%q is %v, want %s", text, time.Unix(0, got).UTC(), want)
		}
	}
}

func TestParseEpoch(t *testing.T) {
	for text, want := range map[string]int64{
		"1714644672": 1714644672e9, "1714644672.5": 17146446725e8, "1714644672.123456789": 1714644672123456789,
		"1714644672.1234567899": 1714644672123456789, "1714644672123": 1714644672123e6, "1714644672123.5": 17146446721235e5,
		"1714644672123456": 1714644672123456e3, "1714644672123456789": 1714644672123456789, "1.714644672e9": 1714644672e9,
		"1.7146446721234567e+09": 1714644672123456700, "100000000": 1e17, "99999999999": -1, "99999999": -1, "0": -1, "-1714644672": -1, "": -1, "1.": -1, ".5": -1,
		"1e": -1, "1e400": -1, "1e-400": -1, "1x": -1, "12345678901234567890": -1, "9999999999": -1, "9300000000000000000": -1, "NaN": -1,
		"0001714644672": 1714644672e9, "1714644672.0000000000000000000000001": 1714644672e9,
	} {
		got, ok := parseEpoch([]byte(text))
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q is %d, want %d", text, got, want)
		}
	}
}

// FuzzStamp holds what is read against package time for the layouts claimed:
// where both take a text as a whole, they agree.
func FuzzStamp(f *testing.F) {
	when := time.Date(2024, 2, 29, 23, 59, 58, 123456789, time.FixedZone("", 3600))
	for _, layout := range testLayouts() {
		f.Add(when.Format(layout))
	}
	f.Add("May  2 10:11:12 2024")
	f.Add("1714644672.123")
	f.Fuzz(func(t *testing.T, text string) {
		var s stamp
		end := s.scanStamp([]byte(text))
		if end < 0 || end > len(text) {
			t.Fatalf("%d of %d bytes", end, len(text))
		}
		if end == 0 {
			if s != (stamp{}) {
				t.Fatalf("nothing was read, but %+v is left", s)
			}
			return
		}
		got, ok := s.unix(testOptions())
		if !ok || end != len(text) || s.epoch || s.year == 0 {
			return
		}
		for _, layout := range testLayouts() {
			if layout == "01/02/2006 15:04:05" || layout == "1/2/2006 3:04:05 PM" || layout[:2] == "06" ||
				layout == "02.01.2006 15:04:05" || layout == "02-01-2006 15:04:05" {
				continue // what is day, month or year is decided otherwise
			}
			want, err := time.ParseInLocation(layout, text, time.UTC)
			if err != nil || want.Year() < minYear || want.Year() > maxYear {
				continue
			}
			if name, offset := want.Zone(); offset == 0 && name != "UTC" && name != "" {
				continue // package time makes up a zone for a name that it does not know
			}
			if got != want.UnixNano() {
				t.Fatalf("%q (%s): %v, package time says %v", text, layout, time.Unix(0, got).UTC(), want.UTC())
			}
		}
	})
}
