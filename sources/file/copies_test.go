package file

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

func numbered(from, to int) []string {
	lines := make([]string, 0, to-from)
	for i := from; i < to; i++ {
		lines = append(lines, fmt.Sprintf("%08d a line that was written on day %x", i, i*7919))
	}
	return lines
}

func text(lines []string) string { return strings.Join(lines, "\n") + "\n" }

// The rest of a file that was rotated and compressed while no daemon ran is
// read, from where it was read to, once; also if that takes another restart in its middle.
func TestRestOfCompressedFile(t *testing.T) {
	t.Parallel()
	names := []string{"app.log.1", "app.log-20261121", "app-20261121.log", "app.log"}
	for i, c := range compressors {
		name := names[i%len(names)]
		if c.ending == "" {
			name = "app.log.1"
		}
		t.Run(name+c.ending, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "app.log")
			lines := numbered(0, 30000)
			write(t, path, text(lines[:7000]))
			r := newRig(t, path)
			r.start()
			r.expect(lines[:7000]...)
			r.stop()
			// Another rotation of the same beginning, which is not it.
			must(t, os.WriteFile(path+".2", []byte(text(lines[:4000])+text(numbered(90000, 99000))), 0o644))
			squeeze(t, path+".2", path+".2.gz", ".gz")
			later := time.Now().Add(time.Hour) // so that it is tried first
			must(t, os.Chtimes(path+".2.gz", later, later))
			write(t, path, text(lines[7000:]))
			squeeze(t, path, filepath.Join(dir, name+c.ending), c.ending)
			write(t, path, "next\n")
			tune := r.tune
			r.tune = func(s *source) { tune(s); s.window = 8 << 10; s.step = 4 << 10 }
			r.start()
			r.until("some of the rest", func() bool { return r.count() > 9000 })
			r.stop()
			r.start()
			r.until("all lines", func() bool { return r.count() > 30000 })
			// The order of the two files is the pipeline's affair.
			got := slices.DeleteFunc(r.texts(), func(l string) bool { return l == "next" })
			if !slices.Equal(got, lines) {
				t.Fatalf("%d lines of %d", len(got), len(lines))
			}
			offset := int64(0)
			for _, l := range r.lines {
				if l.text == "next" {
					continue
				}
				if l.path != path || l.offset != offset || l.input != r.lines[0].input {
					t.Fatalf("at %d: %+v", offset, l)
				}
				offset += int64(len(l.text)) + 1
			}
			r.clean()
			r.until("the end of the old file", func() bool { return r.endedCount() == 1 })
		})
	}
}

// A file that was truncated in place has the rest in its copy.
func TestCopytruncateReadsTheCopy(t *testing.T) {
	t.Parallel()
	for _, c := range []string{"", ".gz"} {
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprintf("copy %q, down %v", c, down), func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "app.log")
				lines := numbered(0, 5000)
				write(t, path, text(lines[:2000]))
				r := newRig(t, path)
				r.start()
				r.expect(lines[:2000]...)
				if down {
					r.stop()
				}
				// Under the lock of the poller nobody looks.
				r.src.poller.mu.Lock()
				write(t, path, text(lines[2000:]))
				must(t, os.WriteFile(path+".1"+c, compress(t, path, c), 0o644))
				must(t, os.Truncate(path, 0))
				write(t, path, "next\n")
				r.src.poller.mu.Unlock()
				if down {
					r.start()
				}
				r.until("all lines", func() bool { return r.count() > 5000 })
				if got := r.texts(); !slices.Equal(got, slices.Concat(lines, []string{"next"})) {
					t.Errorf("got %d lines, last %q", len(got), got[len(got)-1])
				}
				if len(r.gaps) != 1 || r.gaps[0].Reason != "truncated" || r.gaps[0].Bytes != 0 || !strings.Contains(r.gaps[0].Detail, "nobody can tell") {
					t.Errorf("gaps %v", r.gaps)
				}
				if len(r.errs) > 0 {
					t.Error(r.errs)
				}
			})
		}
	}
}

