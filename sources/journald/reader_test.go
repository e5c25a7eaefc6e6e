package journald

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// exported is one entry of journalctl -o export.
type exported struct {
	cursor   string
	realtime int64
	fields   []testbed.Field
}

func (e *exported) get(name string) (string, bool) {
	for _, f := range e.fields {
		if f.Name == name {
			return f.Value, true
		}
	}
	return "", false
}

func parseExport(t testing.TB, b []byte) (entries []exported) {
	t.Helper()
	e := exported{}
	for len(b) > 0 {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		if len(line) == 0 {
			entries = append(entries, e)
			e, b = exported{}, rest
			continue
		}
		name, value, text := bytes.Cut(line, []byte("="))
		if !text {
			n := binary.LittleEndian.Uint64(rest)
			value, rest = rest[8:8+n], rest[8+n+1:]
		}
		b = rest
		switch string(name) {
		case "__CURSOR":
			e.cursor = string(value)
		case "__REALTIME_TIMESTAMP":
			e.realtime, _ = strconv.ParseInt(string(value), 10, 64)
		case "__MONOTONIC_TIMESTAMP":
		default:
			e.fields = append(e.fields, testbed.Field{Name: string(name), Value: string(value)})
		}
	}
	return entries
}

// counts collects what a source skipped.
type counts map[string]int

func inputOf(t testing.TB, src config.Source, skipped counts) sources.Input {
	t.Helper()
	if src.StartAt == "" {
		src.StartAt = "beginning"
	}
	src.Name = "test"
	s, err := New(&src, sources.Deps{Host: "node", FirstRun: true, Skipped: func(reason string, n int) {
		if skipped != nil {
			skipped[reason] += n
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s.(sources.Input)
}

func open(t testing.TB, in sources.Input, pos record.Position) *Reader {
	t.Helper()
	r, err := in.Open(pos)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r.(*Reader)
}

// got is a copy of a record.
type got struct {
	record.Record
	header record.Header
	before record.Position
}

// readAll reads until there is nothing; gaps are returned apart.
func readAll(t testing.TB, r *Reader) (recs []got, pos record.Position, gaps []*sources.GapError) {
	t.Helper()
	for {
		b := record.NewBatch()
		err := r.Read(b)
		var gap *sources.GapError
		if errors.As(err, &gap) {
			gaps = append(gaps, gap)
		} else if err != nil {
			t.Fatal(err)
		}
		if len(b.Records)+b.Filtered > b.Read {
			t.Fatalf("batch of %d read, %d records, %d filtered", b.Read, len(b.Records), b.Filtered)
		}
		for i := range b.Records {
			recs = append(recs, clone(b, &b.Records[i]))
		}
		pos = b.After
		n := b.Read
		b.Release()
		if n == 0 && err == nil {
			return recs, pos, gaps
		}
	}
}

func clone(b *record.Batch, r *record.Record) got {
	g := got{Record: *r, before: b.PositionAt(r)}
	g.Line, g.Message = bytes.Clone(r.Line), bytes.Clone(r.Message)
	h := r.Header
	g.header = record.Header{Host: bytes.Clone(h.Host), Identifier: bytes.Clone(h.Identifier), PID: bytes.Clone(h.PID), Unit: bytes.Clone(h.Unit)}
	g.Fields = nil
	for _, f := range r.Fields {
		g.Fields = append(g.Fields, record.Field{Name: bytes.Clone(f.Name), Value: bytes.Clone(f.Value)})
	}
	return g
}

func TestRecordsHoldWhatJournalctlShows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fabricate(t, dir, "system.journal", 2500, 0, testbed.JournalLayout{Compact: true, Compress: true})
	want := parseExport(t, journalctl(t, "-D", dir, "-o", "export"))
	in := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: dir, Fields: []string{"TAG", "MESSAGE_ID", "_UID"}}}, nil)
	recs, pos, _ := readAll(t, open(t, in, ""))
	if len(recs) != len(want) || len(want) != 2500 {
		t.Fatalf("read %d records of %d", len(recs), len(want))
	}
	if string(pos) != want[len(want)-1].cursor {
		t.Errorf("position %s, last cursor %s", pos, want[len(want)-1].cursor)
	}
	for i := range recs {
		checkRecord(t, &recs[i], &want[i])
		if i > 0 && string(recs[i].before) != want[i-1].cursor {
			t.Fatalf("PositionAt(%d) = %s, want %s", i, recs[i].before, want[i-1].cursor)
		}
	}
}

