package file

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// downRig is a rig whose source is told up to when it had watched before.
func downRig(t *testing.T, paths ...string) (r *rig, down func()) {
	r = newRig(t, paths...)
	tune, saved := r.tune, kernelNow()
	r.tune = func(s *source) { tune(s); s.deps.LastSaved, s.watching.at = saved, saved }
	return r, func() {
		t.Helper()
		r.stop()
		saved = tickOn(t)
		tickOn(t)
		r.mu.Lock()
		r.inputs = nil
		r.mu.Unlock()
	}
}

// rotateInto moves path to to, as the tool that its ending names compresses it: in place, with the times of what it was.
func rotateInto(t *testing.T, path, to string) {
	t.Helper()
	defer tickOn(t) // what is created next is younger
	tools := map[string][]string{".gz": {"gzip"}, ".xz": {"xz"}, ".bz2": {"bzip2"}, ".zst": {"zstd", "-q", "--rm"}}
	ending := filepath.Ext(to)
	tool := tools[ending]
	if tool == nil {
		must(t, os.Rename(path, to))
		return
	}
	plain := strings.TrimSuffix(to, ending)
	must(t, os.Rename(path, plain))
	tickOn(t)
	if out, err := exec.Command(tool[0], append(tool[1:], plain)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v %s", tool, err, out)
	}
}

// piped compresses path into to, which tells nothing of when it was written.
func piped(t *testing.T, path, to string) {
	t.Helper()
	defer tickOn(t)
	tickOn(t)
	data, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(to, compressInProcess(t, data, "gzip"), 0o644))
	must(t, os.Remove(path))
}

// What was created, rotated and compressed while no daemon ran is read: after what was read before, in the order in
// which it was written, and once.
func TestCompressedWhileDownIsRead(t *testing.T) {
	t.Parallel()
	for name, rotations := range map[string][]string{
		"logrotate":     {".5.gz", ".4.gz", ".3.gz", ".2.gz", ".1"},
		"dates":         {"-20260101.xz", "-20260102.xz", "-20260103.xz", "-20260104.xz"},
		"zstd":          {".4.zst", ".3.zst", ".2.zst", ".1.zst"},
		"bzip2, delays": {".4.bz2", ".3.bz2", ".2", ".1"},
	} {
		for _, glob := range []string{"app.log", "app.log*"} {
			t.Run(name+" "+glob, func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "app.log")
				r, down := downRig(t, filepath.Join(filepath.Dir(path), glob))
				lines := numbered(0, 100)
				write(t, path, text(lines[:5]))
				r.start()
				r.expect(lines[:5]...)
				down()
				write(t, path, text(lines[5:10]))
				for i, to := range rotations {
					rotateInto(t, path, path+to)
					write(t, path, text(lines[10*(i+1):10*(i+2)]))
				}
				want := lines[:10*(len(rotations)+1)]
				r.start()
				r.until("all lines", func() bool { return r.count() >= len(want) })
				inputs := checkOrder(t, r, want)
				if inputs != len(rotations)+1 {
					t.Errorf("%d inputs for %d files", inputs, len(rotations)+1)
				}
				// Nothing of it comes again.
				down()
				r.start()
				write(t, path, "last\n")
				r.until("one line more", func() bool { return r.count() > len(want) })
				r.stop()
				got := r.texts()
				slices.Sort(got)
				if all := append(slices.Clone(want), "last"); !slices.Equal(got, all) || r.skip("rotated_compressed") > 0 {
					t.Errorf("%d lines, want %d: %q, skipped %v", len(got), len(all), got, r.skips)
				}
				r.clean()
			})
		}
	}
}

