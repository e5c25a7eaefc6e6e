package journald

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A directory that exists and cannot be watched, here because it is a file
// (as root every directory can), is listed at intervals and holds nobody up.
func TestWatchOfWhatCannotBeWatchedEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDirectories(path, nil)
	defer d.close()
	done := make(chan struct{})
	go func() {
		d.list(time.Now())
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("listing does not end")
	}
}

// What may not be read is told at once, with what to do: a user without the
// right group would otherwise see nothing at all, and no reason.
func TestMissingPermissionIsToldAtOnce(t *testing.T) {
	var told []string
	j := newJournal(newDirectories(t.TempDir(), nil), nil, 0, func(path string, _ uint64, reason string, err error) {
		told = append(told, path+" "+reason+" "+err.Error())
	})
	defer j.close()
	denied := &fs.PathError{Op: "open", Path: "/j/system.journal", Err: unix.EACCES}
	for range 3 {
		j.cannotOpen(denied.Path, time.Now(), denied)
	}
	if len(told) != 1 || !strings.Contains(told[0], "group systemd-journal") {
		t.Errorf("told %q", told)
	}
}
