package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// drain reads until there is nothing more, and gives each batch to see.
func drain(t *testing.T, rd *reader, see func(b *record.Batch)) error {
	t.Helper()
	for {
		b := record.NewBatch()
		err := rd.Read(b)
		see(b)
		b.Release()
		if err != nil || !rd.more {
			return err
		}
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A line of 256 MiB, with and without its newline, is cut in bounded memory.
func TestEndlessLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	part := bytes.Repeat([]byte("x"), 1<<20)
	for range 256 {
		_, err := f.Write(part)
		must(t, err)
	}
	src := testSource(t, path, 1<<20)
	cut := 0
	src.deps.Skipped = func(reason string, n int) { cut += n }
	rd, err := testInput(t, src, path).Open("")
	must(t, err)
	runtime.GC()
	before, most := heap(), uint64(0)
	var lengths []int
	see := func(b *record.Batch) {
		most = max(most, heap())
		for i := range b.Records {
			lengths = append(lengths, len(b.Records[i].Line))
			if len(b.Records[i].Line) > 5 && b.Records[i].Flags&record.Truncated == 0 {
				t.Error("not flagged")
			}
		}
	}
	must(t, drain(t, rd.(*reader), see))
	// What was skipped so far stays skipped after a restart.
	rd, err = rd.(*reader).in.Open(rd.(*reader).pos)
	must(t, err)
	_, err = f.WriteString("rest\nnext\n")
	must(t, err)
	must(t, drain(t, rd.(*reader), see))
	if fmt.Sprint(lengths) != "[1048576 4]" || cut != 1 {
		t.Errorf("lines of %v bytes, %d cut", lengths, cut)
	}
	if grown := int64(most) - int64(before); grown > 12<<20 {
		t.Errorf("took %d bytes of memory", grown)
	}
}

// Lines longer than a window are whole, though they come in pieces.
func TestLinesLongerThanAWindow(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	src := testSource(t, path, 2<<20)
	write(t, path, "")
	opened, err := testInput(t, src, path).Open("")
	must(t, err)
	rd := opened.(*reader)
	var got []string
	see := func(b *record.Batch) {
		for i := range b.Records {
			got = append(got, string(b.Records[i].Line))
		}
	}
	want := []string{strings.Repeat("a", 900<<10), "short", strings.Repeat("b", 2<<20), strings.Repeat("c", 257<<10)}
	text := strings.Join(want, "\r\n") + "\r\n"
	for len(text) > 0 {
		n := min(len(text), 100_000)
		write(t, path, text[:n])
		text = text[n:]
		must(t, drain(t, rd, see))
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%d lines differ", len(got))
	}
}

// A hole of 8 GiB, as a writer with its own offset leaves after a truncation,
// is passed over at once; NULs at the end are left until something follows.
func TestHole(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	const hole = 8 << 30
	write(t, path, "before\n")
	must(t, os.Truncate(path, hole))
	src := testSource(t, path, 0)
	opened, err := testInput(t, src, path).Open("")
	must(t, err)
	rd := opened.(*reader)
	var got []line
	see := func(b *record.Batch) {
		for i := range b.Records {
			got = append(got, line{text: string(b.Records[i].Line), offset: b.Records[i].Offset})
		}
	}
	must(t, drain(t, rd, see))
	if len(got) != 1 || rd.at.offset != 7 {
		t.Fatalf("got %+v, at %d", got, rd.at.offset)
	}
	must(t, writeAt(path, "preallocated\n", 7))
	must(t, drain(t, rd, see))
	must(t, writeAt(path, "after\n", hole))
	must(t, drain(t, rd, see))
	// Another Reader finds the hole in the middle, and does not read through it.
	opened, err = rd.in.Open("")
	must(t, err)
	reads, lines := 0, 0
	must(t, drain(t, opened.(*reader), func(b *record.Batch) { reads++; lines += len(b.Records) }))
	if lines != 3 || reads > 10 {
		t.Errorf("%d lines in %d reads", lines, reads)
	}
	if want := "[{before   0 0 0} {preallocated   7 0 0} {after   8589934592 0 0}]"; fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
}

// A Reader stops exactly where another one was, be that within a line.
func TestUntil(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, strings.Repeat("a line of some length\n", 50)+strings.Repeat("x", 300)+"\nend\ntorn")
	src := testSource(t, path, 100)
	in := testInput(t, src, path)
	src.window = 64
	opened, err := in.Open("")
	must(t, err)
	live := opened.(*reader)
	stops, counts := []record.Position{}, []int{}
	n := 0
	in.goneAt, src.tearAfter, src.endAfter = time.Unix(1, 0), -time.Hour, -time.Hour
	err = drain(t, live, func(b *record.Batch) {
		n += len(b.Records)
		stops, counts = append(stops, b.After), append(counts, n)
	})
	if err != nil {
		t.Fatal(err)
	}
	if n != 53 {
		t.Fatalf("%d lines", n)
	}
	src.window = windowBytes // the other one reads in other pieces
	for i, stop := range stops {
		rd, err := in.Open("")
		must(t, err)
		rd.Until(stop)
		n, last := 0, record.Position("")
		must(t, drain(t, rd.(*reader), func(b *record.Batch) { n += len(b.Records); last = b.After }))
		if n != counts[i] || last != stop {
			t.Errorf("stop %d: %d lines and %s, want %d and %s", i, n, last, counts[i], stop)
		}
		rd.Until("")
		err = drain(t, rd.(*reader), func(b *record.Batch) { n += len(b.Records) })
		if n != 53 || err != nil && err != io.EOF {
			t.Errorf("stop %d: %d lines after it was lifted: %v", i, n, err)
		}
	}
}

