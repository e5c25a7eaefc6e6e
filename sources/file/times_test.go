package file

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// timed opens inputs whose times are remembered in a data directory.
type timed struct {
	t     *testing.T
	dir   string
	store *positions.Store
	path  string
	start string
}

func newTimed(t *testing.T) *timed {
	d := &timed{t: t, dir: t.TempDir(), path: filepath.Join(t.TempDir(), "app.log"), start: "beginning"}
	d.restart()
	return d
}

// restart is a restart of the daemon, as far as times are concerned.
func (d *timed) restart() {
	d.t.Helper()
	if d.store != nil {
		must(d.t, d.store.Close())
	}
	var err error
	d.store, err = positions.Open(d.dir, slog.New(slog.DiscardHandler))
	must(d.t, err)
	d.t.Cleanup(func() { d.store.Close() })
}

// input discovers the file, by a source that reads as much at a time as given.
func (d *timed) input(window int64) sources.Input {
	d.t.Helper()
	s, err := newSource(&config.Source{Name: "logs", StartAt: d.start, File: &config.FileSource{Paths: []string{d.path}, MaxLineBytes: 1 << 10}},
		sources.Deps{Location: time.UTC, Times: func(input string, offsetOf func(record.Position) (int64, bool)) sources.Times {
			return d.store.Times().Of("logs", input, offsetOf)
		}})
	must(d.t, err)
	s.window, s.step = window, int(min(window, stepBytes))
	found := make(chan sources.Input, 1)
	done := make(chan struct{})
	ctx := d.t.Context()
	go func() {
		defer close(done)
		_ = s.Run(ctx, func(in sources.Input) { found <- in })
	}()
	d.t.Cleanup(func() { <-done })
	return <-found
}

type timedLine struct {
	text   string
	offset int64
	time   int64
}

// read reads what there is from pos on, until after most lines.
func (d *timed) read(rd sources.Reader, most int) (lines []timedLine, gaps int) {
	d.t.Helper()
	for len(lines) < most {
		b := record.NewBatch()
		err := rd.Read(b)
		if _, ok := err.(*sources.GapError); ok {
			gaps++
		} else if err != nil && err != io.EOF {
			d.t.Fatal(err)
		}
		for i := range b.Records {
			r := &b.Records[i]
			at, until := b.TimeAt(r.Offset)
			if until <= r.Offset {
				d.t.Fatalf("at %d times go on up to %d", r.Offset, until)
			}
			lines = append(lines, timedLine{string(r.Line), r.Offset, at})
		}
		n := len(b.Records)
		b.Release()
		if n == 0 && err == nil && !rd.(*reader).more {
			return lines, gaps
		}
	}
	return lines, gaps
}

func (d *timed) open(window int64, pos record.Position) sources.Reader {
	d.t.Helper()
	rd, err := d.input(window).Open(pos)
	must(d.t, err)
	d.t.Cleanup(func() { rd.Close() })
	return rd
}

// The time of a line does not depend on how much is read at once, by how many
// Readers, how often from where, or how long it is.
func TestTimesDoNotDependOnHowTheFileIsRead(t *testing.T) {
	t.Parallel()
	d := newTimed(t)
	given := map[int64]timedLine{}
	seen := map[int64]bool{}
	readers := map[sources.Reader]bool{}
	f, err := os.OpenFile(d.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err)
	defer f.Close()
	for round := range 60 {
		for range rand.IntN(200) {
			line := strings.Repeat("x", rand.IntN(60))
			switch rand.IntN(30) {
			case 0:
				line = strings.Repeat("long ", 500) // is cut
			case 1:
				line = string(make([]byte, 1+rand.IntN(5000))) + line // left behind by a crash
			}
			_, err := fmt.Fprintf(f, "%s\n", line)
			must(t, err)
		}
		if round%7 == 6 {
			for rd := range readers {
				rd.Close()
			}
			clear(readers)
			d.restart()
		}
		if len(readers) < 3 {
			readers[d.open([]int64{1 << 10, 4 << 10, 64 << 10, windowBytes}[rand.IntN(4)], "")] = true
		}
		for rd := range readers {
			lines, _ := d.read(rd, 1+rand.IntN(3000))
			for _, l := range lines {
				if had, ok := given[l.offset]; !ok {
					if seen[l.time] {
						t.Fatalf("round %d: two lines are of %d", round, l.time)
					}
					given[l.offset], seen[l.time] = l, true
				} else if had != l {
					t.Fatalf("round %d: %+v was %+v", round, l, had)
				}
			}
		}
	}
	if len(given) < 100 {
		t.Errorf("only %d lines", len(given))
	}
}

