package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lbshipd/lbshipd/record"
)

// spoiled is a spool of numbered lines in one segment, and where its frames are.
type spoiled struct {
	dir   string
	name  string
	data  []byte
	ends  []int // of each frame
	lines []int // up to each frame's end
}

func newSpoiled(t *testing.T, frames, step int) *spoiled {
	t.Helper()
	p := &spoiled{dir: t.TempDir()}
	s, _ := open(t, p.dir, Options{})
	for n := range frames {
		put(t, s, n*step, (n+1)*step, step)
		p.ends = append(p.ends, int(s.Stats().Bytes))
		p.lines = append(p.lines, (n+1)*step)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p.name = filepath.Base(segmentsOf(t, p.dir)[0])
	var err error
	if p.data, err = os.ReadFile(filepath.Join(p.dir, p.name)); err != nil {
		t.Fatal(err)
	}
	return p
}

// with opens a copy whose segment is data, with the cursor or without.
func (p *spoiled) with(t *testing.T, data []byte, cursor bool) (*Spool, *events, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, p.name), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if cursor {
		c, err := os.ReadFile(filepath.Join(p.dir, cursorName))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, cursorName), c, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, said := open(t, dir, Options{FS: unsynced{}})
	return s, said, dir
}

// A file that ends at any byte: exactly the frames that are whole survive, what
// is missing is counted if it had been promised, and the spool goes on.
func TestCutAtEveryByte(t *testing.T) {
	p := newSpoiled(t, 6, 3)
	for cut := range len(p.data) + 1 {
		survive := 0
		for i, end := range p.ends {
			if end <= cut {
				survive = p.lines[i]
			}
		}
		for _, cursor := range []bool{true, false} {
			s, said, _ := p.with(t, p.data[:cut], cursor)
			d := drain(t, s, true)
			wantRange(t, d.lines, 0, survive)
			lost := int64(18 - survive)
			if !cursor {
				lost = 0 // nobody knows that there was more
			}
			if d.lost != lost {
				t.Fatalf("cut at %d, cursor %v: %d lost, want %d", cut, cursor, d.lost, lost)
			}
			torn := cut > segmentHeader && !slices.Contains(p.ends, cut)
			if got := said.count(OpTorn) > 0; got != torn {
				t.Fatalf("cut at %d: torn is %v, want %v: %v", cut, got, torn, said.list)
			}
			put(t, s, 100, 104, 2)
			wantRange(t, drain(t, s, true).lines, 100, 104)
			s.Close()
		}
	}
}

// Any byte may be anything: the frame that it is in is lost and counted, and no
// other.
func TestFlipAtEveryByte(t *testing.T) {
	p := newSpoiled(t, 5, 2)
	for at := range p.data {
		data := bytes.Clone(p.data)
		data[at] ^= byte(1 + at%255)
		s, _, dir := p.with(t, data, true)
		d := drain(t, s, true)
		var want []int
		start := segmentHeader
		for i, end := range p.ends {
			if at < segmentHeader || at < start || at >= end {
				want = append(want, 2*i, 2*i+1)
			}
			start = end
		}
		if at == 7 && data[7] >= '0' && data[7] <= 'z' {
			want = nil // another version: set aside
			if names, _ := filepath.Glob(filepath.Join(dir, "*.aside-*")); len(names) != 1 {
				t.Fatalf("flip at %d: not set aside", at)
			}
		}
		if !slices.Equal(d.lines, want) || d.lost != int64(10-len(want)) {
			t.Fatalf("flip at %d: %v and %d lost, want %v", at, d.lines, d.lost, want)
		}
		s.Close()
	}
}

