package testbed

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func show(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("journalctl", append([]string{"--no-pager", "-q", "-o", "cat"}, args...)...).Output()
	if err != nil && len(out) > 0 {
		t.Fatalf("journalctl: %v", err)
	}
	return string(out)
}

func TestPrivateJournald(t *testing.T) {
	j := StartJournald(t)
	out := j.Stdout(t, "prog", "rig-test.service", 4)
	out.Line("one line")
	out.Close()
	if err := j.Native(t).Send(Field{"MESSAGE", "two\nlines"}, Field{"TAG", "a"}, Field{"TAG", "b"}); err != nil {
		t.Fatal(err)
	}
	j.Sync(t)
	if got := show(t, "-D", j.Dir, "-u", "rig-test", "-t", "prog", "-p", "4"); got != "one line\n" {
		t.Errorf("the unit's entries: %q", got)
	}
	if got := show(t, "-D", j.Dir, "TAG=b"); got != "two\nlines\n" {
		t.Errorf("the native entry: %q", got)
	}
	j.Rotate(t)
	if files, _ := filepath.Glob(filepath.Join(j.Dir, "*.journal")); len(files) != 2 {
		t.Errorf("files after rotation: %v", files)
	}
	j.Vacuum(t, 1)
	if files, _ := filepath.Glob(filepath.Join(j.Dir, "*.journal")); len(files) != 1 {
		t.Errorf("files after vacuuming: %v", files)
	}
	j.Kill()
	j.Restart(t)
	j.Sync(t)
}

func TestFabricatedJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.journal")
	export := AppendExport(nil, 1_700_000_000_000_000, 5, strings.Repeat("ab", 16), Field{"MESSAGE", "binary \x00"}, Field{"_HOSTNAME", "h"})
	for _, layout := range []JournalLayout{{}, {Compact: true}, {Unkeyed: true}} {
		os.Remove(path)
		FabricateJournal(t, path, strings.NewReader(string(export)), layout)
		if got := show(t, "--file", path, "_HOSTNAME=h"); got != "binary \x00\n" {
			t.Errorf("%+v: %q", layout, got)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if compact, keyed := b[12]&16 != 0, b[12]&4 != 0; compact != layout.Compact || keyed == layout.Unkeyed {
			t.Errorf("%+v: incompatible flags %#x", layout, b[12])
		}
	}
}
