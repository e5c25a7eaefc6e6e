package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// oracle splits a whole file in the plainest way.
func oracle(data []byte, most int) (lines []line) {
	unit, big, at := 1, false, 0
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		at = 3
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		unit, at = 2, 2
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		unit, at, big = 2, 2, true
	}
	char := func(i int) int {
		switch {
		case unit == 1:
			return int(data[i])
		case i+1 >= len(data):
			return -1 // half a unit
		case big:
			return int(data[i])<<8 | int(data[i+1])
		}
		return int(data[i+1])<<8 | int(data[i])
	}
	for at < len(data) {
		for at < len(data) && char(at) == 0 {
			at += unit
		}
		if len(data)-at == 1 && unit == 2 && data[at] == 0 {
			break // half a NUL
		}
		end := at
		for end < len(data) && char(end) != '\n' {
			end += unit
		}
		next, flags := end+unit, record.TimeAssigned
		if end >= len(data) {
			end, next, flags = len(data), len(data), flags|record.Torn
		}
		text := data[at:end]
		if n := len(text); n >= unit && n%unit == 0 && char(end-unit) == '\r' {
			text = text[:n-unit]
		}
		cut := len(text) > most
		if cut && unit == 1 {
			n := most
			for n > most-4 && n > 0 && !utf8.RuneStart(text[n]) {
				n--
			}
			if n == most-4 || n == 0 {
				n = most
			}
			text = text[:n]
		} else if cut {
			text = text[:most/2*2]
		}
		s := string(text)
		if unit == 2 {
			s = decodeSimply(text, big)
			if len(s) > most {
				cut = true
				n := most
				for !utf8.RuneStart(s[n]) {
					n--
				}
				s = s[:n]
			}
		}
		if cut {
			flags |= record.Truncated
		}
		// What is left of a line that was cut is passed over, torn or not.
		if cut && len(data[at:end]) >= most+cutSlack {
			flags &^= record.Torn
		}
		if len(text) > 0 {
			lines = append(lines, line{text: s, offset: int64(at), flags: flags})
		}
		at = next
	}
	return lines
}

func decodeSimply(text []byte, big bool) string {
	var units []uint16
	for i := 0; i+1 < len(text); i += 2 {
		u := uint16(text[i]) | uint16(text[i+1])<<8
		if big {
			u = u>>8 | u<<8
		}
		units = append(units, u)
	}
	s := string(utf16.Decode(units))
	if len(text)%2 == 1 {
		s += "\uFFFD"
	}
	return s
}

func testSource(tb testing.TB, path string, most int) *source {
	tb.Helper()
	src, err := newSource(&config.Source{Name: "logs", StartAt: "beginning", File: &config.FileSource{
		Paths: []string{path}, MaxLineBytes: config.Bytes(most),
	}}, sources.Deps{})
	if err != nil {
		tb.Fatal(err)
	}
	src.inotify = new(instance) // what other tests do is not waited for
	return src
}

// testInput opens a file without discovery.
func testInput(tb testing.TB, src *source, path string) *input {
	tb.Helper()
	src.noInotify = true
	d := newDiscovery(src, func(sources.Input) {})
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	fd := int(f.Fd())
	_, id, _, err := fstat(fd)
	if err != nil {
		tb.Fatal(err)
	}
	in, _ := d.newInput(f, fd, id, path)
	tb.Cleanup(func() { f.Close() })
	return in
}

// checkSplit writes data in pieces, reads in between with small windows, goes
// on from positions as it likes, and compares with the oracle.
func checkSplit(tb testing.TB, path string, data []byte, most int, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	src := testSource(tb, path, most)
	src.window, src.step = 8+rnd.Int64N(1<<(1+rnd.IntN(9))), 8+rnd.IntN(60)
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		tb.Fatal(err)
	}
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer w.Close()
	in := testInput(tb, src, path)
	var got []line
	open := func(pos record.Position) *reader {
		rd, err := in.Open(pos)
		if err != nil {
			tb.Fatal(err)
		}
		return rd.(*reader)
	}
	rd := open("")
	drain := func() {
		for reads := 0; ; reads++ {
			b := record.NewBatch()
			err := rd.Read(b)
			if err != nil && err != io.EOF {
				tb.Fatal(err)
			}
			for i := range b.Records {
				rec := &b.Records[i]
				got = append(got, line{text: string(rec.Line), offset: rec.Offset, flags: rec.Flags})
			}
			next := b.After
			if n := len(b.Records); n > 0 && rnd.IntN(8) == 0 {
				i := rnd.IntN(n)
				next = b.PositionAt(&b.Records[i])
				got = got[:len(got)-n+i]
			}
			again := rnd.IntN(4) == 0 || next != b.After
			b.Release()
			if err == io.EOF {
				return
			}
			if again {
				rd.Close()
				rd = open(next)
			} else if !rd.more {
				return
			}
			if reads > 20*len(data)+1000 {
				tb.Fatalf("reading does not end: %+v", rd)
			}
		}
	}
	for rest := data; len(rest) > 0; {
		n := 1 + rnd.IntN(min(len(rest), 1+rnd.IntN(300)))
		w.Write(rest[:n])
		rest = rest[n:]
		drain()
	}
	in.goneAt = time.Unix(1, 0)
	src.tearAfter, src.endAfter = -time.Hour, -time.Hour
	rd.Close()
	rd = open(rd.pos)
	drain()
	if want := oracle(data, most); !slices.Equal(got, want) {
		tb.Fatalf("max %d, seed %d, window %d, step %d\ndata %q\ngot  %+v\nwant %+v", most, seed, src.window, src.step, data, got, want)
	}
}

