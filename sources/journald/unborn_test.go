package journald

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// TestFileThatHasNoHeaderYet: a writer that makes a file and is held up before it has
// written the header goes on with that file's first entries. What it writes to other
// files then comes behind them, and must not be given before they were looked for. A
// file that stays empty holds the others back only for a while.
func TestFileThatHasNoHeaderYet(t *testing.T) {
	t.Parallel()
	var boot id128
	if err := parseID(&boot, testBoot); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// grow writes a file of 30 entries, with the times first, first+10 and so on, of which
	// n are published.
	grow := func(name string, first, n uint64) {
		t.Helper()
		w := newJournalWriter(t, 0, true, true, name)
		for i := range uint64(30) {
			w.addEntry(1e15+first+10*i, first+10*i, boot, testbed.Field{Name: "MESSAGE", Value: name})
		}
		b := w.bytes()
		b[hdrState] = stateOnline
		w.put(hdrEntries, n)
		w.put(hdrTailSeqnum, n)
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	grow("system.journal", 10, 10)
	j := newJournal(newDirectories(dir, nil), nil, maxPayload, func(string, uint64, string, error) {})
	defer j.close()
	now := time.Now()
	j.now, j.follows = func() time.Time { return now }, true
	if _, err := j.begin(nil); err != nil {
		t.Fatal(err)
	}
	take := func(want int) {
		t.Helper()
		j.refresh()
		j.refresh() // for what the first one left behind the fence
		n, last := 0, uint64(0)
		for f := j.next(); f != nil; f = j.next() {
			if at := f.stream.head.loc.monotonic; at < last {
				t.Errorf("the entry of %d comes behind that of %d", at, last)
			} else {
				last = at
			}
			n++
			j.given(f)
			j.pop()
		}
		if n != want {
			t.Fatalf("%d entries, want %d", n, want)
		}
	}
	take(10)
	user, never := filepath.Join(dir, "user-1500.journal"), filepath.Join(dir, "user-1501.journal")
	if err := os.WriteFile(user, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	take(0)
	grow("system.journal", 10, 20)
	take(0)
	grow("user-1500.journal", 105, 5)
	take(10 + 5)

	if err := os.WriteFile(never, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	grow("system.journal", 10, 30)
	take(0)
	now = now.Add(rescanAfter)
	take(10)
}
