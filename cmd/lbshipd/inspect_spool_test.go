package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/admin"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/spool"
)

// spoolDir is a data directory in which the spool of siem holds 20 records in
// 4 segments, of which the first 5 are answered.
func spoolDir(t *testing.T) string {
	t.Helper()
	data := t.TempDir()
	s, err := spool.Open(filepath.Join(data, "spool", "siem"), spool.Options{MaxBytes: 1 << 20, SegmentBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for n := range 4 {
		b := record.NewBatch()
		b.Origin = &record.Origin{Source: "app", Kind: "file", Input: "1", Path: "/var/log/app.log"}
		for i := range 5 {
			r := b.Add()
			r.Line = b.Copy(fmt.Appendf(nil, "line %d\x1b\xff", 5*n+i))
			r.Message, r.Level = r.Line, record.LevelError
		}
		frames, err := s.Append([]spool.Entry{{Batch: b}})
		b.Release()
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			defer s.Answered(frames[0])
		}
	}
	return data
}

func TestInspectSpool(t *testing.T) {
	data := spoolDir(t)
	code, out := lbshipd("inspect", "spool", "--data-dir", data, "--verify")
	if code != 0 || !strings.Contains(out, "siem: 15 records not answered") || strings.Count(out, ".seg") != 3 {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if code, out := lbshipd("inspect", "spool", "--data-dir", data, "--records"); code != 0 || strings.Count(out, " app error: line ") != 15 || strings.ContainsAny(out, "\x1b\xff") {
		t.Errorf("exit code %d:\n%q", code, out)
	}
	code, out = lbshipd("inspect", "spool", "--data-dir", data, "--target", "siem", "-o", "json")
	var rep struct {
		Target            string
		UnansweredRecords int
		AnsweredFrame     int
		Segments          []spool.SegmentReport
	}
	if err := json.Unmarshal([]byte(out), &rep); code != 0 || err != nil || rep.Target != "siem" || rep.UnansweredRecords != 15 || rep.AnsweredFrame != 1 || len(rep.Segments) != 3 || rep.Segments[0].Oldest.IsZero() {
		t.Errorf("exit code %d, %v: %+v\n%s", code, err, rep, out)
	}

	names, err := filepath.Glob(filepath.Join(data, "spool", "siem", "*.seg"))
	if err != nil || len(names) != 3 {
		t.Fatal(names, err)
	}
	whole, err := os.ReadFile(names[1])
	if err != nil {
		t.Fatal(err)
	}
	whole[len(whole)-1] ^= 1
	if err := os.WriteFile(names[1], whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := lbshipd("inspect", "spool", "--data-dir", data, "--verify"); code != exitFailed || !strings.Contains(out, "damaged: ") {
		t.Errorf("damaged: exit code %d:\n%s", code, out)
	}
}

func TestInspectSpoolOfNothing(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{nil, 0, ""},
		{[]string{"--target", "siem"}, exitFailed, "there is no spool of target \"siem\""},
		{[]string{"-o", "yaml"}, exitUsage, "want text or json"},
	} {
		code, out := lbshipd(append([]string{"inspect", "spool", "--data-dir", t.TempDir()}, c.args...)...)
		if code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%v: exit code %d: %s", c.args, code, out)
		}
	}
}

func TestStatusShowsSpools(t *testing.T) {
	var b strings.Builder
	printSpools(&b, []admin.TargetStatus{{Name: "none"},
		{Name: "siem", Spool: &admin.SpoolStatus{Records: 12345, Bytes: 64 << 20, Limit: 1 << 30}},
		{Name: "stuck", Spool: &admin.SpoolStatus{Records: 1, Bytes: 20 << 20, Limit: 20 << 20, Full: true}},
		{Name: "old", Spool: &admin.SpoolStatus{Records: 1, Bytes: 100}}})
	want := `
SPOOL OF  RECORDS  ON DISK               STATE
siem      12,345   64 MiB of 1024 MiB    ok
stuck     1        20 MiB of 20 MiB      full: records stay at their sources
old       1        100 B (being emptied)  ok
`
	if got := b.String(); strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