// The file is emptied and written anew, byte for byte the same: these are new
// lines with new times, whether somebody was looking or not, and they keep them.
func TestReplacedFileGetsNewTimes(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("tick\n", 1000)
	for _, seen := range []bool{true, false} {
		t.Run(fmt.Sprintf("seen %v", seen), func(t *testing.T) {
			d := newTimed(t)
			write(t, d.path, text)
			rd := d.open(windowBytes, "")
			old, _ := d.read(rd, 1000)
			must(t, os.Truncate(d.path, 0))
			if seen {
				if _, gaps := d.read(rd, 1); gaps != 1 {
					t.Errorf("%d gaps", gaps)
				}
			}
			write(t, d.path, text[:len(text)/2])
			if !seen {
				d.restart()
				rd = d.open(windowBytes, "")
			}
			lines, _ := d.read(rd, 500)
			if len(old) != 1000 || len(lines) != 500 {
				t.Fatalf("%d and %d lines", len(old), len(lines))
			}
			if lines[0].time <= old[len(old)-1].time {
				t.Errorf("new line of %d, the last old one is of %d", lines[0].time, old[len(old)-1].time)
			}
			d.restart()
			if again, _ := d.read(d.open(4<<10, ""), 500); len(again) != 500 || again[0] != lines[0] || again[499] != lines[499] {
				t.Error("after a restart they have other times")
			}
		})
	}
}

// A Reader that is behind, and has not noticed yet that the file was emptied,
// does not leave times behind for what comes to lie at its offsets.
func TestReaderThatIsBehindDoesNotSpoilNewContent(t *testing.T) {
	t.Parallel()
	d := newTimed(t)
	write(t, d.path, strings.Repeat("old\n", 2000))
	in := d.input(windowBytes)
	live, err := in.Open("")
	must(t, err)
	late, err := in.Open("")
	must(t, err)
	b := record.NewBatch() // read, and not looked at yet
	must(t, late.Read(b))
	d.read(live, 2000)
	must(t, os.Truncate(d.path, 0))
	b2 := record.NewBatch()
	if err := live.Read(b2); err == nil {
		t.Fatal("no gap")
	}
	write(t, d.path, "new\n")
	stray, _ := b.TimeAt(4000)
	lines, _ := d.read(live, 1)
	if len(lines) != 1 || lines[0].time <= stray {
		t.Fatalf("%v behind %d", lines, stray)
	}
	<-time.After(40 * time.Millisecond) // so that a time from before can be told
	before := time.Now().Add(-20 * time.Millisecond).UnixNano()
	write(t, d.path, strings.Repeat("new\n", 2000))
	for _, l := range first(d.read(live, 2000)) {
		if l.time < before {
			t.Fatalf("%+v has a time from before it was there", l)
		}
	}
	lines, gaps := d.read(late, 1)
	if gaps != 1 || lines[0].offset != 0 || lines[0].time > before {
		t.Errorf("the late reader: %d gaps, %+v", gaps, lines[0])
	}
	live.Close()
	late.Close()
}

func first[A, B any](a A, _ B) A { return a }

