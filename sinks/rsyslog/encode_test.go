package rsyslog

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// deps are what a sink is given here; notes and outcomes are kept.
type seen struct {
	notes    map[string]int
	outcomes []string
	using    []string
}

func deps(s *seen, bundle *config.TLSBundle) sinks.Deps {
	s.notes = map[string]int{}
	return sinks.Deps{
		Host: "node1", Bundle: bundle,
		Request: func(_ time.Duration, outcome string) { s.outcomes = append(s.outcomes, outcome) },
		Note:    func(reason string, n int) { s.notes[reason] += n },
		Using:   func(address string) { s.using = append(s.using, address) },
	}
}

func newEncoder(t testing.TB, r config.RsyslogTarget) *encoder {
	t.Helper()
	if r.Address == "" {
		r.Address = "logs.example:514"
	}
	if r.Protocol == "" {
		r.Protocol = "tcp"
	}
	s, err := New(&config.Target{Name: "t", Rsyslog: &r}, deps(&seen{}, nil))
	if err != nil {
		t.Fatal(err)
	}
	return &s.(*sink).enc
}

var testTime = time.Date(2026, 11, 21, 9, 8, 7, 654321987, time.UTC)

func rec(line string) record.Record {
	return record.Record{Time: testTime.UnixNano(), Line: []byte(line), Message: []byte(line), Header: new(record.Header),
		Facility: record.NoFacility, Level: record.LevelWarning}
}

func TestEncode(t *testing.T) {
	origin := &record.Origin{Source: "app", Kind: "file", Path: "/var/log/a.log", Host: "node7",
		Labels: []record.Label{{Name: "env", Value: `p"r]o\d`}, {Name: "tea m=", Value: "ü"}}}
	journal := &record.Origin{Source: "journal", Kind: "journald", Path: "/var/log/journal", Host: "node7"}
	full := rec("<34>Oct 11 22:14:15 mymachine su: 'su root' failed")
	full.Message = []byte("'su root' failed")
	full.Flags = record.SyslogLine
	full.Facility = 4
	full.Level = record.LevelCritical
	full.Header = &record.Header{Host: []byte("my machine"), Identifier: []byte("s\xc3\xbcdo"), PID: []byte("77"), MsgID: []byte("ID47"), Unit: []byte("su.service")}
	full.Fields = []record.Field{{Name: []byte("user"), Value: []byte("a]b")}, {Name: []byte("other"), Value: []byte("x")}, {Name: []byte("tty 1"), Value: []byte("\xff")}}
	empty := rec("")
	empty.Time = 0
	before := rec("old")
	before.Time = -1
	none := ""
	for _, c := range []struct {
		name   string
		target config.RsyslogTarget
		origin *record.Origin
		rec    record.Record
		want   string
		did    changes
	}{
		{"plain", config.RsyslogTarget{}, journal, rec("hello wörld"),
			`106 <12>1 2026-11-21T09:08:07.654321Z node7 journal - - [lbshipd@32473 source="journal"] hello wörld`, 0},
		{"file and labels", config.RsyslogTarget{Facility: "local3", AppName: "cfg"}, origin, rec("x"),
			`146 <156>1 2026-11-21T09:08:07.654321Z node7 cfg - - [lbshipd@32473 source="app" path="/var/log/a.log" env="p\"r\]o\\d" tea_m_="ü"] x`, 0},
		{"everything", config.RsyslogTarget{StructuredData: []string{"tty 1", "user", "absent"}}, journal, full,
			"160 <34>1 2026-11-21T09:08:07.654321Z my_machine s_do 77 ID47 [lbshipd@32473 unit=\"su.service\" source=\"journal\" tty_1=\"\uFFFD\" user=\"a\\]b\"] 'su root' failed", headerChanged},
		{"no structured data", config.RsyslogTarget{StructuredDataID: &none, StructuredData: []string{"user"}}, journal, full,
			"77 <34>1 2026-11-21T09:08:07.654321Z my_machine s_do 77 ID47 - 'su root' failed", headerChanged},
		{"empty, at the epoch", config.RsyslogTarget{}, journal, empty,
			`94 <12>1 1970-01-01T00:00:00.000000Z node7 journal - - [lbshipd@32473 source="journal"] `, 0},
		{"before the epoch", config.RsyslogTarget{}, journal, before,
			`97 <12>1 1969-12-31T23:59:59.999999Z node7 journal - - [lbshipd@32473 source="journal"] old`, 0},
		{"newline kept", config.RsyslogTarget{}, journal, rec("a\nb\n"),
			"98 <12>1 2026-11-21T09:08:07.654321Z node7 journal - - [lbshipd@32473 source=\"journal\"] a\nb\n", 0},
		{"newline framing", config.RsyslogTarget{Framing: "newline"}, journal, rec("a\nb\n"),
			"<12>1 2026-11-21T09:08:07.654321Z node7 journal - - [lbshipd@32473 source=\"journal\"] a#012b#012\n", 0},
		{"udp", config.RsyslogTarget{Protocol: "udp"}, journal, rec("\na"),
			"<12>1 2026-11-21T09:08:07.654321Z node7 journal - - [lbshipd@32473 source=\"journal\"] #012a", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEncoder(t, c.target)
			e.nextBatch()
			got, did := e.append([]byte("before "), c.origin, &c.rec)
			want := c.want
			if e.framing == octetCounting {
				// The lengths above are for people.
				_, m, _ := strings.Cut(c.want, " ")
				want = fmt.Sprintf("%d %s", len(m), m)
			}
			if string(got) != "before "+want {
				t.Errorf("\ngot  %q\nwant %q", got[7:], want)
			}
			if did != c.did {
				t.Errorf("changes %b, want %b", did, c.did)
			}
		})
	}
}

