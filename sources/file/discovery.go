package file

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// discovery finds the files of a source; it belongs to the goroutine of Run.
type discovery struct {
	src   *source
	found func(sources.Input)

	inputs map[inode]*input
	paths  map[string]*input // of the globs; an entry for each path that leads to a file
	known  *knownInputs      // nil: to be asked for again
	first  bool              // the first walk of a first run: startAt counts
	walked []*input          // what the first walk found, until it is announced; nil later
	latest map[string]*input // by lineage: the input announced last

	held      []*input    // found, not announced yet
	inOrder   bool        // they need no sorting
	heldAt    time.Time   // since when one of them is held
	heldSince []time.Time // since when each of them is, by the kernel's clock

	notifier       *notifier
	dirs           map[string]*directory
	byWatch        map[int32]map[string]bool // watch → directories
	moves          moves
	complaints     map[string]string // path → what was said of it
	saidCompressed bool
	copies         uint64 // inputs made of copies so far

	claims *claims // of the start; nil: not yet looked for

	holding holding

	steadyUntil time.Time // when a start, or who has lost events, goes on though directories do not hold still
	polledTo    time.Time // when all was last looked at that inotify does not cover, by the kernel's clock; zero: there is nothing of that kind

	pass     int // number of the current walk
	nextWalk time.Time
	nextPoll time.Time
}

func newDiscovery(s *source, found func(sources.Input)) *discovery {
	d := &discovery{
		src: s, found: found, latest: map[string]*input{},
		inputs: map[inode]*input{}, paths: map[string]*input{},
		dirs: map[string]*directory{}, byWatch: map[int32]map[string]bool{},
		complaints: map[string]string{}, moves: newMoves(),
		holding: holding{src: s, files: map[*input]*heldFile{}},
	}
	if err := d.listen(); err != nil {
		d.deaf(err)
	}
	return d
}

func (d *discovery) close() {
	if d.notifier != nil {
		d.notifier.close()
	}
}

// events tells when there are some to take.
func (d *discovery) events() <-chan struct{} {
	if d.notifier == nil {
		return nil
	}
	return d.notifier.ready
}

// start makes the first walk, looks for stored inputs that it did not find,
// and announces all: older files first.
func (d *discovery) start() {
	d.known = newKnownInputs(d.src.knownPositions())
	d.first = d.src.deps.FirstRun && d.known.empty()
	d.walked = []*input{}
	d.walk()
	d.steadyUntil = time.Now().Add(steadyMost)
	restored := d.restore()
	slices.SortStableFunc(restored, byAge)
	slices.SortStableFunc(d.walked, byAge)
	// What was rotated while we looked comes behind what the walk has seen, but
	// where births are not known everything that was rotated is older.
	all := append(restored, d.walked...)
	slices.SortStableFunc(all, byBirth)
	d.first, d.walked = false, nil
	d.findLines(all)
	for _, in := range all {
		d.hold(in)
	}
	d.inOrder = true
	d.release(time.Now().Add(settleFor))
	d.settle()
}

// byAge sorts inputs by birth, which is in their keys: a compressed file was born
// when what is in it was. Those born in one tick of the kernel's clock, or of
// unknown birth, are sorted by their last change.
func byAge(a, b *input) int {
	return cmp.Or(byBirth(a, b), cmp.Compare(a.changed(), b.changed()))
}

// byBirth sorts inputs by birth alone.
func byBirth(a, b *input) int {
	x, y := keyBirth(a.origin.Input), keyBirth(b.origin.Input)
	if x == 0 || y == 0 {
		return 0
	}
	return cmp.Compare(x, y)
}

// changed returns the modification time of the file, in Unix ns; 0 if it is not known.
func (in *input) changed() int64 {
	if len(in.copies) > 0 {
		return in.copies[0].mtime
	}
	st, _, _, _ := fstat(in.fd)
	return st.mtime
}

// check looks at one path of the globs, and reports whether a file is there.
func (d *discovery) check(path string) bool {
	st, err := os.Stat(path)
	if err != nil {
		d.drop(path)
		if errors.Is(err, fs.ErrNotExist) {
			d.content(path)
			return false
		}
		d.complain(path, unreadable, err.Error())
		return false
	}
	if !st.Mode().IsRegular() {
		d.drop(path)
		if !st.IsDir() {
			d.complain(path, "not_regular", "it is "+st.Mode().Type().String())
		}
		return false
	}
	if isCompressedName(path) {
		d.drop(path)
		d.leaveOut(path)
		return false
	}
	sys := st.Sys().(*syscall.Stat_t)
	if in := d.paths[path]; in != nil && in.id == (inode{sys.Dev, sys.Ino}) && !in.hasEnded() {
		return true
	}
	return d.open(path, path, true)
}

