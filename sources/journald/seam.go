package journald

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lbshipd/lbshipd/sources"
)

// family is the files that one writer numbers: without a loss every entry of
// one carries the number behind that of the entry before it.
//
// A journald gives one sequence of numbers to all its files, in /run and in
// /var, although system.journal and the users' files have sequence number ids of their
// own. Of other files (journal-remote's) only those of one id belong together.
type family struct {
	top  uint64 // the highest number that was given or passed over
	high uint64 // the highest number that was seen in a header
	lost []lostFile
}

type familyKey struct {
	dir     string // MACHINE-ID, MACHINE-ID.NAMESPACE, or a whole path
	machine id128
	seqnums id128 // zero for a journald's own files
}

// folder is a directory of journal files.
type folder struct {
	dir     string
	machine id128    // of its files
	last    location // the entry given last
}

func (j *journal) folderOf(f *file) *folder {
	dir := filepath.Dir(f.path)
	if j.folders == nil {
		j.folders = map[string]*folder{}
	}
	if j.folders[dir] == nil {
		j.folders[dir] = &folder{dir: dir, machine: f.hdr.machineID}
	}
	return j.folders[dir]
}

func (j *journal) familyOf(f *file) *family {
	key := familyKey{dir: filepath.Dir(f.path), machine: f.hdr.machineID}
	if base := filepath.Base(key.dir); strings.HasPrefix(base, f.hdr.machineID.String()) {
		key.dir = base
	}
	if name := filepath.Base(f.path); !strings.HasPrefix(name, "system") && !strings.HasPrefix(name, "user-") {
		key.seqnums = f.hdr.seqnumID
	}
	if j.families == nil {
		j.families = map[familyKey]*family{}
	}
	if j.families[key] == nil {
		j.families[key] = &family{}
	}
	return j.families[key]
}

// seam is a place where entries are known to be missing: behind what was given last.
type seam struct {
	reason  string
	what    string // for people
	entries int64  // of the journal, matching or not, as far as they are known
	until   uint64 // the oldest entry behind it is of that time, in µs; 0: not known
	since   time.Time
}

// tear notes that entries are missing behind the last one given.
func (j *journal) tear(reason, what string, entries int64, until uint64) {
	if j.seam == nil {
		j.seam = &seam{reason: reason, what: what, since: j.now()}
	}
	j.seam.entries += entries
	j.seam.until = max(j.seam.until, until)
}

// seamFor is how long a seam waits for the entry behind it, which tells how
// many are missing.
const seamFor = time.Second

// crossing is called before the head of f is given, if f is not the file that
// gave the last entry or entries are known to be missing. It returns what is missing in between.
func (j *journal) crossing(f *file) *sources.GapError {
	j.leave()
	fam, head := f.family, &f.stream.head.loc
	missing := int64(0)
	if j.matcher == nil && fam.top != 0 && head.seqnum > fam.top+1 && head.seqnum <= f.hdr.tailSeqnum && head.seqnum >= f.hdr.headSeqnum {
		j.passOver(fam, head.seqnum)
		missing = int64(head.seqnum-fam.top-1) - fam.told(head.seqnum)
		fam.top = head.seqnum - 1
	}
	s := j.seam
	if s == nil {
		if missing == 0 || j.hidden || !j.hasLast {
			return nil
		}
		s = &seam{reason: "vacuumed", what: "journal vacuumed"}
		if len(j.failing) > 0 {
			s.reason, s.what = "corrupt", "a journal file cannot be read"
		}
	}
	j.seam = nil
	missing += s.entries
	if j.matcher != nil && s.until != 0 {
		return j.gapOf(s, missing, s.until)
	}
	return j.gapOf(s, missing, head.realtime)
}

// leave notes what the file gave that is no longer read from.
func (j *journal) leave() {
	if j.lastFile != nil && j.lastFile.family != nil {
		j.lastFile.folder.last = j.last
		j.lastFile.family.top = max(j.lastFile.family.top, j.last.seqnum)
	}
}

// passOver raises the family's number by those that were given out for entries
// that journald then could not write: they end a file.
func (j *journal) passOver(fam *family, below uint64) {
	for _, o := range j.order {
		if o.family == fam && o.stream.drained && !o.broken && o.hdr.tailSeqnum < below {
			fam.top = max(fam.top, o.hdr.tailSeqnum)
		}
	}
}

// overdue returns the gap of a seam that has waited for long enough.
func (j *journal) overdue() *sources.GapError {
	s := j.seam
	if s == nil || j.now().Sub(s.since) < seamFor {
		return nil
	}
	j.seam = nil
	return j.gapOf(s, s.entries, s.until)
}

func (j *journal) gapOf(s *seam, missing int64, until uint64) *sources.GapError {
	gap := &sources.GapError{Reason: s.reason, Records: missing}
	switch {
	case j.hasLast && until != 0:
		gap.Detail = "between " + microTime(j.last.realtime) + " and " + microTime(until)
	case j.hasLast:
		gap.Detail = "after " + microTime(j.last.realtime)
	default:
		gap.Detail = "before " + microTime(until)
	}
	gap.Detail += ": " + s.what
	if j.matcher != nil {
		gap.Records = 0
		if missing > 0 {
			gap.Detail += fmt.Sprintf("; how many of the %s entries in between were of this source is not known", grouped(missing))
		}
	}
	return gap
}

