package journald

import (
	"errors"
	"fmt"
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
	taken   uint64 // files taken up so far
	clock   uint64 // for the least recently used
	failing map[string]time.Time
	refused error       // the first file of the last listing that may not be read
	deny    func(error) // is told of it, or nil, after each listing; may be nil

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

	families map[familyKey]*family
	folders  map[string]*folder
	fresh    bool  // there are files that missed has not looked at
	hidden   bool  // there are files that may not be read: numbers are missing for that
	follows  bool  // what is written while it is read is given too
	unborn   bool  // a file is being made and has no header yet
	seam     *seam // entries are known to be missing behind the last one
	ioErr    error // why the last look at a file could not be taken
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
	fresh   bool      // missed has not looked at it
	used    uint64    // the journal's clock when it was used last
}

func newJournal(dirs *directories, m *matcher, limit int, tell func(string, uint64, string, error)) *journal {
	j := &journal{dirs: dirs, matcher: m, files: map[fileKey]*file{}, failing: map[string]time.Time{}, tell: tell}
	j.walkDeps = walkDeps{z: &inflater{limit: limit}, now: time.Now}
	j.damaged = func(f *file, off uint64, reason string, err error) { tell(f.path, off, reason, err) }
	j.walkDeps.vacuumed = j.vacuumed
	j.walkDeps.unreadable = func(f *file, err error) { j.ioErr = fmt.Errorf("reading journal file %s: %w", f.path, err) }
	return j
}

// begin finds the files and goes behind from, or to the beginning if nil. It
// returns what is known to be missing right behind from.
func (j *journal) begin(from *location) (*sources.GapError, error) {
	j.rescan(true)
	if from == nil {
		return nil, nil
	}
	if gap := j.anew(from); gap != nil {
		return gap, nil
	}
	j.from, j.began = *from, true
	gap, err := j.verify(&j.from)
	if err != nil {
		return nil, err
	}
	j.last, j.hasLast = j.from, true
	for _, f := range j.order {
		if f.hdr.seqnumID == j.from.seqnumID && !j.from.noSeqnum {
			f.family.top, f.folder.last = j.from.seqnum, j.from
		}
	}
	for _, f := range j.order {
		if err := j.use(f); err == nil {
			f.seekAfter(&j.from)
		}
	}
	return gap, nil
}

// refresh learns what was written since, so that next has something to give.
func (j *journal) refresh() {
	j.ioErr = nil
	if j.dirs.changed(j.now()) {
		j.rescan(false)
	}
	if j.unborn && j.follows {
		return // what would be given now may be younger than the first entries of that file
	}
	j.torn = false
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
	j.missed()
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
			if errors.Is(err, errCorrupt) && f.state.gone.IsZero() && !f.vanished() {
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
		if f.broken {
			j.pop() // went with another one
			continue
		}
		if j.hasLast && f != j.lastFile && (head.compare(&j.last) == 0 || j.isCopy(f, head)) {
			f.family.top = max(f.family.top, head.seqnum)
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
