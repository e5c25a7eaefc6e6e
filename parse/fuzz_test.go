package parse

import (
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// fuzzFormat checks with any line what parseLine checks: no panic, nothing
// changed on false, Level agrees with Parse, bytes lie in the line or the batch.
func fuzzFormat(f *testing.F, name string, seeds ...string) {
	for _, c := range wild {
		f.Add(c.line)
	}
	for _, s := range seeds {
		f.Add(s)
	}
	format := mustNew(f, name)
	f.Fuzz(func(t *testing.T, line string) {
		r := parseLine(t, format, line, testOptions())
		if name == "auto" && !r.ok {
			t.Fatalf("auto refused %q", line)
		}
		o := testOptions()
		o.Fields = false
		if again := parseLine(t, format, line, o); again.ok != r.ok || again.Level != r.Level || again.Time != r.Time || string(again.Message) != string(r.Message) {
			t.Fatalf("taking fields changes the rest: %q", line)
		}
	})
}

func FuzzAuto(f *testing.F)   { fuzzFormat(f, "auto") }
func FuzzLogfmt(f *testing.F) { fuzzFormat(f, "logfmt", `a="\u00e9\x41\U0001F600\q" b= c`, `=`, `a="`) }
func FuzzKlog(f *testing.F)   { fuzzFormat(f, "klog") }
func FuzzCRI(f *testing.F)    { fuzzFormat(f, "cri", "2024-05-02T10:11:12Z stdout P:x y") }
func FuzzRaw(f *testing.F)    { fuzzFormat(f, "raw") }
func FuzzRegex(f *testing.F)  { fuzzFormat(f, "regex:log4j") }

// hostile are pieces that make bad parsers quadratic or deep when repeated.
var hostile = []string{
	"{", "[", `{"a":`, `[[`, `"`, `\`, `\"`, `\\`, `{"a":"\`, `a=`, `a="`, `a="\"`, `a=b `, `<`, `<13>`, `(`, " ", "\t", "\x1b[", "\x1b[0m", "=", ":", ".", "-",
	"0", "1 ", "a ", "A ", "A", "a", "a.b ", "[a] ", "[a ", "<a ", "(a ", "Jan ", "Mon ", "2024-05-02 ", "10:11:12 ", "ERROR", "error:", "| ", "\xff", "\x00", "é",
	`"a":1,`, `{"a":1},`, `[x a="`, `[x a="\"`, `] [`, `][x`, ` a="b"`, "1714644672 ", "host ", "tag[1",
}

var hostileHeads = []string{
	"", "{", `{"a":"`, `{"a":[`, `{"level":`, `{"msg":"`, `{"log":{`, `{"time":"`, "level=", `msg="`, "a=b ", "<13>", "<13>1 - h a p m ", "<13>1 - h a p m [x a=\"",
	"May  2 10:11:12 ", "May  2 10:11:12 host ", "2024-05-02T10:11:12Z stdout F ", "2024-05-02T10:11:12Z stdout F {", "2024-05-02 10:11:12 ", "2024-05-02 10:11:12 {",
	"I0502 10:11:12.123456 1 ", "[", `{"ts":1`, `{"ts":1e`,
}

// TestHostileLinesTakeLinearTime gives every format long lines: all heads with
// all pieces at 128 KiB, and each piece once more at a mebibyte. A quadratic
// format would need minutes to hours; the bound is far above what even the race
// detector on a busy machine needs for a linear one.
func TestHostileLinesTakeLinearTime(t *testing.T) {
	var names []string
	for _, name := range Names() {
		if !strings.HasPrefix(name, regexPrefix) && name != "raw" {
			names = append(names, name)
		}
	}
	o := testOptions()
	var slowest time.Duration
	var which string
	buf := make([]byte, 0, 1<<20+64)
	try := func(head, piece string, size int) {
		buf = append(buf[:0], head...)
		for len(buf) < size {
			buf = append(buf, piece...)
		}
		for _, name := range names {
			start := cpuTime()
			parseHostile(t, fixed[name], buf, o)
			if took := cpuTime() - start; took > slowest {
				slowest, which = took, name+": "+head+" + "+piece
			}
		}
	}
	for i, piece := range hostile {
		try(hostileHeads[i%len(hostileHeads)], piece, 1<<20)
		for k, head := range hostileHeads {
			if !testing.Short() || (i+k)%8 == 0 {
				try(head, piece, 128<<10)
			}
		}
	}
	t.Logf("slowest: %v (%q)", slowest, which)
	if slowest > 20*time.Second {
		t.Errorf("%q takes %v", which, slowest)
	}
}

func parseHostile(t *testing.T, f Format, line []byte, o *Options) {
	b := record.NewBatch()
	defer b.Release()
	r := b.Add()
	r.Line = line
	level := f.Level(line)
	if f.Parse(b, r, o) && level != r.Level {
		t.Errorf("Level says %v, Parse %v: %.60q", level, r.Level, line)
	}
	if len(r.Fields) > o.MaxFields {
		t.Errorf("%d fields: %.60q", len(r.Fields), line)
	}
}
