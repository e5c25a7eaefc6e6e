package journald

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// The way of a boot: journald writes to /run/log/journal until it is told to flush to
// /var/log/journal, which copies all entries there and removes the old files. Nothing is lost and
// nothing repeated, by a reader that follows, by one that stopped before, and by one that is behind.
func TestFlushFromRunToVar(t *testing.T) {
	m := testbed.StartMainJournald(t, "Storage=auto")
	old := defaultRoots
	defaultRoots = []string{m.Var, m.Run}
	t.Cleanup(func() { defaultRoots = old })
	in := inputOf(t, config.Source{Journald: &config.JournaldSource{Identifiers: []string{"app"}}}, nil)
	all := inputOf(t, config.Source{Journald: &config.JournaldSource{}}, nil)
	n := m.Native(t)
	next := 0
	write := func(count int) {
		t.Helper()
		for range count {
			if err := n.Send(testbed.Field{Name: "MESSAGE", Value: fmt.Sprint(next)}, testbed.Field{Name: "SYSLOG_IDENTIFIER", Value: "app"}); err != nil {
				t.Fatal(err)
			}
			next++
		}
		m.Sync(t)
	}
	write(300)
	if files, _ := filepath.Glob(filepath.Join(m.Var, "*", "*.journal")); len(files) > 0 {
		t.Fatalf("it writes to /var already: %v", files)
	}
	live, whole := open(t, in, ""), open(t, all, "")
	behind := open(t, in, "")
	seen := map[string]int{}
	want := 0
	count := func(_ *record.Batch, rec *record.Record) {
		seen[string(rec.Line)]++
		if string(rec.Line) != fmt.Sprint(want) {
			t.Fatalf("got %q where %d is next", rec.Line, want)
		}
		want++
	}
	follow(t, live, 300, count)
	everything, _, _ := readAll(t, whole)
	stopped, posBefore, _ := readAll(t, open(t, in, ""))
	b := record.NewBatch()
	if err := behind.Read(b); err != nil { // has the files open
		t.Fatal(err)
	}
	early := len(b.Records)
	b.Release()

	write(50)
	m.Flush(t)
	write(200)
	if files, _ := filepath.Glob(filepath.Join(m.Var, "*", "*.journal")); len(files) == 0 {
		t.Fatal("nothing was flushed")
	}
	follow(t, live, 250, count)
	if recs, _, gaps := readAll(t, live); len(recs) > 0 || len(gaps) > 0 || want != 550 {
		t.Errorf("following: %d records, then %d more, gaps %+v", want, len(recs), gaps)
	}
	rest, _, gaps := readAll(t, behind)
	if early+len(rest) != 550 || len(gaps) > 0 {
		t.Errorf("behind: %d and %d records of 550, gaps %+v", early, len(rest), gaps)
	}
	recs, _, gaps := readAll(t, open(t, in, posBefore))
	if len(stopped)+len(recs) != 550 || len(gaps) > 0 {
		t.Errorf("stopped before: %d and %d records of 550, gaps %+v", len(stopped), len(recs), gaps)
	}
	recs, _, gaps = readAll(t, open(t, in, ""))
	if len(recs) != 550 || len(gaps) > 0 {
		t.Errorf("from the beginning: %d records of 550, gaps %+v", len(recs), gaps)
	}
	more, _, gaps := readAll(t, whole)
	fresh, _, _ := readAll(t, open(t, all, ""))
	if len(everything)+len(more) != len(fresh) || len(gaps) > 0 {
		t.Errorf("without a match: %d and %d records, of %d that there are, gaps %+v", len(everything), len(more), len(fresh), gaps)
	}
	if r, ok := in.(sources.Risker).Risk(posBefore); !ok || r.Bytes == 0 {
		t.Errorf("risk %+v, %v", r, ok)
	}
	// Back to /run, and once more to the files in /var that are there already.
	m.Relinquish(t)
	write(120)
	follow(t, live, 120, count)
	m.Flush(t)
	write(80)
	follow(t, live, 80, count)
	if recs, _, gaps := readAll(t, live); len(recs) > 0 || len(gaps) > 0 || want != 750 {
		t.Errorf("after another flush: %d records of 750, then %d more, gaps %+v", want, len(recs), gaps)
	}
	if recs, _, gaps = readAll(t, behind); len(recs) != 200 || len(gaps) > 0 {
		t.Errorf("after another flush, behind: %d records of 200, gaps %+v", len(recs), gaps)
	}
	idle(t, live, time.Second)
}
