package parse

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/leodido/go-syslog/v4/rfc3164"
	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/lbshipd/lbshipd/record"
)

var syslog5424Lines = []string{
	`<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - ` + "\xef\xbb\xbf" + `'su root' failed for lonvick on /dev/pts/8`,
	`<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.`,
	`<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"] An application event log entry...`,
	`<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"][examplePriority@32473 class="high"]`,
	`<0>1 - - - - - -`,
	`<191>999 - - - - - - `,
	`<13>1 - h a p m [x] m`,
	`<13>1 - h a p m [x a="q\"b\\s\]e" b=""][y] with [brackets]`,
	`<13>1 - h a p m - `,
	`<13>1 2024-05-02T10:11:12Z h a p m -`,
}

func TestSyslog5424(t *testing.T) {
	for _, c := range []struct {
		line, time, header, message, fields string
		facility                            uint8
		level                               record.Level
	}{
		{syslog5424Lines[0], "2003-10-11T22:14:15.003Z", "mymachine.example.com|su||ID47", "'su root' failed for lonvick on /dev/pts/8", "", 4, crt},
		{syslog5424Lines[1], "2003-08-24T12:14:15.000003Z", "192.0.2.1|myproc|8710|", "%% It's time to make the do-nuts.", "", 20, ntc},
		{syslog5424Lines[2], "2003-10-11T22:14:15.003Z", "mymachine.example.com|evntslog||ID47", "An application event log entry...",
			"exampleSDID@32473.iut=3 exampleSDID@32473.eventSource=Application exampleSDID@32473.eventID=1011", 20, ntc},
		{`<0>1 - - - - - -`, "", "|||", "", "", 0, emg},
		{syslog5424Lines[7], "", "h|a|p|m", "with [brackets]", `x.a=q"b\s]e x.b=`, 1, ntc},
		// Lenient.
		{`<13>1 - h a p m no structured data`, "", "h|a|p|m", "no structured data", "", 1, ntc},
		{`<13>1 - h a p m [broken a="x] m`, "", "h|a|p|m", `[broken a="x] m`, "", 1, ntc},
		{`<13>1 2024-05-02T10:11:12.123456789Z h a p m - x`, "2024-05-02T10:11:12.123456789Z", "h|a|p|m", "x", "", 1, ntc},
		{`<13>1 2024-05-02T10:11:12 h a p m - x`, "2024-05-02T10:11:12Z", "h|a|p|m", "x", "", 1, ntc},
		{`<13>1 - h a p m`, "", "h|a|p|m", "", "", 1, ntc},
		{`<13>1 - h a p m [x a="b\n"] x`, "", "h|a|p|m", "x", `x.a=b\n`, 1, ntc},
	} {
		r := parseLine(t, mustNew(t, "syslog-rfc5424"), c.line, testOptions())
		if !r.ok || r.Level != c.level || r.Facility != c.facility || string(r.Message) != c.message || headerOf(r) != c.header ||
			r.Time != stampOf(t, c.time) || fieldsOf(r) != c.fields || r.Flags&record.SyslogLine == 0 || string(r.Line) != c.line {
			t.Errorf("%s\n%v %v %d %d %q %q %q %v", c.line, r.ok, r.Level, r.Facility, r.Time, r.Message, headerOf(r), fieldsOf(r), r.Flags)
		}
	}
	for _, line := range []string{"", "<", "<13>", "<13>1", "<13>1 ", "<13>0 - - - - - -", "<192>1 - - - - - -", "<13>1 - - - - ", "<13>1 x - - - - -", "<1x>1 - - - - - -",
		"<>1 - - - - - -", "<13>1 2024-05-02 10:11:12 - - - - -", "<13>1 2024-02-30T10:11:12Z - - - - -", "<13>1 2024-05-02T24:00:00Z - - - - -",
		"<13>1 2024-05-02T10:11:12Z  a p m - x", "<13>1234 - - - - - -", "<13>May  2 10:11:12 host a: b", "hello"} {
		if r := parseLine(t, mustNew(t, "syslog-rfc5424"), line, testOptions()); r.ok {
			t.Errorf("%q is taken", line)
		}
	}
}

