package journald

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// A journal in memory is gone with the boot. That of the next one is read from its
// beginning, also where the clock was behind at first and was set then; that of another
// machine, which tells nothing of this boot, goes on by time.
func TestAJournalInMemoryBehindAReboot(t *testing.T) {
	t.Parallel()
	running, err := runningBoot()
	if err != nil {
		t.Fatal(err)
	}
	const before, other = "11111111111111111111111111111111", "22222222222222222222222222222222"
	const at = 1_700_000_000_000_000
	entry := func(b []byte, realtime, monotonic uint64, boot, text string) []byte {
		return testbed.AppendExport(b, realtime, monotonic, boot, testbed.Field{Name: "MESSAGE", Value: text}, testbed.Field{Name: "PRIORITY", Value: "6"})
	}
	journal := func(entries []byte) (sources.Input, []exported) {
		dir := t.TempDir()
		testbed.FabricateJournal(t, filepath.Join(dir, "system.journal"), bytes.NewReader(entries), testbed.JournalLayout{Compact: true})
		return inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: dir}}, nil), parseExport(t, journalctl(t, "-D", dir, "-o", "export"))
	}
	_, old := journal(entry(nil, at, 1000, before, "before"))
	for _, c := range []struct {
		name, boot string
		clock      int64 // of the first of three entries, as seen from the position; the last is a second behind the position
		want, gaps int
	}{
		{"clock right", running.String(), 500_000, 3, 1},
		{"clock behind, then set", running.String(), -1_000_000_000_000, 3, 1},
		{"another machine's", other, -1_000_000_000_000, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			first := uint64(at + c.clock)
			b := entry(nil, first, 10, c.boot, "one")
			b = entry(b, first+1, 20, c.boot, "two")
			in, _ := journal(entry(b, at+1_000_000, 30, c.boot, "three"))
			recs, _, gaps := readAll(t, open(t, in, record.Position(old[0].cursor)))
			if len(recs) != c.want || len(gaps) != c.gaps {
				t.Fatalf("%d records, want %d; gaps %v", len(recs), c.want, gaps)
			}
			if gaps[0].Reason != "rewritten" || !strings.HasPrefix(gaps[0].Detail, "between "+microTime(at)) {
				t.Errorf("gap %s: %s", gaps[0].Reason, gaps[0].Detail)
			}
		})
	}
}