// Each half of a line is of the time when it was seen; only its beginning counts.
func TestUnfinishedLineIsOfOneTime(t *testing.T) {
	t.Parallel()
	d := newTimed(t)
	write(t, d.path, "one\nhal")
	rd := d.open(windowBytes, "")
	d.read(rd, 10)
	write(t, d.path, "f\nthree\n")
	lines, _ := d.read(rd, 10)
	d.restart()
	again, _ := d.read(d.open(windowBytes, ""), 10)
	if len(lines) != 2 || len(again) != 3 || again[1] != lines[0] || again[2] != lines[1] {
		t.Errorf("%v, then %v", lines, again)
	}
}

// A rename keeps the times, for it keeps the input; what takes the name's place
// has none yet. Lines of both never share a time.
func TestTimesAcrossARotation(t *testing.T) {
	t.Parallel()
	d := newTimed(t)
	write(t, d.path, strings.Repeat("same\n", 50_000))
	old, _ := d.read(d.open(windowBytes, ""), 50_000)
	must(t, os.Rename(d.path, d.path+".1"))
	write(t, d.path, strings.Repeat("same\n", 50_000))
	lines, _ := d.read(d.open(windowBytes, ""), 50_000)
	seen := map[int64]bool{}
	for _, l := range append(old, lines...) {
		seen[l.time] = true
	}
	if len(seen) != 100_000 {
		t.Errorf("100000 equal lines of one stream have %d different times", len(seen))
	}
	d.restart()
	d.path += ".1"
	if again, _ := d.read(d.open(4<<10, ""), 50_000); len(again) != len(old) || again[0] != old[0] || again[49_999] != old[49_999] {
		t.Error("under its new name it has other times")
	}
}

// A file whose lines have no need of a time leaves no trace.
func TestNoTimesAreKeptUnlessAskedFor(t *testing.T) {
	t.Parallel()
	d := newTimed(t)
	write(t, d.path, "a\nb\n")
	rd := d.open(windowBytes, "")
	b := record.NewBatch()
	must(t, rd.Read(b))
	rd.Close()
	if _, err := os.Stat(filepath.Join(d.dir, "times")); !os.IsNotExist(err) {
		t.Errorf("there is a file: %v", err)
	}
	if !bytes.Equal(b.Records[0].Line, []byte("a")) {
		t.Errorf("%q", b.Records[0].Line)
	}
}

// A Reader that goes on in a copy of what a file held before it was replaced
// gives that content's times as long as there are no others, and does not spoil those of
// the new content.
func TestReaderOfACopy(t *testing.T) {
	t.Parallel()
	d := newTimed(t)
	write(t, d.path, strings.Repeat("old\n", 2000))
	in := d.input(windowBytes).(*input)
	rd, err := in.Open("")
	must(t, err)
	defer rd.Close()
	d.read(rd, 2000)
	times := rd.(*reader).stamps
	was, _ := times.times.At(times.era, 4000, 8000, rd.(*reader).at.tail)
	at := rd.(*reader).at
	must(t, os.Truncate(d.path, 0))
	write(t, d.path, "new\n")

	early := newReader(in, at)
	defer early.Close()
	if got, _ := early.stamps.times.At(early.stamps.era, 4000, 8000, 0); got != was {
		t.Errorf("from the copy it is of %d, was of %d", got, was)
	}
	if _, gaps := d.read(rd, 1); gaps != 1 {
		t.Fatalf("%d gaps", gaps)
	}
	late := newReader(in, at)
	defer late.Close()
	for range 2 { // before and after the new content was given times
		got, _ := late.stamps.times.At(late.stamps.era, 4000, 8000, 0)
		if again, _ := late.stamps.times.At(late.stamps.era, 4000, 8000, 0); got == was || again == got {
			t.Error("times of what is gone were kept for what is there")
		}
		d.read(rd, 1)
		late = newReader(in, at)
		defer late.Close()
	}
	if _, end, _ := times.times.State(); end != 4 {
		t.Errorf("the new content has times up to %d", end)
	}
}
