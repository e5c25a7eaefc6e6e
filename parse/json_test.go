package parse

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/lbshipd/lbshipd/record"
)

func fieldsOf(r parsed) string {
	var parts []string
	for _, f := range r.Fields {
		parts = append(parts, string(f.Name)+"="+string(f.Value))
	}
	return strings.Join(parts, " ")
}

func headerOf(r parsed) string {
	h := r.Header
	return strings.Join([]string{string(h.Host), string(h.Identifier), string(h.PID), string(h.MsgID)}, "|")
}

func TestJSON(t *testing.T) {
	for _, c := range []struct {
		line, time, message, header, fields string
		level                               record.Level
	}{
		{line: `{"level":"info","ts":"2024-05-02T10:11:12Z","msg":"hello","a":1,"b":"x","c":{"d":[1,2]},"e":null,"f":true}`,
			level: inf, time: "2024-05-02T10:11:12Z", message: "hello", fields: `a=1 b=x c={"d":[1,2]} e=null f=true`},
		{line: ` { "msg" : "a\tb\"c\u00e9\ud83d\ude00" , "LEVEL" : "WARN" } `, level: wrn, message: "a\tb\"cé😀"},
		{line: `{"message":"first","msg":"second","level":"debug","severity":"ERROR"}`, level: dbg, message: "first", fields: "msg=second severity=ERROR"},
		{line: `{"level":"info","level":"error","msg":"x"}`, level: inf, message: "x", fields: "level=error"},
		{line: `{"level":"weird","severity":"ERROR","msg":"x"}`, level: ers, message: "x", fields: "level=weird"},
		{line: `{"text":"weak","msg":"strong"}`, message: "strong", fields: "text=weak"},
		{line: `{"msg":"strong","log":"weak"}`, message: "strong", fields: "log=weak"},
		{line: `{"log":"docker\n","stream":"stderr","time":"2024-05-02T10:11:12.123456789Z"}`, time: "2024-05-02T10:11:12.123456789Z", message: "docker", fields: "stream=stderr"},
		{line: `{"@timestamp":"2024-05-02T10:11:12.123Z","log.level":"ERROR","message":"ecs","process.pid":7,"service.name":"s","host.name":"h"}`,
			level: ers, time: "2024-05-02T10:11:12.123Z", message: "ecs", header: "h|s|7|"},
		{line: `{"@timestamp":"2024-05-02T10:11:12.123Z","log":{"level":"warn","logger":"x"},"message":"nested"}`, level: wrn, time: "2024-05-02T10:11:12.123Z",
			message: "nested", fields: `log={"level":"warn","logger":"x"}`},
		{line: `{"name":"app","hostname":"box","pid":1,"level":50,"msg":"bunyan","time":"2024-05-02T10:11:12.123Z","v":0}`, level: ers, time: "2024-05-02T10:11:12.123Z",
			message: "bunyan", header: "box||1|", fields: "name=app v=0"},
		{line: `{"severityNumber":13,"body":"otel"}`, level: wrn, message: "otel"},
		{line: `{"PRIORITY":"3","MESSAGE":"journal","_HOSTNAME":"h","SYSLOG_IDENTIFIER":"i","_PID":"9","__REALTIME_TIMESTAMP":"1714644672123456"}`,
			level: ers, time: "2024-05-02T10:11:12.123456Z", message: "journal", header: "h|i|9|"},
		{line: `{"timestamp":{"seconds":1714644672,"nanos":5},"severity":"NOTICE","message":"google"}`, level: ntc, time: "2024-05-02T10:11:12.000000005Z", message: "google"},
		{line: `{"ts":1714644672.25,"level":"error"}`, level: ers, time: "2024-05-02T10:11:12.25Z", message: `{"ts":1714644672.25,"level":"error"}`},
		{line: `{"time":0.25,"level":"error"}`, level: ers, message: `{"time":0.25,"level":"error"}`, fields: "time=0.25"},
		{line: `{"time":"soon","ts":1714644672}`, time: "2024-05-02T10:11:12Z", message: `{"time":"soon","ts":1714644672}`, fields: "time=soon"},
		{line: `{"s":"E","msg":"not MongoDB"}`, message: "not MongoDB", fields: "s=E"},
		{line: `{"host":"www.example.com","msg":5}`, message: `{"host":"www.example.com","msg":5}`, fields: "host=www.example.com msg=5"},
		{line: `{"priority":1,"msg":"a job"}`, message: "a job", fields: "priority=1"},
		{line: `{"priority":"Warning","msg":"falco"}`, level: wrn, message: "falco"},
		{line: `{}`, message: `{}`},
		{line: `{"a\nb":"c\\d","le\u0076el":"error"}`, message: `{"a\nb":"c\\d","le\u0076el":"error"}`, fields: "a\nb=c\\d level=error"},
	} {
		r := parseLine(t, mustNew(t, "json"), c.line, testOptions())
		if c.header == "" {
			c.header = "|||"
		}
		if !r.ok || r.Level != c.level || string(r.Message) != c.message || r.Time != stampOf(t, c.time) || fieldsOf(r) != c.fields || headerOf(r) != c.header {
			t.Errorf("%s\n got %v %v %d %q %q %q\nwant %v %q %q %q %q", c.line, r.ok, r.Level, r.Time, r.Message, headerOf(r), fieldsOf(r),
				c.level, c.time, c.message, c.header, c.fields)
		}
		if string(r.Line) != c.line {
			t.Errorf("the line was changed: %q", r.Line)
		}
	}
}

