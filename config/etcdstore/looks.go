package etcdstore

import (
	"sync"
	"time"
)

// looks remembers which revision etcd was at when, by this machine's monotonic clock. A report
// says when it was written by the clock of the node that wrote it, which may be hours off or have been set
// since; its revision says between which looks that was, whatever any clock says.
type looks struct {
	mu  sync.Mutex
	all []look // by time and revision
}

type look struct {
	revision int64
	at       time.Time
}

// looksKept bounds them. They are an eighth of OfflineAfter apart, so that twice as long is known.
const looksKept = 16

// note remembers that etcd is at a revision now; every is how far looks are apart at least.
func (l *looks) note(revision int64, now time.Time, every time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.all)
	if n > 0 && revision < l.all[n-1].revision { // etcd was restored
		l.all, n = nil, 0
	}
	if n > 0 && now.Sub(l.all[n-1].at) < every {
		return
	}
	if n == looksKept {
		l.all = append(l.all[:0], l.all[1:]...)
	}
	l.all = append(l.all, look{revision, now})
}

// age returns how long ago the revision was made: what the clocks say, within what the looks know.
func (l *looks) age(revision int64, clocks time.Duration, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	least, most := time.Duration(0), max(0, clocks)
	for i := len(l.all) - 1; i >= 0; i-- {
		past := now.Sub(l.all[i].at)
		if l.all[i].revision < revision {
			most = past
			break
		}
		least = past
	}
	return max(least, min(clocks, most))
}
