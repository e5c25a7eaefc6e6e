package pipeline

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/parse"
	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
	"github.com/lbshipd/lbshipd/sources"
	"github.com/lbshipd/lbshipd/sources/file"
)

// clocks is a target that keeps what Loki keeps: each time and line once. It
// can be told to hang, and to answer for a part of what it took only.
type clocks struct {
	mu     sync.Mutex
	got    map[string]bool // "time line"
	hang   chan struct{}   // nil: it does not
	faulty bool
}

func (c *clocks) Send(ctx context.Context, batches []*record.Batch) (sinks.Result, error) {
	c.mu.Lock()
	hang := c.hang
	c.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return sinks.Result{}, &sinks.Error{Class: sinks.ClassShutdown, Err: ctx.Err()}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var res sinks.Result
	for _, b := range batches {
		for i := range b.Records {
			c.got[fmt.Sprintf("%d %s", b.Records[i].Time, b.Records[i].Line)] = true
		}
		if c.faulty && rand.IntN(4) == 0 {
			return res, &sinks.Error{Class: sinks.ClassServer, Err: io.ErrUnexpectedEOF} // taken, and the answer is lost
		}
		res.Batches++
		res.Delivered += len(b.Records)
	}
	return res, nil
}

func (c *clocks) Close(context.Context) error { return nil }

func (c *clocks) hold(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if on == (c.hang != nil) {
		return
	}
	if on {
		c.hang = make(chan struct{})
		return
	}
	close(c.hang)
	c.hang = nil
}

func (c *clocks) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.got)
}

// crash ends a supervisor as a SIGKILL does: of the data directory, only what
// was written to it by then is there for the next one.
func crash(t *testing.T, sup *Supervisor, store *positions.Store, dir string) (next string) {
	t.Helper()
	sup.Stop(canceled())
	next = t.TempDir()
	for _, name := range []string{"positions", "times"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(next, name), data, 0o600)
		}
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return next
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// Equal lines without a time, to two targets of which one falls behind again
// and again, under crashes, changes of the source and lost answers: each of them is
// given every line with one time, and both with the same.
func TestEveryTargetIsGivenTheSameTimesWhateverHappens(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(t.TempDir(), "app.log")
	out := map[string]*clocks{"steady": {got: map[string]bool{}, faulty: true}, "slow": {got: map[string]bool{}}}
	log := slog.New(slog.DiscardHandler)
	var store *positions.Store
	var sup *Supervisor
	label := 0
	configuration := func() *config.Config {
		return &config.Config{
			Sources: []config.Source{{Name: "app", LogFormat: "auto", StartAt: "beginning", Labels: map[string]string{"n": fmt.Sprint(label)},
				File: &config.FileSource{Paths: []string{path}, MaxLineBytes: 4 << 10}}},
			Targets: []config.Target{{Name: "steady", Stdout: &config.StdoutTarget{}, QueueBytes: 1 << 20},
				{Name: "slow", Stdout: &config.StdoutTarget{}, QueueBytes: 20 << 10}},
		}
	}
	open := func() {
		var err error
		if store, err = positions.Open(dir, log); err != nil {
			t.Fatal(err)
		}
		sup = New(Options{Log: log, Store: store, Registry: prometheus.NewRegistry(), Host: "node1", Version: "test"})
		sup.makeSink = func(c *config.Target, _ sinks.Deps) (sinks.Sink, string, error) { return out[c.Name], "stdout", nil }
		if err := sup.Apply(configuration()); err != nil {
			t.Fatal(err)
		}
	}
	open()
	total := 0
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	detached := 0
	for round := range 60 {
		n := 1 + rand.IntN(400)
		for range n {
			fmt.Fprintln(f, "tick")
		}
		total += n
		switch rand.IntN(6) {
		case 0:
			out["slow"].hold(true)
		case 1:
			out["slow"].hold(false)
		case 2:
			if err := store.Save(); err != nil {
				t.Fatal(err)
			}
		case 3:
			label++
			if err := sup.Apply(configuration()); err != nil {
				t.Fatal(err)
			}
		case 4:
			dir = crash(t, sup, store, dir)
			open()
		}
		if round%5 == 0 {
			sup.mu.Lock()
			src := sup.sources["app"]
			sup.mu.Unlock()
			for _, run := range src.runs() {
				run.mu.Lock()
				if len(run.feeds) > 1 {
					detached++
				}
				run.mu.Unlock()
			}
			await(t, "the steady target", func() bool { return out["steady"].count() >= total })
		}
	}
	out["slow"].hold(false)
	for name, c := range out {
		await(t, name, func() bool { return c.count() >= total })
	}
	sup.Stop(canceled())
	store.Close()
	for name, c := range out {
		if got := len(c.got); got != total {
			t.Errorf("%s was given %d lines in all, %d were written: some of them with more than one time", name, got, total)
		}
	}
	if !maps.Equal(out["steady"].got, out["slow"].got) {
		t.Error("the targets were given different times")
	}
	t.Logf("%d lines, %d times seen apart", total, detached)
}

