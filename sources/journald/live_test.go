package journald

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// follow reads live until want records came or the deadline passed.
func follow(t *testing.T, r sources.Reader, want int, each func(b *record.Batch, rec *record.Record)) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	n := 0
	for n < want {
		if err := r.Wait(ctx); err != nil {
			return n
		}
		b := record.NewBatch()
		if err := r.Read(b); err != nil {
			t.Fatalf("after %d records: %v", n, err)
		}
		for i := range b.Records {
			each(b, &b.Records[i])
			n++
		}
		b.Release()
	}
	return n
}

func startOf(t *testing.T, in sources.Input) sources.Reader {
	t.Helper()
	r, err := in.Open(in.Start())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// TestFollowThroughRotationAndVacuum writes from two users' worth of streams
// while files are rotated and vacuumed: every line once, in order.
func TestFollowThroughRotationAndVacuum(t *testing.T) {
	t.Parallel()
	j := testbed.StartJournald(t)
	src := config.Source{Journald: &config.JournaldSource{Directory: j.Dir, Units: []string{"foo", "b*"}}, StartAt: "end"}
	r := startOf(t, inputOf(t, src, nil))
	const lines = 30000
	foo, bar, other := j.Stdout(t, "foo", "foo.service", 6), j.Stdout(t, "bar", "bar.service", 6), j.Stdout(t, "x", "x.service", 6)
	go func() {
		for i := range lines / 2 {
			foo.Line(fmt.Sprint("foo ", i))
			bar.Line(fmt.Sprint("bar ", i))
			other.Line("noise")
			if i%2500 == 1000 {
				j.Rotate(t)
				j.Vacuum(t, 2)
			}
			if i%100 == 0 {
				time.Sleep(2 * time.Millisecond) // a pace, not a synchronisation
			}
		}
	}()
	next := map[string]int{}
	n := follow(t, r, lines, func(_ *record.Batch, rec *record.Record) {
		name, num, _ := strings.Cut(string(rec.Line), " ")
		i, err := strconv.Atoi(num)
		if err != nil || i != next[name] {
			t.Fatalf("got %q where %s %d is next", rec.Line, name, next[name])
		}
		if string(rec.Header.Unit) != name+".service" {
			t.Fatalf("%q is of unit %q", rec.Line, rec.Header.Unit)
		}
		next[name]++
	})
	if n != lines {
		t.Fatalf("%d of %d lines: %v", n, lines, next)
	}
	if files, _ := filepath.Glob(filepath.Join(j.Dir, "*.journal")); len(files) > 4 {
		t.Errorf("nothing was vacuumed: %v", files)
	}
}

func TestLatencyAndIdleCost(t *testing.T) {
	t.Parallel()
	j := testbed.StartJournald(t)
	src := config.Source{Journald: &config.JournaldSource{Directory: j.Dir}, StartAt: "end"}
	r := startOf(t, inputOf(t, src, nil))
	out := j.Stdout(t, "lat", "lat.service", 6)
	const lines = 60
	go func() {
		for range lines {
			out.Line(fmt.Sprint("lat ", time.Now().UnixNano()))
			time.Sleep(37 * time.Millisecond)
		}
	}()
	var delays []time.Duration
	follow(t, r, lines, func(_ *record.Batch, rec *record.Record) {
		if _, at, ok := strings.Cut(string(rec.Line), "lat "); ok {
			ns, _ := strconv.ParseInt(at, 10, 64)
			delays = append(delays, time.Since(time.Unix(0, ns)))
		}
	})
	if len(delays) < lines*9/10 {
		t.Fatalf("%d of %d lines", len(delays), lines)
	}
	out.Close()
	var before, after syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for r.Wait(ctx) == nil {
		b := record.NewBatch()
		r.Read(b)
		b.Release()
	}
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	t.Logf("idle for 1 s: %v of CPU", time.Duration(used))
	slices.Sort(delays)
	t.Logf("latency: median %v, maximum %v", delays[len(delays)/2], delays[len(delays)-1])
}

func TestKilledReaderGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	j := testbed.StartJournald(t)
	src := config.Source{Journald: &config.JournaldSource{Directory: j.Dir, Identifiers: []string{"app"}}, StartAt: "end"}
	in := inputOf(t, src, nil)
	pos := in.Start()
	out := j.Stdout(t, "app", "app.service", 6)
	next := 0
	for round := range 5 {
		for i := range 200 {
			out.Line(fmt.Sprint(round*200 + i))
		}
		j.Sync(t)
		if round == 2 {
			j.Rotate(t)
		}
		// A reader that ends anywhere: its last batch's After counts.
		r, err := in.Open(pos)
		if err != nil {
			t.Fatal(err)
		}
		follow(t, r, (round+1)*200-next, func(b *record.Batch, rec *record.Record) {
			if string(rec.Line) != fmt.Sprint(next) {
				t.Fatalf("got %q, want %d", rec.Line, next)
			}
			next++
			pos = b.After
		})
		r.Close()
	}
	if next != 1000 {
		t.Fatalf("%d of 1000", next)
	}
}

