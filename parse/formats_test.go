package parse

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

func TestNew(t *testing.T) {
	names := Names()
	if !slices.IsSorted(names) {
		t.Errorf("the names are not sorted: %v", names)
	}
	for _, want := range []string{"raw", "json", "logfmt", "klog", "zap-json", "syslog-rfc3164", "syslog-rfc5424", "cri", "auto", "regex:nginx-access"} {
		if !slices.Contains(names, want) {
			t.Errorf("%q is missing", want)
		}
	}
	for _, name := range append(names, "glog", "logrus") {
		if f, err := New(name, nil); err != nil || f == nil {
			t.Errorf("New(%q): %v", name, err)
		}
	}
	for name, known := range map[string]string{"jsn": "json", "JSON": "json", "rfc5424": "syslog-rfc5424", "syslog": "syslog-rfc3164", "zap": "zap-json",
		"regex:nginx-acces": "regex:nginx-access", "regex:mine": "regex:mine2", "": "auto"} {
		_, err := New(name, map[string]Regex{"mine2": {Pattern: "(?P<message>.*)"}})
		if err == nil || !strings.Contains(err.Error(), `"`+name+`"`) || !strings.Contains(err.Error(), known) {
			t.Errorf("New(%q): %v; want %q among the known", name, err, known)
		}
	}
	for pattern, want := range map[string]string{"(": "missing closing", "x": "no named group"} {
		if _, err := New("regex:own", map[string]Regex{"own": {Pattern: pattern}}); err == nil || !strings.Contains(err.Error(), "regex:own") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", pattern, err)
		}
	}
	own := map[string]Regex{"nginx-access": {Pattern: `^own (?P<message>.*)$`}}
	f, err := New("regex:nginx-access", own)
	if err != nil {
		t.Fatal(err)
	}
	if r := parseLine(t, f, "own x", testOptions()); !r.ok || string(r.Message) != "x" {
		t.Error("one's own expression does not come before the one that is built in")
	}
}

func TestRaw(t *testing.T) {
	line := `{"level":"error"}`
	r := parseLine(t, mustNew(t, "raw"), line, testOptions())
	if !r.ok || r.Level != none || r.Time != 42 || string(r.Message) != line || r.Flags != record.TimeAssigned {
		t.Errorf("%+v", r.Record)
	}
}

func TestLogfmt(t *testing.T) {
	for _, c := range []struct {
		line, time, message, fields string
		level                       record.Level
	}{
		{`time="2024-05-02T10:11:12+02:00" level=warning msg="a \"b\"\n\tc" err="x\\y" n=5 bare`, "2024-05-02T08:11:12Z", "a \"b\"\n\tc", `err=x\y n=5 bare=`, wrn},
		{`ts=2024-05-02T10:11:12.5Z lvl=eror msg=short a= b=c=d`, "2024-05-02T10:11:12.5Z", "short", "a= b=c=d", ers},
		{`level=info level=error msg=x`, "", "x", "level=error", inf},
		{`level=loud severity=crit`, "", "level=loud severity=crit", "level=loud", crt},
		{`ts=1714644672.25 msg="\u00e9\U0001F600\x41\ud83d\ude00"`, "2024-05-02T10:11:12.25Z", "é😀A😀", "", none},
		{`msg="bad \q \x4 \u12 escape"`, "", `bad \q \x4 \u12 escape`, "", none},
		{`  a=1   b="2"  `, "", `  a=1   b="2"  `, "a=1 b=2", none},
		{`a="" msg=""`, "", "", "a=", none},
		{`priority=1 priority=high priority=warn msg=x`, "", "x", "priority=1 priority=high", wrn},
		{`event=weak msg=strong`, "", "strong", "event=weak", none},
		{`pid=7 app=x hostname=h host=www level=6`, "", `pid=7 app=x hostname=h host=www level=6`, "host=www", inf},
	} {
		r := parseLine(t, mustNew(t, "logfmt"), c.line, testOptions())
		if !r.ok || r.Level != c.level || string(r.Message) != c.message || r.Time != stampOf(t, c.time) || fieldsOf(r) != c.fields {
			t.Errorf("%s\n%v %v %d %q %q", c.line, r.ok, r.Level, r.Time, r.Message, fieldsOf(r))
		}
	}
	for _, line := range []string{"", " ", "word", "two words", "word a=b", `a="b`, `a="b\"`, `a="b"c`, `a"b=c`, `=x`, `a=b =c`, `{"a":1}`, `"a"=b`} {
		if r := parseLine(t, mustNew(t, "logfmt"), line, testOptions()); r.ok {
			t.Errorf("%q is taken", line)
		}
	}
}

