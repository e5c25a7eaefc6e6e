package file

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// bornSlack is how much older than the last save of the positions a file may
// be and still count as born since: the clock of the file system is coarse,
// and a file's first position is saved a moment after the file was found.
const bornSlack = time.Second

// bornLate is how much older it may be if another file was created at its path since:
// on a machine that is busy, positions are saved by a daemon that has not yet seen
// what came seconds ago. The copy that copytruncate makes has no such successor. It
// is less than it takes to forget a file that was read to its end (a minute).
const bornLate = 10 * time.Second

// bornAndRotated finds the files that were created after the former daemon had
// last saved its positions, and were rotated out of the globs before this one
// could see them: app.log.1 of app.log, or app.log.2.gz. No position is stored for them, so
// their birth decides. Where the file system knows no birth times they are not found.
// What is found of wanted is taken from it.
func (d *discovery) bornAndRotated(wanted map[string][]string) []*input {
	since := d.src.deps.LastSaved
	if d.src.deps.FirstRun || since.IsZero() {
		return nil
	}
	var found []*input
	compressed, from := map[inode]*squeezed{}, d.matters(wanted, since)
	d.steadily(slices.Collect(maps.Keys(d.dirs)), func(dir string) bool {
		found = append(found, d.bornIn(dir, since, compressed, from)...)
		return true
	})
	found = append(found, d.unreadSqueezed(compressed, wanted)...)
	d.claims = nil
	return found
}

// bornIn is bornAndRotated in one directory, but that it only collects what is compressed, and was
// written to after from.
func (d *discovery) bornIn(dir string, since time.Time, compressed map[inode]*squeezed, from int64) (found []*input) {
	entries, err := d.list(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		path := join(dir, e.Name())
		if !e.Type().IsRegular() {
			continue
		}
		if isCompressedName(path) {
			if first := d.squeezedFrom(dir, e.Name()); first != "" {
				if z := d.squeezedAt(path, first, since, from); z != nil {
					if before := compressed[z.id]; before != nil {
						before.file.Close()
					}
					compressed[z.id] = z
				}
			}
			continue
		}
		first := d.rotatedFrom(dir, e.Name())
		if first == "" || d.src.globs.match(path) {
			continue
		}
		in := d.openBorn(path, first, since.Add(-bornSlack), d.isCopy)
		if in == nil && d.replaced(path, first) {
			in = d.openBorn(path, first, since.Add(-bornLate), d.isCopy)
		}
		if in != nil {
			found = append(found, in)
		}
	}
	return found
}

// isCopy reports whether an open file is a copy of what is read anyway, as copytruncate and people
// make them.
func (d *discovery) isCopy(f *os.File, first string, id inode, born uint64) bool {
	if d.claimed().files[id] || d.copied(first, born, 0, func() (io.Reader, func(), error) {
		return io.NewSectionReader(f, 0, 1<<62), func() {}, nil
	}) {
		return true
	}
	d.claimFor(first) // copytruncate may be at work just now
	return d.claims.files[id] || d.copyToBe(f, first, born)
}

// copyToBe reports whether a file is empty, and younger than what is at first: what was renamed is older, so that
// somebody is about to make a copy.
func (d *discovery) copyToBe(f *os.File, first string, born uint64) bool {
	now := d.paths[first]
	st, _, _, err := fstat(int(f.Fd()))
	return err == nil && st.size == 0 && now != nil && now.file != nil && born > birth(now.fd)
}

// replaced reports whether what is at first now, if anything, was born behind the file
// at path. The copy that copytruncate makes of what is at first is younger than that.
func (d *discovery) replaced(path, first string) bool {
	now := d.paths[first]
	if now == nil || now.file == nil {
		return true
	}
	f, err := d.src.openFile(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return birth(int(f.Fd())) <= birth(now.fd) // in one tick of the clock, it may be
}

// findLines finds, for the files that were created and renamed within the globs after
// the former daemon had last saved its positions, at which path they seem to have
// been: the shortest one that something was added to and that another file has or had.
// It only decides what they are read behind: a wrong guess costs a moment.
func (d *discovery) findLines(all []*input) {
	since := d.src.deps.LastSaved
	if d.src.deps.FirstRun || since.IsZero() {
		return
	}
	paths := map[string]bool{}
	for _, in := range all {
		paths[in.origin.Path] = true
	}
	for _, in := range all {
		if in.adopted || keyBirth(in.origin.Input) < uint64(since.Add(-bornSlack).UnixNano()) {
			continue
		}
		dir, name := filepath.Split(in.origin.Path)
		for i := strings.LastIndexAny(name, ".-_~"); i > 0; i = strings.LastIndexAny(name, ".-_~") {
			if name = name[:i]; paths[dir+name] {
				in.line = dir + name
			}
		}
	}
}

// bornUnseen finds the files that were created in a directory after since, and were
// rotated before they could be seen there.
func (d *discovery) bornUnseen(dir string, since time.Time) {
	entries, err := d.list(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := join(dir, e.Name())
		first := d.rotatedFrom(dir, e.Name())
		if first == "" || d.src.globs.match(path) || !e.Type().IsRegular() || isCompressedName(path) || !d.replaced(path, first) {
			continue
		}
		if in := d.openBorn(path, first, since, nil); in != nil {
			d.announce(in, false)
		}
	}
}

// rotatedFrom returns the path in the globs that a file of that name was
// rotated from, judged by its name: something was added to it behind a ".", "-",
// "_" or "~" ("app.log.1", "app.log-20260102", "app.log.2026-01-02-03"). "" if none.
func (d *discovery) rotatedFrom(dir, name string) string {
	for {
		i := strings.LastIndexAny(name, ".-_~")
		if i <= 0 {
			return ""
		}
		name = name[:i]
		if path := join(dir, name); d.src.globs.match(path) {
			return path
		}
	}
}

// squeezedFrom is rotatedFrom for a compressed file, which the globs may match: of the paths that it may have been
// rotated from, the shortest one that a file is, or was, at.
func (d *discovery) squeezedFrom(dir, name string) (first string) {
	used := func(path string) bool {
		if d.paths[path] != nil {
			return true
		}
		for _, places := range d.known.byKey {
			if at, _ := unescapePath(places[0].path); at == path {
				return true
			}
		}
		return false
	}
	first = d.rotatedFrom(dir, name)
	for path := first; path != ""; path = d.rotatedFrom(dir, filepath.Base(path)) {
		if used(path) {
			first = path
		}
	}
	return first
}

// openBorn makes the file at path an input if it was born after since, and is no copy.
func (d *discovery) openBorn(path, first string, since time.Time, isCopy func(f *os.File, first string, id inode, born uint64) bool) *input {
	f, err := d.src.openFile(path)
	if err != nil {
		return nil
	}
	fd := int(f.Fd())
	_, id, mode, err := fstat(fd)
	born := birth(fd)
	if err != nil || mode&syscall.S_IFMT != syscall.S_IFREG || d.inputs[id] != nil || born == 0 || int64(born) < since.UnixNano() {
		f.Close()
		return nil
	}
	if sniffCodec(f) != nil || isCopy != nil && isCopy(f, first, id, born) {
		f.Close()
		return nil
	}
	in, adopted := d.newInput(f, fd, id, first)
	if adopted {
		// Known after all, and restore has not wanted it: it was read to its end.
		delete(d.inputs, id)
		f.Close()
		return nil
	}
	in.leave(time.Now())
	return in
}