// grafana/alloy 3193: with a glob that has the rotated names too, the
// compressed copy of a file that was read is not read as a new one, nor as text.
func TestCompressedCopyIsNotReadAsNew(t *testing.T) {
	t.Parallel()
	for _, c := range compressors[1:] {
		t.Run(c.ending, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "app.log")
			lines := numbered(0, 3000)
			write(t, path, text(lines))
			r := newRig(t, path+"*")
			r.start()
			r.expect(lines...)
			must(t, os.Rename(path, path+".1"))
			must(t, os.WriteFile(path+".1"+c.ending, compress(t, path+".1", c.ending), 0o644))
			must(t, os.WriteFile(filepath.Join(dir, "x"), compress(t, path+".1", c.ending), 0o644))
			must(t, os.Rename(filepath.Join(dir, "x"), path+".odd")) // told by its content
			must(t, os.Remove(path+".1"))
			write(t, path, "next\n")
			r.expect(slices.Concat(lines, []string{"next"})...)
			r.until("the end of the old file", func() bool { return r.endedCount() == 1 && r.skip("compressed_file") == 2 })
			r.stop()
			r.start()
			write(t, path, "last\n")
			r.expect(slices.Concat(lines, []string{"next", "last"})...)
			if n := strings.Count(r.log.String(), "said once"); n != 2 {
				t.Errorf("said %d times in two runs: %s", n, r.log.String())
			}
		})
	}
}

// What a compressor, an archiver or an editor has under a temporary name, empty at first, is never read as
// text, though the globs match it.
func TestTemporaryFilesAreNotReadAsText(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	lines := numbered(0, 3000)
	contents := map[string]string{
		".app.log.swp": "b0VIM 9.0\n" + text(lines), "archive.tmp": "PK\x03\x04\n" + text(lines), "x.journal": "LPKSHHRH\n" + text(lines),
	}
	write(t, path, text(lines))
	for _, c := range compressors[1:] {
		contents["app.log.1"+c.ending+".tmp"] = string(compress(t, path, c.ending))
		if !strings.Contains(contents["app.log.1"+c.ending+".tmp"], "\n") {
			t.Fatalf("%s has no newline in it, and shows nothing", c.ending)
		}
	}
	r := newRig(t, filepath.Join(dir, "*"))
	r.start()
	r.expect(lines...)
	for name := range contents {
		write(t, filepath.Join(dir, name), "")
	}
	r.until("all to be found", func() bool { return len(r.known()) == len(contents)+1 })
	for name, data := range contents {
		write(t, filepath.Join(dir, name), data[:3]) // of some, too little to tell
		write(t, filepath.Join(dir, name), data[3:])
	}
	r.until("all to be left out", func() bool { return r.skip(compressedFile) == len(compressors)-1 && r.skip(binaryFile) == 3 })
	r.until("all to end", func() bool { return len(r.known()) == 1 })
	must(t, os.Rename(filepath.Join(dir, "app.log.1.gz.tmp"), path+".1.gz"))
	r.stop()
	r.start()
	write(t, path, "last\n")
	r.expect(append(lines, "last")...)
	if len(r.known()) != 1 {
		t.Errorf("inputs %v", r.known())
	}
}