// Random damage of any extent to several segments: what survives is in order and
// unchanged, and survivors and lost add up.
func TestRandomDamageAddsUp(t *testing.T) {
	rnd := seeded(t)
	for round := range 150 {
		dir := t.TempDir()
		s, _ := open(t, dir, Options{SegmentBytes: 1 << 10, FS: unsynced{}})
		total := 100 + rnd.IntN(200)
		put(t, s, 0, total, 1+rnd.IntN(9))
		s.Close()
		for range 1 + rnd.IntN(4) {
			spoil(t, segmentsOf(t, dir), rnd.IntN)
		}
		s, _ = open(t, dir, Options{SegmentBytes: 1 << 10, FS: unsynced{}})
		d := drain(t, s, rnd.IntN(2) == 0)
		if !slices.IsSorted(d.lines) || len(slices.Compact(slices.Clone(d.lines))) != len(d.lines) {
			t.Fatalf("round %d: out of order or twice: %v", round, d.lines)
		}
		if len(d.lines)+int(d.lost) != total {
			t.Fatalf("round %d: %d lines and %d lost, want %d together", round, len(d.lines), d.lost, total)
		}
		put(t, s, total, total+5, 1)
		if got := drain(t, s, true).lines; !slices.Equal(got, []int{total, total + 1, total + 2, total + 3, total + 4}) {
			t.Fatalf("round %d: afterwards %v", round, got)
		}
		if len(segmentsOf(t, dir)) != 0 {
			t.Fatalf("round %d: segments stay", round)
		}
		s.Close()
	}
}

// spoil damages one of the files.
func spoil(t *testing.T, names []string, intN func(int) int) {
	t.Helper()
	name := names[intN(len(names))]
	data, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return // an earlier one has deleted it
	}
	if err != nil {
		t.Fatal(err)
	}
	switch at := intN(len(data) + 1); intN(5) {
	case 0:
		data = data[:at]
	case 1: // zeros, as a file system leaves them
		clear(data[at:min(len(data), at+intN(600))])
	case 2: // a piece of it once more
		data = slices.Concat(data[:at], data[at/2:at], data[at:])
	case 3:
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		return
	default:
		for range 1 + intN(3) {
			if len(data) > 0 {
				data[intN(len(data))] ^= byte(1 << intN(8))
			}
		}
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What stands in a log line is never taken for a frame: here a line holds a
// whole segment of the same numbers, and the frame around it is damaged.
func TestLinesThatLookLikeFramesAreNone(t *testing.T) {
	inner := newSpoiled(t, 3, 1)
	dir := t.TempDir()
	s, _ := open(t, dir, Options{})
	evil := record.NewBatch()
	defer evil.Release()
	evil.Origin = testOrigin
	r := evil.Add()
	r.Line = evil.Copy(inner.data)
	r.Message = r.Line
	if _, err := s.Append([]Entry{{Batch: batchOf(t, 0, 1)}, {Batch: evil}, {Batch: batchOf(t, 1, 2)}}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	name := segmentsOf(t, dir)[0]
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, inner.data[:40])
	data[at-60] ^= 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, dir, Options{})
	d := drain(t, s, true)
	if !slices.Equal(d.lines, []int{0, 1}) || d.lost != 1 {
		t.Errorf("%+v", d)
	}
}

// Files that are no spool's, or another version's, never keep it from opening.
func TestForeignFilesAreSetAside(t *testing.T) {
	dir := t.TempDir()
	id := segmentID{1, 1, 7}
	newer := id.header(1)
	newer[7] = '2'
	for name, data := range map[string][]byte{
		id.name():                         append(newer, "what only a later version knows"...),
		segmentID{9, 9, 1}.name():         bytes.Repeat([]byte("x"), 500),
		"no-such-name.seg":                []byte("?"),
		segmentID{20, 90, 1}.name():       nil,
		"README":                          []byte("hello"),
		cursorName:                        []byte("not a cursor"),
		"0000000000000001.seg.aside-1700": []byte("earlier"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, segmentID{30, 90, 1}.name()), 0o700); err != nil {
		t.Fatal(err)
	}
	s, said := open(t, dir, Options{})
	if n := said.count(OpAside); n != 3 {
		t.Errorf("%d files set aside, want 3: %v", n, said.list)
	}
	if said.count(OpCursor) != 1 {
		t.Errorf("nothing said of the cursor: %v", said.list)
	}
	put(t, s, 0, 10, 2)
	wantRange(t, drain(t, s, true).lines, 0, 10)
	if _, err := os.Stat(filepath.Join(dir, "README")); err != nil {
		t.Error(err)
	}
}