func checkRecord(t *testing.T, g *got, w *exported) {
	t.Helper()
	if g.Time != w.realtime*1000 {
		t.Fatalf("time %d, want %d µs", g.Time, w.realtime)
	}
	message, ok := w.get("MESSAGE")
	if !ok { // entry without one: UNIT and CODE_LINE among others
		for _, name := range []string{"UNIT", "CODE_LINE", "PRIORITY"} {
			if v, _ := w.get(name); !strings.Contains(string(g.Line), name+"="+v) {
				t.Fatalf("line %q lacks %s=%s", g.Line, name, v)
			}
		}
	} else if string(g.Line) != message || string(g.Message) != message {
		t.Fatalf("line %.100q, want %.100q", g.Line, message)
	}
	for name, value := range map[string][]byte{"_HOSTNAME": g.header.Host, "SYSLOG_IDENTIFIER": g.header.Identifier,
		"_PID": g.header.PID, "_SYSTEMD_UNIT": g.header.Unit} {
		if v, _ := w.get(name); v != string(value) {
			t.Fatalf("%s is %q, want %q", name, value, v)
		}
	}
	if v, _ := w.get("PRIORITY"); v != fmt.Sprint(g.Level.Severity()) || g.Level == record.LevelUnknown {
		t.Fatalf("level %v, PRIORITY %s", g.Level, v)
	}
	if v, _ := w.get("SYSLOG_FACILITY"); v != fmt.Sprint(g.Facility) {
		t.Fatalf("facility %d, want %s", g.Facility, v)
	}
	var fields []testbed.Field
	for _, f := range w.fields {
		if f.Name == "TAG" || f.Name == "MESSAGE_ID" || f.Name == "_UID" {
			fields = append(fields, f)
		}
	}
	if len(fields) != len(g.Fields) {
		t.Fatalf("fields %q, want %q", g.Fields, fields)
	}
	for i, f := range g.Fields {
		if string(f.Name) != fields[i].Name || string(f.Value) != fields[i].Value {
			t.Fatalf("field %q=%q, want %q", f.Name, f.Value, fields[i])
		}
	}
}

func TestAllFields(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fabricate(t, dir, "system.journal", 300, 0, testbed.JournalLayout{})
	want := parseExport(t, journalctl(t, "-D", dir, "-o", "export"))
	in := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: dir, Fields: []string{"*"}}}, nil)
	recs, _, _ := readAll(t, open(t, in, ""))
	if len(recs) != len(want) {
		t.Fatalf("read %d records of %d", len(recs), len(want))
	}
	for i := range recs {
		have := map[string]int{}
		for _, f := range recs[i].Fields {
			if string(f.Name) != "_BOOT_ID" {
				have[string(f.Name)+"="+string(f.Value)]++
			}
		}
		for _, f := range want[i].fields {
			if f.Name != "MESSAGE" && f.Name != "_BOOT_ID" {
				have[f.Name+"="+f.Value]--
			}
		}
		for f, n := range have {
			if n != 0 {
				t.Fatalf("entry %d: field %q %+d times", i, f, n)
			}
		}
	}
}

func TestMinLevelIsThatOfJournalctl(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fabricate(t, dir, "system.journal", 1000, 0, testbed.JournalLayout{Compact: true})
	want := parseExport(t, journalctl(t, "-D", dir, "-o", "export", "-p", "warning"))
	src := config.Source{Journald: &config.JournaldSource{Directory: dir}, MinLevel: record.LevelWarning}
	recs, _, _ := readAll(t, open(t, inputOf(t, src, nil), ""))
	if len(recs) != len(want) || len(recs) < 300 {
		t.Fatalf("read %d records, journalctl -p warning shows %d", len(recs), len(want))
	}
	for i := range recs {
		if string(recs[i].Line) != first(want[i].get("MESSAGE")) && first(want[i].get("MESSAGE")) != "" {
			t.Fatalf("record %d is %q", i, recs[i].Line)
		}
	}
	// Another format has its own idea of the level: the reader lets all pass.
	src.LogFormat = "json"
	if recs, _, _ = readAll(t, open(t, inputOf(t, src, nil), "")); len(recs) != 1000 {
		t.Fatalf("read %d records of 1000", len(recs))
	}
}

func first(s string, _ bool) string { return s }

func TestFilteredAreCounted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fabricate(t, dir, "system.journal", 500, 0, testbed.JournalLayout{Compact: true})
	src := config.Source{Journald: &config.JournaldSource{Directory: dir}, MinLevel: record.LevelEmergency, LogFormat: "raw"}
	r := open(t, inputOf(t, src, nil), "")
	b := record.NewBatch()
	defer b.Release()
	if err := r.Read(b); err != nil {
		t.Fatal(err)
	}
	if b.Read != 500 || b.Filtered+len(b.Records) != 500 || b.Filtered < 400 || b.After == b.Before {
		t.Fatalf("read %d, filtered %d, records %d, after %q", b.Read, b.Filtered, len(b.Records), b.After)
	}
}

func TestHeadersAreShared(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var export []byte
	for i := range 100 {
		export = testbed.AppendExport(export, testStart+uint64(i), 1000+uint64(i), testBoot,
			testbed.Field{Name: "MESSAGE", Value: fmt.Sprint(i)}, testbed.Field{Name: "_HOSTNAME", Value: "h"},
			testbed.Field{Name: "_COMM", Value: fmt.Sprint("c", i/50)}, testbed.Field{Name: "SYSLOG_PID", Value: "7"},
			testbed.Field{Name: "UNIT", Value: "about.service"})
	}
	testbed.FabricateJournal(t, filepath.Join(dir, "a.journal"), bytes.NewReader(export), testbed.JournalLayout{})
	r := open(t, inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: dir}}, nil), "")
	b := record.NewBatch()
	defer b.Release()
	if err := r.Read(b); err != nil || len(b.Records) != 100 {
		t.Fatal(len(b.Records), err)
	}
	headers := map[*record.Header]int{}
	for i := range b.Records {
		headers[b.Records[i].Header]++
	}
	if len(headers) != 2 {
		t.Errorf("%d headers for 2 programs", len(headers))
	}
	h := b.Records[99].Header
	if string(h.Identifier) != "c1" || string(h.PID) != "7" || string(h.Unit) != "about.service" || string(h.Host) != "h" {
		t.Errorf("header %q", *h)
	}
}
