package journald

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// TestSameEntriesInSeveralFiles: a copy of a file, and the same entries with
// numbers of their own (as journald's flush of /run to /var leaves them), are
// shown once.
func TestSameEntriesInSeveralFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := fabricate(t, dir, "a.journal", 200, 0, testbed.JournalLayout{Compact: true})
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "copy.journal"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	fabricate(t, dir, "flushed.journal", 300, 0, testbed.JournalLayout{Compact: true})
	got := inspect(t, InspectOptions{Directories: []string{dir}, Output: "cat"})
	want := journalctl(t, "-D", dir, "-o", "cat")
	sameOutput(t, got, want)
	if n := bytes.Count(inspect(t, InspectOptions{Directories: []string{dir}}), []byte("__CURSOR=")); n != 300 {
		t.Errorf("%d entries of 300", n)
	}
}

// TestFenceHoldsEntriesBack: an entry above the fence waits for the next look,
// because an older one may be in a file that was looked at before it.
func TestFenceHoldsEntriesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var paths []string
	for i := range 2 {
		path := filepath.Join(dir, fmt.Sprintf("f%d.journal", i))
		newJournalWriter(t, 0, true, true, fmt.Sprint("fence", i)).writeSome(path, 20)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[hdrState] = stateOnline
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	j := newJournal(newDirectories("", paths), nil, maxPayload, func(string, uint64, string, error) {})
	defer j.close()
	if _, err := j.begin(nil); err != nil {
		t.Fatal(err)
	}
	j.refresh()
	if len(j.fence) != 2 {
		t.Fatalf("fence %v for two sources of numbers", j.fence)
	}
	take := func() (n int, highest uint64) {
		for f := j.next(); f != nil; f = j.next() {
			highest = max(highest, f.stream.head.loc.seqnum)
			n++
			j.given(f)
			j.pop()
		}
		return n, highest
	}
	for i := range j.fence {
		j.fence[i].max = 7
	}
	if n, highest := take(); n == 0 || highest != 7 {
		t.Fatalf("%d entries, up to number %d, with the fence at 7", n, highest)
	}
	j.refresh()
	if n, highest := take(); n == 0 || highest != 20 {
		t.Fatalf("%d entries, up to number %d, after another look", n, highest)
	}
}