// A line that names no year or no date means the same whenever it is read
// again: what is left out is what it was when it was read first.
func TestYearAndDateAreThoseOfTheFirstReading(t *testing.T) {
	for _, c := range []struct{ format, line, first, want string }{
		{"syslog-rfc3164", "<13>Dec 31 23:59:59 node1 app: late", "2019-12-31T23:59:59.5Z", "2019-12-31T23:59:59Z"},
		{"syslog-rfc3164", "<13>Dec 31 23:59:59 node1 app: late", "2020-01-01T00:00:30Z", "2019-12-31T23:59:59Z"},
		{"syslog-rfc3164", "<13>Jan  1 00:00:01 node1 app: a clock ahead", "2019-12-31T23:59:59Z", "2020-01-01T00:00:01Z"},
		{"klog", "I0229 10:11:12.000000   12 a.go:1] leap", "2020-03-01T00:00:00Z", "2020-02-29T10:11:12Z"},
		{"auto", "Mar  4 05:06:07 node1 app[1]: text", "2018-03-04T05:06:08Z", "2018-03-04T05:06:07Z"},
		{"logfmt", `time="Mar  4 05:06:07" level=info msg=x`, "2018-03-04T05:06:08Z", "2018-03-04T05:06:07Z"},
		{"regex:clock", "23:59:59 text", "2021-06-07T00:00:30Z", "2021-06-06T23:59:59Z"},
	} {
		p := testProcessor(t, "raw", record.LevelUnknown)
		var err error
		p.format, err = parse.New(c.format, map[string]parse.Regex{"clock": {Pattern: `^(?P<time>\S+) (?P<message>.*)$`, TimeLayout: "15:04:05"}})
		if err != nil {
			t.Fatal(err)
		}
		first, err := time.Parse(time.RFC3339Nano, c.first)
		if err != nil {
			t.Fatal(err)
		}
		b := batchOf(0, c.line)
		b.TimeAt = func(offset int64) (int64, int64) { return first.UnixNano() + offset, offset + 1 }
		p.process(b, false)
		if got := time.Unix(0, b.Records[0].Time).UTC().Format(time.RFC3339Nano); got != c.want {
			t.Errorf("%s: %q first read at %s is of %s, want %s", c.format, c.line, c.first, got, c.want)
		}
		if b.TimeAt != nil || p.options.FirstRead != nil {
			t.Error("the batch can still ask its reader")
		}
		b.Release()
	}
}

// Whatever the format and whether its lines have a time, a year or a zone: what
// a line becomes does not depend on how and how often it is read.
func TestEveryFormatGivesTheSameRecordsAgain(t *testing.T) {
	now := time.Now().UTC()
	for format, lines := range map[string][]string{
		"raw":            {"a", "a", "b"},
		"json":           {`{"time":"2026-01-02T03:04:05.6Z","level":"info","msg":"a"}`, `{"level":"warn","msg":"no time"}`, "no json", `{"ts":"23:59:59 soon"}`},
		"zap-json":       {`{"level":"info","ts":1767322645.678,"msg":"a"}`, `{"level":"info","msg":"no time"}`},
		"logfmt":         {"ts=2026-01-02T03:04:05Z level=info msg=a", "level=info msg=b", now.Format(`time="Jan _2 15:04:05" level=info`)},
		"klog":           {now.Format("I0102 15:04:05.000000") + "   12 a.go:1] text", "goroutine 1 [running]:"},
		"syslog-rfc3164": {now.Format("<13>Jan _2 15:04:05") + " node1 app[3]: text", "<13>app: no time", "no syslog"},
		"syslog-rfc5424": {"<13>1 2026-01-02T03:04:05.6Z node1 app 3 - - text", "<13>1 - node1 app 3 - - no time", "no syslog"},
		"cri": {"2026-01-02T03:04:05.678Z stdout P begin ", "2026-01-02T03:04:06Z stderr F other", "2026-01-02T03:04:07Z stdout F end",
			"no envelope", "2026-01-02T03:04:08Z stdout F " + now.Format("I0102 15:04:05.000000") + "   12 a.go:1] text"},
		"auto":        {"2026-01-02 03:04:05,678 INFO text", now.Format("Jan _2 15:04:05") + " node1 app: text", "  at some.where()", `{"level":"info"}`},
		"regex:clock": {now.Format("15:04:05") + " text", "no clock"},
	} {
		t.Run(format, func(t *testing.T) {
			var text []byte
			for range 300 {
				text = fmt.Appendln(text, lines[rand.IntN(len(lines))])
			}
			path, dir := filepath.Join(t.TempDir(), "app.log"), t.TempDir()
			first := map[int64]string{}
			for round, size := range []int{100, 3000, 3000, 5000, len(text), len(text)} {
				if err := os.WriteFile(path, text[:min(size, len(text))], 0o600); err != nil {
					t.Fatal(err)
				}
				for offset, record := range readOnce(t, format, path, dir) {
					if had, ok := first[offset]; ok && had != record && !strings.Contains(had, "begin") { // a line that goes on
						t.Errorf("round %d, at %d:\n%s, was\n%s", round, offset, record, had)
					}
					first[offset] = record
				}
			}
			if len(first) < 100 {
				t.Errorf("%d records", len(first))
			}
		})
	}
}

