package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// Failures of other shippers, each with a test that shows that ours has it not.

// fluent-bit 10414, vector 22954: a rotated file is given up some seconds
// after its rotation, with bytes left in it for a target that is slow or was away.
func TestRotatedFileIsNotAbandoned(t *testing.T) {
	t.Parallel()
	aways := map[string]func(t *testing.T, path string, i int){
		"renamed": func(t *testing.T, path string, i int) { must(t, os.Rename(path, path+"."+strconv.Itoa(i))) },
		"deleted": func(t *testing.T, path string, i int) { must(t, os.Remove(path)) },
		"compressed": func(t *testing.T, path string, i int) {
			squeeze(t, path, path+"."+strconv.Itoa(i)+".gz", ".gz")
		},
	}
	for name, away := range aways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "app.log")
			r := newStuckRig(t, path)
			r.start()
			const files, lines = 5, 2000
			var slow []*reader
			for i := range files {
				rd, _ := r.rotate(path, lines, func() { away(t, path, i) })
				slow = append(slow, rd)
			}
			// Each rotation's wait is over for who has read it, and then some.
			r.until("the end of all for the fast target", func() bool { return r.endedCount() == files })
			began := time.Now()
			r.until("three more waits", func() bool { return time.Since(began) > 3*r.src.endAfter })
			for i, rd := range slow {
				gaps, n := lastGap(t, rd)
				if n != lines || len(gaps) != 0 {
					t.Errorf("file %d: %d of %d lines, %v", i, n, lines, gaps)
				}
			}
			r.clean()
		})
	}
}

// fluent-bit 7019: after an error of read(2) the file is never read again.
func TestReaderRecoversFromReadErrors(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	lines := numbered(0, 3000)
	write(t, path, text(lines[:1000]))
	src := testSource(t, path, 0)
	src.window = 16 << 10
	in := testInput(t, src, path)
	good, err := unix.Dup(in.fd)
	must(t, err)
	defer unix.Close(good)
	bad, err := os.OpenFile(path, os.O_WRONLY, 0) // stat works, pread fails
	must(t, err)
	defer bad.Close()
	opened, err := in.Open("")
	must(t, err)
	rd := opened.(*reader)
	var got []string
	failed := 0
	read := func() {
		b := record.NewBatch()
		defer b.Release()
		err := rd.Read(b)
		for i := range b.Records {
			got = append(got, string(b.Records[i].Line))
		}
		if err == nil {
			return
		}
		var gap *sources.GapError
		if err == io.EOF || errors.As(err, &gap) || !errors.Is(err, syscall.EBADF) {
			t.Fatalf("%v", err)
		}
		failed++
	}
	for step := range 200 {
		if step%3 == 1 { // in the middle, at the end, and in an unfinished line
			must(t, unix.Dup3(int(bad.Fd()), in.fd, unix.O_CLOEXEC))
			read()
			read()
			must(t, unix.Dup3(good, in.fd, unix.O_CLOEXEC))
		}
		switch step {
		case 20:
			write(t, path, text(lines[1000:2000])[:30000])
		case 60:
			write(t, path, text(lines[1000:2000])[30000:])
		case 100:
			write(t, path, text(lines[2000:]))
		}
		read()
	}
	if !slices.Equal(got, lines) || failed < 5 {
		t.Errorf("%d of %d lines, %d errors", len(got), len(lines), failed)
	}
	for looks := 0; ; looks++ {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		err := rd.Wait(ctx)
		cancel()
		if err != nil {
			break
		}
		if looks > 3 {
			t.Fatal("it does not come to rest")
		}
		read()
	}
}

// otel-arrow 3395: with startAt end, what is written later is never seen.
func TestStartAtEndFollows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	contents := map[string]string{"empty": "", "one line": "old\n", "no newline": "old\nunfinished ", "large": text(numbered(0, 50000)),
		"utf-16": "\xff\xfeo\x00l\x00d\x00\n\x00"}
	for name, content := range contents {
		write(t, filepath.Join(dir, name+".log"), content)
	}
	r := newRig(t, filepath.Join(dir, "*.log"))
	r.cfg.StartAt = "end"
	r.start()
	r.until("all files", func() bool { return len(r.known()) == len(contents) })
	for round := range 3 {
		for name := range contents {
			line := fmt.Sprintf("%s %d\n", name, round)
			if name == "utf-16" {
				line = wide(line)
			}
			write(t, filepath.Join(dir, name+".log"), line)
		}
		r.until("the round", func() bool { return r.count() == (round+1)*len(contents) })
	}
	must(t, os.Rename(filepath.Join(dir, "empty.log"), filepath.Join(dir, "empty.log.1")))
	write(t, filepath.Join(dir, "empty.log.1"), "still\n")
	write(t, filepath.Join(dir, "empty.log"), "new\n")
	r.until("both files", func() bool { return r.count() == 3*len(contents)+2 })
	got := r.texts()
	for _, want := range []string{"still", "new", "one line 2", "unfinished no newline 0", "large 1", "utf-16 0"} {
		if !slices.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	r.clean()
}

// wide writes ASCII in UTF-16, little endian.
func wide(s string) string {
	var b []byte
	for i := range len(s) {
		b = append(b, s[i], 0)
	}
	return string(b)
}

// fluent-bit 1285 and its like: what was truncated under the reader is read
// over and over, or keeps a processor busy.
func TestTruncatedFileIsNotReadInALoop(t *testing.T) {
	t.Parallel()
	lines := numbered(0, 3000)
	content := text(lines)
	for _, size := range []int{0, 1, 500, 40000} {
		for _, copied := range []string{"", "other", "shorter", "broken"} {
			t.Run(fmt.Sprintf("to %d, copy %q", size, copied), func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "app.log")
				write(t, path, content)
				src := testSource(t, path, 0)
				src.archiveSettle = 0
				in := testInput(t, src, path)
				opened, err := in.Open("")
				must(t, err)
				rd := opened.(*reader)
				must(t, drain(t, rd, func(*record.Batch) {}))
				switch copied {
				case "other": // the same beginning, but not what was read
					write(t, path+".1", content[:100000]+text(numbered(50000, 60000)))
					must(t, os.WriteFile(path+".1.gz", compress(t, path+".1", ".gz"), 0o644))
				case "shorter":
					write(t, path+".1", content[:len(content)/2])
					must(t, os.WriteFile(path+".1.gz", compress(t, path+".1", ".gz"), 0o644))
				case "broken":
					gz := compress(t, path, ".gz")
					must(t, os.WriteFile(path+".1.gz", gz[:len(gz)/2], 0o644))
				}
				must(t, os.Truncate(path, int64(size)))
				want := 0
				for at := 0; at < size; want++ {
					at += len(lines[want]) + 1
				}
				if size > 0 {
					want-- // the last is cut
				}
				gaps, got, reads := 0, 0, 0
				// On a busy machine it may seem quiet before all was read.
				for quiet := 0; quiet < 2 || gaps < 1 || got < want; reads++ {
					if reads > 200 {
						t.Fatalf("%d reads, %d gaps, %d lines", reads, gaps, got)
					}
					ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
					if rd.Wait(ctx) != nil {
						quiet++
					}
					cancel()
					b := record.NewBatch()
					err := rd.Read(b)
					got += len(b.Records)
					b.Release()
					if _, ok := err.(*sources.GapError); ok {
						gaps++
					} else if err != nil {
						t.Fatal(err)
					}
				}
				if gaps != 1 || got != want {
					t.Errorf("%d gaps, %d lines, want 1 and %d, in %d reads", gaps, got, want, reads)
				}
			})
		}
	}
}