func TestKlog(t *testing.T) {
	for _, c := range []struct {
		line, time, message, pid, caller string
		level                            record.Level
	}{
		{`I0102 15:04:05.000000   12345 file.go:123] hello`, "2024-01-02T15:04:05Z", "hello", "12345", "file.go:123", inf},
		{`W1231 23:59:59.999999       1 a_b-c.go:1] `, "2023-12-31T23:59:59.999999Z", "", "1", "a_b-c.go:1", wrn},
		{`E0229 00:00:00.000001 7 x.cc:9] "quoted" err="x]"`, "2024-02-29T00:00:00.000001Z", `"quoted" err="x]"`, "7", "x.cc:9", ers},
		{`F20240502 10:11:12.123456 12345 main.cc:12] died`, "2024-05-02T10:11:12.123456Z", "died", "12345", "main.cc:12", crt},
		{`I0502 10:11:12.123456    1 x.go:1]no space`, "2024-05-02T10:11:12.123456Z", "no space", "1", "x.go:1", inf},
	} {
		r := parseLine(t, mustNew(t, "klog"), c.line, testOptions())
		if !r.ok || r.Level != c.level || string(r.Message) != c.message || r.Time != stampOf(t, c.time) || string(r.Header.PID) != c.pid || string(r.Field("caller")) != c.caller {
			t.Errorf("%s\n%v %v %v %q %q", c.line, r.ok, r.Level, time.Unix(0, r.Time).UTC(), r.Message, fieldsOf(r))
		}
	}
	for _, line := range []string{"", "I", "I0102", "X0102 15:04:05.000000   12345 file.go:123] x", "I0132 15:04:05.000000   12345 file.go:123] x",
		"I0102 25:04:05.000000   12345 file.go:123] x", "I0102 15:04:05.000000 file.go:123] x", "I0102 15:04:05.000000 12345 file.go x] y",
		"I0102 15:04:05.000000 12345 file] y", "Info about 12:34:56.7 things and more", "I2024050 10:11:12.123456 1 a.go:1] x", "I0102 15:04:05.000000   12345 "} {
		if r := parseLine(t, mustNew(t, "klog"), line, testOptions()); r.ok {
			t.Errorf("%q is taken", line)
		}
	}
}

func TestCRI(t *testing.T) {
	for _, c := range []struct {
		line, time, content, stream string
		partial                     bool
	}{
		{`2024-05-02T10:11:12.123456789Z stdout F hello world`, "2024-05-02T10:11:12.123456789Z", "hello world", "stdout", false},
		{`2024-05-02T10:11:12.123456789+02:00 stderr P part `, "2024-05-02T08:11:12.123456789Z", "part ", "stderr", true},
		{`2024-05-02T10:11:12Z stdout F `, "2024-05-02T10:11:12Z", "", "stdout", false},
		{`2024-05-02T10:11:12Z stdout F`, "2024-05-02T10:11:12Z", "", "stdout", false},
		{`2024-05-02T10:11:12Z stdout P:x:y  two spaces`, "2024-05-02T10:11:12Z", " two spaces", "stdout", true},
	} {
		r := parseLine(t, mustNew(t, "cri"), c.line, testOptions())
		if !r.ok || string(r.Line) != c.content || string(r.Message) != c.content || r.Time != stampOf(t, c.time) || r.Level != none ||
			string(r.Field("stream")) != c.stream || r.Flags&record.Partial != 0 != c.partial || r.Flags&record.TimeAssigned != 0 {
			t.Errorf("%s\n%v %q %v %q %v", c.line, r.ok, r.Line, time.Unix(0, r.Time).UTC(), fieldsOf(r), r.Flags)
		}
	}
	for _, line := range []string{"", "2024-05-02T10:11:12Z stdout X hello", "2024-05-02T10:11:12Z stdxxx F hello", "2024-05-02T10:11:12 stdout F hello",
		"2024-05-02 10:11:12Z stdout F hello", "2024-05-02T10:11:12Z  stdout F hello", "2024-05-02T10:11:12Z stdout Fhello there", "2024-05-32T10:11:12Z stdout F hello",
		"stdout F hello"} {
		if r := parseLine(t, mustNew(t, "cri"), line, testOptions()); r.ok {
			t.Errorf("%q is taken", line)
		}
	}
}