// What was compressed while no daemon ran comes behind what was known, also where that is younger than up to when
// the source had surely watched: a busy machine lets the looks wait.
func TestCompressedWhileDownComesBehindWhatWasKnown(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	r, down := downRig(t, path)
	watched := tickOn(t)
	tickOn(t)
	tune := r.tune
	r.tune = func(s *source) { tune(s); s.deps.LastSaved, s.watching.at = watched, watched }
	lines := numbered(0, 30)
	write(t, path, text(lines[:5]))
	r.start()
	r.expect(lines[:5]...)
	down()
	write(t, path, text(lines[5:10]))
	rotateInto(t, path, path+".2.gz")
	write(t, path, text(lines[10:20]))
	rotateInto(t, path, path+".1.gz")
	write(t, path, text(lines[20:]))
	r.start()
	r.until("all lines", func() bool { return r.count() >= len(lines) })
	r.stop()
	checkOrder(t, r, lines)
	r.clean()
}

// checkOrder checks that want has come, each line once, and without a gap, in the order of the inputs as they
// follow one another; it returns how many there were.
func checkOrder(t *testing.T, r *rig, want []string) int {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	of := map[string][]string{}
	for _, l := range r.lines {
		of[l.input] = append(of[l.input], l.text)
	}
	var got []string
	before := ""
	for _, in := range r.inputs {
		if now := in.(sources.Successor).Predecessor(); now != before {
			t.Errorf("%s has predecessor %q, want %q", in.Origin().Input, now, before)
		}
		before = in.Origin().Input
		got = append(got, of[before]...)
	}
	if len(r.lines) != len(got) || !slices.Equal(got, want) {
		t.Errorf("%d lines, want %d: %q", len(got), len(want), got)
	}
	if len(r.gaps) > 0 || len(r.errs) > 0 || r.skips["rotated_compressed"] > 0 {
		t.Errorf("gaps %v, errors %v, skipped %v", r.gaps, r.errs, r.skips)
	}
	return len(r.inputs)
}

// A restart in the middle of such a file, and one before any answer, goes on in it.
func TestRestartWithinWhatWasCompressedWhileDown(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	r, down := downRig(t, path)
	lines := numbered(0, 20000)
	tune := r.tune
	r.tune = func(s *source) { tune(s); s.window, s.step = 8<<10, 4<<10 }
	write(t, path, text(lines[:5]))
	r.start()
	r.expect(lines[:5]...)
	down()
	rotateInto(t, path, path+".2.gz")
	write(t, path, text(lines[5:]))
	rotateInto(t, path, path+".1.gz")
	write(t, path, "")

	src := testSource(t, path, 0)
	r.tune(src)
	src.deps = r.deps()
	src.deps.LastSaved = src.watching.at
	unanswered := []record.Position(nil)
	d := newDiscovery(src, func(in sources.Input) {
		if r.known()[in.Origin().Input] == "" && len(in.(*input).copies) > 0 {
			r.positions[in.Origin().Input] = in.Start()
			unanswered = append(unanswered, in.Start())
		}
	})
	d.start()
	d.close()
	if len(unanswered) != 1 {
		t.Fatalf("%d inputs are new, want 1", len(unanswered))
	}
	for seen := 5; seen < len(lines); {
		down()
		must(t, os.Rename(path+".1.gz", path+".x.gz"))
		must(t, os.Rename(path+".x.gz", path+".1.gz"))
		r.start()
		more := min(len(lines), seen+6000)
		r.until("more lines", func() bool { return r.count() >= more })
		r.stop()
		seen = r.count()
	}
	if got := r.texts(); !slices.Equal(got, lines) {
		t.Errorf("%d lines of %d", len(got), len(lines))
	}
	r.clean()
}

// The order of rotations tells what was never read where the compressed files tell no times.
func TestCompressedWithoutTimesWhileDown(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	r, down := downRig(t, path)
	lines := numbered(0, 100)
	write(t, path, text(lines[:5]))
	r.start()
	r.expect(lines[:5]...)
	down()
	write(t, path, text(lines[5:10]))
	for i, to := range []string{".a.gz", ".b.gz"} {
		piped(t, path, path+to)
		write(t, path, text(lines[10*(i+1):10*(i+2)]))
	}
	r.start()
	r.until("all lines", func() bool { return r.count() >= 30 })
	r.stop()
	checkOrder(t, r, lines[:30])
}