// readOnce reads a file from its beginning to its end as a daemon with that
// data directory does it, and returns its records by offset.
func readOnce(t *testing.T, format, path, dir string) map[int64]string {
	t.Helper()
	store, err := positions.Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	src, err := file.New(&config.Source{Name: "s", StartAt: "beginning", File: &config.FileSource{Paths: []string{path}}},
		sources.Deps{FirstRun: true, Location: time.UTC, Times: timesOf(store.Times(), "s")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	found := make(chan sources.Input, 1)
	go src.Run(ctx, func(in sources.Input) { found <- in })
	reader, err := (<-found).Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	p := testProcessor(t, "raw", record.LevelUnknown)
	if format == "cri" {
		p = testProcessor(t, "cri", record.LevelUnknown)
	} else if format != "raw" {
		if p.format, err = parse.New(format, map[string]parse.Regex{"clock": {Pattern: `^(?P<time>\d\S+) (?P<message>.*)$`, TimeLayout: "15:04:05"}}); err != nil {
			t.Fatal(err)
		}
		p.options.Fields = true
	}
	all := map[int64]string{}
	for {
		b := record.NewBatch()
		if err := reader.Read(b); err != nil {
			t.Fatal(err)
		}
		p.process(b, false)
		for i := range b.Records {
			r := &b.Records[i]
			text := fmt.Sprintf("%d %d %d %s %s %s", r.Time, r.Level, r.Flags, r.Line, r.Message, *r.Header)
			for _, f := range r.Fields {
				text += fmt.Sprintf(" %s=%s", f.Name, f.Value)
			}
			all[r.Offset] = text
		}
		n := b.Read
		b.Release()
		if n == 0 {
			return all
		}
	}
}

// Times are asked for only where lines need one that get as far as a target.
func TestTimesAreAskedForOnlyWhereTheyAreNeeded(t *testing.T) {
	timed := `{"level":"info","ts":"2026-01-02T03:04:05.678Z","msg":"a"}`
	bare, quiet := `{"level":"info","msg":"b"}`, `{"level":"debug","msg":"c"}`
	cri := func(text string) string { return "2026-01-02T03:04:05.678Z stdout F " + text }
	for _, c := range []struct {
		format string
		lines  []string
		asked  []int64 // offsets
	}{
		{"json", []string{timed, timed}, nil},
		{"json", []string{timed, quiet, bare, bare, timed}, []int64{2}},
		{"json", []string{timed, "no json", timed, bare}, []int64{1}},
		{"cri", []string{cri("Jan  2 03:04:05 node app: x"), cri("I0102 03:04:05.000000  12 a.go:1] x")}, nil},
		{"cri", []string{cri("x"), "no envelope"}, []int64{1}},
		{"raw", []string{"a", "b"}, []int64{0}},
	} {
		p := testProcessor(t, c.format, record.LevelInfo)
		b := batchOf(0, c.lines...)
		var asked []int64
		b.TimeAt = func(offset int64) (int64, int64) {
			asked = append(asked, offset)
			return 1000 + offset, int64(len(c.lines))
		}
		p.process(b, false)
		if !slices.Equal(asked, c.asked) {
			t.Errorf("%s %q: asked at %v, want %v", c.format, c.lines, asked, c.asked)
		}
		for i := range b.Records {
			if r := &b.Records[i]; r.Flags&record.TimeAssigned != 0 && r.Time != 1000+r.Offset {
				t.Errorf("%q is of %d", r.Line, r.Time)
			}
		}
		b.Release()
	}
}
