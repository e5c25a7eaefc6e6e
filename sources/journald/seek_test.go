package journald

import (
	"fmt"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// readSince seeks and returns what is then read.
func readSince(t *testing.T, in sources.Input, at time.Time) []got {
	t.Helper()
	pos, err := in.(sources.Seeker).Seek(at, nil)
	if err != nil {
		t.Fatal(err)
	}
	recs, _, gaps := readAll(t, open(t, in, pos))
	if len(gaps) > 0 {
		t.Fatalf("seeking %v: gaps %v", at, gaps)
	}
	return recs
}

// Several files with entries of the same times: exactly what is not older.
func TestSeekFindsTheFirstEntryOfATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 3 {
		fabricate(t, dir, fmt.Sprintf("f%d.journal", i), 200, int64(i*50_300), testbed.JournalLayout{Compact: i > 0})
	}
	all := parseExport(t, journalctl(t, "-D", dir, "-o", "export"))
	for _, units := range [][]string{nil, {"unit1*"}} {
		in := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: dir, Units: units}}, nil)
		whole, _, _ := readAll(t, open(t, in, ""))
		for i := 0; i < len(all); i += 17 {
			for _, at := range []time.Time{time.UnixMicro(all[i].realtime), time.UnixMicro(all[i].realtime - 1).Add(time.Nanosecond)} {
				want := 0
				for k := range whole {
					if whole[k].Time >= at.UnixNano() {
						want++
					}
				}
				recs := readSince(t, in, at)
				if len(recs) != want || want > 0 && recs[0].Time < at.UnixNano() {
					t.Fatalf("units %v: %d records since entry %d, want %d", units, len(recs), i, want)
				}
			}
		}
		if recs := readSince(t, in, time.Time{}); len(recs) != len(whole) {
			t.Errorf("%d of %d records from the beginning", len(recs), len(whole))
		}
		if recs := readSince(t, in, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)); len(recs) != 0 {
			t.Errorf("%d records from the end", len(recs))
		}
	}
	empty := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: t.TempDir()}}, nil)
	if pos, err := empty.(sources.Seeker).Seek(time.Now(), nil); err != nil || pos != "" {
		t.Errorf("in an empty journal: %q, %v", pos, err)
	}
}

// In the journal of a real journald, rotated and with files of users, while it writes.
func TestSeekAgreesWithJournalctlSince(t *testing.T) {
	t.Parallel()
	j := testbed.StartJournald(t)
	in := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: j.Dir, Identifiers: []string{"w0", "w1"}}}, nil)
	w0, w1 := j.Stdout(t, "w0", "", 6), j.StdoutAs(t, 1500, "w1", "", 6)
	for i := range 4000 {
		w0.Line(fmt.Sprint(i))
		w1.Line(fmt.Sprint(i))
		if i%1000 == 500 {
			j.Sync(t)
			j.Rotate(t)
		}
	}
	j.Sync(t)
	all := parseExport(t, journalctl(t, "-D", j.Dir, "-o", "export", "-t", "w0", "-t", "w1"))
	if len(all) != 8000 {
		t.Fatalf("%d entries of 8000", len(all))
	}
	for i := 1; i < len(all); i += 371 {
		at := time.UnixMicro(all[i].realtime)
		want := parseExport(t, journalctl(t, "-D", j.Dir, "-o", "export", "-t", "w0", "-t", "w1", fmt.Sprintf("--since=@%d.%06d", at.Unix(), at.Nanosecond()/1000)))
		recs := readSince(t, in, at)
		if len(recs) != len(want) || recs[0].Time != want[0].realtime*1000 {
			t.Fatalf("since entry %d: %d records, journalctl --since shows %d", i, len(recs), len(want))
		}
	}
}

// TestStartAtEndFollows: what is written after the start arrives, whether the journal
// was empty, not there at all, or full at that moment (otel-arrow 3395: start
// at the end never follows).
func TestStartAtEndFollows(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]int{"empty": 0, "full": 500} {
		t.Run(name, func(t *testing.T) {
			j := testbed.StartJournald(t)
			in := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: j.Dir, Identifiers: []string{"app"}}, StartAt: "end"}, nil)
			out := j.Stdout(t, "app", "app.service", 6)
			for range before {
				out.Line("old")
			}
			j.Sync(t)
			for how, pos := range map[string]func() (record.Position, error){
				"startAt end": func() (record.Position, error) { return in.Start(), nil },
				"startAt now": func() (record.Position, error) { return in.(sources.Seeker).Seek(time.Now(), nil) },
			} {
				at, err := pos()
				if err != nil {
					t.Fatal(err)
				}
				r := open(t, in, at)
				for i := range 100 {
					out.Line(fmt.Sprint(i))
				}
				next := 0
				n := follow(t, r, 100, func(_ *record.Batch, rec *record.Record) {
					if string(rec.Line) != fmt.Sprint(next) {
						t.Fatalf("%s: got %q, want %d", how, rec.Line, next)
					}
					next++
				})
				if n != 100 {
					t.Fatalf("%s: %d of 100 records", how, n)
				}
			}
		})
	}
	t.Run("not there", func(t *testing.T) {
		dir := t.TempDir() + "/made/later"
		in := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: dir}, StartAt: "end"}, nil)
		r := startOf(t, in)
		readAll(t, r.(*Reader))
		made := t.TempDir()
		fabricate(t, made, "a.journal", 50, 0, testbed.JournalLayout{Compact: true})
		renameInto(t, made, dir)
		if n := follow(t, r, 50, func(*record.Batch, *record.Record) {}); n != 50 {
			t.Fatalf("%d of 50 records", n)
		}
	})
}

// Inspect with Since prints what journalctl --since prints.
func TestInspectSince(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 3 {
		fabricate(t, dir, fmt.Sprintf("f%d.journal", i), 200, int64(i*50_300), testbed.JournalLayout{Compact: i > 0})
	}
	all := parseExport(t, journalctl(t, "-D", dir, "-o", "export"))
	for i := 0; i < len(all); i += 97 {
		at := time.UnixMicro(all[i].realtime)
		want := journalctl(t, "-D", dir, "-o", "export", "--since", fmt.Sprintf("@%d.%06d", at.Unix(), at.Nanosecond()/1000))
		sameOutput(t, inspect(t, InspectOptions{Directories: []string{dir}, Since: at}), want)
	}
	if out := inspect(t, InspectOptions{Directories: []string{dir}, Since: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}); len(out) > 0 {
		t.Errorf("from the end: %q", out)
	}
}
