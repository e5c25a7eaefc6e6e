package journald

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Where journald keeps its files.
var defaultRoots = []string{"/var/log/journal", "/run/log/journal"}

const (
	// rescanAfter is how often the directories are listed even though nothing
	// was heard from them.
	rescanAfter = 2 * time.Second
	// A directory's modification time is that of the kernel's last tick, of which
	// the longest is 10 ms: what is younger than tickAtMost may change again unseen.
	tickAtMost = 20 * time.Millisecond
)

// directories finds journal files: fixed ones, those of one directory and of
// the machine-id directories in it, or those of this machine.
type directories struct {
	root   string   // "" for this machine's
	files  []string // fixed files; then nothing is searched
	notify int      // inotify descriptor, -1 if there is none
	failed []error  // why directories that are there could not be listed
	heard  bool
	next   time.Time // of the next listing without a reason
	denied []error   // why directories could not be listed, of the last listing

	// Directories that inotify does not watch, with their modification times before the
	// last listing: a user may have 128 inotify instances only, and a new file that
	// is found late is taken for one whose entries were given (journal.placeOf).
	unwatched map[string]time.Time
}

func newDirectories(root string, files []string) *directories {
	d := &directories{root: root, files: files, notify: -1}
	if len(files) > 0 {
		return d
	}
	if fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC); err == nil {
		d.notify = fd
	}
	return d
}

func (d *directories) close() {
	if d.notify >= 0 {
		unix.Close(d.notify)
		d.notify = -1
	}
}

// changed reports whether the directories are to be listed (again); it stays
// true until they are.
func (d *directories) changed(now time.Time) bool {
	if d.heard || !now.Before(d.next) {
		return true
	}
	if d.touched(now) {
		d.heard = true
		return true
	}
	if d.notify < 0 {
		return false
	}
	var buf [4096]byte
	for {
		n, err := unix.Read(d.notify, buf[:])
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return d.heard
		}
		d.heard = true
	}
}

// touched reports whether a directory that is not watched may have changed since it was listed.
func (d *directories) touched(now time.Time) bool {
	for dir, was := range d.unwatched {
		at := modified(dir)
		if !at.Equal(was) || !at.IsZero() && now.Sub(at).Abs() < tickAtMost {
			return true
		}
	}
	return false
}

// modified returns the modification time of a directory, or zero.
func modified(dir string) time.Time {
	st, err := os.Stat(dir)
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}

const watchMask = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR | unix.IN_ATTRIB

// list returns the paths of all journal files there are.
func (d *directories) list(now time.Time) []string {
	d.next, d.heard, d.failed = now.Add(rescanAfter), false, nil
	clear(d.unwatched)
	if len(d.files) > 0 {
		return d.files
	}
	var found []string
	if d.root != "" {
		return d.listRoot(d.root, true, found)
	}
	id := machineID()
	for _, root := range defaultRoots {
		if id == "" {
			found = d.listRoot(root, false, found)
			continue
		}
		found = d.listDir(filepath.Join(root, id), found)
	}
	return found
}

// listRoot lists a directory's machine-id directories, and its own files if own.
func (d *directories) listRoot(root string, own bool, found []string) []string {
	if own {
		found = d.listDir(root, found)
	} else {
		d.watch(root)
	}
	entries, _ := os.ReadDir(root)
	for _, e := range entries {
		var id id128
		if parseID(&id, e.Name()) == nil {
			found = d.listDir(filepath.Join(root, e.Name()), found)
		}
	}
	return found
}

func (d *directories) listDir(dir string, found []string) []string {
	d.watch(dir) // before listing, so that nothing falls in between
	entries, err := os.ReadDir(dir)
	if err != nil {
		if !isGone(err) {
			d.failed = append(d.failed, err)
		}
		return found
	}
	for _, e := range entries {
		if isJournalName(e.Name()) {
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	return found
}

// watch asks for news of a directory or, until it exists, of the nearest one
// above it that does. Watching twice is once. One that exists and cannot be
// watched (no permission, no watches left) is looked at instead: climbing from
// it would come back to it for ever.
func (d *directories) watch(dir string) {
	if d.notify < 0 {
		d.remember(dir)
		return
	}
	again := true // once: what is there may be no directory, or not ours to watch
	for at := dir; ; {
		_, err := unix.InotifyAddWatch(d.notify, at, watchMask)
		switch up := filepath.Dir(at); {
		case err == unix.ENOENT && up != at:
			at = up
		case err == nil && at != dir && again && exists(dir):
			at, again = dir, false // made between the two
		default:
			if err != nil {
				d.remember(dir)
			}
			return
		}
	}
}

// remember has a directory looked at that cannot be watched.
func (d *directories) remember(dir string) {
	if d.unwatched == nil {
		d.unwatched = map[string]time.Time{}
	}
	d.unwatched[dir] = modified(dir)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func isJournalName(name string) bool {
	return strings.HasSuffix(name, ".journal") || strings.HasSuffix(name, ".journal~")
}

// isArchivedName reports whether the name is one that journald gives to a
// file when it has written its last entry into it:
// NAME@SEQNUM_ID-SEQNUM-TIME.journal, or NAME@....journal~.
func isArchivedName(path string) bool {
	name := filepath.Base(path)
	if strings.HasSuffix(name, "~") {
		return true
	}
	_, rest, ok := strings.Cut(name, "@")
	rest = strings.TrimSuffix(rest, ".journal")
	return ok && len(rest) == 32+1+16+1+16 && rest[32] == '-' && rest[49] == '-'
}

func machineID() string {
	b, err := os.ReadFile("/etc/machine-id")
	var id id128
	s := strings.TrimSpace(string(b))
	if err != nil || parseID(&id, strings.ReplaceAll(s, "-", "")) != nil {
		return ""
	}
	return id.String()
}

func isGone(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func statFile(path string) (os.FileInfo, error) {
	st, err := os.Stat(path)
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("is not a regular file")
	}
	return st, err
}