// A stop that lies in what the file held before it was truncated is none in what
// it holds now, be that read from the file or from a copy of it: no line is torn there.
func TestUntilOfAnotherContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	src := testSource(t, path, 100)
	before, now := strings.Repeat("short\n", 700), strings.Repeat("a line of some length\n", 500)
	write(t, path, before)
	in := testInput(t, src, path)
	opened, err := in.Open("")
	must(t, err)
	var stop, behind record.Position
	must(t, drain(t, opened.(*reader), func(b *record.Batch) { stop = b.After }))
	must(t, os.Truncate(path, 0))
	write(t, path, now)
	read := func(from record.Position) (n int) {
		t.Helper()
		rd, err := in.Open(from)
		must(t, err)
		rd.Until(stop)
		err = drain(t, rd.(*reader), func(b *record.Batch) {
			for i := range b.Records {
				if r := &b.Records[i]; string(r.Line) != "a line of some length" || r.Flags&record.Torn != 0 {
					t.Fatalf("got %q, flags %v", r.Line, r.Flags)
				}
			}
			if n += len(b.Records); behind == "" {
				behind = b.PositionAt(&b.Records[1])
			}
		})
		if gap := (*sources.GapError)(nil); err != nil && !errors.As(err, &gap) {
			t.Fatal(err)
		}
		return n
	}
	if n := read(""); n != 500 {
		t.Errorf("%d lines of the file", n)
	}
	must(t, os.WriteFile(path+".1", []byte(now), 0o644))
	must(t, os.Truncate(path, 0))
	if n := read(behind); n != 499 {
		t.Errorf("%d lines of the copy", n)
	}
}

// A thousand files are all read, and hold no memory when they are quiet.
func TestThousandFiles(t *testing.T) {
	dir := t.TempDir()
	const files = 1000
	r := newRig(t, filepath.Join(dir, "**/*.log"))
	for i := range files / 2 {
		write(t, filepath.Join(dir, fmt.Sprint(i%10), fmt.Sprintf("%d.log", i)), "first\nunfinished")
	}
	r.start()
	for i := files / 2; i < files; i++ {
		write(t, filepath.Join(dir, fmt.Sprint(i%10), fmt.Sprintf("%d.log", i)), "first\nunfinished")
	}
	r.until("the first lines", func() bool { return r.count() == files })
	runtime.GC()
	runtime.GC() // pools are emptied by the second
	if kib := heap() >> 10; kib > 12<<10 {
		t.Errorf("%d KiB in use", kib)
	}
	for i := range files {
		write(t, filepath.Join(dir, fmt.Sprint(i%10), fmt.Sprintf("%d.log", i)), "\n")
	}
	r.until("the second lines", func() bool { return r.count() == 2*files })
	r.clean()
}

// A reader that has not waited yet has not looked: it says nothing of whether there is more.
func TestLookedIsWhenItLooked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "a line\n")
	opened, err := testInput(t, testSource(t, path, 0), path).Open("")
	must(t, err)
	defer opened.Close()
	rd := opened.(*reader)
	if at := rd.Looked(); !at.IsZero() {
		t.Errorf("looked at %v, and has never waited", at)
	}
	must(t, drain(t, rd, func(*record.Batch) {}))
	before := time.Now()
	rd.fresh = false
	if rd.due(time.Now()) {
		t.Error("there is nothing more")
	}
	if at := rd.Looked(); at.Before(before) {
		t.Errorf("looked at %v, want it after %v", at, before)
	}
}