// What was read before, or is a copy of what is read, is neither read nor announced, though it was compressed,
// copied or packed while no daemon ran.
func TestCompressedWhileDownAndReadBefore(t *testing.T) {
	t.Parallel()
	old := time.Now().Add(-time.Hour)
	for name, do := range map[string]func(t *testing.T, path string){
		"rotated before, times kept": func(t *testing.T, path string) {
			write(t, path+".1", text(numbered(5000, 6000)))
			must(t, os.Chtimes(path+".1", old, old))
			rotateInto(t, path, path+".0") // a rotation was meanwhile
			rotateInto(t, path+".1", path+".2.gz")
			write(t, path, "")
		},
		"rotated before, no times, no rotation since": func(t *testing.T, path string) {
			write(t, path+".1", text(numbered(5000, 6000)))
			piped(t, path+".1", path+".2.gz")
		},
		"rotated before, no times, a rotation since": func(t *testing.T, path string) {
			write(t, path+".1", text(numbered(5000, 6000)))
			piped(t, path+".1", path+".2.gz")
			rotateInto(t, path, path+".1")
			write(t, path, "")
		},
		"a compressed copy": func(t *testing.T, path string) {
			must(t, exec.Command("gzip", "-k", path).Run())
			rotateInto(t, path, path+".1")
			write(t, path, "")
		},
		"a copy": func(t *testing.T, path string) {
			tickOn(t)
			must(t, exec.Command("cp", path, path+".bak").Run())
		},
		"being compressed": func(t *testing.T, path string) {
			rotateInto(t, path, path+".1")
			must(t, os.WriteFile(path+".1.gz", compress(t, path+".1", ".gz")[:100], 0o644))
			write(t, path, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "app.log")
			r, down := downRig(t, path)
			lines := numbered(0, 1000)
			write(t, path, text(lines))
			r.start()
			r.expect(lines...)
			down()
			do(t, path)
			r.start()
			write(t, path, "last\n")
			r.until("the last line", func() bool { return slices.Contains(r.texts(), "last") })
			r.until("all to be quiet", func() bool { return r.src.Watched().After(kernelNow().Add(-time.Second)) })
			r.stop()
			r.expect(append(lines, "last")...)
			if n := r.skip("rotated_compressed"); n > 0 {
				t.Errorf("%d files are said to be left out", n)
			}
		})
	}
}

// Where nothing tells whether a compressed file was read before, and where it cannot be read, its path has a gap of
// unknown size: once.
func TestCompressedWhileDownThatCannotBeKnown(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(t *testing.T, path string){
		"no times, and none known": func(t *testing.T, path string) { piped(t, path, path+".1.gz") },
		"a format that is not known": func(t *testing.T, path string) {
			rotateInto(t, path, path+".1")
			must(t, os.Rename(path+".1", path+".1.zip"))
		},
		"an archive of files": func(t *testing.T, path string) {
			tar := exec.Command("tar", "--remove-files", "-czf", path+".tar.gz", filepath.Base(path))
			tar.Dir = filepath.Dir(path)
			must(t, tar.Run())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path, other := filepath.Join(dir, "new.log"), filepath.Join(dir, "app.log")
			r, down := downRig(t, filepath.Join(dir, "*.log"))
			write(t, other, "one\n")
			r.start()
			r.expect("one")
			down()
			write(t, path, "two\n")
			do(t, path)
			r.start()
			r.until("a gap", func() bool { return r.gapCount() > 0 })
			down()
			r.start()
			write(t, other, "three\n")
			r.until("another line", func() bool { return r.count() == 2 })
			r.stop()
			if len(r.gaps) != 1 || r.gaps[0].Reason != "vanished" || r.gaps[0].Bytes != 0 || r.gaps[0].Records != 0 || r.skip("rotated_compressed") != 1 {
				t.Errorf("gaps %v, skipped %v", r.gaps, r.skips)
			}
			if got := r.texts(); !slices.Equal(got, []string{"one", "three"}) {
				t.Errorf("got %q", got)
			}
		})
	}
}

