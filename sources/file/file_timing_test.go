package file

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// cpu returns the processor time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchFile writes lines of size bytes, newline included.
func benchFile(b *testing.B, lines, size int) string {
	path := filepath.Join(b.TempDir(), "bench.log")
	line := append(bytes.Repeat([]byte("x"), size-1), '\n')
	chunk := bytes.Repeat(line, 1000)
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	for range lines / 1000 {
		if _, err := f.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return path
}

// openOne returns the only input of a source, and an end to its Run.
func openOne(tb testing.TB, path string) (sources.Input, func()) {
	tb.Helper()
	src, err := newSource(&config.Source{Name: "logs", StartAt: "beginning", File: &config.FileSource{Paths: []string{path}}}, sources.Deps{})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	inputs := make(chan sources.Input, 1)
	var done sync.WaitGroup
	done.Go(func() { src.Run(ctx, func(in sources.Input) { inputs <- in }) })
	return <-inputs, func() { cancel(); done.Wait() }
}

func BenchmarkToEnd(b *testing.B) {
	for _, size := range []int{40, 150, 1000} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			lines := 2_000_000
			if size > 150 {
				lines = 300_000
			}
			in, end := openOne(b, benchFile(b, lines, size))
			defer end()
			b.ReportAllocs()
			before := cpu()
			for b.Loop() {
				rd, err := in.Open("")
				if err != nil {
					b.Fatal(err)
				}
				for n := 0; n < lines; {
					batch := record.NewBatch()
					if err := rd.Read(batch); err != nil {
						b.Fatal(err)
					}
					n += len(batch.Records)
					batch.Release()
				}
				rd.Close()
			}
			b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N)/float64(lines), "cpu-ns/line")
			b.SetBytes(int64(lines * size))
		})
	}
}

// follow opens everything a source finds and reads it, counting lines.
func follow(b *testing.B, pattern string, files int) (lines *atomic.Int64, latency *atomic.Int64, end func()) {
	src, err := newSource(&config.Source{Name: "logs", File: &config.FileSource{Paths: []string{pattern}}}, sources.Deps{FirstRun: true})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	var found sync.WaitGroup
	found.Add(files)
	lines, latency = new(atomic.Int64), new(atomic.Int64)
	done.Go(func() {
		src.Run(ctx, func(in sources.Input) {
			rd, err := in.Open(in.Start())
			if err != nil {
				b.Error(err)
				return
			}
			found.Done()
			done.Go(func() {
				for rd.Wait(ctx) == nil {
					batch := record.NewBatch()
					rd.Read(batch)
					lines.Add(int64(len(batch.Records)))
					batch.Release()
				}
				rd.Close()
			})
		})
	})
	found.Wait()
	return lines, latency, func() { cancel(); done.Wait() }
}

// BenchmarkIdle is what 1,000 quiet files cost, in percent of a core, from
// the twelfth second on.
func BenchmarkIdle(b *testing.B) {
	dir := b.TempDir()
	const files = 1000
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.log", i)), []byte("a line\n"), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	_, _, end := follow(b, dir+"/*.log", files)
	defer end()
	time.Sleep(12 * time.Second)
	for b.Loop() {
		before, began := cpu(), time.Now()
		time.Sleep(12 * time.Second)
		b.ReportMetric(100*(cpu()-before).Seconds()/time.Since(began).Seconds(), "%core")
	}
}

// BenchmarkLive follows 50 files at 50,000 lines a second in all. The writer
// is another process, so that only the reading is counted.
func BenchmarkLive(b *testing.B) {
	dir := b.TempDir()
	const files = 50
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.log", i)), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	lines, _, end := follow(b, dir+"/*.log", files)
	defer end()
	for b.Loop() {
		writer := startWriter(b, dir, files, 5*time.Second)
		before, began, from := cpu(), time.Now(), lines.Load()
		writer()
		took := time.Since(began)
		b.ReportMetric(100*(cpu()-before).Seconds()/took.Seconds(), "%core")
		b.ReportMetric(float64(lines.Load()-from)/took.Seconds(), "lines/s")
		b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(max(1, lines.Load()-from)), "cpu-ns/line")
	}
}

func BenchmarkPositionText(b *testing.B) {
	p := place{offset: 123456789, path: "/var/log/app/current.log"}
	b.ReportAllocs()
	for b.Loop() {
		_ = p.text()
	}
}