func TestDamagedCursor(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir, Options{})
	frames := put(t, s, 0, 100, 10)
	s.Answered(frames[2])
	s.Answered(frames[3])
	s.Close()
	good, err := os.ReadFile(filepath.Join(dir, cursorName))
	if err != nil {
		t.Fatal(err)
	}
	for at := range good {
		copied := copyDir(t, dir)
		data := bytes.Clone(good)
		data[at] ^= 0x10
		if err := os.WriteFile(filepath.Join(copied, cursorName), data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, _ := open(t, copied, Options{FS: unsynced{}})
		d := drain(t, s, true)
		if d.lost != 0 || len(d.lines) == 0 || d.lines[0] > 40 || d.lines[len(d.lines)-1] != 99 || len(d.lines) != 100-d.lines[0] {
			t.Fatalf("flip at %d: %+v", at, d)
		}
		s.Close()
	}
	copied := copyDir(t, dir)
	if err := os.WriteFile(filepath.Join(copied, cursorName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, said := open(t, copied, Options{})
	if d := drain(t, s, true); len(d.lines) != 100 || said.count(OpCursor) != 1 {
		t.Errorf("without a cursor: %+v, %v", d, said.list)
	}
}

func TestInspectTellsDamage(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir, Options{SegmentBytes: 1 << 10})
	frames := put(t, s, 0, 200, 10)
	s.Answered(frames[4])
	var seen []string
	rep, err := Inspect(dir, true, func(b *record.Batch, _ Given) {
		for i := range b.Records {
			seen = append(seen, string(b.Records[i].Line))
		}
	})
	if err != nil || rep.Damaged() || rep.Unanswered != 150 || rep.Answered != 5 || len(seen) != 150 || seen[0] != "line 50 of the test" {
		t.Errorf("%+v, %v, %d lines", rep, err, len(seen))
	}
	names := segmentsOf(t, dir)
	data, err := os.ReadFile(names[len(names)-2])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-10] ^= 1
	if err := os.WriteFile(names[len(names)-2], data, 0o600); err != nil {
		t.Fatal(err)
	}
	if rep, err := Inspect(dir, true, nil); err != nil || !rep.Damaged() {
		t.Errorf("a flipped bit is not told: %+v, %v", rep, err)
	}
	if err := os.Remove(names[len(names)-2]); err != nil {
		t.Fatal(err)
	}
	if rep, err := Inspect(dir, false, nil); err != nil || len(rep.Damage) != 1 {
		t.Errorf("a missing segment is not told: %+v, %v", rep, err)
	}
	if _, err := Inspect(filepath.Join(dir, "none"), false, nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// Reading while another process appends and answers.
func TestInspectWhileItIsUsed(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir, Options{SegmentBytes: 2 << 10})
	done := make(chan error, 1)
	go func() {
		for n := range 400 {
			b := record.NewBatch()
			b.Origin = testOrigin
			r := b.Add()
			r.Line = b.Copy(fmt.Appendf(nil, "line %d", n))
			r.Message = r.Line
			_, err := s.Append([]Entry{{Batch: b}})
			b.Release()
			if err != nil {
				done <- err
				return
			}
			if n%3 == 0 {
				continue
			}
			b = record.NewBatch()
			g, err := s.Next(b)
			b.Release()
			if err != nil && !errors.Is(err, io.EOF) {
				done <- err
				return
			}
			s.Answered(g.Frame)
		}
		done <- nil
	}()
	for looks := 0; ; looks++ {
		rep, err := Inspect(dir, true, nil)
		if err != nil || rep.Damaged() {
			t.Fatalf("look %d: %+v, %v", looks, rep, err)
		}
		select {
		case err := <-done:
			if err != nil || looks < 3 {
				t.Errorf("%d looks, %v", looks, err)
			}
			return
		default:
		}
	}
}