// open makes the file at path an input, if it is none yet. Its name is first,
// which is not path if it was renamed before it could be opened. matches says
// whether path is one of the globs.
func (d *discovery) open(path, first string, matches bool) bool {
	f, err := d.src.openFile(path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			d.complain(path, unreadable, err.Error())
		}
		return false
	}
	fd := int(f.Fd())
	_, id, mode, err := fstat(fd)
	if err != nil || mode&syscall.S_IFMT != syscall.S_IFREG {
		f.Close()
		return false
	}
	in := d.inputs[id]
	if in != nil && in.givenUp.Load() != nil {
		// Its inode was free since, and this is another file. If it is the same one,
		// that was away and came back, it is an input again once the former has ended.
		if sameKey(inputKey(fd, id), in.origin.Input) {
			f.Close()
			return false
		}
		in = nil
	}
	if in == nil || in.hasEnded() {
		if reason := notText(f); reason != "" {
			f.Close()
			d.leaveOutAs(path, reason)
			return false
		}
	}
	d.content(path)
	if in != nil && (!matches || in.comeBack()) {
		f.Close() // even if it has ended: only a path in the globs makes it an input again
	} else {
		in, _ = d.newInput(f, fd, id, first)
		d.announce(in, matches)
	}
	if matches {
		d.lead(path, in)
	}
	return true
}

// lead notes that path leads to in, and no longer to what it led to.
func (d *discovery) lead(path string, in *input) {
	if d.paths[path] == in {
		return
	}
	in.paths[path] = true
	d.drop(path)
	d.paths[path] = in
}

// drop notes that path no longer leads anywhere.
func (d *discovery) drop(path string) {
	in := d.paths[path]
	if in == nil || in.hasEnded() {
		return
	}
	delete(d.paths, path)
	delete(in.paths, path)
	now := time.Now()
	if d.notifier != nil {
		d.moves.leave(path, in, now)
	}
	if len(in.paths) == 0 {
		in.leave(now)
	}
}

// newInput returns the input of an open file, and whether it has a stored position.
func (d *discovery) newInput(f *os.File, fd int, id inode, first string) (in *input, adopted bool) {
	in = &input{
		id: id, file: f, fd: fd, src: d.src, paths: map[string]bool{},
		origin: &record.Origin{
			Source: d.src.name, Kind: "file", Input: inputKey(fd, id), Path: first,
			Host: d.src.deps.Host, Labels: d.src.labels,
		},
		path: escapePath(first),
	}
	d.inputs[id] = in
	if d.known == nil {
		d.known = newKnownInputs(d.src.knownPositions())
	}
	in.adopted = d.known.adopt(in)
	return in, in.adopted
}

func (d *discovery) announce(in *input, matches bool) {
	if !matches {
		in.leave(time.Now())
	}
	// One that appeared since the source was made (and the daemon may say that it is ready) is new,
	// however late a busy machine lets the first walk come.
	if d.first && d.src.fromEnd && keyBirth(in.origin.Input) <= uint64(d.src.begun.UnixNano()) {
		start, err := in.endPosition(int64(d.src.maxLine))
		if err != nil {
			d.src.deps.Log.Warn("finding the end of a file; it is read from its beginning", "path", in.origin.Path, "error", err)
		}
		in.start = start
	}
	if d.walked != nil {
		d.walked = append(d.walked, in)
		return
	}
	in.appeared = true
	d.hold(in)
}

// complain says once of a path what is wrong with it.
func (d *discovery) complain(path, reason, detail string) {
	if d.complaints[path] == reason {
		return
	}
	d.complaints[path] = reason
	d.src.skipped(reason, 1)
	if strings.HasSuffix(detail, fs.ErrPermission.Error()) {
		detail += ": run lbshipd as root, or give its user or a group of that user (on Debian: adm) the right to read it"
	}
	d.src.deps.Log.Warn("a file is left out", "path", path, "reason", reason, "detail", detail)
	if reason == unreadable {
		d.src.trouble.leftOut(path, detail)
	}
}

// unreadable is the reason of what may not be opened, which its owner can mend.
const unreadable = "unreadable"

// content takes back what was said of a path.
func (d *discovery) content(path string) {
	if _, said := d.complaints[path]; said {
		delete(d.complaints, path)
		d.src.trouble.mended(path)
	}
}

// forget drops inputs that have ended.
func (d *discovery) forget() {
	for id, in := range d.inputs {
		if in.hasEnded() {
			d.holding.take(in) // there may be Readers that are not at its end
			delete(d.inputs, id)
			letGo(1)
		}
	}
	for path, in := range d.latest {
		if in.hasEnded() {
			delete(d.latest, path)
		}
	}
}

// lostDir does what is to be done when there is no directory at path any more.
func (d *discovery) lostDir(path string, now time.Time) {
	d.checkBelow(path)
	if d.src.globs.above(path) {
		d.nextWalk = now // which watches what is left of the way to the base
	}
}

// checkBelow looks again at all paths below a directory.
func (d *discovery) checkBelow(dir string) {
	for path := range d.paths {
		if below(path, dir) {
			d.check(path)
		}
	}
	for name, dd := range d.dirs {
		if below(name, dir) {
			d.unwatch(dd)
		}
	}
}

// newPass makes walkDir look only into directories that were never looked into.
func (d *discovery) newPass() {
	old := d.pass
	d.pass++
	for _, dir := range d.dirs {
		if dir.pass == old {
			dir.pass = d.pass
		}
		if dir.hopPass == old {
			dir.hopPass = d.pass
		}
	}
}

func join(dir, name string) string {
	if dir == "/" {
		return "/" + name
	}
	return dir + "/" + name
}

func parent(path string) string { return filepath.Dir(path) }