// notJSON are lines that are refused, each as encoding/json does.
var notJSON = []string{``, ` `, `x`, `[]`, `[{"a":1}]`, `"a"`, `1`, `null`, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{,}`, `{"a" 1}`, `{a:1}`,
	`{'a':1}`, `{"a":1}}`, `{"a":1} x`, `{"a":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":+1}`, `{"a":-}`, `{"a":1e}`, `{"a":tru}`, `{"a":nul`, `{"a":[1,]}`,
	`{"a":[1 2]}`, `{"a":{"b"}}`, `{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":"\u12`, "{\"a\":\"\t\"}", "{\"a\":\"\tn\"}", "{\"a\":\"12345678\nnx\"}", "{\"a\":\"\x00\"}", `{"a":"b}`, `{"a":"b\"}`, "{\"a\":1}\x00", "\ufeff{}"}

func TestJSONRefuses(t *testing.T) {
	for _, line := range notJSON {
		if json.Valid([]byte(line)) && strings.HasPrefix(line, "{") {
			t.Fatalf("the test is wrong: %q is valid", line)
		}
		if r := parseLine(t, mustNew(t, "json"), line, testOptions()); r.ok {
			t.Errorf("%q is taken", line)
		}
	}
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}` }
	if r := parseLine(t, mustNew(t, "json"), deep(maxJSONDepth), testOptions()); !r.ok {
		t.Error("the deepest line allowed is refused")
	}
	if r := parseLine(t, mustNew(t, "json"), deep(maxJSONDepth+1), testOptions()); r.ok {
		t.Error("a line that is too deep is taken")
	}
}

func TestJSONLimitsFields(t *testing.T) {
	line := `{"a":1,"b":2,"c":3,"level":"info","d":4}`
	o := testOptions()
	o.MaxFields = 2
	if got := fieldsOf(parseLine(t, mustNew(t, "json"), line, o)); got != "a=1 b=2" {
		t.Errorf("fields are %q", got)
	}
	o.Fields = false
	if r := parseLine(t, mustNew(t, "json"), line, o); !r.ok || len(r.Fields) != 0 || r.Level != inf {
		t.Errorf("without fields: %+v", r.Record)
	}
}

func TestZapJSON(t *testing.T) {
	f := mustNew(t, "zap-json")
	etcd := `{"level":"warn","ts":"2024-05-02T10:11:12.123456Z","logger":"raft","caller":"etcdserver/util.go:170","msg":"apply request took too long","took":"1s","time":"x","severity":"y"}`
	r := parseLine(t, f, etcd, testOptions())
	if !r.ok || r.Level != wrn || string(r.Message) != "apply request took too long" || r.Time != stampOf(t, "2024-05-02T10:11:12.123456Z") ||
		fieldsOf(r) != "logger=raft caller=etcdserver/util.go:170 took=1s time=x severity=y" {
		t.Errorf("etcd: %+v %s", r.Record, fieldsOf(r))
	}
	r = parseLine(t, f, `{"level":"dpanic","ts":1714644672.1234567,"msg":"x","stacktrace":"a\n\tb"}`, testOptions())
	if r.Level != crt || r.Time != stampOf(t, "2024-05-02T10:11:12.1234567Z") || string(r.Field("stacktrace")) != "a\n\tb" {
		t.Errorf("%+v", r.Record)
	}
	r = parseLine(t, f, `{"L":"INFO","T":"2024-05-02T10:11:12.123+0200","M":"dev"}`, testOptions())
	if r.Level != inf || r.Time != stampOf(t, "2024-05-02T08:11:12.123Z") || string(r.Message) != "dev" {
		t.Errorf("%+v", r.Record)
	}
	for _, line := range []string{`{"severity":"INFO","message":"not zap"}`, `{"ts":1}`, `{}`, `level=info`} {
		if r := parseLine(t, f, line, testOptions()); r.ok {
			t.Errorf("%s is taken for zap's", line)
		}
	}
}

// FuzzJSON holds validity and every field against encoding/json. The only
// differences: nothing but objects, and maxJSONDepth.
func FuzzJSON(f *testing.F) {
	for _, c := range wild {
		f.Add([]byte(c.line))
	}
	for _, s := range notJSON {
		f.Add([]byte(s))
	}
	f.Add([]byte(`{"a":"\ud83d","b":"\ude00\ud83d\ude00","c":-0.5E+10,"d":[{},[],"\\"],"level":"info"}`))
	formats := []Format{mustNew(f, "json"), mustNew(f, "zap-json")}
	f.Fuzz(func(t *testing.T, line []byte) {
		parseLine(t, formats[1], string(line), testOptions())
		o := testOptions()
		o.MaxFields = 1 << 20
		r := parseLine(t, formats[0], string(line), o)
		object := bytes.HasPrefix(bytes.TrimLeft(line, " \t\r\n"), []byte("{"))
		if want := json.Valid(line) && object; r.ok != want {
			if depth := bytes.Count(line, []byte("[")) + bytes.Count(line, []byte("{")); depth <= maxJSONDepth {
				t.Fatalf("taken: %v, valid: %v: %q", r.ok, want, line)
			}
			return
		}
		if !r.ok || !utf8.Valid(line) {
			return
		}
		compareFields(t, line, r)
	})
}

func compareFields(t *testing.T, line []byte, r parsed) {
	var want map[string]json.RawMessage
	if err := json.Unmarshal(line, &want); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, f := range r.Fields {
		seen[string(f.Name)]++
	}
	for _, f := range r.Fields {
		raw, ok := want[string(f.Name)]
		if !ok {
			t.Fatalf("field %q is not in %q", f.Name, line)
		}
		if seen[string(f.Name)] > 1 || bytes.Count(line, []byte(`"`)) > 200 {
			continue
		}
		text := string(raw)
		if raw[0] == '"' {
			if err := json.Unmarshal(raw, &text); err != nil {
				t.Fatal(err)
			}
		}
		// A key that is there twice may be the level once and a field once.
		if string(f.Value) != text && !duplicated(line) {
			t.Fatalf("field %q is %q, want %q: %q", f.Name, f.Value, text, line)
		}
	}
}

// duplicated reports whether the object has a key twice.
func duplicated(line []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(line))
	keys := map[string]bool{}
	dec.Token()
	for dec.More() {
		key, _ := dec.Token()
		if keys[key.(string)] {
			return true
		}
		keys[key.(string)] = true
		var skip json.RawMessage
		if dec.Decode(&skip) != nil {
			return true
		}
	}
	return false
}
