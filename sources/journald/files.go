package journald

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// rescan lists the directories and takes up what is new.
func (j *journal) rescan(first bool) {
	now := j.now()
	j.unborn, j.refused = false, nil
	seen := map[fileKey]bool{}
	for _, path := range j.dirs.list(now) {
		if key, ok := j.found(path, now, first); ok {
			seen[key] = true
		}
	}
	for _, err := range j.dirs.failed {
		if at := new(fs.PathError); errors.As(err, &at) {
			j.cannotOpen(at.Path, now, err)
		}
	}
	for _, f := range j.order {
		if !seen[f.key] && f.state.gone.IsZero() {
			f.state.gone = now
		}
	}
	if j.deny != nil {
		j.deny(j.refused)
	}
}

// found takes up the file at path unless it is known, and returns its key.
func (j *journal) found(path string, now time.Time, first bool) (fileKey, bool) {
	st, err := statFile(path)
	if err != nil {
		return fileKey{}, false
	}
	key := keyOf(st)
	if f := j.files[key]; f != nil && !j.replaced(f, path) {
		f.state.gone = time.Time{}
		if f.path != path {
			f.path, f.state.settled = path, 0
		}
		return key, true
	}
	f, err := openFile(path)
	if err != nil {
		j.cannotOpen(path, now, err)
		j.awaitHeader(path, st, now)
		return key, false
	}
	delete(j.failing, path)
	if f.key != key { // renamed under us: the next listing tells
		f.close()
		j.dirs.next = now
		return fileKey{}, false
	}
	j.take(f, first)
	return key, true
}

// replaced reports whether a known inode holds another journal now: inode
// numbers are given out again. Only a file that is not open can be replaced.
func (j *journal) replaced(f *file, path string) bool {
	if f.fd != nil || f.path == path && f.state.gone.IsZero() {
		return false
	}
	fresh, err := openFile(path)
	if err != nil {
		return false
	}
	defer fresh.close()
	if fresh.hdr.fileID == f.hdr.fileID {
		return false
	}
	j.drop(f)
	return true
}

// cannotOpen tells once about a file that stays unreadable. One that is just
// being made has no header yet.
func (j *journal) cannotOpen(path string, now time.Time, err error) {
	if j.refused == nil && errors.Is(err, fs.ErrPermission) {
		j.refused = fmt.Errorf("%w: run lbshipd as root or with the group systemd-journal", err)
	}
	since, known := j.failing[path]
	if !known && errors.Is(err, fs.ErrPermission) {
		// That does not pass by itself in a moment.
		since, known = now.Add(-rescanAfter), true
		j.hidden = true
		err = fmt.Errorf("%w: run lbshipd as root or with the group systemd-journal", err)
	}
	if !known {
		j.failing[path] = now
		j.dirs.next = now.Add(rescanAfter / 20)
		return
	}
	if since.IsZero() || isGone(err) {
		return
	}
	if now.Sub(since) < rescanAfter {
		j.dirs.next = now.Add(rescanAfter / 20)
		return
	}
	reason := "unreadable-file"
	if errors.Is(err, errCorrupt) {
		reason = "corrupt-file"
	}
	j.tell(path, 0, reason, err)
	j.failing[path] = time.Time{}
}

// awaitHeader holds everything back while a file is empty: its writer has made it
// and is about to write its header and first entries, which come before all that it
// writes elsewhere then. A file that stays empty holds nothing back for more than rescanAfter.
func (j *journal) awaitHeader(path string, st fs.FileInfo, now time.Time) {
	since := j.failing[path]
	if st.Size() > 0 || since.IsZero() || now.Sub(since) >= rescanAfter {
		return
	}
	j.unborn, j.dirs.next = true, now
}

// take adds a new file and finds its place in it.
func (j *journal) take(f *file, first bool) {
	if j.matcher != nil {
		f.stream.match = &fileMatch{m: j.matcher}
	}
	f.state.live, f.state.fresh, j.fresh = true, true, true
	f.family, f.folder = j.familyOf(f), j.folderOf(f)
	j.taken++
	f.salt = j.taken * 0x2545f4914f6cdd1d
	f.settle()
	if !first {
		if from := j.placeOf(f); from != nil {
			f.seekAfter(from)
			if l, ok := f.entryBefore(f.scan.idx); ok && j.last.seqnumID != f.hdr.seqnumID {
				f.family.top = max(f.family.top, l.seqnum)
			}
		}
	}
	j.files[f.key] = f
	j.order = append(j.order, f)
	j.opened++
	j.touch(f)
	j.makeRoom(f)
}

