package parse

import (
	"syscall"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// timed are lines of about 155 bytes.
var timed = []struct{ name, format, line string }{
	{"raw", "raw", `2024-05-02 10:11:12 a line that nobody looks into`},
	{"json", "json", `{"level":"info","ts":"2024-05-02T10:11:12.123456Z","caller":"server/handler.go:123","msg":"request served","method":"GET","path":"/api/v1/x","status":200}`},
	{"json-epoch", "json", `{"time":1714644672123,"level":30,"pid":1234,"hostname":"web-1","msg":"request served","method":"GET","path":"/api/v1/things","status":200,"ms":12}`},
	{"json-escapes", "json", `{"level":"error","ts":"2024-05-02T10:11:12.123456Z","msg":"cannot open \"/etc/x\": no such file\n","stack":"a\n\tb\n\tc","caller":"server/handler.go"}`},
	{"json-level-last", "json", `{"ts":"2024-05-02T10:11:12.123456Z","caller":"server/handler.go:123","msg":"request served","method":"GET","path":"/api/v1/x","level":"info"}`},
	{"zap-json", "zap-json", `{"level":"warn","ts":"2024-05-02T10:11:12.123456Z","caller":"etcdserver/util.go:170","msg":"apply request took too long","took":"123.4ms","expected":"100ms"}`},
	{"logfmt", "logfmt", `time="2024-05-02T10:11:12Z" level=info msg="request served without trouble" method=GET path=/api/v1/things status=200 duration=12.5ms remote=10.0.0.1:54321`},
	{"klog", "klog", `I0502 10:11:12.123456   12345 controller.go:123] "Reconciling the object again" namespace="kube-system" name="coredns-5d78c9869d-abcde" attempt=3 result="ok"`},
	{"syslog-rfc3164", "syslog-rfc3164", `<34>May  2 10:11:12 mymachine.example.com sshd[12345]: Accepted publickey for root from 192.0.2.10 port 54321 ssh2: ED25519 SHA256:abcdefghijklmnop`},
	{"syslog-rfc5424", "syslog-rfc5424", `<165>1 2024-05-02T10:11:12.123456Z mymachine.example.com app 1234 ID47 [origin@32473 ip="192.0.2.1" software="x"] An application event log entry of some length`},
	{"cri", "cri", `2024-05-02T10:11:12.123456789Z stdout F request served without any trouble whatever by the server in the usual time that it takes, which is not much at all`},
	{"regex", "regex:log4j", `2024-05-02 10:11:12,123 [main] WARN  com.example.server.RequestHandler - the request took longer than expected: 1234 ms instead of 1000 ms`},
	{"auto-json", "auto", `{"level":"info","ts":"2024-05-02T10:11:12.123456Z","caller":"server/handler.go:123","msg":"request served","method":"GET","path":"/api/v1/x","status":200}`},
	{"auto-log4j", "auto", `2024-05-02 10:11:12,123 INFO  [main] com.example.server.RequestHandler: the request took no longer than expected: 834 ms instead of 1000 ms`},
	{"auto-syslog", "auto", `May  2 10:11:12 mymachine sshd[12345]: Accepted publickey for root from 192.0.2.10 port 54321 ssh2: ED25519 SHA256:abcdefghijklmnop`},
	{"auto-cri-json", "auto", `2024-05-02T10:11:12.123456789Z stdout F {"level":"info","ts":"2024-05-02T10:11:12.123456Z","msg":"request served","method":"GET","status":200}`},
	{"auto-access", "auto", `203.0.113.7 - frank [02/May/2024:10:11:12 +0000] "GET /apache_pb.gif HTTP/1.0" 200 2326 "http://www.example.com/start.html" "Mozilla/4.08"`},
	{"auto-plain", "auto", `a line of plain text without any header, time or level, as programs print it when nobody has told them how to log in a proper way`},
}

// cpuTime is what this process has used so far, user and system; unlike the
// wall clock it means something on a machine that is shared.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func reportLine(b *testing.B, before time.Duration) {
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/line")
}

func benchmarkParse(b *testing.B, name, line string, o *Options) {
	f := mustNew(b, name)
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	text := []byte(line)
	batch := record.NewBatch()
	before := cpuTime()
	for i := 0; b.Loop(); i++ {
		if i%512 == 511 {
			batch.Release()
			batch = record.NewBatch()
		}
		r := batch.Add()
		r.Line = text
		if !f.Parse(batch, r, o) {
			b.Fatal("refused")
		}
	}
	reportLine(b, before)
	batch.Release()
}

func BenchmarkParse(b *testing.B) {
	o := &Options{Location: time.UTC, Now: testNow}
	for _, c := range timed {
		b.Run(c.name, func(b *testing.B) { benchmarkParse(b, c.format, c.line, o) })
	}
}

func BenchmarkParseFields(b *testing.B) {
	o := testOptions()
	for _, c := range timed {
		b.Run(c.name, func(b *testing.B) { benchmarkParse(b, c.format, c.line, o) })
	}
}

func BenchmarkLevel(b *testing.B) {
	for _, c := range timed {
		b.Run(c.name, func(b *testing.B) {
			f := mustNew(b, c.format)
			line := []byte(c.line)
			b.ReportAllocs()
			before := cpuTime()
			for b.Loop() {
				f.Level(line)
			}
			reportLine(b, before)
		})
	}
}

// TestNoAllocations: no format but a regular expression allocates for a line.
func TestNoAllocations(t *testing.T) {
	o := testOptions()
	local := testOptions()
	local.Location = time.FixedZone("x", 3600)
	for _, c := range timed {
		f := mustNew(t, c.format)
		line := []byte(c.line)
		batch := record.NewBatch()
		for range 300 { // the batch's slabs grow before counting
			r := batch.Add()
			r.Line = line
			f.Parse(batch, r, o)
		}
		batch.Release()
		allowed := 0.0
		if c.format == "regex:log4j" {
			allowed = 1
		}
		for _, opts := range []*Options{o, local} {
			batch = record.NewBatch()
			batch.Alloc(5 << 10) // leave the small chunk behind
			for range 100 {
				batch.Records = batch.Records[:0]
				r := batch.Add()
				for range 5 {
					batch.AddField(r, line, line)
					batch.NewHeader()
				}
			}
			batch.Records = batch.Records[:0]
			r := batch.Add()
			n := leastAllocations(func() {
				*r = record.Record{Line: line, Header: r.Header}
				f.Parse(batch, r, opts)
			})
			if n > allowed {
				t.Errorf("%s: Parse allocates %v times", c.name, n)
			}
			batch.Release()
		}
		if n := leastAllocations(func() { f.Level(line) }); n > allowed {
			t.Errorf("%s: Level allocates %v times", c.name, n)
		}
	}
}

// leastAllocations is what a run allocates in the best of several measurements:
// package regexp keeps its machines in a sync.Pool, which the race detector empties
// at random. What allocates for each line does so in every one.
func leastAllocations(run func()) float64 {
	least := testing.AllocsPerRun(20, run)
	for range 9 {
		least = min(least, testing.AllocsPerRun(20, run))
	}
	return least
}
