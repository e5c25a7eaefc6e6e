package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// most hops of a symbolic link that are followed, as in the kernel.
const maxHops = 40

// directory is one that is watched: it may hold files of the globs, or what a
// symbolic link in the globs goes through, or the base of a glob.
type directory struct {
	path    string
	watch   int32 // -1: inotify does not cover it
	id      inode // when it was last walked
	mtime   int64
	looked  int64 // the modification time that the last poll saw, Unix ns; 0: there was none
	polled  bool
	pass    int                        // the walk that last looked into it
	hopPass int                        // the walk that last met it on the way of a symbolic link, or above a base
	links   map[string]map[string]bool // name in it → paths of the globs that are links through it
}

// walk looks at everything, and forgets what is no longer there.
func (d *discovery) walk() {
	began, looked := time.Now(), kernelNow()
	d.listenAgain()
	d.pass++
	for _, dir := range d.dirs {
		dir.links = nil
	}
	for i := range d.src.globs.patterns {
		base := d.src.globs.patterns[i].base
		d.watchAbove(base)
		for !d.walkDir(base) && base != "/" {
			base = parent(base)
			d.watchAbove(base)
		}
	}
	for path := range d.paths {
		d.check(path)
	}
	for _, dir := range d.dirs {
		if dir.pass != d.pass && dir.hopPass != d.pass {
			d.unwatch(dir)
		}
	}
	for path := range d.complaints {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			d.content(path)
		}
	}
	d.forget()
	if d.polledTo.IsZero() || !d.polls() {
		d.lookedAt(looked)
	}
	d.nextPoll = began
	// However large the tree, walking takes one percent of the time.
	d.nextWalk = time.Now().Add(max(d.src.rescan, 100*time.Since(began)))
}

// watchAbove watches the directory that path is in, to be told when path is
// removed: path's own watch tells it only when nobody holds a file in it open
// any more, and the inputs do. It is called before path is looked at, so that
// no removal is missed.
func (d *discovery) watchAbove(path string) {
	above := parent(path)
	if d.notifier == nil || path == "/" || remote(above) {
		return // looking at path tells it as well
	}
	// To search a directory is enough for reading what is below it, but not for watching it.
	if unix.Faccessat(unix.AT_FDCWD, above, unix.R_OK, unix.AT_EACCESS) != nil {
		return
	}
	if dir := d.watch(above); dir != nil {
		dir.hopPass = d.pass
	}
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// walkDir watches a directory and looks at what is in it and below; false if
// there is none.
func (d *discovery) walkDir(path string) bool {
	dir := d.watch(path)
	if dir == nil {
		return false
	}
	if dir.pass != d.pass {
		dir.pass = d.pass
		d.scanDir(dir)
	}
	return true
}

// scanDir looks at what is in a directory that is watched.
func (d *discovery) scanDir(dir *directory) {
	entries, err := d.list(dir.path)
	switch {
	case err == nil:
		d.content(dir.path)
	case !errors.Is(err, fs.ErrNotExist):
		d.complain(dir.path, unreadable, err.Error())
	}
	for _, e := range entries {
		path := join(dir.path, e.Name())
		switch typ := e.Type(); {
		case typ.IsDir():
			if d.src.globs.descend(path, false) {
				d.walkDir(path)
			}
		case typ&fs.ModeSymlink != 0:
			d.scanLink(path)
		case d.src.globs.match(path):
			d.check(path)
		}
	}
}

func (d *discovery) scanLink(path string) {
	matches := d.src.globs.match(path)
	descends := d.src.globs.descend(path, true)
	if !matches && !descends {
		return
	}
	if descends && isDir(path) {
		d.walkDir(path)
		return
	}
	if matches {
		d.watchHops(path) // first: what comes after the look is told by an event
		d.check(path)
	}
}

// watchHops watches the directories that a symbolic link leads through, so
// that a new file at its end is seen at once.
func (d *discovery) watchHops(link string) {
	at := link
	for range maxHops {
		target, err := os.Readlink(at)
		if err != nil {
			return
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(at), target)
		}
		at = target
		dir := d.watch(filepath.Dir(at))
		if dir == nil {
			return
		}
		dir.hopPass = d.pass
		name := filepath.Base(at)
		if dir.links == nil {
			dir.links = map[string]map[string]bool{}
		}
		if dir.links[name] == nil {
			dir.links[name] = map[string]bool{}
		}
		dir.links[name][link] = true
	}
}