// What can be read of a broken archive is read, and the rest is said to be
// lost, with its size where the archive tells it.
func TestBrokenArchives(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ending  string
		cut     bool
		counted bool
	}{{".gz", true, false}, {".gz", false, true}, {".zst", true, true}, {".zst", false, true}, {".xz", true, false}, {".xz", false, false}, {".bz2", true, false}} {
		t.Run(fmt.Sprintf("%s cut %v", c.ending, c.cut), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "app.log")
			lines := numbered(0, 80000)
			write(t, path, text(lines[:1000]))
			r := newRig(t, path)
			r.start()
			r.expect(lines[:1000]...)
			r.stop()
			write(t, path, text(lines[1000:]))
			size := int64(len(text(lines)))
			data := compress(t, path, c.ending)
			if c.cut {
				data = data[:len(data)*2/3]
			} else {
				for i := range 64 {
					data[len(data)*2/3+i] ^= 0xa5
				}
			}
			must(t, os.WriteFile(path+".1"+c.ending, data, 0o644))
			must(t, os.Remove(path))
			tune := r.tune
			r.tune = func(s *source) { tune(s); s.archiveSettle = 300 * time.Millisecond }
			r.start()
			r.until("the gap and the end", func() bool { return r.gapCount() == 1 && r.endedCount() == 1 })
			got := r.texts()
			n := len(got) - 1 // the last may be torn
			same := n
			if c.ending == ".gz" && !c.cut {
				same = n / 2 // gzip does not notice at once
			}
			if n < 1000 || !slices.Equal(got[:same], lines[:same]) {
				t.Fatalf("%d lines, last %q", len(got), got[len(got)-1])
			}
			last := r.lines[n]
			read := last.offset + int64(len(last.text)) + 1
			if last.flags&record.Torn != 0 {
				read--
			}
			gap := r.gaps[0]
			if gap.Reason != "corrupt" || c.counted && gap.Bytes != max(0, size-read) || !c.counted && gap.Bytes != 0 {
				t.Errorf("read %d of %d bytes: %v", read, size, gap)
			}
			t.Logf("%d of %d lines, %d bytes lost: %v", n, len(lines), gap.Bytes, gap)
		})
	}
}

// An archive that somebody is writing is waited for.
func TestArchiveBeingWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	lines := numbered(0, 20000)
	write(t, path, text(lines[:100]))
	r := newRig(t, path)
	r.start()
	r.expect(lines[:100]...)
	r.stop()
	write(t, path, text(lines[100:]))
	data := compress(t, path, ".gz")
	must(t, os.Remove(path))
	write(t, path+".1.gz", string(data[:len(data)/4]))
	tune := r.tune
	r.tune = func(s *source) { tune(s); s.archiveSettle = 3 * time.Second }
	r.start()
	r.until("the first part", func() bool { return r.count() > 1000 })
	write(t, path+".1.gz", string(data[len(data)/4:len(data)/2]))
	write(t, path+".1.gz", string(data[len(data)/2:]))
	r.expect(lines...)
	r.until("the end", func() bool { return r.endedCount() == 1 })
	r.clean()
}

// With more archives than may be in memory at once, and some of their readers
// stuck, all the others are read all the same.
func TestManyArchives(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lines := numbered(0, 3000)
	const files = 20
	r := newRig(t, dir+"/*.log")
	for i := range files {
		write(t, filepath.Join(dir, fmt.Sprintf("%d.log", i)), text(lines[:1000]))
	}
	r.start()
	r.until("the first part", func() bool { return r.count() == files*1000 })
	r.stop()
	for i := range files {
		path := filepath.Join(dir, fmt.Sprintf("%d.log", i))
		write(t, path, text(lines[1000:]))
		squeeze(t, path, path+".1.gz", ".gz")
	}
	idle := decoders.idle
	decoders.mu.Lock()
	decoders.idle = 50 * time.Millisecond
	decoders.mu.Unlock()
	defer func() { decoders.idle = idle }()
	// Readers that take a little, and then no more for the time being.
	var stuck []*reader
	for i := range decoders.most + 2 {
		path := filepath.Join(dir, fmt.Sprintf("%d.log", i))
		src := testSource(t, path, 0)
		src.window = 4 << 10
		var p place
		for _, pos := range r.positions {
			if q, _ := takePosition(string(pos)); q.path == path {
				p = q
			}
		}
		in := &input{fd: -1, src: src, origin: &record.Origin{Path: path}, path: path, copies: src.copiesOf(&p, inode{})}
		opened, err := in.Open(p.text())
		must(t, err)
		rd := opened.(*reader)
		waitFor(t, "a first read", func() bool { return readSome(t, rd) > 0 }, func() string { return path })
		stuck = append(stuck, rd)
	}
	r.start()
	r.until("all lines", func() bool { return r.count() == files*3000 })
	r.clean()
	for _, rd := range stuck {
		n := 0
		waitFor(t, "the rest", func() bool { n = readSome(t, rd); return rd.over }, func() string { return fmt.Sprint(n) })
		must(t, rd.Close())
	}
	decoders.mu.Lock()
	defer decoders.mu.Unlock()
	if n := len(decoders.live); n > decoders.most {
		t.Errorf("%d archives in memory", n)
	}
}

