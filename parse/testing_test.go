package parse

import (
	"testing"
	"time"
	"unsafe"

	"github.com/lbshipd/lbshipd/record"
)

// testNow is what tests take for the current time.
var testNow = time.Date(2024, 5, 3, 12, 0, 0, 0, time.UTC)

func testOptions() *Options {
	return &Options{Fields: true, MaxFields: 64, Location: time.UTC, Now: testNow}
}

// parsed is a record with the batch that holds it.
type parsed struct {
	*record.Record
	ok bool
}

// parseLine parses one line with f and checks what must hold for every format
// and line: nothing changes on false, Level and Parse agree, and every slice
// lies in the line or in the batch.
func parseLine(t testing.TB, f Format, line string, o *Options) parsed {
	t.Helper()
	b := record.NewBatch()
	t.Cleanup(b.Release)
	r := b.Add()
	r.Line = []byte(line)
	r.Time = 42
	r.Flags = record.TimeAssigned
	before := *r
	p0 := b.Alloc(1)
	ok := f.Parse(b, r, o)
	p1 := b.Alloc(1)
	if !ok {
		if !sameRecord(&before, r) {
			t.Fatalf("refused, but the record has changed\nline: %q\nfrom: %+v\nto:   %+v", line, before, *r)
		}
		return parsed{r, false}
	}
	if got := f.Level(before.Line); got != r.Level {
		t.Fatalf("Level says %v, Parse says %v: %q", got, r.Level, line)
	}
	checkMemory(t, r, before.Line, p0, p1)
	if len(r.Fields) > o.MaxFields {
		t.Fatalf("%d fields, at most %d are allowed: %q", len(r.Fields), o.MaxFields, line)
	}
	if !o.Fields && len(r.Fields) > 0 {
		t.Fatalf("fields although none are wanted: %q", line)
	}
	return parsed{r, true}
}

func sameRecord(a, b *record.Record) bool {
	return a.Time == b.Time && a.Offset == b.Offset && string(a.Line) == string(b.Line) && len(a.Message) == len(b.Message) &&
		len(a.Fields) == len(b.Fields) && a.Header == b.Header && a.Level == b.Level && a.Facility == b.Facility && a.Flags == b.Flags
}

// checkMemory checks that the record's bytes lie in line or between p0 and p1,
// which enclose what was taken of the batch's memory.
func checkMemory(t testing.TB, r *record.Record, line, p0, p1 []byte) {
	t.Helper()
	address := func(p []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(p))) }
	from, to := address(p0), address(p1)
	oneChunk := from < to && to-from < 4<<10
	check := func(what string, p []byte) {
		t.Helper()
		if len(p) == 0 {
			return
		}
		at := address(p)
		if at >= address(line) && at+uintptr(len(p)) <= address(line)+uintptr(len(line)) {
			return
		}
		if !oneChunk || at > from && at+uintptr(len(p)) <= to {
			return
		}
		t.Fatalf("%s %q is neither in the line nor in the batch: %q", what, p, line)
	}
	check("Line", r.Line)
	check("Message", r.Message)
	if h := r.Header; h != nil {
		check("Host", h.Host)
		check("Identifier", h.Identifier)
		check("PID", h.PID)
		check("MsgID", h.MsgID)
	}
	for _, f := range r.Fields {
		check("value of "+string(f.Name), f.Value)
	}
}

// stampOf reads a test's expected time; "" stands for no time of the line's own.
func stampOf(t testing.TB, s string) int64 {
	t.Helper()
	if s == "" {
		return 42
	}
	when, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return when.UnixNano()
}

func mustNew(t testing.TB, name string) Format {
	t.Helper()
	f, err := New(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