// against5424 holds a line that go-syslog accepts against what it makes of it.
// Where go-syslog refuses, ours may be more lenient; that is on purpose.
func against5424(t *testing.T, line string) {
	if !utf8.ValidString(line) || strings.ContainsAny(line, "\n\x00") {
		return
	}
	m, err := rfc5424.NewParser().Parse([]byte(line))
	if err != nil || m == nil {
		return
	}
	want := m.(*rfc5424.SyslogMessage)
	if want.Timestamp != nil && (want.Timestamp.Year() < minYear || want.Timestamp.Year() > maxYear) {
		return
	}
	o := testOptions()
	o.MaxFields = 1 << 20
	r := parseLine(t, syslog5424Format{}, line, o)
	if !r.ok {
		t.Fatalf("go-syslog takes %q, ours does not", line)
	}
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	header := strings.Join([]string{text(want.Hostname), text(want.Appname), text(want.ProcID), text(want.MsgID)}, "|")
	if headerOf(r) != header {
		t.Fatalf("header %q, go-syslog says %q: %q", headerOf(r), header, line)
	}
	if msg := strings.TrimPrefix(text(want.Message), "\ufeff"); string(r.Message) != msg {
		t.Fatalf("message %q, go-syslog says %q: %q", r.Message, msg, line)
	}
	if r.Facility != *want.Facility || r.Level.Severity() != *want.Severity {
		t.Fatalf("facility %d, severity %d: %q", r.Facility, r.Level.Severity(), line)
	}
	if want.Timestamp != nil && r.Time != want.Timestamp.UnixNano() {
		t.Fatalf("time %v, go-syslog says %v: %q", time.Unix(0, r.Time).UTC(), want.Timestamp, line)
	}
	if want.StructuredData == nil {
		if len(r.Fields) > 0 {
			t.Fatalf("fields %q, go-syslog has none: %q", fieldsOf(r), line)
		}
		return
	}
	got := map[string]string{} // the last of a name, as in go-syslog's map
	for _, f := range r.Fields {
		got[string(f.Name)] = string(f.Value)
	}
	n := 0
	for id, params := range *want.StructuredData {
		for name, val := range params {
			n++
			// go-syslog keeps some backslashes that RFC 5424 takes off.
			plain := strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\]`, `]`).Replace(val)
			if v := got[id+"."+name]; v != val && v != plain {
				t.Fatalf("%s.%s is %q, go-syslog says %q: %q", id, name, v, val, line)
			}
		}
	}
	if n != len(got) {
		t.Fatalf("%d parameters, go-syslog has %d: %q", len(got), n, line)
	}
}

func TestSyslog5424AgainstOracle(t *testing.T) {
	for _, line := range syslog5424Lines {
		if _, err := rfc5424.NewParser().Parse([]byte(line)); err != nil {
			t.Logf("go-syslog refuses %q: %v", line, err)
		}
		against5424(t, line)
	}
}

func FuzzSyslog5424(f *testing.F) {
	for _, line := range syslog5424Lines {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		parseLine(t, syslog5424Format{}, line, testOptions())
		against5424(t, line)
	})
}

var syslog3164Lines = []struct {
	line, time, header, message string
	level                       record.Level
	facility                    uint8
}{
	{"<34>Oct 11 22:14:15 mymachine su: 'su root' failed", "2023-10-11T22:14:15Z", "mymachine|su||", "'su root' failed", crt, 4},
	{"<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!", "2024-02-05T17:32:18Z", "10.0.0.99|||", "Use the BFG!", ntc, 1},
	{"<165>Aug 24 05:34:00 CST 1987 mymachine myproc[10]: %% It's time", "2023-08-24T05:34:00Z", "CST|||", "1987 mymachine myproc[10]: %% It's time", ntc, 20},
	{"<0>1990 Oct 22 10:52:01 TZ-6 scapegoat.dmz.example.org 10.1.2.3 sched[0]: That's All Folks!", "", "|||", "1990 Oct 22 10:52:01 TZ-6 scapegoat.dmz.example.org 10.1.2.3 sched[0]: That's All Folks!", emg, 0},
	{"May  2 10:11:12 host sshd[123]: hello", "2024-05-02T10:11:12Z", "host|sshd|123|", "hello", none, record.NoFacility},
	{"May 02 10:11:12 host sshd[123]: hello", "2024-05-02T10:11:12Z", "host|sshd|123|", "hello", none, record.NoFacility},
	{"May 2 10:11:12 host sshd: hello", "2024-05-02T10:11:12Z", "host|sshd||", "hello", none, record.NoFacility},
	{"May  2 10:11:12.123456 host sshd: hello", "2024-05-02T10:11:12.123456Z", "host|sshd||", "hello", none, record.NoFacility},
	{"May  2 2021 10:11:12 host sshd: hello", "2021-05-02T10:11:12Z", "host|sshd||", "hello", none, record.NoFacility},
	{"May  2 10:11:12 2021 host sshd: hello", "2021-05-02T10:11:12Z", "host|sshd||", "hello", none, record.NoFacility},
	{"2024-05-02T10:11:12.123456+02:00 host CRON[123]: (root) CMD (x)", "2024-05-02T08:11:12.123456Z", "host|CRON|123|", "(root) CMD (x)", none, record.NoFacility},
	{"<30>2024-05-02T10:11:12Z host app: x", "2024-05-02T10:11:12Z", "host|app||", "x", inf, 3},
	{"May  2 10:11:12 sshd[123]: no host", "2024-05-02T10:11:12Z", "|sshd|123|", "no host", none, record.NoFacility},
	{"May  2 10:11:12 host postfix/smtpd[1]: x", "2024-05-02T10:11:12Z", "host|postfix/smtpd|1|", "x", none, record.NoFacility},
	{"May  2 10:11:12 host sshd(pam_unix)[1]: x", "2024-05-02T10:11:12Z", "host|sshd(pam_unix)|1|", "x", none, record.NoFacility},
	{"May  2 10:11:12 host last message repeated 3 times", "2024-05-02T10:11:12Z", "host|||", "last message repeated 3 times", none, record.NoFacility},
	{"May  2 10:11:12 fe80::1 app: x", "2024-05-02T10:11:12Z", "fe80::1|app||", "x", none, record.NoFacility},
	{"May  2 10:11:12 host kernel: [  123.456] x: y", "2024-05-02T10:11:12Z", "host|kernel||", "[  123.456] x: y", none, record.NoFacility},
	{"<6>usb 1-1: new device", "", "|||", "usb 1-1: new device", inf, 0},
	{"<14>myapp[77]: no time", "", "|myapp|77|", "no time", inf, 1},
	{"<189>123: *May  2 10:11:12.123 UTC: %SYS-5-CONFIG_I: Configured", "2024-05-02T10:11:12.123Z", "|%SYS-5-CONFIG_I||", "Configured", ntc, 23},
	{"<13>", "", "|||", "", ntc, 1},
	{"May  2 10:11:12", "2024-05-02T10:11:12Z", "|||", "", none, record.NoFacility},
	{"May  2 10:11:12 ", "2024-05-02T10:11:12Z", "|||", "", none, record.NoFacility},
	{"May  2 10:11:12 one", "2024-05-02T10:11:12Z", "|||", "one", none, record.NoFacility},
}

func TestSyslog3164(t *testing.T) {
	for _, c := range syslog3164Lines {
		r := parseLine(t, mustNew(t, "syslog-rfc3164"), c.line, testOptions())
		if !r.ok || r.Level != c.level || r.Facility != c.facility || string(r.Message) != c.message || headerOf(r) != c.header ||
			r.Time != stampOf(t, c.time) || r.Flags&record.SyslogLine == 0 || string(r.Line) != c.line {
			t.Errorf("%s\n%v %v %d %v %q %q", c.line, r.ok, r.Level, r.Facility, time.Unix(0, r.Time).UTC(), r.Message, headerOf(r))
		}
	}
	for _, line := range []string{"", "hello", "2024-05-02 10:11:12 x", "Foo  2 10:11:12 x", "May 32 10:11:12 host x: y", "<200>x", "10:11:12 x", `{"a":1}`} {
		if r := parseLine(t, mustNew(t, "syslog-rfc3164"), line, testOptions()); r.ok {
			t.Errorf("%q is taken", line)
		}
	}
}

// against3164 holds a line that go-syslog's RFC 3164 parser accepts against
// ours. They differ on purpose where go-syslog takes the first word of a
// message without a colon for the tag; only lines with tag: or tag[pid]: are compared.
func against3164(t *testing.T, line string) {
	if !utf8.ValidString(line) || strings.ContainsAny(line, "\n\x00") {
		return
	}
	m, err := rfc3164.NewParser(rfc3164.WithYear(rfc3164.Year{YYYY: 2023})).Parse([]byte(line))
	if err != nil || m == nil {
		return
	}
	want := m.(*rfc3164.SyslogMessage)
	if want.Hostname == nil || want.Appname == nil || want.Message == nil || want.Timestamp == nil {
		return
	}
	r := parseLine(t, syslog3164Format{}, line, testOptions())
	if !r.ok || r.Facility != *want.Facility || r.Level.Severity() != *want.Severity {
		t.Fatalf("%v, facility %d, severity %d: %q", r.ok, r.Facility, r.Level.Severity(), line)
	}
	if len(r.Header.Identifier) == 0 || len(r.Header.Host) == 0 || len(r.Message) == 0 {
		return
	}
	if string(r.Header.Identifier) != *want.Appname || string(r.Header.Host) != *want.Hostname {
		return // another idea of where names end; the table says which is ours
	}
	got, wanted := time.Unix(0, r.Time).UTC(), *want.Timestamp
	if got.Month() != wanted.Month() || got.Day() != wanted.Day() || got.Hour() != wanted.Hour() || got.Second() != wanted.Second() {
		t.Fatalf("time %v, go-syslog says %v: %q", got, wanted, line)
	}
	if strings.TrimSpace(string(r.Message)) != strings.TrimSpace(*want.Message) {
		t.Fatalf("message %q, go-syslog says %q: %q", r.Message, *want.Message, line)
	}
}

func TestSyslog3164AgainstOracle(t *testing.T) {
	compared := 0
	for _, c := range syslog3164Lines {
		if m, err := rfc3164.NewParser().Parse([]byte(c.line)); err == nil && m != nil {
			compared++
		}
		against3164(t, c.line)
	}
	if compared == 0 {
		t.Error("go-syslog takes none of the lines")
	}
}

func FuzzSyslog3164(f *testing.F) {
	for _, c := range syslog3164Lines {
		f.Add(c.line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		parseLine(t, syslog3164Format{}, line, testOptions())
		against3164(t, line)
	})
}

// TestSharedHeader checks that equal headers of neighbours are one.
func TestSharedHeader(t *testing.T) {
	b := record.NewBatch()
	defer b.Release()
	lines := []string{"<13>1 - h a 1 - - x", "<13>1 - h a 1 - - y", "<13>1 - h a 2 - - z"}
	for _, line := range lines {
		r := b.Add()
		r.Line = b.Copy([]byte(line))
		if !(syslog5424Format{}).Parse(b, r, testOptions()) {
			t.Fatal(line)
		}
	}
	if b.Records[0].Header != b.Records[1].Header {
		t.Error("equal headers are two")
	}
	if b.Records[1].Header == b.Records[2].Header || string(b.Records[2].Header.PID) != "2" {
		t.Error("different headers are one")
	}
}