// A file of which no target had answered for anything is found when it was compressed while no daemon ran.
func TestUnansweredFileThatWasCompressed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	r, down := downRig(t, path)
	write(t, path, "one\n")
	key, start := keyOf(t, testSource(t, path, 0), path)
	r.positions[key], r.ran = start, true
	down()
	rotateInto(t, path, path+".2.gz")
	write(t, path, "two\n")
	rotateInto(t, path, path+".1.gz")
	write(t, path, "three\n")
	r.start()
	r.until("all lines", func() bool { return r.count() >= 3 })
	r.stop()
	checkOrder(t, r, []string{"one", "two", "three"})
	if r.inputs[0].Origin().Input != key {
		t.Errorf("it is %s, and was %s", r.inputs[0].Origin().Input, key)
	}
}

// Compressed files that were made while no daemon ran, and that hold nothing new, are not kept open.
func TestCompressedWhileDownIsNotKeptOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	r, down := downRig(t, path)
	write(t, path, "1\n")
	r.start()
	r.expect("1")
	down()
	at := time.Now().Add(-time.Hour)
	for _, name := range []string{".2.gz", ".3.gz", ".4.gz"} {
		must(t, os.WriteFile(path+name, compressInProcess(t, []byte(text(numbered(0, 9))), "gzip"), 0o644))
		if name != ".4.gz" {
			must(t, os.Chtimes(path+name, at, at))
		}
	}
	r.start()
	r.until("the file", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.inputs) == 1
	})
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, e := range entries {
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(to, path+".") {
			t.Errorf("%s is open", filepath.Base(to))
		}
	}
}

// When what was compressed was last written to is the modification time that compressors give, or is in gzip's header;
// a time that may be that of the compressing tells nothing.
func TestLastWriteOfWhatWasCompressed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log.gz")
	before := time.Now().Add(-time.Hour).Truncate(time.Second)
	for name, c := range map[string]struct{ header, file, want time.Time }{
		"the file's":       {time.Time{}, before, before},
		"the header's":     {before, time.Time{}, before.Add(time.Second - 1)},
		"neither":          {time.Time{}, time.Time{}, time.Time{}},
		"when it was made": {time.Now(), time.Time{}, time.Time{}},
	} {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		w.ModTime = c.header
		w.Close()
		os.Remove(path)
		must(t, os.WriteFile(path, out.Bytes(), 0o644))
		if !c.file.IsZero() {
			must(t, os.Chtimes(path, c.file, c.file))
		}
		d := newDiscovery(testSource(t, path, 0), nil)
		z := d.squeezedAt(path, path, before, 0)
		d.close()
		if want := c.want.UnixNano(); z == nil || z.ended != max(0, want) {
			t.Errorf("%s: %+v, want %v", name, z, c.want)
		}
	}
}

// Files that begin alike are told apart by what is before the position.
func TestCompressedWhileDownThatBeginAlike(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	r, down := downRig(t, path)
	head, lines := numbered(900, 950), numbered(0, 30)
	want := slices.Concat(head, lines[:10], head, lines[10:20], head, lines[20:])
	write(t, path, text(want[:55]))
	r.start()
	r.expect(want[:55]...)
	down()
	write(t, path, text(want[55:60]))
	rotateInto(t, path, path+".2.gz")
	write(t, path, text(want[60:120]))
	rotateInto(t, path, path+".1.gz")
	write(t, path, text(want[120:]))
	r.start()
	r.until("all lines", func() bool { return r.count() >= len(want) })
	r.stop()
	checkOrder(t, r, want)
}
