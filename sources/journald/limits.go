package journald

import (
	"time"

	"golang.org/x/sys/unix"
)

// Defaults of systemd 252, in bytes unless said otherwise (journal-file.c,
// journal_default_metrics).
const (
	pageSize        = 4 << 10
	minFileSize     = 512 << 10
	mostFileSize    = 128 << 20
	leastUse        = 1 << 20
	mostUse         = 4 << 30
	mostMinUse      = 16 << 20
	mostKeepFree    = 4 << 30
	defaultMaxFiles = 100
	defaultFileTime = 30 * 24 * time.Hour // a month
)

// limits are what one journald keeps to in one directory.
type limits struct {
	maxUse, minUse, keepFree, fileSize int64
	maxFiles                           int64         // 0: any number
	retention                          time.Duration // 0: for ever
	fileTime                           time.Duration // 0: whatever its age
}

// limitsOf fills in the defaults for a file system of fsSize bytes.
func limitsOf(k keeping, fsSize int64) limits {
	l := limits{maxUse: k.maxUse, fileSize: k.maxFileSize, keepFree: k.keepFree, maxFiles: k.maxFiles}
	if l.maxUse < 0 {
		l.maxUse = min(max(pageAlign(fsSize/10), leastUse), mostUse)
	} else if l.maxUse = pageAlign(l.maxUse); l.maxUse != 0 {
		l.maxUse = max(l.maxUse, 2*minFileSize)
	}
	l.minUse = min(min(max(pageAlign(fsSize/50), leastUse), mostMinUse), l.maxUse)
	if l.fileSize < 0 {
		l.fileSize = min(pageAlign(l.maxUse/8), mostFileSize)
	} else {
		l.fileSize = pageAlign(l.fileSize)
	}
	if l.fileSize != 0 {
		l.fileSize = max(l.fileSize, minFileSize)
		if l.maxUse != 0 {
			l.maxUse = max(l.maxUse, 2*l.fileSize)
		}
	}
	if l.keepFree < 0 {
		l.keepFree = min(pageAlign(fsSize*3/20), mostKeepFree)
	}
	if l.maxFiles < 0 {
		l.maxFiles = defaultMaxFiles
	}
	if k.retention > 0 && k.retention != forever {
		l.retention = k.retention
	}
	switch {
	case k.maxFileTime < 0:
		l.fileTime = defaultFileTime
	case k.maxFileTime != forever:
		l.fileTime = k.maxFileTime
	}
	return l
}

func pageAlign(n int64) int64 { return (n + pageSize - 1) &^ (pageSize - 1) }

// use returns how much journald keeps of archived files where used bytes of
// journals are, and free bytes of the file system.
func (l *limits) use(used, free int64) int64 {
	return min(max(used+max(0, free-l.keepFree), l.minUse), l.maxUse)
}

// space returns the size of the file system that holds dir and what is free of it.
func space(dir string) (size, free int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return st.Frsize * int64(st.Blocks), st.Bsize * int64(st.Bavail), nil
}
