package journald

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

func TestResumeAtEveryCursor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 3 {
		fabricate(t, dir, fmt.Sprintf("f%d.journal", i), 40, int64(i*300), testbed.JournalLayout{Compact: true})
	}
	all := parseExport(t, journalctl(t, "-D", dir, "-o", "export"))
	for _, units := range [][]string{nil, {"unit1*"}} {
		args := []string{"-D", dir, "-o", "export"}
		for _, u := range units {
			args = append(args, "-u", u)
		}
		shown := map[string]bool{}
		for _, e := range parseExport(t, journalctl(t, args...)) {
			shown[e.cursor] = true
		}
		in := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: dir, Units: units}}, nil)
		for i := range all {
			// journalctl --after-cursor with a match skips one too many if the
			// cursor's entry does not match, so it is no oracle here.
			var want []exported
			for _, e := range all[i+1:] {
				if shown[e.cursor] {
					want = append(want, e)
				}
			}
			recs, _, gaps := readAll(t, open(t, in, record.Position(all[i].cursor)))
			if len(recs) != len(want) || len(gaps) > 0 {
				t.Fatalf("behind entry %d: %d records, want %d; gaps %v", i, len(recs), len(want), gaps)
			}
			for k := range recs {
				if recs[k].Time != want[k].realtime*1000 {
					t.Fatalf("behind entry %d: record %d is another one", i, k)
				}
			}
		}
	}
	got := inspect(t, InspectOptions{Directories: []string{dir}, AfterCursor: all[17].cursor})
	sameOutput(t, got, journalctl(t, "-D", dir, "-o", "export", "--after-cursor="+all[17].cursor))
}

// Of two feeds that are to meet, the pipeline does not know which is ahead. The
// one that is told a position behind it must not go back to it: everything
// between the two would be sent again.
func TestUntilBehindTheReaderIsNeverReached(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fabricate(t, dir, "system.journal", 300, 0, testbed.JournalLayout{Compact: true})
	all := parseExport(t, journalctl(t, "-D", dir, "-o", "export"))
	for _, identifiers := range [][]string{nil, {"ident1"}} {
		in := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: dir, Identifiers: identifiers}}, nil)
		for _, at := range []int{200, 299} {
			r := open(t, in, record.Position(all[at].cursor))
			r.Until(record.Position(all[100].cursor))
			recs, pos, _ := readAll(t, r)
			if len(recs) > 0 || string(pos) != all[at].cursor {
				t.Errorf("at entry %d until entry 100: %d records, and then at %s", at, len(recs), pos)
			}
			r.Until("")
			if recs, _, _ = readAll(t, r); identifiers == nil && len(recs) != 299-at {
				t.Errorf("at entry %d without a limit: %d records", at, len(recs))
			}
		}
	}
}

func TestUntilStopsThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fabricate(t, dir, "system.journal", 3000, 0, testbed.JournalLayout{Compact: true})
	all := parseExport(t, journalctl(t, "-D", dir, "-o", "export"))
	r := open(t, inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: dir}}, nil), "")
	total := 0
	for _, stop := range []int{0, 1, 1500, 2998, 2999} {
		r.Until(record.Position(all[stop].cursor))
		recs, pos, _ := readAll(t, r)
		if total += len(recs); total != stop+1 || string(pos) != all[stop].cursor {
			t.Fatalf("until entry %d: %d records, position %s", stop, total, pos)
		}
	}
	// An entry that does not match: everything before it is given.
	r = open(t, inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: dir, Identifiers: []string{"ident1"}}}, nil), "")
	want := 0
	for i := range 1000 {
		if v, _ := all[i].get("SYSLOG_IDENTIFIER"); v == "ident1" {
			want++
		}
	}
	r.Until(record.Position(all[999].cursor))
	recs, pos, _ := readAll(t, r)
	if len(recs) != want || string(pos) != all[999].cursor {
		t.Fatalf("%d records of %d, position %s", len(recs), want, pos)
	}
}