func TestVacuumWhileNobodyReads(t *testing.T) {
	t.Parallel()
	j := testbed.StartJournald(t)
	src := config.Source{Journald: &config.JournaldSource{Directory: j.Dir}, StartAt: "beginning"}
	in := inputOf(t, src, nil)
	out := j.Stdout(t, "app", "app.service", 6)
	write := func(n int) {
		for i := range n {
			out.Line(fmt.Sprint("line ", i))
		}
		j.Sync(t)
		j.Rotate(t)
	}
	write(50)
	r, err := in.Open("")
	if err != nil {
		t.Fatal(err)
	}
	_, pos, _ := readAll(t, r.(*Reader))
	r.Close()
	before, _ := parseCursor(string(pos))
	write(70)
	write(80)
	j.Vacuum(t, 1)
	first := parseExport(t, journalctl(t, "-D", j.Dir, "-o", "export"))[0]
	loc, _ := parseCursor(first.cursor)
	recs, _, gaps := readAll(t, open(t, in, pos))
	if len(gaps) != 1 || gaps[0].Reason != "vacuumed" || gaps[0].Records != int64(loc.seqnum-before.seqnum-1) || gaps[0].Records < 70 {
		t.Fatalf("gaps %+v; last read %d, first left %d", gaps, before.seqnum, loc.seqnum)
	}
	if len(recs) == 0 || recs[0].Time != first.realtime*1000 {
		t.Fatalf("%d records", len(recs))
	}
}

func TestFilesThatAppearAndVanish(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src := config.Source{Journald: &config.JournaldSource{Directory: dir}}
	r := open(t, inputOf(t, src, nil), "")
	if recs, _, _ := readAll(t, r); len(recs) != 0 {
		t.Fatal("records in an empty directory")
	}
	total := 0
	for i := range 3 {
		path := fabricate(t, t.TempDir(), "x.journal", 100, int64(i)*1_000_000, testbed.JournalLayout{Compact: true})
		if err := os.Rename(path, filepath.Join(dir, fmt.Sprintf("n%d.journal", i))); err != nil {
			t.Fatal(err)
		}
		total += follow(t, r, 100, func(*record.Batch, *record.Record) {})
		os.Remove(filepath.Join(dir, fmt.Sprintf("n%d.journal", i)))
	}
	if total != 300 {
		t.Fatalf("%d of 300 records", total)
	}
}

// TestOrderAcrossUserFiles: entries of users go to files of their own; the
// merge gives all of them in the order in which journald took them, while it
// writes.
func TestOrderAcrossUserFiles(t *testing.T) {
	t.Parallel()
	for _, inotify := range []bool{true, false} {
		t.Run(fmt.Sprint("inotify ", inotify), func(t *testing.T) {
			t.Parallel()
			orderAcrossUserFiles(t, inotify)
		})
	}
}

func orderAcrossUserFiles(t *testing.T, inotify bool) {
	j := testbed.StartJournald(t)
	src := config.Source{Journald: &config.JournaldSource{Directory: j.Dir, Identifiers: []string{"w0", "w1", "w2"}}, StartAt: "end"}
	r := startOf(t, inputOf(t, src, nil))
	if d := r.(*Reader).j.dirs; !inotify && d.notify >= 0 {
		d.close() // as where the user has all instances there may be
		d.heard = true
	}
	const each = 10000
	for i, uid := range []uint32{0, 1500, 1501} {
		out := j.StdoutAs(t, uid, fmt.Sprint("w", i), "", 6)
		go func() {
			for n := range each {
				out.Line(fmt.Sprint(n))
			}
		}()
	}
	next := map[string]int{}
	var seqnum uint64
	n := follow(t, r, 3*each, func(b *record.Batch, rec *record.Record) {
		who := string(rec.Header.Identifier)
		if string(rec.Line) != fmt.Sprint(next[who]) {
			t.Fatalf("%s: got %q, want %d", who, rec.Line, next[who])
		}
		next[who]++
		if rec != &b.Records[0] {
			loc, err := parseCursor(string(b.PositionAt(rec)))
			if err != nil || loc.seqnum <= seqnum {
				t.Fatalf("number %d behind %d: %v", loc.seqnum, seqnum, err)
			}
			seqnum = loc.seqnum
		}
	})
	if n != 3*each {
		t.Fatalf("%d of %d lines: %v", n, 3*each, next)
	}
	if files, _ := filepath.Glob(filepath.Join(j.Dir, "user-150?.journal")); len(files) != 2 {
		t.Skipf("this journald does not split by user: %v", files)
	}
}

// TestFileRewrittenInPlace: what a copy over a journal file brings is read.
func TestFileRewrittenInPlace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := fabricate(t, dir, "a.journal", 50, 0, testbed.JournalLayout{Compact: true})
	r := open(t, inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: dir}}, nil), "")
	readAll(t, r)
	other, err := os.ReadFile(fabricate(t, t.TempDir(), "b.journal", 70, 1_000_000, testbed.JournalLayout{Compact: true}))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, other, 0o600); err != nil {
		t.Fatal(err)
	}
	if n := follow(t, r, 70, func(*record.Batch, *record.Record) {}); n != 70 {
		t.Fatalf("%d of 70 records", n)
	}
}
