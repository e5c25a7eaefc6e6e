package file

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/sources"
)

// lineTime is a format: RFC 3339 and a space.
func lineTime(line []byte) (time.Time, bool) {
	text, _, _ := bytes.Cut(line, []byte(" "))
	t, err := time.Parse(time.RFC3339Nano, string(text))
	return t, err == nil
}

// openInput makes an input of a file, as discovery does.
func openInput(t testing.TB, path string) *input {
	t.Helper()
	s, err := newSource(&config.Source{Name: "logs", StartAt: "beginning", File: &config.FileSource{Paths: []string{path}}}, sources.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	s.noInotify = true
	var in *input
	d := newDiscovery(s, func(found sources.Input) { in = found.(*input) })
	t.Cleanup(d.close)
	d.start()
	if in == nil {
		t.Fatalf("%s was not found", path)
	}
	return in
}

// seekOffset seeks and returns the offset of the position, which must be one to open at.
func seekOffset(t testing.TB, in *input, at time.Time) int64 {
	t.Helper()
	pos, err := in.Seek(at, lineTime)
	if err != nil {
		t.Fatal(err)
	}
	r, err := in.Open(pos)
	if err != nil {
		t.Fatalf("position %s: %v", pos, err)
	}
	r.Close()
	p, err := parsePosition(pos)
	if err != nil || p.path != in.path {
		t.Fatalf("position %s: %v", pos, err)
	}
	return p.offset
}

var seekStart = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

// seekFile makes a file whose timed lines are a second apart, with lines
// without a time and with a broken one between them, and returns the offsets of the timed ones.
func seekFile(rnd *rand.Rand, n, plainLines, longest int) (text []byte, offsets []int64) {
	for i := range n {
		offsets = append(offsets, int64(len(text)))
		text = fmt.Appendf(text, "%s line %d %s\n", seekStart.Add(time.Duration(i)*time.Second).Format(time.RFC3339), i,
			strings.Repeat("x", rnd.IntN(longest)))
		for range rnd.IntN(plainLines + 1) {
			text = append(text, []string{"\tat some.place(Source.java:7)\r\n", "2026-13-40T99:00:00Z broken\n", "\n"}[rnd.IntN(3)]...)
		}
	}
	return text, offsets
}

func TestSeekFindsTheFirstLineOfATime(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct{ lines, plain, longest int }{
		"few lines":              {3, 0, 5},
		"many lines":             {20_000, 0, 200},
		"stack traces":           {2_000, 60, 100},
		"lines longer than read": {60, 2, 300 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			text, offsets := seekFile(rnd, c.lines, c.plain, c.longest)
			path := filepath.Join(t.TempDir(), "a.log")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			in := openInput(t, path)
			for range 50 {
				k := rnd.IntN(c.lines)
				for _, before := range []time.Duration{0, 300 * time.Millisecond} {
					at := seekStart.Add(time.Duration(k)*time.Second - before)
					if got := seekOffset(t, in, at); got != offsets[k] {
						t.Fatalf("line %d of %d, %v before: offset %d, want %d", k, c.lines, before, got, offsets[k])
					}
				}
			}
			if got := seekOffset(t, in, time.Time{}); got != 0 {
				t.Errorf("the beginning is at %d", got)
			}
			for _, late := range []time.Time{seekStart.Add(time.Duration(c.lines) * time.Second), time.Now().Add(time.Hour), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
				if got := seekOffset(t, in, late); got != int64(len(text)) {
					t.Errorf("%v is at %d of %d", late, got, len(text))
				}
			}
		})
	}
}

// Writers of several threads are out of step: no line of the time is passed over.
func TestSeekPassesOverNoLineThatIsLate(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	var text []byte
	var times []time.Time
	var offsets []int64
	for i := range 20_000 {
		at := seekStart.Add(time.Duration(i+rnd.IntN(40)-20) * time.Second)
		times, offsets = append(times, at), append(offsets, int64(len(text)))
		text = fmt.Appendf(text, "%s %s\n", at.Format(time.RFC3339), strings.Repeat("y", rnd.IntN(150)))
		if i%8 == 5 { // an old time in a line of today
			text = append(text, "1999-01-01T00:00:00Z copied from elsewhere\n"...)
		}
	}
	path := filepath.Join(t.TempDir(), "a.log")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	in := openInput(t, path)
	for k := 100; k < 20_000; k += 397 {
		at := seekStart.Add(time.Duration(k) * time.Second)
		first := 0
		for times[first].Before(at) {
			first++
		}
		if got := seekOffset(t, in, at); got > offsets[first] || offsets[first]-got > 1<<20 {
			t.Fatalf("time of line %d: offset %d, the first line of it is at %d", k, got, offsets[first])
		}
	}
}

func TestSeekWithoutTimesGoesByTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	text := strings.Repeat("no time in here\n", 10_000)
	if err := os.WriteFile(path, []byte(text+"unfinished"), 0o600); err != nil {
		t.Fatal(err)
	}
	written := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, written, written); err != nil {
		t.Fatal(err)
	}
	in := openInput(t, path)
	for _, c := range []struct {
		at   time.Time
		want int64
	}{{written.Add(-time.Minute), 0}, {written.Add(time.Minute), int64(len(text))}, {time.Unix(0, 0), 0}} {
		if got := seekOffset(t, in, c.at); got != c.want {
			t.Errorf("%v after it was written: offset %d, want %d", c.at.Sub(written), got, c.want)
		}
	}
	// The time of the last change is that of the kernel's last tick: the line is younger.
	timed := filepath.Join(t.TempDir(), "c.log")
	if err := os.WriteFile(timed, []byte("2026-11-20T08:00:00.5Z a\n2026-11-20T08:00:01.004Z b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(timed, seekStart, seekStart.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if got := seekOffset(t, openInput(t, timed), seekStart.Add(1002*time.Millisecond)); got != 25 {
		t.Errorf("a line of the last tick: offset %d, want 25", got)
	}
	empty := filepath.Join(t.TempDir(), "b.log")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{{}, written, time.Now().Add(time.Hour)} {
		if got := seekOffset(t, openInput(t, empty), at); got != 0 {
			t.Errorf("empty file: offset %d", got)
		}
	}
}

func TestSeekInUTF16(t *testing.T) {
	t.Parallel()
	text, _ := seekFile(rand.New(rand.NewPCG(5, 6)), 5_000, 2, 80)
	file := []byte{0xff, 0xfe}
	var offsets []int64
	for _, line := range strings.SplitAfter(string(text), "\n") {
		if _, ok := lineTime([]byte(line)); ok {
			offsets = append(offsets, int64(len(file)))
		}
		for _, u := range utf16.Encode([]rune(line)) {
			file = append(file, byte(u), byte(u>>8))
		}
	}
	offsets[0] = 0 // with the byte order mark
	path := filepath.Join(t.TempDir(), "a.log")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	in := openInput(t, path)
	for k := 0; k < 5_000; k += 83 {
		if got := seekOffset(t, in, seekStart.Add(time.Duration(k)*time.Second)); got != offsets[k] {
			t.Fatalf("line %d: offset %d, want %d", k, got, offsets[k])
		}
	}
}

// FuzzSeek: whatever is in a file, seeking ends at a line's beginning or the end.
func FuzzSeek(f *testing.F) {
	text, _ := seekFile(rand.New(rand.NewPCG(7, 8)), 50, 2, 40)
	f.Add(text, int64(20))
	f.Add([]byte("\xff\xfea\x00\n"), int64(1))
	f.Add([]byte("\x00\x00\x00\n\n\n2026-11-20T08:00:00Z"), int64(-5))
	f.Add(bytes.Repeat([]byte("z"), 200<<10), int64(0))
	f.Fuzz(func(t *testing.T, text []byte, seconds int64) {
		path := filepath.Join(t.TempDir(), "a.log")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		at := seekStart.Add(time.Duration(seconds%1e6) * time.Second)
		offset := seekOffset(t, openInput(t, path), at)
		if offset < 0 || offset > int64(len(text)) {
			t.Fatalf("offset %d of %d", offset, len(text))
		}
		if !bytes.HasPrefix(text, []byte{0xff, 0xfe}) && !bytes.HasPrefix(text, []byte{0xfe, 0xff}) &&
			offset > 0 && text[offset-1] != '\n' {
			t.Fatalf("offset %d is within a line", offset)
		}
	})
}
