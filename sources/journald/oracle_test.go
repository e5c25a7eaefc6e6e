//go:build sdjournal

package journald

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/sdjournal"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
)

// TestEqualsLibsystemd holds the reader against libsystemd itself, through
// go-systemd's sdjournal:
//
//	CGO_ENABLED=1 go test -tags sdjournal ./sources/journald/
func TestEqualsLibsystemd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 5 {
		fabricate(t, dir, fmt.Sprintf("f%d.journal", i), 600, int64(i*250), testbed.JournalLayout{Compact: i%2 == 0, Compress: i%2 == 1, Unkeyed: i == 3})
	}
	for _, match := range []string{"", "_PID=7", "SYSLOG_IDENTIFIER=ident3", "PRIORITY=2"} {
		src := config.Source{Journald: &config.JournaldSource{Directory: dir}}
		lib, err := sdjournal.NewJournalFromDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		lib.SetDataThreshold(0)
		if match != "" {
			src.Journald.Matches = []string{match}
			if err := lib.AddMatch(match); err != nil {
				t.Fatal(err)
			}
		}
		recs, _, _ := readAll(t, open(t, inputOf(t, src, nil), ""))
		n := 0
		for ; ; n++ {
			more, err := lib.Next()
			if err != nil {
				t.Fatal(err)
			}
			if more == 0 {
				break
			}
			e, err := lib.GetEntry()
			if err != nil || n >= len(recs) {
				t.Fatal(n, len(recs), err)
			}
			if recs[n].Time != int64(e.RealtimeTimestamp)*1000 || n > 0 && recs[n].before == "" {
				t.Fatalf("%q: entry %d has another time", match, n)
			}
			message, ok := e.Fields["MESSAGE"]
			if ok && message != string(recs[n].Line) || !ok && !strings.Contains(string(recs[n].Line), "CODE_LINE="+e.Fields["CODE_LINE"]) {
				t.Fatalf("%q: entry %d is %.200q, libsystemd has %.200q", match, n, recs[n].Line, message)
			}
			for name, got := range map[string][]byte{"_SYSTEMD_UNIT": recs[n].header.Unit, "_PID": recs[n].header.PID, "SYSLOG_IDENTIFIER": recs[n].header.Identifier} {
				if e.Fields[name] != string(got) {
					t.Fatalf("%q: entry %d: %s is %q, libsystemd has %q", match, n, name, got, e.Fields[name])
				}
			}
		}
		lib.Close()
		if n != len(recs) || n == 0 {
			t.Errorf("%q: %d records, libsystemd has %d", match, len(recs), n)
		}
	}
}
