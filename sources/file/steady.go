package file

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// steadyMost bounds how long a start waits for directories to hold still, for whatever it
// looks for in them.
const steadyMost = 2 * time.Second

// steadily calls look for each of dirs, and again for those in which names came or
// went meanwhile, until they hold still or look reports that nothing is missing any
// more. Who shifts a hundred rotated files by one while they are listed, moves each of them
// away from the name that was just read and on to one that was not there: a file that is looked for by what
// is in it, and not by its name, is then in no listing.
func (d *discovery) steadily(dirs []string, look func(dir string) (more bool)) {
	seen := map[string]int64{}
	for ; ; time.Sleep(pollTick) {
		still := true
		for _, dir := range dirs {
			mtime := settledSince(dir)
			before, again := seen[dir]
			if again && before == mtime && mtime != 0 {
				continue
			}
			if again {
				d.lookAgain(dir)
			}
			seen[dir], still = mtime, false
			if !look(dir) {
				return
			}
		}
		if still || time.Now().After(d.steadyUntil) {
			return
		}
	}
}

// lookAgain opens what has come to the paths in a directory meanwhile: until its events are handled,
// it may be gone. At a first run, what comes is no longer what was there, and waits for its events.
func (d *discovery) lookAgain(path string) {
	if dir := d.dirs[path]; dir != nil && !d.first {
		d.scanDir(dir)
	}
}

// settledSince returns the modification time of a directory in Unix ns, or 0 if that may
// stay what it is with the next change: both within one tick of the kernel's clock.
func settledSince(dir string) int64 {
	st, err := os.Stat(dir)
	if err != nil {
		return -1
	}
	mtime := st.Sys().(*syscall.Stat_t).Mtim.Nano()
	if justChanged(mtime, kernelNow()) {
		return 0
	}
	return mtime
}

// justChanged reports whether the next change may leave a modification time, in Unix ns, what it is.
// One that lies further ahead was set by hand, or by a clock that ran ahead: the next change moves it.
func justChanged(mtime int64, now time.Time) bool {
	age := now.UnixNano() - mtime
	return age < int64(pollTick) && -age < int64(pollTick)
}

// kernelNow is the clock that this kernel's file systems give times by.
func kernelNow() time.Time {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts); err != nil {
		return time.Now()
	}
	return time.Unix(ts.Unix())
}

// list returns what is in a directory.
func (d *discovery) list(dir string) ([]os.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if d.src.listed != nil {
		d.src.listed(dir)
	}
	return entries, err
}
