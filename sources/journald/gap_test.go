package journald

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// numberedJournal is a private journald and a writer whose entries it remembers.
type numberedJournal struct {
	*testbed.Journald
	t    *testing.T
	outs []*testbed.StdoutStream
	all  map[string]bool // cursors of all entries that there ever were, journald's own too
}

// startNumbered starts a journald with writers: root's, and users' with files of their own.
func startNumbered(t *testing.T, users ...uint32) *numberedJournal {
	j := &numberedJournal{Journald: testbed.StartJournald(t), t: t, all: map[string]bool{}}
	for _, uid := range append([]uint32{0}, users...) {
		j.outs = append(j.outs, j.StdoutAs(t, uid, fmt.Sprint("u", uid), "", 6))
	}
	return j
}

// write writes n entries of each writer, notes them, and rotates.
func (j *numberedJournal) write(n int) {
	j.t.Helper()
	for i := range n {
		for _, out := range j.outs {
			out.Line(fmt.Sprint("line ", i))
		}
	}
	j.Sync(j.t)
	for _, e := range parseExport(j.t, journalctl(j.t, "-D", j.Dir, "-o", "export")) {
		j.all[e.cursor] = true
	}
	j.Rotate(j.t)
}

// gap is what one test expects of the gaps it got.
func oneGap(t *testing.T, gaps []*sources.GapError, want int) *sources.GapError {
	t.Helper()
	if len(gaps) != 1 || gaps[0].Reason != "vacuumed" || gaps[0].Records != int64(want) {
		for _, g := range gaps {
			t.Logf("gap: %+v", *g)
		}
		t.Fatalf("%d gaps, want one of %d entries", len(gaps), want)
	}
	return gaps[0]
}

// between checks that the detail names the times of the entries around the gap.
func between(t *testing.T, gap *sources.GapError, before, after int64) {
	t.Helper()
	want := "between " + microTime(uint64(before/1000)) + " and " + microTime(uint64(after/1000)) + ": journal vacuumed"
	if !strings.HasPrefix(gap.Detail, want) {
		t.Errorf("detail %q, want %q", gap.Detail, want)
	}
}

// What journald has vacuumed while nobody read is counted exactly, users' files
// and journald's own entries included.
func TestVacuumedEntriesAreCountedExactly(t *testing.T) {
	t.Parallel()
	for name, users := range map[string][]uint32{"one file": nil, "users' files": {1500, 1501}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := startNumbered(t, users...)
			in := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: j.Dir}}, nil)
			j.write(50)
			recs, pos, _ := readAll(t, open(t, in, ""))
			seen, last := len(recs), recs[len(recs)-1].Time
			j.write(1500)
			j.write(70)
			j.Vacuum(t, 2*len(j.outs))
			j.write(30)
			j.Sync(t)
			recs, _, gaps := readAll(t, open(t, in, pos))
			// What was written since the last note: messages of rotation.
			for _, e := range parseExport(t, journalctl(t, "-D", j.Dir, "-o", "export")) {
				j.all[e.cursor] = true
			}
			gap := oneGap(t, gaps, len(j.all)-seen-len(recs))
			if gap.Records < 100 {
				t.Fatalf("only %d entries were lost", gap.Records)
			}
			between(t, gap, last, recs[0].Time)
		})
	}
}

// TestVacuumedFileEndsNoLoop: a reader that is behind has the files open, but
// journald frees their blocks when it vacuums them: the rest reads as NULs. What is
// lost is counted, what is left is read, and nothing spins (fluent-bit 1285: endless loop on a
// vacuumed file).
func TestVacuumedFileEndsNoLoop(t *testing.T) {
	for name, users := range map[string][]uint32{"one file": nil, "users' files": {1500}} {
		t.Run(name, func(t *testing.T) {
			j := startNumbered(t, users...)
			for range 4 {
				j.write(4000 / (len(users) + 1))
			}
			skipped := counts{}
			r := open(t, inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: j.Dir}}, skipped), "")
			b := record.NewBatch()
			if err := r.Read(b); err != nil {
				t.Fatal(err)
			}
			seen, last := len(b.Records), b.Records[len(b.Records)-1].Time
			b.Release()
			j.Vacuum(t, len(j.outs))
			began := cpuTime()
			recs, _, gaps := readAll(t, r)
			lost := 0
			for _, g := range gaps {
				lost += int(g.Records)
			}
			for _, e := range parseExport(t, journalctl(t, "-D", j.Dir, "-o", "export")) {
				j.all[e.cursor] = true
			}
			if lost+seen+len(recs) != len(j.all) || lost == 0 {
				t.Errorf("%d read before, %d behind, %d lost (%d gaps), of %d; skipped %v", seen, len(recs), lost, len(gaps), len(j.all), skipped)
			}
			if len(gaps) == 1 && !strings.HasPrefix(gaps[0].Detail, "between ") {
				t.Errorf("detail %q after %s", gaps[0].Detail, microTime(uint64(last/1000)))
			}
			if len(skipped) > 0 {
				t.Errorf("skipped %v: vacuumed is not damaged", skipped)
			}
			for i := range recs {
				if len(recs[i].Line) == 0 || strings.ContainsRune(string(recs[i].Line), 0) {
					t.Fatalf("record %d is %q", i, recs[i].Line)
				}
			}
			// It goes on, and is quiet then.
			j.outs[0].Line("after it")
			if n := follow(t, r, 1, func(_ *record.Batch, rec *record.Record) {}); n != 1 {
				t.Fatal("nothing is read any more")
			}
			idle(t, r, time.Second)
			if used := cpuTime() - began; used > 3*time.Second {
				t.Errorf("%v of CPU", used)
			}
		})
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// idle reads for d and fails if a quiet journal keeps the reader busy.
func idle(t *testing.T, r sources.Reader, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	reads, began := 0, cpuTime()
	for r.Wait(ctx) == nil {
		b := record.NewBatch()
		r.Read(b)
		b.Release()
		reads++
	}
	used := cpuTime() - began
	t.Logf("idle for %v: %d reads, %v of CPU", d, reads, used)
	if reads > int(d/pollEvery) || used > d/3 {
		t.Errorf("%d reads and %v of CPU in %v of quiet", reads, used, d)
	}
}