func readSome(t *testing.T, rd *reader) int {
	b := record.NewBatch()
	defer b.Release()
	if err := rd.Read(b); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return len(b.Records)
}

// FuzzCopyPositions reads a compressed copy in pieces, from positions of any
// reader of it, and compares with what a reader of the plain file yields.
func FuzzCopyPositions(f *testing.F) {
	f.Add([]byte("one\ntwo\n\n\x00\x00three\r\nand the rest"), uint8(1), uint64(1))
	f.Add(bytes.Repeat([]byte("a line of some length\n"), 300), uint8(3), uint64(2))
	f.Add(append([]byte("x\n"), make([]byte, 9000)...), uint8(2), uint64(3))
	f.Add([]byte("\xff\xfea\x00\n\x00b\x00\n\x00"), uint8(4), uint64(4))
	f.Add(append(bytes.Repeat([]byte("long"), 2000), "\nshort\n"...), uint8(6), uint64(5))
	f.Fuzz(func(t *testing.T, data []byte, how uint8, seed uint64) {
		if len(data) == 0 {
			return
		}
		dir := t.TempDir()
		path := filepath.Join(dir, "app.log")
		must(t, os.WriteFile(path, data, 0o644))
		src := testSource(t, path, 100)
		src.window, src.step = 64, 32
		plainFile := testInput(t, src, path)
		plainFile.goneAt, src.tearAfter, src.endAfter = time.Unix(1, 0), -time.Hour, -time.Hour
		var want []string
		var stops []record.Position
		opened, err := plainFile.Open("")
		must(t, err)
		drain(t, opened.(*reader), func(b *record.Batch) {
			for i := range b.Records {
				want = append(want, fmt.Sprint(b.Records[i].Offset, b.Records[i].Flags, string(b.Records[i].Line)))
			}
			stops = append(stops, b.After)
		})
		c := codecs[int(how)%2] // gzip and zstd; the rest of the way is the same
		copied := path + ".1.x"
		must(t, os.WriteFile(copied, compressInProcess(t, data, c.name), 0o644))
		file, err := os.Open(copied)
		must(t, err)
		defer file.Close()
		in := &input{fd: -1, src: src, origin: plainFile.origin, path: plainFile.path, goneAt: time.Unix(1, 0), copies: []copyFile{{path: copied, file: file, codec: &c}}}
		var got []string
		rnd := rand.New(rand.NewPCG(seed, 1))
		pos := record.Position("")
		rd, err := in.Open(pos)
		must(t, err)
		for reads := 0; ; reads++ {
			if reads > 100000 {
				t.Fatal("no end")
			}
			if rnd.IntN(3) == 0 {
				must(t, rd.Close())
				rd, err = in.Open(pos)
				must(t, err)
			}
			b := record.NewBatch()
			err := rd.Read(b)
			for i := range b.Records {
				got = append(got, fmt.Sprint(b.Records[i].Offset, b.Records[i].Flags, string(b.Records[i].Line)))
			}
			pos = b.After
			b.Release()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("at %s: %v", pos, err)
			}
		}
		rd.Close()
		if !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		if last := stops[len(stops)-1]; last != pos {
			t.Errorf("ended at %s, want %s", pos, last)
		}
	})
}