// grouped writes a number for people: 1,234,567.
func grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	var b []byte
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b = append(b, ',')
		}
		b = append(b, digits[i])
	}
	return string(b)
}

// isCopy reports whether the entry is one that was given from another file:
// journald's flush appends to /var/log/journal what it had written to
// /run/log/journal. It writes to one of them at a time, so that what is in the one and
// not younger than what the other gave in the same boot is in both.
func (j *journal) isCopy(f *file, head *location) bool {
	if len(j.folders) < 2 || !j.hasLast {
		return false
	}
	j.leave()
	for _, other := range j.folders {
		if other != f.folder && other.last.boot == head.boot && head.monotonic <= other.last.monotonic &&
			other.machine == f.hdr.machineID && filepath.Base(other.dir) == filepath.Base(f.folder.dir) {
			return true
		}
	}
	return false
}

// vanished reports whether the content of the file is gone: when journald
// vacuums a file it frees its blocks, so that whoever has it open reads NULs.
func (f *file) vanished() bool {
	if f.fd == nil {
		return false
	}
	var b [len(signature)]byte
	n, err := f.pread(b[:], 0)
	return err == nil && (n == 0 || b == [len(signature)]byte{})
}

// missed looks whether whole files came and went unseen between the files that
// were known and those that were found now. Without a matcher the numbers of what is given tell.
func (j *journal) missed() {
	if !j.fresh {
		return
	}
	j.fresh = false
	var found []*file
	for _, f := range j.order {
		if f.state.fresh && f.hdr.entries > 0 {
			found = append(found, f)
		} else {
			f.family.high = max(f.family.high, f.hdr.tailSeqnum)
		}
	}
	slices.SortFunc(found, func(a, b *file) int { return cmp.Compare(a.hdr.headSeqnum, b.hdr.headSeqnum) })
	for _, f := range found {
		fam := f.family
		first, ok := f.entryFrom(0)
		if !ok || first.loc.seqnum != f.hdr.headSeqnum { // a damaged header
			f.state.fresh = false
			continue
		}
		if j.matcher != nil && !j.hidden && fam.high != 0 && f.hdr.headSeqnum > fam.high+1 {
			j.tear("vacuumed", "journal vacuumed", int64(f.hdr.headSeqnum-fam.high-1), f.hdr.headRealtime)
		}
		f.state.fresh = false
		fam.high = max(fam.high, f.hdr.tailSeqnum)
	}
}

// present counts the family's entries with numbers above from and below until.
func (j *journal) present(fam *family, from, until uint64) (n int64) {
	for _, f := range j.order {
		if f.family != fam || f.hdr.headSeqnum >= until || f.hdr.tailSeqnum <= from || j.use(f) != nil {
			continue
		}
		low := f.searchEntries(f.hdr.entries, func(_ uint64, l *location) bool { return l.seqnum > from })
		high := f.searchEntries(f.hdr.entries, func(_ uint64, l *location) bool { return l.seqnum >= until })
		n += int64(high - min(high, low))
	}
	return n
}

// lostFile is a file of which entries were lost, and told.
type lostFile struct {
	tail    uint64 // its highest number
	entries int64
}

// told returns how many of the numbers between the family's highest and below
// belong to entries that were counted as lost already.
func (fam *family) told(below uint64) (n int64) {
	fam.lost = slices.DeleteFunc(fam.lost, func(l lostFile) bool { return l.tail <= fam.top })
	room := int64(below - fam.top - 1)
	for i := range fam.lost {
		k := min(room-n, fam.lost[i].entries)
		fam.lost[i].entries -= k
		n += k
	}
	return n
}

// vacuumed gives a file up whose content is gone, taken of its entries with it
// that were about to be given; and its siblings that went with it.
func (j *journal) vacuumed(f *file, taken uint64) {
	j.gone(f, taken)
	for _, o := range j.order {
		if o.family == f.family && !o.broken && !o.stream.drained && o.vanished() {
			taken = 0
			if o.state.inHeap {
				taken = 1
			}
			j.gone(o, taken)
		}
	}
}

func (j *journal) gone(f *file, taken uint64) {
	if f.broken {
		return
	}
	f.broken, f.state.live, f.stream.drained = true, false, false
	j.miss(f, taken, "vacuumed", "journal vacuumed")
}

// miss notes that the rest of a file is missing.
func (j *journal) miss(f *file, taken uint64, reason, what string) {
	left := int64(0)
	if !f.stream.bulk && !f.scan.scanning && f.hdr.entries+taken > f.scan.idx {
		left = int64(f.hdr.entries + taken - f.scan.idx)
	}
	f.family.lost = append(f.family.lost, lostFile{f.hdr.tailSeqnum, left})
	j.tear(reason, what, left, 0)
}