// watch returns the directory, watched from now on, or nil if there is none.
func (d *discovery) watch(path string) *directory {
	st, err := os.Stat(path)
	if err != nil || !st.IsDir() {
		return nil
	}
	sys := st.Sys().(*syscall.Stat_t)
	id := inode{sys.Dev, sys.Ino}
	dir := d.dirs[path]
	if dir != nil && dir.id == id {
		return dir
	}
	if dir != nil { // another directory has taken its name
		links := dir.links
		d.unwatch(dir)
		dir = &directory{path: path, links: links}
	} else {
		dir = &directory{path: path}
	}
	dir.id, dir.watch, dir.mtime = id, -1, 0
	d.dirs[path] = dir
	dir.polled = d.notifier == nil || remote(path)
	if d.notifier == nil {
		return dir
	}
	watch, err := d.notifier.add(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) { // it has just been removed
		delete(d.dirs, path)
		return nil
	}
	if err != nil {
		dir.polled = true
		if !errors.Is(err, fs.ErrPermission) { // what may not be read is said elsewhere
			d.deaf(err)
		}
		return dir
	}
	d.watches(dir, watch)
	return dir
}

// watches notes that the events of watch are of dir.
func (d *discovery) watches(dir *directory, watch int32) {
	dir.watch = watch
	if d.byWatch[watch] == nil {
		d.byWatch[watch] = map[string]bool{}
	}
	d.byWatch[watch][dir.path] = true
}

func (d *discovery) unwatch(dir *directory) {
	delete(d.dirs, dir.path)
	names := d.byWatch[dir.watch]
	if dir.watch < 0 || names == nil {
		return
	}
	delete(names, dir.path)
	if len(names) == 0 {
		delete(d.byWatch, dir.watch)
		d.notifier.remove(dir.watch)
	}
}

// remote reports whether files may change there without this kernel's doing,
// and so without inotify's notice.
func remote(path string) bool {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return true
	}
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC,
		unix.FUSE_SUPER_MAGIC, unix.V9FS_MAGIC, unix.CEPH_SUPER_MAGIC, unix.AFS_FS_MAGIC, unix.CODA_SUPER_MAGIC,
		0x0bd00bd0 /* Lustre */, 0x47504653 /* GPFS */, 0x01161970 /* GFS2 */, 0x7461636f /* OCFS2 */ :
		return true
	}
	return false
}

// pollDirs looks at the directories that inotify does not cover, and into
// those that have changed.
func (d *discovery) pollDirs() {
	began, looked, steady := time.Now(), kernelNow(), true
	for _, dir := range d.dirs {
		if !dir.polled {
			continue
		}
		st, err := os.Stat(dir.path)
		if err != nil {
			d.lostDir(dir.path, began)
			continue
		}
		sys := st.Sys().(*syscall.Stat_t)
		mtime := sys.Mtim.Nano()
		if mtime == dir.mtime && dir.id == (inode{sys.Dev, sys.Ino}) {
			continue
		}
		if dir.mtime = mtime; justChanged(mtime, looked) {
			dir.mtime = 0 // it may change again within the same tick of its clock
		}
		since := settledSince(dir.path)
		d.lookInto(dir)
		if dir.looked != 0 {
			d.bornUnseen(dir.path, time.Unix(0, dir.looked))
		}
		// What was shifted while it was listed was perhaps in no listing: it is looked
		// for once more, but not for so long that what has been read to its end is found anew.
		if dir.looked == 0 || since != 0 && since == settledSince(dir.path) {
			dir.looked = mtime
		} else {
			dir.looked, steady = max(dir.looked, mtime-int64(bornLate)), false
		}
	}
	if !steady {
		looked = maxTime(d.polledTo, looked.Add(-bornLate))
	}
	d.lookedAt(looked)
	// However many there are, looking takes a tenth of the time: what comes and goes
	// between two looks is missed.
	d.nextPoll = time.Now().Add(min(max(d.src.dirPoll, 10*time.Since(began)), d.src.rescan))
	if d.polledTo.IsZero() {
		d.nextPoll = began.Add(d.src.rescan) // a walk sets it anew
	}
}

// polls reports whether there is something that inotify does not cover.
func (d *discovery) polls() bool {
	for _, dir := range d.dirs {
		if dir.polled {
			return true
		}
	}
	return false
}

// lookInto looks again at all that has to do with a directory.
func (d *discovery) lookInto(dir *directory) {
	for path := range d.paths {
		if parent(path) == dir.path {
			d.check(path)
		}
	}
	for _, links := range dir.links {
		for link := range links {
			d.check(link)
		}
	}
	if dir = d.watch(dir.path); dir != nil {
		d.newPass()
		dir.pass = d.pass
		d.scanDir(dir)
	}
}
