package journald

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// benchEntries is how many entries the benchmarks' journal holds; set
// LBSHIPD_BENCH_ENTRIES=500000 for figures to publish.
func benchEntries() int {
	if n, err := strconv.Atoi(os.Getenv("LBSHIPD_BENCH_ENTRIES")); err == nil && n > 0 {
		return n
	}
	return 50_000
}

// benchJournal makes the benchmarks' journal once and keeps it in the user's
// cache directory: 24 fields an entry, 20 units of which unit0 has 5 %.
func benchJournal(b *testing.B, n int) string {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "lbshipd", fmt.Sprintf("bench-journal-1-%d", n))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	tmp := dir + ".new"
	os.RemoveAll(tmp)
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		b.Fatal(err)
	}
	r, w := io.Pipe()
	go func() {
		out := bufio.NewWriter(w)
		writeBenchEntries(out, n)
		out.Flush()
		w.Close()
	}()
	testbed.FabricateJournal(b, filepath.Join(tmp, "system.journal"), r, testbed.JournalLayout{Compact: true, Compress: true})
	if err := os.Rename(tmp, dir); err != nil {
		b.Fatal(err)
	}
	return dir
}

func writeBenchEntries(w io.Writer, n int) {
	rnd := rand.New(rand.NewSource(1))
	var buf []byte
	for i := range n {
		u := rnd.Intn(20)
		t := uint64(testStart + i*100)
		fields := []testbed.Field{
			{Name: "_TRANSPORT", Value: "stdout"}, {Name: "_STREAM_ID", Value: fmt.Sprintf("%032x", u)},
			{Name: "PRIORITY", Value: []string{"6", "6", "6", "5", "4", "3", "7"}[rnd.Intn(7)]}, {Name: "SYSLOG_FACILITY", Value: "3"},
			{Name: "SYSLOG_IDENTIFIER", Value: fmt.Sprintf("daemon%d", u)},
			{Name: "MESSAGE", Value: fmt.Sprintf("request %d from client 10.0.%d.%d took %d ms, status %d, path /api/v1/objects/%x", i, rnd.Intn(256), rnd.Intn(256), rnd.Intn(900), 200+rnd.Intn(5), rnd.Int63())},
			{Name: "_PID", Value: fmt.Sprint(1000 + u)}, {Name: "_UID", Value: "0"}, {Name: "_GID", Value: "0"},
			{Name: "_COMM", Value: fmt.Sprintf("daemon%d", u)}, {Name: "_EXE", Value: fmt.Sprintf("/usr/bin/daemon%d", u)},
			{Name: "_CMDLINE", Value: fmt.Sprintf("/usr/bin/daemon%d --serve --config=/etc/daemon%d.conf", u, u)},
			{Name: "_CAP_EFFECTIVE", Value: "1ffffffffff"}, {Name: "_SELINUX_CONTEXT", Value: "unconfined"},
			{Name: "_SYSTEMD_CGROUP", Value: fmt.Sprintf("/system.slice/unit%d.service", u)},
			{Name: "_SYSTEMD_UNIT", Value: fmt.Sprintf("unit%d.service", u)}, {Name: "_SYSTEMD_SLICE", Value: "system.slice"},
			{Name: "_SYSTEMD_INVOCATION_ID", Value: fmt.Sprintf("%032x", 1000+u)},
			{Name: "_MACHINE_ID", Value: "feedfacefeedfacefeedfacefeedface"}, {Name: "_HOSTNAME", Value: "node-17"},
			{Name: "_RUNTIME_SCOPE", Value: "system"}, {Name: "CODE_FILE", Value: "server.c"}, {Name: "CODE_FUNC", Value: "serve"},
		}
		buf = testbed.AppendExport(buf[:0], t, t-testStart+1_000_000, testBoot, fields...)
		w.Write(buf)
	}
}

func benchSource(b testing.TB, c config.JournaldSource, minLevel record.Level) sources.Input {
	s, err := New(&config.Source{Name: "bench", Journald: &c, MinLevel: minLevel, StartAt: "beginning"},
		sources.Deps{Host: "h", Skipped: func(string, int) {}})
	if err != nil {
		b.Fatal(err)
	}
	return s.(sources.Input)
}

// drain reads all there is and returns records and entries.
func drain(b testing.TB, in sources.Input) (records, entries int) {
	r, err := in.Open("")
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	for {
		batch := record.NewBatch()
		if err := r.Read(batch); err != nil {
			b.Fatal(err)
		}
		records += len(batch.Records)
		entries += batch.Read
		n := batch.Read
		batch.Release()
		if n == 0 {
			return records, entries
		}
	}
}

func benchRead(b *testing.B, c config.JournaldSource, minLevel record.Level) {
	n := benchEntries()
	c.Directory = benchJournal(b, n)
	in := benchSource(b, c, minLevel)
	var peak uint64
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapInuse)
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	b.ReportAllocs()
	b.ResetTimer()
	total := 0
	for b.Loop() {
		records, entries := drain(b, in)
		if c.Units == nil && entries != n {
			b.Fatalf("read %d of %d entries", entries, n)
		}
		if records == 0 {
			b.Fatal("no records")
		}
		total += entries
	}
	b.StopTimer()
	close(stop)
	<-done
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(total), "ns/entry")
	b.ReportMetric(float64(peak)/(1<<20), "MiB-peak-heap")
}

func BenchmarkReadAll(b *testing.B) { benchRead(b, config.JournaldSource{}, 0) }

func BenchmarkReadAllFields(b *testing.B) {
	benchRead(b, config.JournaldSource{Fields: []string{"*"}}, 0)
}

func BenchmarkReadMinLevelError(b *testing.B) {
	benchRead(b, config.JournaldSource{}, record.LevelError)
}

func BenchmarkReadOneUnitOfTwenty(b *testing.B) {
	benchRead(b, config.JournaldSource{Units: []string{"unit0"}}, 0)
}

func BenchmarkMergeFiftyFiles(b *testing.B) {
	dir := b.TempDir()
	for i := range 50 {
		var buf bytes.Buffer
		buf.Write(someEntries(1000, int64(i*7)))
		testbed.FabricateJournal(b, filepath.Join(dir, fmt.Sprintf("f%02d.journal", i)), &buf, testbed.JournalLayout{Compact: true})
	}
	in := benchSource(b, config.JournaldSource{Directory: dir}, 0)
	b.ReportAllocs()
	b.ResetTimer()
	total := 0
	for b.Loop() {
		_, entries := drain(b, in)
		total += entries
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(total), "ns/entry")
}

// BenchmarkSurvey is what Risk costs every few seconds, with 100 files.
func BenchmarkSurvey(b *testing.B) {
	dir := b.TempDir()
	one := fabricate(b, dir, "f.journal", 2000, 0, testbed.JournalLayout{Compact: true})
	text := mustRead(b, one)
	for i := range 99 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%d.journal", i)), text, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	in := inputOf(b, config.Source{Journald: &config.JournaldSource{Directory: dir}}, nil).(*Source)
	b.ReportAllocs()
	for b.Loop() {
		in.surveys.found = nil
		if _, ok := in.Risk(""); !ok {
			b.Fatal("no risk")
		}
	}
}