func TestEncodeCuts(t *testing.T) {
	origin := &record.Origin{Source: "s", Kind: "journald", Host: "h"}
	for _, framing := range []string{"octet-counting", "newline"} {
		for _, size := range []int{480, 481, 482, 483, 1024, 8192, 99999} {
			for _, text := range []string{"ä€😀\n", "\x80\xff", "a", "\n"} {
				e := newEncoder(t, config.RsyslogTarget{MaxMessageBytes: config.Bytes(size), Framing: framing})
				r := rec(strings.Repeat(text, 100000))
				got, did := e.append(nil, origin, &r)
				if framing == "newline" {
					got = bytes.TrimSuffix(got, []byte("\n"))
				} else {
					_, got, _ = bytes.Cut(got, []byte(" "))
				}
				if len(got) > size || len(got) < size-3 {
					t.Errorf("%s: cut to %d octets, the limit is %d", framing, len(got), size)
				}
				if did != messageCut {
					t.Errorf("changes %b", did)
				}
				if utf8.ValidString(text) && !utf8.Valid(got) {
					t.Errorf("%s: half a character at the end: %q", framing, got[len(got)-8:])
				}
				if text == "\n" && framing == "newline" && !bytes.HasSuffix(got, []byte(newlineShown)) {
					t.Errorf("half an escape at the end: %q", got[len(got)-8:])
				}
			}
		}
	}
	// A message that fits to the octet is left alone.
	e := newEncoder(t, config.RsyslogTarget{MaxMessageBytes: 480})
	r := rec("")
	head, _ := e.append(nil, origin, &r)
	r.Line = []byte(strings.Repeat("a", 480-(len(head)-len("99 "))))
	if got, did := e.append(nil, origin, &r); did != 0 || len(got) != len("480 ")+480 {
		t.Errorf("changes %b, %d octets", did, len(got))
	}
}

func TestEncodeLimits(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 100000)
	h := &record.Header{Host: long, Identifier: long, PID: long, MsgID: long, Unit: long}
	origin := &record.Origin{Source: string(long), Kind: "file", Path: string(long), Labels: []record.Label{{Name: string(long), Value: string(long)}}}
	for _, size := range []int{480, 600, 1023, 1024, 2048, 8192, 1 << 20} {
		e := newEncoder(t, config.RsyslogTarget{MaxMessageBytes: config.Bytes(size), StructuredData: []string{"f"}})
		r := rec(string(long))
		r.Facility, r.Header = 23, h
		r.Fields = []record.Field{{Name: []byte("f"), Value: long}}
		got, did := e.append(nil, origin, &r)
		_, got, _ = bytes.Cut(got, []byte(" "))
		m, err := rfc5424.NewParser().Parse(got)
		if err != nil {
			t.Fatalf("%d: %v: %q", size, err, got)
		}
		p := m.(*rfc5424.SyslogMessage)
		if len(got) > size || p.Message == nil || len(*p.Message) < 64 {
			t.Errorf("%d: %d octets, message %v", size, len(got), p.Message)
		}
		if len(*p.Hostname) != 255 || len(*p.Appname) != 48 || len(*p.MsgID) != 32 || len(*p.ProcID) != e.procID {
			t.Errorf("%d: header fields of %d, %d, %d, %d octets", size, len(*p.Hostname), len(*p.Appname), len(*p.ProcID), len(*p.MsgID))
		}
		if size < 1<<19 && did != messageCut|structuredDataCut|headerChanged {
			t.Errorf("%d: changes %b", size, did)
		}
	}
}

// parts is what FuzzEncode builds a record of.
type parts struct{ host, app, pid, msgID, unit, label, value, field, fieldValue, msg []byte }