var splitSeeds = []string{
	"", "\n", "\r\n", "a", "a\nb\n", "a\r\nb\r\r\n\n\nc", "\xef\xbb\xbfmark\n", "\xef\xbb\xbf", "\xef\xbb",
	"\xff\xfea\x00\n\x00\x0a\x0ab\x00\r\x00\n\x00\x3d\xd8\x00\xdec\x00", "\xfe\xff\x00a\x00\r\x00\n\x0a\x0a\x00b\x00\n\xd8\x3d\x00", "\xff\xfe",
	"\x00\x00\x00a\n\x00\x00\n\x00b\x00c\n\x00\x00", "\xff\xfe\x00\x00a\x00\n\x00\x00",
	strings.Repeat("x", 15) + "\r\n" + strings.Repeat("x", 16) + "\r\n" + strings.Repeat("x", 17) + "\r\n" + strings.Repeat("x", 18) + "\n" + strings.Repeat("x", 300) + "\nend\n",
	strings.Repeat("\u20ac", 20) + "\n" + strings.Repeat("\u20ac", 20), strings.Repeat("\x80", 40) + "\n",
	"one\n" + strings.Repeat("\x00", 3000) + "two\n", strings.Repeat("line\n", 500),
	"\xff\xfe" + strings.Repeat("x\x00", 100) + "\n\x00y\x00", "\xfe\xff" + strings.Repeat("\x20\xac", 30) + "\x00\n\x00y",
}

func TestSplitAsOracle(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i, text := range splitSeeds {
		for seed := range uint64(12) {
			checkSplit(t, filepath.Join(dir, fmt.Sprint(i, "-", seed)), []byte(text), 16+int(seed)%3, seed)
		}
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	for i := range 400 {
		var data []byte
		switch rnd.IntN(4) {
		case 0:
			data = append(data, "\xff\xfe"...)
		case 1:
			data = append(data, "\xfe\xff"...)
		}
		for range rnd.IntN(1500) {
			data = append(data, "aab\n\n\r\x00\x00\x80\xc3"[rnd.IntN(10)])
		}
		checkSplit(t, filepath.Join(dir, fmt.Sprint("r", i)), data, 16+rnd.IntN(40), rnd.Uint64())
	}
}

func FuzzSplit(f *testing.F) {
	for i, s := range splitSeeds {
		f.Add([]byte(s), byte(i), uint64(i))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte, most byte, seed uint64) {
		if len(data) > 2000 {
			return
		}
		path := filepath.Join(dir, fmt.Sprint(os.Getpid()))
		os.Remove(path)
		checkSplit(t, path, data, leastMaxLine+int(most), seed)
	})
}

func FuzzPosition(f *testing.F) {
	f.Add("")
	f.Add("1:0:ef46db3751d8e999:ef46db3751d8e999:/var/log/a%20b")
	f.Add("1:12s:ef46db3751d8e999:ef46db3751d8e999:%25")
	f.Add("1:00:ef46db3751d8e999:ef46db3751d8e999:")
	f.Add("1:9223372036854775808:ef46db3751d8e999:ef46db3751d8e999:/x")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePosition(record.Position(s))
		if err != nil {
			return
		}
		if got := p.text(); s != "" && string(got) != s {
			t.Fatalf("%q is written as %q", s, got)
		}
		if p.offset < 0 {
			t.Fatalf("%q has offset %d", s, p.offset)
		}
		path, _ := unescapePath(p.path)
		if escapePath(path) != p.path {
			t.Fatalf("path %q", p.path)
		}
	})
}

func TestPositionIsPrintable(t *testing.T) {
	t.Parallel()
	path := "/var/log/tab\t%newline\n\xff\u20ac name"
	p := place{offset: 1<<63 - 1, skip: true, head: 1, tail: 1<<64 - 1, path: escapePath(path)}
	text := p.text()
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' {
			t.Fatalf("position %q", text)
		}
	}
	got, err := parsePosition(text)
	if err != nil || got != p {
		t.Fatalf("%q became %+v: %v", text, got, err)
	}
	if back, _ := unescapePath(got.path); back != path {
		t.Fatalf("path became %q", back)
	}
	for _, bad := range []record.Position{"x", "1:", "2:0:ef46db3751d8e999:ef46db3751d8e999:/", "1:-1:ef46db3751d8e999:ef46db3751d8e999:/", "1:1:EF46db3751d8e999:ef46db3751d8e999:/"} {
		if _, err := parsePosition(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestOpenChecksTheFingerprint(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, strings.Repeat("some line\n", 1000))
	src := testSource(t, path, 0)
	in := testInput(t, src, path)
	read := func() record.Position {
		rd, err := in.Open("")
		must(t, err)
		b := record.NewBatch()
		defer b.Release()
		must(t, rd.Read(b))
		return b.After
	}
	pos := read()
	if _, err := in.Open(pos); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(){
		"head": func() { must(t, writeAt(path, "S", 0)) },
		"tail": func() { must(t, writeAt(path, "S", 9990)) },
		"size": func() { must(t, os.Truncate(path, 9999)) },
	} {
		must(t, os.WriteFile(path, []byte(strings.Repeat("some line\n", 1000)), 0o644))
		if _, err := in.Open(pos); err != nil {
			t.Fatal(err)
		}
		change()
		if _, err := in.Open(pos); !errors.Is(err, sources.ErrStale) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := in.Open("nonsense"); !errors.Is(err, sources.ErrStale) {
		t.Errorf("nonsense: %v", err)
	}
}

func writeAt(path, text string, at int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte(text), at)
	return err
}
