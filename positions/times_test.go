package positions

import (
	"bytes"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/record"
)

// timesRig is a Times whose clock a test sets, over a data directory that
// survives it. crash is what a SIGKILL does to it.
type timesRig struct {
	t     *testing.T
	dir   string
	clock time.Time
	log   bytes.Buffer
	store *Store
	*Times
}

func newTimesRig(t *testing.T) *timesRig {
	r := &timesRig{t: t, dir: t.TempDir(), clock: time.Unix(1_700_000_000, 0), store: &Store{entries: map[Key]Entry{}, dir: t.TempDir()}}
	r.store.now, r.store.log = r.now, slog.New(slog.DiscardHandler)
	r.crash()
	return r
}

func (r *timesRig) now() time.Time { return r.clock }

func (r *timesRig) crash() {
	if r.Times != nil && r.Times.file != nil {
		r.Times.file.Close()
	}
	r.Times = openTimes(r.dir, slog.New(slog.NewTextHandler(&r.log, nil)), r.store)
	r.Times.now = r.now
}

// numbered is an offsetOf for positions that are decimal offsets.
func numbered(p record.Position) (int64, bool) {
	n, err := strconv.ParseInt(string(p), 10, 64)
	return n, err == nil
}

func (r *timesRig) of(input string) *InputTimes { return r.Of("src", input, numbered) }

func (r *timesRig) answered(target, input string, offset int64) {
	r.store.Set(Key{"src", target, input}, record.Position(strconv.FormatInt(offset, 10)))
}

// paper is an input: the offsets of its lines, which of them carry no time, and
// the times that they were given first.
type paper struct {
	name  string
	lines []int64
	bare  []bool
	end   int64
	given map[int64]int64
	gaps  bool // lines may be given a time that lie before others that have one
}

func newPaper(name string, lines int) *paper {
	p := &paper{name: name, given: map[int64]int64{}}
	sparse := rand.IntN(3) == 0
	p.gaps = sparse
	for range lines {
		p.lines = append(p.lines, p.end)
		p.bare = append(p.bare, !sparse || rand.IntN(20) == 0)
		p.end += 2 + rand.Int64N(200)
	}
	return p
}

// read reads n lines from line number from on as one batch, and holds the
// times against those given before.
func (p *paper) read(t *testing.T, in *InputTimes, from, n int) {
	t.Helper()
	to := min(from+n, len(p.lines))
	end := p.end
	if to < len(p.lines) {
		end = p.lines[to]
	}
	era, _, _ := in.State()
	for i := from; i < to; i++ {
		if !p.bare[i] {
			continue
		}
		at, until := in.At(era, p.lines[i], end, uint64(end))
		if until <= p.lines[i] {
			t.Fatalf("%s: times at %d go on up to %d", p.name, p.lines[i], until)
		}
		if had, ok := p.given[p.lines[i]]; ok && had != at {
			t.Fatalf("%s: the line at %d is of %d, and was of %d", p.name, p.lines[i], at, had)
		}
		p.given[p.lines[i]] = at
	}
}

// Whatever a line is read for, in whatever batches, and however often the
// daemon was killed or the file rewritten since: it has the same time. Times grow with the
// offset, and are all different, also those of different inputs.
func TestTimesAreTheSameWheneverALineIsReadAgain(t *testing.T) {
	for range 60 {
		r := newTimesRig(t)
		began := r.clock.UnixNano()
		var papers []*paper
		type feed struct {
			paper       *paper
			target      string
			at, settled int
		}
		var feeds []*feed
		for i := range 1 + rand.IntN(4) {
			p := newPaper("in"+strconv.Itoa(i), 1+rand.IntN(600))
			papers = append(papers, p)
			for _, target := range []string{"a", "b", "c"}[:1+rand.IntN(3)] {
				at := 0
				if rand.IntN(4) == 0 {
					at = rand.IntN(len(p.lines)) // it starts at the end, or another one at the beginning
				}
				p.gaps = p.gaps || len(feeds) > 0 && feeds[len(feeds)-1].paper == p
				feeds = append(feeds, &feed{p, target, at, at})
				r.answered(target, p.name, p.lines[at])
			}
		}
		for range 400 {
			if rand.IntN(3) == 0 { // a clock is coarse
				r.clock = r.clock.Add(time.Duration(rand.Int64N(int64(20 * time.Millisecond))))
			}
			f := feeds[rand.IntN(len(feeds))]
			switch rand.IntN(12) {
			case 0: // killed: each target goes on where it has answered
				r.crash()
				for _, f := range feeds {
					f.at = f.settled
				}
			case 1: // answered
				f.settled += rand.IntN(f.at - f.settled + 1)
				if f.settled < len(f.paper.lines) {
					r.answered(f.target, f.paper.name, f.paper.lines[f.settled])
				}
			case 2:
				if rand.IntN(4) == 0 {
					if err := r.rewrite(); err != nil {
						t.Fatal(err)
					}
				}
			case 3: // a feed of its own
				f.at = f.settled
			default:
				n := 1 + rand.IntN(60)
				in := r.of(f.paper.name)
				f.paper.read(t, in, f.at, n)
				in.Close()
				f.at = min(f.at+n, len(f.paper.lines))
			}
		}
		seen := map[int64]bool{}
		for _, p := range papers {
			last := int64(0)
			for _, offset := range slices.Sorted(maps.Keys(p.given)) {
				at := p.given[offset]
				if seen[at] && !p.gaps {
					t.Fatalf("two lines are of %d", at)
				}
				seen[at] = seen[at] || !p.gaps
				if at <= last {
					t.Fatalf("%s: the line at %d is of %d, one before it of %d", p.name, offset, at, last)
				}
				last = at
				if at < began-1e9 || at > r.clock.UnixNano()+1e9 {
					t.Fatalf("%s: the line at %d is of %d, and was read between %d and %d", p.name, offset, at, began, r.clock.UnixNano())
				}
			}
		}
	}
}