func TestVacuumedPosition(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fabricate(t, dir, "system.journal", 100, 0, testbed.JournalLayout{Compact: true})
	all := parseExport(t, journalctl(t, "-D", dir, "-o", "export"))
	loc, err := parseCursor(all[99].cursor)
	if err != nil {
		t.Fatal(err)
	}
	in := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: dir}}, nil)

	// The journal's numbers begin at 1: a position 0 entries before it loses none.
	t.Run("other journal", func(t *testing.T) {
		old := loc
		old.seqnumID[0]++
		old.boot[0]++
		old.realtime = uint64(all[49].realtime) + 1
		recs, _, gaps := readAll(t, open(t, in, old.position()))
		if len(recs) != 50 || len(gaps) != 1 || gaps[0].Reason != "rewritten" {
			t.Fatalf("%d records, gaps %v", len(recs), gaps)
		}
		old.realtime = uint64(all[99].realtime) + 1
		if _, err := in.Open(old.position()); !errors.Is(err, sources.ErrStale) {
			t.Fatalf("all is older: %v", err)
		}
	})
	t.Run("flushed copy", func(t *testing.T) {
		old := loc
		old.seqnumID[0]++
		old.realtime, old.monotonic, old.xor = uint64(all[49].realtime), 0, 0
		same, _ := parseCursor(all[49].cursor)
		old.monotonic, old.xor = same.monotonic, same.xor
		recs, _, gaps := readAll(t, open(t, in, old.position()))
		if len(recs) != 50 || len(gaps) != 0 {
			t.Fatalf("%d records, gaps %v", len(recs), gaps)
		}
	})
	t.Run("numbers given out twice", func(t *testing.T) {
		old, _ := parseCursor(all[79].cursor)
		same, _ := parseCursor(all[49].cursor)
		old.realtime, old.monotonic = same.realtime+1, same.monotonic+1
		recs, _, gaps := readAll(t, open(t, in, old.position()))
		if len(recs) != 50 || len(gaps) != 0 {
			t.Fatalf("%d records, gaps %v", len(recs), gaps)
		}
	})
	t.Run("garbage", func(t *testing.T) {
		for _, pos := range []string{"x", "s=1;i=2", all[0].cursor + ";i=3", strings.Repeat("s", 10000)} {
			if _, err := in.Open(record.Position(pos)); !errors.Is(err, sources.ErrStale) {
				t.Errorf("%.40q: %v", pos, err)
			}
		}
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, src := range map[string]config.Source{
		"no section": {},
		"match":      {Journald: &config.JournaldSource{Matches: []string{"nonsense"}}},
		"plus":       {Journald: &config.JournaldSource{Matches: []string{"A=1", "+"}}},
		"unit":       {Journald: &config.JournaldSource{Units: []string{""}}},
		"directory":  {Journald: &config.JournaldSource{Directory: "relative"}},
	} {
		if _, err := New(&src, sources.Deps{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestStartAtEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src := config.Source{Journald: &config.JournaldSource{Directory: dir}, StartAt: "end"}
	in := inputOf(t, src, nil)
	if pos := in.Start(); pos != "" {
		t.Fatalf("start of an empty journal: %q", pos)
	}
	fabricate(t, dir, "system.journal", 50, 0, testbed.JournalLayout{})
	all := parseExport(t, journalctl(t, "-D", dir, "-o", "export"))
	if pos := in.Start(); string(pos) != all[49].cursor {
		t.Fatalf("start %q, want %q", pos, all[49].cursor)
	}
	if origin := in.Origin(); origin.Input != "journal:"+filepath.Clean(dir) || origin.Kind != "journald" {
		t.Fatalf("origin %+v", origin)
	}
}

func TestManyFilesWithFewDescriptors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one := fabricate(t, dir, "seed.journal", 30, 0, testbed.JournalLayout{Compact: true})
	bytesOf, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	// Cut off what journald has allocated ahead.
	tail := binary.LittleEndian.Uint64(bytesOf[hdrTailObject:])
	end := tail + (binary.LittleEndian.Uint64(bytesOf[tail+8:])+7)&^7
	bytesOf = bytesOf[:end]
	binary.LittleEndian.PutUint64(bytesOf[hdrArenaSize:], end-binary.LittleEndian.Uint64(bytesOf[hdrHeaderSize:]))
	// Copies with another file and sequence id each are journals of their own.
	for i := range 200 {
		c := bytes.Clone(bytesOf)
		c[hdrState] = stateArchived
		binary.LittleEndian.PutUint32(c[hdrSeqnumID:], uint32(i)+1)
		binary.LittleEndian.PutUint64(c[hdrHeadRealtime:], 0)
		shiftTimes(c, uint64(i)*7)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("copy%03d.journal", i)), c, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	os.Remove(one)
	want := journalctl(t, "-D", dir, "-o", "export")
	sameOutput(t, inspect(t, InspectOptions{Directories: []string{dir}}), want)
	r := open(t, inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: dir}}, nil), "")
	b := record.NewBatch()
	defer b.Release()
	if err := r.Read(b); err != nil {
		t.Fatal(err)
	}
	if r.j.opened > maxOpenFiles || r.j.opened < 10 {
		t.Fatalf("%d files open", r.j.opened)
	}
}

// shiftTimes adds to the times of all entries of a regular or compact file.
func shiftTimes(c []byte, by uint64) {
	le := binary.LittleEndian
	for off := le.Uint64(c[hdrHeaderSize:]); off+16 < uint64(len(c)); {
		size := le.Uint64(c[off+8:])
		if size < 16 {
			return
		}
		if c[off] == typeEntry {
			le.PutUint64(c[off+24:], le.Uint64(c[off+24:])+by)
			le.PutUint64(c[off+32:], le.Uint64(c[off+32:])+by)
		}
		off += (size + 7) &^ 7
	}
}