func FuzzEncode(f *testing.F) {
	f.Add([]byte("h"), []byte("a"), []byte("1"), []byte("m"), []byte("u"), []byte("l"), []byte("v"), []byte("f"), []byte("fv"), []byte("msg"), int64(0), uint8(3), uint8(1), uint16(0))
	f.Add([]byte(""), []byte("a b"), []byte("ä"), []byte(""), []byte(`"]\`), []byte(`="]`), []byte("\xff\xc3"), []byte("\n"), []byte("a\nb"), []byte("<1>\n\x00\xff"), int64(-1), uint8(255), uint8(9), uint16(481))
	f.Fuzz(func(t *testing.T, host, app, pid, msgID, unit, label, value, field, fieldValue, msg []byte, at int64, facility, level uint8, size uint16) {
		checkEncode(t, parts{host, app, pid, msgID, unit, label, value, field, fieldValue, msg}, at, facility, level, size)
	})
}

func checkEncode(t *testing.T, p parts, at int64, facility, level uint8, size uint16) {
	limit := max(int(size), 480)
	e := newEncoder(t, config.RsyslogTarget{MaxMessageBytes: config.Bytes(limit), StructuredData: []string{string(p.field)}})
	origin := &record.Origin{Source: "src", Kind: "file", Path: "/p", Host: "h", Labels: []record.Label{{Name: "l" + string(p.label), Value: string(p.value)}}}
	r := record.Record{Time: at, Line: p.msg, Message: p.msg, Level: record.Level(level), Facility: facility,
		Header: &record.Header{Host: p.host, Identifier: p.app, PID: p.pid, MsgID: p.msgID, Unit: p.unit},
		Fields: []record.Field{{Name: p.field, Value: p.fieldValue}}}
	framed, did := e.append(nil, origin, &r)
	length, got, _ := bytes.Cut(framed, []byte(" "))
	if string(length) != fmt.Sprint(len(got)) {
		t.Fatalf("the length says %s, it is %d", length, len(got))
	}
	if len(got) > limit {
		t.Fatalf("%d octets, the limit is %d", len(got), limit)
	}
	// The oracle does not take an empty message, nor octets that are no UTF-8
	// in it unless told; MSG is compared apart.
	rest := got[:len(got)-len(p.msg)*b2i(did&messageCut == 0)]
	if did&messageCut == 0 {
		if !bytes.HasSuffix(got, p.msg) {
			t.Fatalf("the message is not at the end: %q", got)
		}
	} else {
		rest = got
	}
	m, err := rfc5424.NewParser().Parse(bytes.ToValidUTF8(rest, []byte("?")))
	if err != nil {
		t.Fatalf("%v: %q", err, rest)
	}
	s := m.(*rfc5424.SyslogMessage)
	wantFacility := facility
	if facility > 23 {
		wantFacility = 1
	}
	if *s.Priority != wantFacility<<3|record.Level(level).Severity() || s.Version != 1 {
		t.Errorf("PRI %d of facility %d and level %d", *s.Priority, facility, level)
	}
	if want := time.Unix(0, at).UTC().Truncate(time.Microsecond); at >= 0 && !s.Timestamp.Equal(want) {
		t.Errorf("time %v, want %v", s.Timestamp, want)
	}
	checkHeader(t, "host", s.Hostname, p.host, "h", 255)
	checkHeader(t, "app", s.Appname, p.app, "src", 48)
	checkHeader(t, "procid", s.ProcID, p.pid, "", e.procID)
	checkHeader(t, "msgid", s.MsgID, p.msgID, "", 32)
	if did&structuredDataCut != 0 {
		return
	}
	sd := (*s.StructuredData)["lbshipd@32473"]
	if sd["source"] != "src" || sd["path"] != "/p" {
		t.Errorf("structured data %q", sd)
	}
	// Equal names overwrite each other in the oracle's map: the last one counts.
	if param := paramName(string(p.field)); p.fieldValue != nil {
		checkValue(t, param, sd[param], p.fieldValue)
	}
	if len(p.unit) > 0 && paramName(string(p.field)) != "unit" {
		checkValue(t, "unit", sd["unit"], p.unit)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// checkHeader holds a header field against what was put in.
func checkHeader(t *testing.T, name string, got *string, in []byte, otherwise string, limit int) {
	t.Helper()
	if len(in) == 0 {
		in = []byte(otherwise)
	}
	valid := len(in) > 0 && len(in) <= limit
	for _, c := range in {
		valid = valid && c > 32 && c < 127
	}
	switch {
	case len(in) == 0 || string(in) == "-":
		if got != nil {
			t.Errorf("%s is %q of nothing", name, *got)
		}
	case got == nil:
		if valid || string(in) == "-" {
			t.Errorf("%s %q is gone", name, in)
		}
	case valid && *got != string(in):
		t.Errorf("%s is %q, want %q", name, *got, in)
	case len(*got) > limit:
		t.Errorf("%s is too long: %q", name, *got)
	}
}

// checkValue compares a parameter; octets that are no UTF-8 became U+FFFD.
func checkValue(t *testing.T, name, got string, in []byte) {
	t.Helper()
	var want strings.Builder
	for b := in; len(b) > 0; {
		r, n := utf8.DecodeRune(b)
		want.WriteRune(r)
		b = b[n:]
	}
	// The oracle undoes the escapes or not, by version.
	unescape := strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\]`, `]`)
	if got != want.String() && unescape.Replace(got) != want.String() {
		t.Errorf("%s is %q, want %q", name, got, want.String())
	}
}
