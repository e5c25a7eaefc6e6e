package spool

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestWhatGoesInComesOutInOrder(t *testing.T) {
	s, _ := open(t, t.TempDir(), Options{SegmentBytes: 4 << 10})
	put(t, s, 0, 1000, 7)
	if st := s.Stats(); st.Records != 1000 || st.Segments < 3 {
		t.Errorf("stats: %+v", st)
	}
	d := drain(t, s, true)
	wantRange(t, d.lines, 0, 1000)
	put(t, s, 1000, 1100, 7)
	wantRange(t, drain(t, s, true).lines, 1000, 1100)
}

func TestSpoolNeedsNoManualDeletion(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir, Options{SegmentBytes: 4 << 10})
	put(t, s, 0, 1000, 10)
	before := len(segmentsOf(t, dir))
	b := drain(t, s, false)
	s.Answered(Frame{b.last.Number / 2, 1 + 10*b.last.Number/2})
	if now := len(segmentsOf(t, dir)); now >= before || now == 0 {
		t.Errorf("half is answered: %d segments of %d are there", now, before)
	}
	s.Answered(b.last)
	if now := segmentsOf(t, dir); len(now) != 0 || s.Stats().Bytes != 0 {
		t.Errorf("all is answered: %v, %+v", now, s.Stats())
	}

	// A crash between the answer and the deletion leaves segments behind.
	put(t, s, 1000, 2000, 10)
	left := copyDir(t, dir)
	drain(t, s, true)
	s.Close()
	cursor, err := os.ReadFile(filepath.Join(dir, cursorName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, cursorName), cursor, 0o600); err != nil {
		t.Fatal(err)
	}
	if len(segmentsOf(t, left)) == 0 {
		t.Fatal("nothing was left behind")
	}
	s, _ = open(t, left, Options{})
	if got := segmentsOf(t, left); len(got) != 0 {
		t.Errorf("answered segments are still there: %v", got)
	}
	put(t, s, 2000, 2010, 1)
	if d := drain(t, s, true); len(d.lines) != 10 || d.lost != 0 {
		t.Errorf("%+v", d)
	}
}

func TestReopenedSpoolGoesOnBehindTheAnswer(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir, Options{SegmentBytes: 4 << 10})
	frames := put(t, s, 0, 500, 5)
	s.Answered(frames[49])
	s.Close()
	s, said := open(t, dir, Options{SegmentBytes: 4 << 10})
	put(t, s, 500, 600, 5)
	d := drain(t, s, true)
	wantRange(t, d.lines, 250, 600)
	if d.lost != 0 || len(said.list) != 0 {
		t.Errorf("lost %d, said %v", d.lost, said.list)
	}
}

func TestPassedFramesAreNotGiven(t *testing.T) {
	s, _ := open(t, t.TempDir(), Options{SegmentBytes: 1 << 10})
	frames := put(t, s, 0, 100, 10)
	s.Passed(frames[3].Number)
	s.Answered(frames[1])
	d := drain(t, s, true)
	wantRange(t, d.lines, 40, 100)
	if d.lost != 0 {
		t.Errorf("lost %d", d.lost)
	}
}

func TestFullSpoolTakesNoMore(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir, Options{MaxBytes: 64 << 10, SegmentBytes: 4 << 10})
	n := 0
	for {
		_, err := s.Append([]Entry{{Batch: batchOf(t, n, n+10)}})
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n += 10
	}
	var size int64
	for _, name := range segmentsOf(t, dir) {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > 64<<10 || size < 60<<10 || size != s.Stats().Bytes {
		t.Errorf("%d bytes on disk, stats %+v", size, s.Stats())
	}
	d := drain(t, s, true)
	wantRange(t, d.lines, 0, n)
	put(t, s, n, n+100, 10)
	wantRange(t, drain(t, s, true).lines, n, n+100)
}
