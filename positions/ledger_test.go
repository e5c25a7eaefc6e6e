package positions

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func someCounts() Counts {
	return Counts{Read: 100, Delivered: 80, Filtered: 10, Refused: []Refused{{"rejected", 3}, {"too old", 2}},
		Lost: []Lost{{"truncated", 0, 512, 1, 0}, {"vacuumed", 5, 0, 2, 1}}}
}

// The ledger is on disk with the positions that it belongs to, or not at all.
func TestLedgerIsSavedWithThePositions(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	k := Key{"src", "tgt", "in"}
	s.Settle([]Move{{k, "1", someCounts()}, {k, "2", Counts{Read: 2, Delivered: 1, Refused: []Refused{{"too old", 1}}}}})
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	s.Settle([]Move{{k, "3", Counts{Read: 7, Delivered: 7}}})
	saved, err := ReadLedger(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := someCounts()
	want.Add(&Counts{Read: 2, Delivered: 1, Refused: []Refused{{"too old", 1}}})
	if len(saved) != 1 || !reflect.DeepEqual(saved[0].Counts, want) || saved[0].Pair != (Pair{"src", "tgt"}) {
		t.Errorf("on disk: %+v, want %+v", saved, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, dir)
	defer s.Close()
	want.Add(&Counts{Read: 7, Delivered: 7})
	if got := s.Counts(Pair{"src", "tgt"}); !reflect.DeepEqual(got, want) || got.Read != got.Settled() {
		t.Errorf("after a restart: %+v, want %+v", got, want)
	}
	if p, _ := s.Get(k); p != "3" {
		t.Errorf("the position is %q", p)
	}
	if got := s.Counts(Pair{"src", "nosuch"}); !got.IsZero() {
		t.Errorf("a row nobody wrote: %+v", got)
	}
}

// A file of the first format has positions and no ledger.
func TestPositionsOfTheFirstFormatAreRead(t *testing.T) {
	dir := t.TempDir()
	body := fmt.Sprintf("lbshipd-positions 1\n%d\tsrc\ttgt\tin\tpos\n", time.Now().Unix())
	body += fmt.Sprintf("sum\t%08x\t1\n", crc32.Checksum([]byte(body), castagnoli))
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	s, log := open(t, dir)
	if p, ok := s.Get(Key{"src", "tgt", "in"}); !ok || p != "pos" || log.Len() > 0 {
		t.Errorf("got %q %v: %s", p, ok, log)
	}
	s.Settle([]Move{{Key{"src", "tgt", "in"}, "pos2", Counts{Read: 1, Delivered: 1}}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	rows, err := ReadLedger(dir)
	if err != nil || len(rows) != 1 || rows[0].Read != 1 {
		t.Errorf("after the first save: %+v %v", rows, err)
	}
}

func TestDamagedLedgerLinesAreRefused(t *testing.T) {
	for _, c := range []struct{ lines, says string }{
		{"ledger\t1\ta\tb\t1\t1\n", "6 fields, want 7"},
		{"ledger\t1\ta\tb\t1\t1\tx\n", "count"},
		{"refused\ta\tb\tr\t1\n", "not behind"},
		{"ledger\t1\ta\tb\t1\t1\t0\nlost\ta\tc\tr\t1\t1\t1\t1\n", "not behind"},
		{"times\t1\n", "unknown kind"},
	} {
		data := header + c.lines
		data += fmt.Sprintf("sum\t%08x\t%d\n", crc32.Checksum([]byte(data), castagnoli), strings.Count(c.lines, "\n"))
		if _, err := decode([]byte(data)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: got %v, want %q", c.lines, err, c.says)
		}
	}
}

func TestReasonsAreBounded(t *testing.T) {
	var c Counts
	for i := range 10 * maxReasons {
		c.AddRefused(Refused{fmt.Sprint(i), 1})
		c.AddLost(Lost{Reason: fmt.Sprint(i), Records: 1})
	}
	if len(c.Refused) > maxReasons+1 || len(c.Lost) > maxReasons+1 {
		t.Errorf("%d and %d reasons", len(c.Refused), len(c.Lost))
	}
	if c.RefusedRecords() != 10*maxReasons || c.LostRecords() != 10*maxReasons {
		t.Errorf("%d and %d records", c.RefusedRecords(), c.LostRecords())
	}
}

func TestUnusedRowsExpire(t *testing.T) {
	s, _ := open(t, t.TempDir())
	defer s.Close()
	now := time.Unix(1e9, 0)
	s.now = func() time.Time { return now }
	for _, target := range []string{"gone", "quiet"} {
		s.Settle([]Move{{Key{"s", target, "i"}, "1", Counts{Read: 1, Delivered: 1}}})
	}
	now = now.Add(keepUnused / 2)
	s.TouchLedger(Pair{"s", "quiet"})
	now = now.Add(keepUnused/2 + time.Hour)
	set(t, s, Key{"s", "t", "new"}, "1")
	if rows := s.Ledger(); len(rows) != 1 || rows[0].Target != "quiet" {
		t.Errorf("got %+v", rows)
	}
}