func TestAutoInCRI(t *testing.T) {
	line := `2024-05-02T10:11:12.5Z stdout F {"level":"warn","msg":"x","ts":"2020-01-01T00:00:00Z","a":1,"b":2}`
	o := testOptions()
	o.MaxFields = 2
	r := parseLine(t, mustNew(t, "auto"), line, o)
	if r.Level != wrn || string(r.Message) != "x" || fieldsOf(r) != "stream=stdout a=1" || r.Time != stampOf(t, "2024-05-02T10:11:12.5Z") || !strings.HasPrefix(string(r.Line), `{"level"`) {
		t.Errorf("%+v %s", r.Record, fieldsOf(r))
	}
	o.MaxFields = 0
	if r := parseLine(t, mustNew(t, "auto"), line, o); len(r.Fields) != 0 {
		t.Errorf("fields %s", fieldsOf(r))
	}
}

func TestAutoSyslogSendsTheMessage(t *testing.T) {
	r := parseLine(t, mustNew(t, "auto"), `<165>1 2003-10-11T22:14:15.003Z host app 1 ID [x a="b"] text`, testOptions())
	if r.Flags&record.SyslogLine == 0 || string(r.Message) != "text" || headerOf(r) != "host|app|1|ID" || r.Facility != 20 {
		t.Errorf("%+v", r.Record)
	}
	r = parseLine(t, mustNew(t, "auto"), `May  2 10:11:12 host app[1]: text`, testOptions())
	if r.Flags&record.SyslogLine == 0 || string(r.Message) != "text" || headerOf(r) != "host|app|1|" || r.Facility != record.NoFacility {
		t.Errorf("%+v", r.Record)
	}
}

func TestKnownRegexes(t *testing.T) {
	for _, c := range []struct {
		name, line, time, message, header string
		level                             record.Level
		field, value                      string
	}{
		{"nginx-access", `10.0.0.1 - - [02/May/2024:10:11:12 +0200] "GET /x?y=1 HTTP/1.1" 404 153 "-" "curl/8.0"`, "2024-05-02T08:11:12Z", "GET /x?y=1 HTTP/1.1", "|||", none, "status", "404"},
		{"nginx-access", `10.0.0.1 - bob [02/May/2024:10:11:12 +0000] "\x16\x03" 400 0 "-" "-"`, "2024-05-02T10:11:12Z", `\x16\x03`, "|||", none, "remote_user", "bob"},
		{"nginx-error", `2024/05/02 10:11:12 [crit] 12#34: *5 open() failed`, "2024-05-02T10:11:12Z", "open() failed", "||12|", crt, "connection", "5"},
		{"apache-access", `127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326`, "2000-10-10T20:55:36Z", "GET /apache_pb.gif HTTP/1.0", "|||", none, "path", "/apache_pb.gif"},
		{"apache-access", `example.com:80 127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 - "http://a/\"b" "Moz"`, "2000-10-10T20:55:36Z", "GET / HTTP/1.0", "|||", none, "vhost", "example.com:80"},
		{"apache-error", `[Thu May 02 10:11:12.123456 2024] [core:notice] [pid 123:tid 456] AH00094: x`, "2024-05-02T10:11:12.123456Z", "AH00094: x", "||123|", ntc, "module", "core"},
		{"haproxy-http", `haproxy[1]: 10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /index.html HTTP/1.1"`,
			"2009-02-06T12:14:14.655Z", "GET /index.html HTTP/1.1", "|||", none, "backend", "static"},
		{"haproxy-tcp", `10.0.1.2:33313 [06/Feb/2009:12:12:51.443] fnt bck/srv1 0/0/5007 212 -- 0/0/0/0/3 0/0`, "2009-02-06T12:12:51.443Z",
			`10.0.1.2:33313 [06/Feb/2009:12:12:51.443] fnt bck/srv1 0/0/5007 212 -- 0/0/0/0/3 0/0`, "|||", none, "server", "srv1"},
		{"postgresql", `2024-05-02 10:11:12.123 UTC [1234] joe@shop ERROR:  relation missing`, "2024-05-02T10:11:12.123Z", "relation missing", "||1234|", ers, "database", "shop"},
		{"mysql-error", `2024-05-02T10:11:12.123456Z 0 [Warning] [MY-010068] [Server] CA`, "2024-05-02T10:11:12.123456Z", "CA", "|||", wrn, "code", "MY-010068"},
		{"log4j", `2024-05-02 10:11:12,123 [main] WARN  com.foo.Bar - slow`, "2024-05-02T10:11:12.123Z", "slow", "|||", wrn, "logger", "com.foo.Bar"},
	} {
		r := parseLine(t, mustNew(t, "regex:"+c.name), c.line, testOptions())
		if !r.ok || r.Level != c.level || string(r.Message) != c.message || r.Time != stampOf(t, c.time) || headerOf(r) != c.header || string(r.Field(c.field)) != c.value {
			t.Errorf("%s: %s\n%v %v %v %q %q %q", c.name, c.line, r.ok, r.Level, time.Unix(0, r.Time).UTC(), r.Message, headerOf(r), fieldsOf(r))
		}
		if r := parseLine(t, mustNew(t, "regex:"+c.name), "something else", testOptions()); r.ok {
			t.Errorf("%s takes anything", c.name)
		}
	}
	if len(knownRegexes) != 9 {
		t.Errorf("%d expressions are built in; test the new one here", len(knownRegexes))
	}
}

