package deadletters

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What is flushed is there, in order, with modes that keep others out; a
// writer that comes after goes on behind it.
func TestWrittenIsRead(t *testing.T) {
	dir := t.TempDir()
	w := newWriter(t, dir, 64<<20)
	w.add(0, 10, "x")
	if lines, _ := read(t, dir); len(lines) != 0 {
		t.Errorf("%d letters before the flush", len(lines))
	}
	w.Flush()
	w.add(10, 5, "x")
	w.Close()
	next := newWriter(t, dir, 64<<20)
	next.add(15, 5, "x")
	next.Flush()
	if lines, damaged := read(t, dir); !slices.Equal(lines, numbers(0, 20, "x")) || damaged != 0 {
		t.Errorf("letters %v, %d damaged", lines, damaged)
	}
	for name, mode := range map[string]os.FileMode{"": 0o700, currentName: 0o600, lockName: 0o600} {
		info, err := os.Stat(filepath.Join(Dir(dir, "loki"), name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("mode of %q: %v, %v", name, info.Mode(), err)
		}
	}
	if names, err := Targets(dir); err != nil || !slices.Equal(names, []string{"loki"}) {
		t.Errorf("targets %v, %v", names, err)
	}
	if w.failed+next.failed+w.dropped+next.dropped != 0 || next.Err() != nil {
		t.Errorf("failures: %+v %+v", w, next)
	}
}

// A directory never weighs more than it may; what is given up is the oldest,
// and is counted to the letter.
func TestBoundedSize(t *testing.T) {
	for _, c := range []struct {
		max     int64
		letters int
		line    string
	}{
		{64 << 10, 3000, "x"}, {64 << 10, 100, strings.Repeat("y", 30000)}, {1 << 20, 8000, strings.Repeat("z", 300)},
	} {
		dir := t.TempDir()
		w := newWriter(t, dir, c.max)
		largest := int64(0)
		for i := 0; i < c.letters; i += 10 {
			w.add(i, 10, c.line)
			w.Flush()
			l, err := list(w.dir)
			if err != nil {
				t.Fatal(err)
			}
			largest = max(largest, l.bytes)
			if w.Bytes() != l.bytes {
				t.Fatalf("it says %d bytes, there are %d", w.Bytes(), l.bytes)
			}
		}
		lines, _ := read(t, dir)
		if largest > c.max || largest < c.max/2 {
			t.Errorf("the directory grew to %d bytes of %d", largest, c.max)
		}
		if len(lines)+w.dropped != c.letters || len(lines) == 0 || w.failed != 0 {
			t.Errorf("%d letters and %d dropped of %d, %d failed", len(lines), w.dropped, c.letters, w.failed)
		}
		if !slices.Equal(lines, numbers(c.letters-len(lines), len(lines), c.line)) {
			t.Error("it is not the oldest that are gone")
		}
		if !strings.Contains(w.log.String(), "dead letters are full: the oldest are dropped") {
			t.Error("nothing is said of it")
		}
	}
}

func TestLargerThanAll(t *testing.T) {
	dir := t.TempDir()
	w := newWriter(t, dir, 64<<10)
	w.add(0, 1, "x")
	w.add(1, 1, strings.Repeat("y", 70<<10))
	w.add(2, 1, "x")
	w.Flush()
	if lines, _ := read(t, dir); w.dropped != 1 || !slices.Equal(lines, []string{"0 x", "2 x"}) {
		t.Errorf("%d dropped, letters %.40q", w.dropped, lines)
	}
}

// Whatever a crash leaves at the end of a file, no letter is joined to it.
func TestTornEnd(t *testing.T) {
	for _, cut := range []int{1, 2, 50, -1} {
		dir := t.TempDir()
		w := newWriter(t, dir, 64<<20)
		w.add(0, 3, "x")
		w.Close()
		path := filepath.Join(Dir(dir, "loki"), currentName)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := numbers(0, 3, "x")
		if cut < 0 {
			data = append(data, make([]byte, 5000)...) // what a file system may leave
		} else {
			data = data[:len(data)-cut]
			if cut > 1 {
				want = want[:2]
			}
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if cut > 0 {
			if lines, damaged := read(t, dir); len(lines) != 2 || damaged != 1 {
				t.Errorf("cut %d: before the repair %d letters, %d damaged", cut, len(lines), damaged)
			}
		}
		next := newWriter(t, dir, 64<<20)
		if err := next.Open(); err != nil {
			t.Fatal(err)
		}
		next.add(3, 1, "x")
		next.Flush()
		want = append(want, "3 x")
		if lines, damaged := read(t, dir); !slices.Equal(lines, want) || damaged != 0 {
			t.Errorf("cut %d: letters %v, want %v; %d damaged", cut, lines, want, damaged)
		}
		if !strings.Contains(next.log.String(), "torn by a crash") {
			t.Error("nothing is said of it")
		}
	}
}

// A letter that a crash made be written twice is shown once; damage in the
// middle hides that line only, and is named.
func TestRepeatsAndDamage(t *testing.T) {
	dir := t.TempDir()
	w := newWriter(t, dir, 64<<20)
	w.add(0, 5, "x")
	w.add(2, 5, "x")
	w.Close()
	path := filepath.Join(Dir(dir, "loki"), currentName)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[strings.Index(string(data), "\n")+100] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var named []string
	var lines []string
	err = Read(dir, "loki", func(l *Letter, _ []byte) error { lines = append(lines, string(l.LineBytes())); return nil },
		func(path string, l Line) { named = append(named, fmt.Sprint(path, ":", l.Number)) })
	if want := []string{"0 x", "2 x", "3 x", "4 x", "5 x", "6 x"}; err != nil || !slices.Equal(lines, want) {
		t.Errorf("letters %v, %v", lines, err)
	}
	if !slices.Equal(named, []string{path + ":2"}) {
		t.Errorf("damaged: %v", named)
	}
}

// A directory that cannot be written to is counted and said, and harms nothing.
func TestCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, rootName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, dir, 64<<20)
	if w.Open() == nil {
		t.Error("a file in the place of the directory is no error")
	}
	w.add(0, 7, "x")
	w.Flush()
	if w.failed != 7 || w.Err() == nil {
		t.Errorf("%d failed, error %v", w.failed, w.Err())
	}
	if err := os.Remove(filepath.Join(dir, rootName)); err != nil {
		t.Fatal(err)
	}
	w.add(7, 2, "x")
	w.Flush()
	if lines, _ := read(t, dir); w.failed != 7 || w.Err() != nil || !slices.Equal(lines, numbers(7, 2, "x")) {
		t.Errorf("then %d failed, error %v, letters %v", w.failed, w.Err(), lines)
	}
	// And if it is taken away while it is used.
	if err := os.RemoveAll(filepath.Join(dir, rootName)); err != nil {
		t.Fatal(err)
	}
	w.add(9, 2, "x")
	w.Flush()
	if lines, _ := read(t, dir); w.failed != 7 || !slices.Equal(lines, numbers(9, 2, "x")) {
		t.Errorf("then %d failed, letters %v", w.failed, lines)
	}
}
