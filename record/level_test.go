package record

import (
	"strings"
	"testing"
)

func TestParseLevel(t *testing.T) {
	words := map[Level]string{
		LevelTrace:     "trace TRACE Trace trc TRC trce verbose Verbose VRB verb finest FINER V DEBUG-4 TRACE2 10 15",
		LevelDebug:     "debug DEBUG dbg DBG dbug DEBG fine D DEBUG1 debug5 D1 D5 DEBUG+3 DEBUG4 7 20 29",
		LevelInfo:      "info INFO Info inf INF I information Information informational log LOG statement config success INFO+1 INFO4 INFOS 6 30",
		LevelNotice:    "notice NOTICE note Note ntc N notification AUDIT 5",
		LevelWarning:   "warning WARNING warn Warn wrn WRN W WARNNING WARN+2 warn3 WARNUNG AVERTISSEMENT 4 40",
		LevelError:     "error ERROR err ERR eror E severe SEVERE failure FAILURE fail ERROR+1 ERROR2 SCHWERWIEGEND 3 50",
		LevelCritical:  "critical CRITICAL crit CRIT crt fatal FATAL ftl Fatl F panic PANIC dpanic FATAL4 2 60 69",
		LevelAlert:     "alert ALERT A 1",
		LevelEmergency: "emergency emerg EMERG 0",
		LevelUnknown:   "x errors informationalist none off INFO+ INFO- +1 - 8 9 70 100 9999 99999999999 1x 1.5 DEBUG6 DEBUG0 debug-x E1 INFO5 INFO12 main worker warnings no-error NOTICE+1 ok err! è",
	}
	for want, list := range words {
		for _, w := range strings.Fields(list) {
			if got := ParseLevel([]byte(w)); got != want {
				t.Errorf("%q is %v, want %v", w, got, want)
			}
		}
	}
	if got := ParseLevel(nil); got != LevelUnknown {
		t.Errorf("nothing is %v", got)
	}
	if n := testing.AllocsPerRun(100, func() { ParseLevel([]byte("WARNING")); ParseLevel([]byte("INFO+2")) }); n != 0 {
		t.Errorf("ParseLevel allocates %v times", n)
	}
}

func TestParseLevelNumberNeverOverstates(t *testing.T) {
	last := LevelUnknown
	for n := 10; n < 70; n++ { // pino and bunyan: the higher the more severe
		l := ParseLevelNumber(n)
		if l < last {
			t.Fatalf("%d is %v, below the level of %d", n, l, n-1)
		}
		if step := ParseLevelNumber(n / 10 * 10); l != step {
			t.Fatalf("%d is %v, but its step is %v", n, l, step)
		}
		last = l
	}
	for _, n := range []int{-1, 8, 9, 70, 1000} {
		if l := ParseLevelNumber(n); l != LevelUnknown {
			t.Errorf("%d is %v", n, l)
		}
	}
}

func TestSeverityRoundTrip(t *testing.T) {
	for s := range uint8(8) {
		l := FromSeverity(s)
		if l == LevelUnknown || l.Severity() != s {
			t.Errorf("severity %d is %v, which is severity %d", s, l, l.Severity())
		}
		if s > 0 && l >= FromSeverity(s-1) {
			t.Errorf("severity %d is not below severity %d", s, s-1)
		}
	}
	for _, s := range []uint8{8, 100, 255} {
		if l := FromSeverity(s); l != LevelUnknown {
			t.Errorf("severity %d is %v", s, l)
		}
	}
	if LevelTrace.Severity() != 7 || LevelUnknown.Severity() != 6 || Level(200).Severity() != 6 {
		t.Error("trace is not sent as debug, or what is unknown not as informational")
	}
}

func TestLevelNamesRoundTrip(t *testing.T) {
	seen := map[string]bool{}
	for l := LevelTrace; l <= LevelEmergency; l++ {
		for _, name := range []string{l.String(), l.Loki(), strings.ToUpper(l.String())} {
			if got := ParseLevel([]byte(name)); got != l {
				t.Errorf("%q is %v, want %v", name, got, l)
			}
		}
		if seen[l.Loki()] {
			t.Errorf("two levels are called %q", l.Loki())
		}
		seen[l.Loki()] = true
		text, err := l.MarshalText()
		var back Level
		if err != nil || back.UnmarshalText(text) != nil || back != l {
			t.Errorf("%v becomes %q becomes %v (%v)", l, text, back, err)
		}
	}
	if names := Levels(); len(names) != int(LevelEmergency) || names[0] != "trace" || names[len(names)-1] != "emergency" {
		t.Errorf("Levels() is %v", names)
	}
	var l Level = LevelError
	if err := l.UnmarshalText(nil); err != nil || l != LevelUnknown {
		t.Errorf("the empty text is %v, %v", l, err)
	}
	l = LevelError
	err := l.UnmarshalText([]byte("loud"))
	if err == nil || !strings.Contains(err.Error(), "loud") || !strings.Contains(err.Error(), "warning") {
		t.Errorf("the error %v does not name the word and the known ones", err)
	}
	if l != LevelError {
		t.Error("a refused word changed the level")
	}
	if s := Level(77).String(); s != "unknown" || Level(77).Loki() != "unknown" {
		t.Errorf("level 77 is %q", s)
	}
}

func TestPasses(t *testing.T) {
	for _, c := range []struct {
		l, min Level
		want   bool
	}{
		{LevelInfo, LevelInfo, true}, {LevelDebug, LevelInfo, false}, {LevelError, LevelInfo, true},
		{LevelUnknown, LevelEmergency, true}, {LevelTrace, LevelUnknown, true}, {LevelUnknown, LevelUnknown, true},
	} {
		if got := c.l.Passes(c.min); got != c.want {
			t.Errorf("%v passes %v: %v", c.l, c.min, got)
		}
	}
}

func FuzzParseLevel(f *testing.F) {
	for _, s := range []string{"INFO", "warn", "DEBUG-4", "30", "INFO+12", "é", "+", "9"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, word []byte) {
		got := ParseLevel(word)
		if got > LevelEmergency {
			t.Fatalf("%q is %d", word, got)
		}
		upper := make([]byte, len(word)) // ASCII only
		for i, c := range word {
			if c >= 'a' && c <= 'z' {
				c -= 'a' - 'A'
			}
			upper[i] = c
		}
		if other := ParseLevel(upper); other != got {
			t.Fatalf("%q is %v, but %q is %v", word, got, upper, other)
		}
	})
}