// A reader that could not read for long has not opened what came and went meanwhile.
func TestFilesThatCameAndWentUnseenAreCounted(t *testing.T) {
	t.Parallel()
	j := startNumbered(t)
	src := config.Source{Journald: &config.JournaldSource{Directory: j.Dir}}
	r := open(t, inputOf(t, src, nil), "")
	src.Journald = &config.JournaldSource{Directory: j.Dir, Identifiers: []string{"u0"}}
	some := open(t, inputOf(t, src, nil), "")
	j.write(100)
	recs, _, _ := readAll(t, r)
	readAll(t, some)
	seen := len(recs)
	for range 4 {
		j.write(300)
	}
	j.Vacuum(t, 2)
	recs, _, gaps := readAll(t, r)
	for _, e := range parseExport(t, journalctl(t, "-D", j.Dir, "-o", "export")) {
		j.all[e.cursor] = true
	}
	gap := oneGap(t, gaps, len(j.all)-seen-len(recs))
	// With a match it is not known how many of them were ours, and that is said.
	_, _, gaps = readAll(t, some)
	if len(gaps) != 1 || gaps[0].Records != 0 || !strings.HasPrefix(gaps[0].Detail, "between ") ||
		!strings.HasSuffix(gaps[0].Detail, fmt.Sprintf(": journal vacuumed; how many of the %s entries in between were of this source is not known", grouped(gap.Records))) {
		t.Fatalf("gaps with a match: %+v", gaps)
	}
}

// TestJournalRecreatedWhileStopped: files that were rotated are read on from the position; a
// journal that was deleted and made anew is read from its beginning, with a gap of unknown size.
func TestJournalRecreatedWhileStopped(t *testing.T) {
	t.Parallel()
	j := startNumbered(t)
	in := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: j.Dir}}, nil)
	j.write(100)
	recs, pos, _ := readAll(t, open(t, in, ""))
	seen := len(recs)
	for range 3 {
		j.write(100)
	}
	recs, pos, gaps := readAll(t, open(t, in, pos))
	if len(gaps) != 0 || seen+len(recs) < len(j.all) {
		t.Fatalf("after rotations: %d and %d of %d entries, gaps %v", seen, len(recs), len(j.all), gaps)
	}
	last := recs[len(recs)-1].Time
	for _, out := range j.outs {
		out.Close()
	}
	j.Kill()
	if err := os.RemoveAll(j.Dir); err != nil {
		t.Fatal(err)
	}
	j.Restart(t)
	out := j.Stdout(t, "u0", "", 6)
	for i := range 50 {
		out.Line(fmt.Sprint("new ", i))
	}
	j.Sync(t)
	all := parseExport(t, journalctl(t, "-D", j.Dir, "-o", "export"))
	recs, _, gaps = readAll(t, open(t, in, pos))
	if len(recs) != len(all) || len(gaps) != 1 || gaps[0].Reason != "rewritten" || gaps[0].Records != 0 {
		t.Fatalf("after it was made anew: %d of %d entries, gaps %+v", len(recs), len(all), gaps)
	}
	if want := "between " + microTime(uint64(last/1000)) + " and " + microTime(uint64(recs[0].Time/1000)); !strings.HasPrefix(gaps[0].Detail, want) {
		t.Errorf("detail %q, want %q", gaps[0].Detail, want)
	}
}

// A journal that is deleted and made anew under a reader goes on being read.
func TestJournalRecreatedUnderTheReader(t *testing.T) {
	t.Parallel()
	j := testbed.StartJournald(t)
	in := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: j.Dir, Identifiers: []string{"app"}}, StartAt: "end"}, nil)
	r := startOf(t, in)
	for round := range 3 {
		out := j.Stdout(t, "app", "", 6)
		for i := range 200 {
			out.Line(fmt.Sprint(i))
		}
		out.Close()
		next := 0
		n := follow(t, r, 200, func(_ *record.Batch, rec *record.Record) {
			if string(rec.Line) != fmt.Sprint(next) {
				t.Fatalf("round %d: got %q, want %d", round, rec.Line, next)
			}
			next++
		})
		if n != 200 {
			t.Fatalf("round %d: %d of 200 records", round, n)
		}
		j.Kill()
		files, _ := filepath.Glob(filepath.Join(j.Dir, "*"))
		for _, f := range files {
			if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
		j.Restart(t)
	}
}