// placeOf says behind which entry a file is to be read, nil for all of it. A
// file that appears later may hold entries older than the last one given:
//   - numbered by a source that is known: they were never given, unless they
//     lie before the place where reading began;
//   - otherwise they may be copies (journald's flush of /run/log/journal to
//     /var/log/journal numbers anew), and sd-journal's rule holds: what is not
//     behind the last entry is not shown.
func (j *journal) placeOf(f *file) *location {
	if !j.hasLast {
		return nil
	}
	known := false
	for _, o := range j.order {
		if o.hdr.fileID == f.hdr.fileID {
			return &j.last // a copy of a file that was read
		}
		known = known || o.hdr.seqnumID == f.hdr.seqnumID
	}
	if !known {
		return &j.last
	}
	if j.began && j.from.seqnumID == f.hdr.seqnumID && !j.from.noSeqnum {
		return &j.from
	}
	if j.began {
		return &j.last
	}
	return nil
}

// retire closes files that have given all they will ever give, and forgets
// those whose name is gone as well.
func (j *journal) retire() {
	now := j.now()
	forget := false
	for _, f := range j.order {
		idle := !f.state.inHeap && !f.stream.stalled
		gone := !f.state.gone.IsZero()
		if gone && idle && f.state.live && (f.hdr.state != stateOnline || now.Sub(f.state.gone) > unlinkedFor) {
			f.state.live = false
		}
		if !f.state.live && idle && f.fd != nil {
			j.putAside(f)
		}
		forget = forget || gone && !f.state.live && idle
	}
	if !forget {
		return
	}
	for _, f := range slices.Clone(j.order) {
		if !f.state.gone.IsZero() && !f.state.live && !f.state.inHeap && !f.stream.stalled {
			j.drop(f)
		}
	}
}

// replace gives a file up whose inode holds another journal now, and has that
// one found as a new file.
func (j *journal) replace(f *file) {
	j.tell(f.path, 0, "replaced-file", errReplaced)
	f.broken, f.state.live, f.state.gone = true, false, j.now()
	delete(j.files, f.key)
	j.dirs.heard = true
}

func (j *journal) drop(f *file) {
	j.putAside(f)
	if j.files[f.key] == f {
		delete(j.files, f.key)
	}
	j.order = slices.DeleteFunc(j.order, func(o *file) bool { return o == f })
}

// use makes sure that the file is open.
func (j *journal) use(f *file) error {
	j.touch(f)
	if f.fd != nil {
		return nil
	}
	if f.broken {
		return errCorrupt
	}
	if err := f.reopen(); err != nil {
		f.broken, f.state.live = true, false
		j.lost(f, err)
		return err
	}
	j.opened++
	j.makeRoom(f)
	return nil
}

// lost tells that a file vanished while it was put aside.
func (j *journal) lost(f *file, err error) {
	if f.stream.drained {
		return
	}
	taken := uint64(0)
	if f.state.inHeap {
		taken = 1
	}
	if isGone(err) {
		j.miss(f, taken, "vacuumed", "journal vacuumed")
		return
	}
	j.miss(f, taken, "unreadable", fmt.Sprintf("journal file %s cannot be read: %v", f.path, err))
}

func (j *journal) touch(f *file) {
	j.clock++
	f.state.used = j.clock
}

func (j *journal) putAside(f *file) {
	if f.fd != nil {
		f.close()
		j.opened--
	}
}

// makeRoom closes the file that was not used for the longest time while too
// many are open.
func (j *journal) makeRoom(keep *file) {
	for j.opened > maxOpenFiles {
		var oldest *file
		for _, f := range j.order {
			if f != keep && f.fd != nil && !f.state.live && (oldest == nil || f.state.used < oldest.state.used) {
				oldest = f
			}
		}
		if oldest == nil {
			return
		}
		j.putAside(oldest)
	}
}

func (j *journal) close() {
	for _, f := range j.order {
		f.close()
	}
	j.dirs.close()
	j.z.close()
}
