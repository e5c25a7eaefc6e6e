package journald

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lbshipd/lbshipd/sources"
)

// maxOpenFiles is how many journal files one reader holds open. Those beyond
// are opened again when their turn comes.
const maxOpenFiles = 128

// unlinkedFor is how long a deleted file that nobody has closed properly is
// kept open in case its writer goes on.
const unlinkedFor = time.Minute

// journal merges the entries of many files into one order. It is used by one
// goroutine.
type journal struct {
	dirs    *directories
	matcher *matcher
	walkDeps
	tell func(path string, off uint64, reason string, err error)

	files   map[fileKey]*file
	order   []*file // as they were found
	opened  int
	clock   uint64 // for the least recently used
	failing map[string]time.Time

	heap  []*file
	torn  bool // a file waits for an object that is being written: nothing may overtake it
	fence []fencePost
	until *location

	from     location // where reading began, if began
	began    bool
	last     location // the entry given last, or from
	hasLast  bool
	lastFile *file
	gaps     []*sources.GapError
}

// fencePost bounds what may be given of the files that share a source of
// sequence numbers: entries above max may have older siblings that were not
// there yet when their file was looked at.
type fencePost struct {
	id  id128
	max uint64
}

// fileState is what the merge knows about a file beyond its stream.
type fileState struct {
	live    bool // may still grow
	settled int  // looks since its name said that it will not
	fenced  bool // the fence holds for it
	inHeap  bool
	gone    time.Time // when its name vanished
	used    uint64    // the journal's clock when it was used last
}

func newJournal(dirs *directories, m *matcher, limit int, tell func(string, uint64, string, error)) *journal {
	j := &journal{dirs: dirs, matcher: m, files: map[fileKey]*file{}, failing: map[string]time.Time{}, tell: tell}
	j.walkDeps = walkDeps{z: &inflater{limit: limit}, now: time.Now}
	j.damaged = func(f *file, off uint64, reason string, err error) { tell(f.path, off, reason, err) }
	return j
}

// begin finds the files and goes behind from, or to the beginning if nil. It
// returns what is known to be missing right behind from.
func (j *journal) begin(from *location) (*sources.GapError, error) {
	j.rescan(true)
	if from == nil {
		return nil, nil
	}
	j.from, j.began = *from, true
	gap, err := j.verify(&j.from)
	if err != nil {
		return nil, err
	}
	j.last, j.hasLast = j.from, true
	for _, f := range j.order {
		if err := j.use(f); err == nil {
			f.seekAfter(&j.from)
		}
	}
	return gap, nil
}