func TestRegexTimeLayouts(t *testing.T) {
	for _, c := range []struct{ layout, text, want string }{
		{"", "2024-05-02 10:11:12", "2024-05-02T10:11:12Z"},
		{"02|01|2006 15h04", "02|05|2024 10h11", "2024-05-02T10:11:00Z"},
		{"Jan 2 15h04", "May 2 10h11", "2024-05-02T10:11:00Z"},
		{"Jan 2 15h04", "Jan 1 10h11", "2024-01-01T10:11:00Z"},
		{"15h04", "10h11", "2024-05-03T10:11:00Z"},
		{"2006-01-02 15:04 -0700", "2024-05-02 10:11 +0200", "2024-05-02T08:11:00Z"},
		{"2006", "soon", ""},
		{"2006", "3000", ""},
	} {
		f, err := New("regex:x", map[string]Regex{"x": {Pattern: `^(?P<time>[^;]*); (?P<level>\w+)`, TimeLayout: c.layout}})
		if err != nil {
			t.Fatal(err)
		}
		r := parseLine(t, f, c.text+"; warn", testOptions())
		if !r.ok || r.Level != wrn || r.Time != stampOf(t, c.want) {
			t.Errorf("%q by %q is %v, want %s", c.text, c.layout, time.Unix(0, r.Time).UTC(), c.want)
		}
	}
}

// TestParseKeepsWhatTheLineDoesNotSay parses a record that its source has
// filled in already, as journald does.
func TestParseKeepsWhatTheLineDoesNotSay(t *testing.T) {
	b := record.NewBatch()
	defer b.Release()
	r := b.Add()
	r.Line = []byte(`{"msg":"x","pid":5}`)
	r.Message, r.Level, r.Time = r.Line, record.LevelNotice, 7
	r.Header = &record.Header{Host: []byte("h"), Unit: []byte("u"), PID: []byte("1")}
	b.AddField(r, []byte("old"), []byte("1"))
	if !(jsonFormat{}).Parse(b, r, testOptions()) {
		t.Fatal("refused")
	}
	if r.Level != record.LevelNotice || r.Time != 7 || string(r.Header.Host) != "h" || string(r.Header.Unit) != "u" ||
		string(r.Header.PID) != "5" || string(r.Field("old")) != "1" || string(r.Message) != "x" {
		t.Errorf("%+v %+v", r, r.Header)
	}
}