// Content that replaced what was there is given times anew, also by a Reader
// that had not noticed yet, and also after a restart.
func TestReplacedContentGetsTimesOfItsOwn(t *testing.T) {
	r := newTimesRig(t)
	in, late := r.of("log"), r.of("log")
	era, _, _ := in.State()
	old, _ := in.At(era, 0, 100, 1)
	r.clock = r.clock.Add(time.Hour)
	next := in.Restart(era)
	if next == era || late.Restart(era) != next {
		t.Fatalf("eras: %d, %d", era, next)
	}
	if _, end, _ := in.State(); end != 0 {
		t.Errorf("times up to %d are known of new content", end)
	}
	stray, _ := late.At(era, 100, 5000, 9) // read before it was replaced
	fresh, _ := in.At(next, 0, 50, 2)
	if fresh-old < int64(time.Hour) || stray-old < int64(time.Hour) {
		t.Errorf("new content is of %v after the old one", time.Duration(fresh-old))
	}
	r.crash()
	in = r.of("log")
	if era, end, tail := in.State(); era != next || end != 50 || tail != 2 {
		t.Errorf("after a restart: era %d, end %d, tail %d", era, end, tail)
	}
	if again, _ := in.At(next, 0, 50, 2); again != fresh {
		t.Errorf("after a restart it is of %d, was of %d", again, fresh)
	}
	next = in.Restart(next)
	r.crash()
	if era, end, _ := r.of("log").State(); era != next || end != 0 {
		t.Errorf("nothing was read of the newest content: era %d, want %d, end %d", era, next, end)
	}
}

// A clock that was wrong and is set right is believed.
func TestClockSetBackIsBelieved(t *testing.T) {
	r := newTimesRig(t)
	in := r.of("log")
	right := r.clock
	r.clock = right.Add(24 * time.Hour)
	in.At(0, 0, 100, 0)
	r.clock = right
	at, _ := in.At(0, 100, 200, 0)
	if d := time.Duration(at - right.UnixNano()); d < 0 || d > maxAhead {
		t.Errorf("after the clock was set right a line is %v from now", d)
	}
	r.clock = right.Add(-200 * time.Millisecond)
	if next, _ := in.At(0, 200, 300, 0); next <= at {
		t.Errorf("a small step back: %d behind %d", next, at)
	}
}

// What every target has answered is dropped, and what one has not is kept, up
// to a bound: then what lies between is thinned, and what was given out last stays exact.
func TestTimesAreBounded(t *testing.T) {
	r := newTimesRig(t)
	in := r.of("log")
	r.answered("fast", "log", 0)
	r.answered("slow", "log", 0)
	const n = maxMarks + 50_000
	for i := range int64(n) {
		r.clock = r.clock.Add(20 * time.Millisecond)
		in.At(0, 10*i, 10*i+10, 0)
	}
	r.answered("fast", "log", 10*(n-1000))
	at := func(i int64) int64 { a, _ := in.At(0, 10*i, 10*i+10, 0); return a }
	first, early, middle, late := at(0), at(guarded-2), at(n/2), at(n-1)
	r.tend()
	if len(in.marks) > maxMarks || len(in.marks) < maxMarks/8 {
		t.Errorf("%d checkpoints", len(in.marks))
	}
	if at(0) != first || at(guarded-2) != early || at(n-1) != late {
		t.Error("what targets are about to be given has changed")
	}
	if off := time.Duration(at(n/2) - middle); off < -time.Second || off > time.Second {
		t.Errorf("in the middle times are wrong by %v", off)
	}
	last := int64(0)
	for i := range int64(n) {
		if at(i) <= last {
			t.Fatalf("at %d times go back", i)
		}
		last = at(i)
	}
	if !strings.Contains(r.log.String(), "not all of the times") {
		t.Error("nothing said")
	}
	r.answered("slow", "log", 10*(n-10))
	r.answered("fast", "log", 10*n)
	in.At(0, 10*n, 10*n+10, 0)
	if err := r.rewrite(); err != nil {
		t.Fatal(err)
	}
	if len(in.marks) > 11 || at(n-1) != late {
		t.Errorf("%d checkpoints where 10 are needed", len(in.marks))
	}
	info, err := os.Stat(filepath.Join(r.dir, timesName))
	if err != nil || info.Size() > 4<<10 {
		t.Errorf("the file: %v %v", info.Size(), err)
	}
}

// An input without a stored position is forgotten, but not at once: a crash
// comes before its positions are saved.
func TestTimesOfForgottenInputs(t *testing.T) {
	r := newTimesRig(t)
	in := r.of("gone")
	want, _ := in.At(0, 0, 10, 0)
	in.Close()
	r.crash()
	if err := r.rewrite(); err != nil {
		t.Fatal(err)
	}
	in = r.of("gone")
	if got, _ := in.At(0, 0, 10, 0); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
	in.Close()
	r.clock = r.clock.Add(2 * forgetAfter)
	if err := r.rewrite(); err != nil {
		t.Fatal(err)
	}
	if len(r.inputs) != 0 {
		t.Errorf("still known: %d", len(r.inputs))
	}
	// Inputs that never needed a time leave no trace.
	r.of("timed").Close()
	if len(r.inputs) != 0 {
		t.Errorf("known: %d", len(r.inputs))
	}
}