// rescan lists the directories and takes up what is new.
func (j *journal) rescan(first bool) {
	now := j.now()
	seen := map[fileKey]bool{}
	for _, path := range j.dirs.list(now) {
		if key, ok := j.found(path, now, first); ok {
			seen[key] = true
		}
	}
	for _, f := range j.order {
		if !seen[f.key] && f.state.gone.IsZero() {
			f.state.gone = now
		}
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
	since, known := j.failing[path]
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

// take adds a new file and finds its place in it.
func (j *journal) take(f *file, first bool) {
	if j.matcher != nil {
		f.stream.match = &fileMatch{m: j.matcher}
	}
	f.state.live = true
	f.settle()
	if !first {
		if from := j.placeOf(f); from != nil {
			f.seekAfter(from)
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

// refresh learns what was written since, so that next has something to give.
func (j *journal) refresh() {
	j.torn = false
	if j.dirs.changed(j.now()) {
		j.rescan(false)
	}
	live := j.look()
	// What is seen to be published now has no older sibling that a second look,
	// at all files there are, does not see.
	if j.dirs.changed(j.now()) {
		j.rescan(false)
		live = 2
	}
	j.fence = j.fence[:0]
	for _, f := range j.order {
		f.state.fenced = f.state.live || f.stream.limit == 0
		if live > 1 && f.state.fenced {
			j.raiseFence(f.hdr.seqnumID, f.hdr.tailSeqnum)
		}
	}
	if live > 1 {
		j.look()
	}
	for _, f := range j.order {
		j.publish(f)
	}
	j.retire()
}

// look reads the headers of all files that may have grown and returns how
// many these are.
func (j *journal) look() int {
	live := 0
	for _, f := range j.order {
		if !f.state.live {
			continue
		}
		live++
		if err := j.use(f); err != nil {
			continue
		}
		if err := f.refresh(); err != nil {
			if err == errReplaced {
				j.replace(f)
			}
			if errors.Is(err, errCorrupt) && f.state.gone.IsZero() {
				j.tell(f.path, 0, "corrupt-header", err)
				f.state.live = false
			}
			continue
		}
		f.settle()
	}
	return live
}

// settle finds out whether a file may still grow: it is archived, or its name
// says so and it was looked at twice since.
func (f *file) settle() {
	if f.hdr.state == stateArchived {
		f.state.live = false
		return
	}
	if isArchivedName(f.path) {
		if f.state.settled++; f.state.settled > 3 {
			f.state.live = false
		}
	}
}

func (j *journal) raiseFence(id id128, seqnum uint64) {
	for i := range j.fence {
		if j.fence[i].id == id {
			j.fence[i].max = max(j.fence[i].max, seqnum)
			return
		}
	}
	j.fence = append(j.fence, fencePost{id, seqnum})
}

// publish lets a file give what was found, and puts it in the heap.
func (j *journal) publish(f *file) {
	grown := f.hdr.entries != f.stream.limit || f.stream.stalled || !f.stream.drained
	if f.state.inHeap {
		if grown {
			f.publish(&j.walkDeps)
		}
		return
	}
	if !grown || j.use(f) != nil {
		return
	}
	f.publish(&j.walkDeps)
	j.advance(f)
}

// advance finds the file's next entry and puts it in its place in the heap.
func (j *journal) advance(f *file) {
	f.advance(&j.walkDeps)
	j.torn = j.torn || f.stream.stalled
	if f.stream.has {
		f.state.inHeap = true
		j.heap = append(j.heap, f)
		j.up(len(j.heap) - 1)
	}
}

// next returns the file whose head is the next entry in order, or nil if
// there is none for now. The entry is taken with pop.
func (j *journal) next() *file {
	for len(j.heap) > 0 {
		f := j.heap[0]
		head := &f.stream.head.loc
		if j.hasLast && f != j.lastFile && head.compare(&j.last) == 0 {
			j.pop() // the same entry, from another file
			continue
		}
		if j.until != nil && head.compare(j.until) > 0 || f.state.fenced && j.fenced(head) || j.torn {
			return nil
		}
		j.touch(f)
		return f
	}
	return nil
}

func (j *journal) fenced(l *location) bool {
	for i := range j.fence {
		if j.fence[i].id == l.seqnumID {
			return l.seqnum > j.fence[i].max
		}
	}
	return false
}

// given notes that the head of f was given.
func (j *journal) given(f *file) {
	j.last, j.hasLast, j.lastFile = f.stream.head.loc, true, f
}

// pop goes on behind the head of the first file in the heap.
func (j *journal) pop() {
	f := j.heap[0]
	if j.use(f) == nil {
		f.advance(&j.walkDeps)
		j.torn = j.torn || f.stream.stalled
	} else {
		f.stream.has = false
	}
	if f.stream.has {
		j.down(0)
		return
	}
	f.state.inHeap = false
	n := len(j.heap) - 1
	j.heap[0] = j.heap[n]
	j.heap[n] = nil
	j.heap = j.heap[:n]
	if n > 0 {
		j.down(0)
	}
}

func (j *journal) less(a, b int) bool {
	return j.heap[a].stream.head.loc.compare(&j.heap[b].stream.head.loc) < 0
}

func (j *journal) up(i int) {
	for i > 0 {
		p := (i - 1) / 2
		if !j.less(i, p) {
			return
		}
		j.heap[i], j.heap[p] = j.heap[p], j.heap[i]
		i = p
	}
}

func (j *journal) down(i int) {
	for {
		k := 2*i + 1
		if k >= len(j.heap) {
			return
		}
		if k+1 < len(j.heap) && j.less(k+1, k) {
			k++
		}
		if !j.less(k, i) {
			return
		}
		j.heap[i], j.heap[k] = j.heap[k], j.heap[i]
		i = k
	}
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
	left := int64(f.stream.limit) - int64(f.scan.idx)
	if left <= 0 || j.matcher != nil || f.stream.bulk {
		left = 0
	}
	if f.stream.drained {
		return
	}
	j.gaps = append(j.gaps, &sources.GapError{Reason: "vacuumed", Records: left,
		Detail: fmt.Sprintf("journal file %s was removed before it was read: %v", f.path, err)})
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
