// Package ownfiles tells the files that hold the daemon's own secrets and state from
// all others, whatever name they are opened by: whoever may say what is read and where it
// goes shall not have these.
package ownfiles

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Set is what nobody may read but the daemon itself. It is safe for concurrent use.
//
// A file is known by what it is, not by its name: by device and inode, which symbolic
// links, /proc/PID/root, /proc/PID/fd, bind mounts and other mount namespaces do not
// change, and nor do hard links while the original is in its place. What is left
// is a hard link to a file that was replaced since, and a copy: it takes the daemon's
// user or root to make one (fs.protected_hardlinks, which systemd sets, and mode 0600).
type Set struct {
	mu     sync.Mutex
	fixed  []place
	named  []place
	trees  map[string]*tree // by path; looked at again after treeFor, as are those:
	seen   map[string]looked
	treeAt time.Time
}

// place is one file or directory that is kept.
type place struct{ path, what string }

// New returns a Set of nothing but the file systems that the kernel makes up.
func New() *Set { return &Set{} }

// Keep adds files and directories for as long as the daemon runs; a directory stands
// for all that is in it and below it. Empty paths are passed over. A path need not exist yet.
func (s *Set) Keep(what string, paths ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fixed = appendPlaces(s.fixed, what, paths)
}

// Name says which files the configuration names, in place of those of the last call.
func (s *Set) Name(paths []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.named = appendPlaces(nil, "a file that a TLS bundle or a target names", paths)
}

func appendPlaces(list []place, what string, paths []string) []place {
	for _, path := range paths {
		if path == "" {
			continue
		}
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
		list = append(list, place{path, what})
	}
	return list
}

// Check returns nil if the open file may be read by others, else why not. What cannot
// be looked at may not be read.
func (s *Set) Check(f *os.File) error {
	fd := int(f.Fd())
	if err := checkKind(fd); err != nil {
		return err
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return fmt.Errorf("finding out which file it is: %w", err)
	}
	at, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil { // there may be no /proc
		at = f.Name()
	}
	o := opened{id: inode{st.Dev, st.Ino}, path: strings.TrimSuffix(at, " (deleted)")}
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := false
	if now := time.Now(); s.trees == nil || now.Sub(s.treeAt) >= treeFor {
		s.forget(now)
		fresh = true
	}
	p := s.keeper(&o)
	if p != nil && o.byInode && !fresh {
		// The file may have the inode of one of ours that has gone since: positions are replaced
		// ten times a second. Of what is open now, nobody else gets it.
		s.forget(time.Now())
		p = s.keeper(&o)
	}
	if p != nil {
		return fmt.Errorf("it is %s (%s), which lbshipd keeps to itself", p.what, p.path)
	}
	return nil
}

// forget has all places be looked at again.
func (s *Set) forget(now time.Time) {
	s.trees, s.seen, s.treeAt = map[string]*tree{}, map[string]looked{}, now
}

// keeper returns the place whose file it is, nil if there is none.
func (s *Set) keeper(o *opened) *place {
	for _, list := range [][]place{s.fixed, s.named} {
		for i := range list {
			if s.holds(list[i], o) {
				return &list[i]
			}
		}
	}
	return nil
}

type inode struct{ dev, ino uint64 }

// opened is the file that is asked about.
type opened struct {
	id      inode
	path    string  // the kernel's name for it
	parents []inode // the directories that this leads through; nil: not looked up yet
	byInode bool    // it was found to be ours by that, and not by its name
}

// holds reports whether the file is that of the place, or in it.
func (s *Set) holds(p place, o *opened) bool {
	l := s.look(p.path)
	o.byInode = false
	for _, name := range []string{p.path, l.real} {
		if o.path == name || isRemains(o.path, name) || l.dir && strings.HasPrefix(o.path, name+"/") {
			return true
		}
	}
	o.byInode = true
	if l.there && !l.dir && l.id == o.id {
		return true
	}
	if !l.dir {
		return false
	}
	t := s.trees[p.path]
	if t == nil {
		t = walk(p.path)
		s.trees[p.path] = t
	}
	return t.files[o.id] || o.below(t, l.id)
}

// looked is what was found at a place.
type looked struct {
	id         inode
	there, dir bool
	real       string // its name without symbolic links
}

// look finds out what is at a place, once for many files: hundreds may be kept, and thousands be opened.
func (s *Set) look(path string) looked {
	l, ok := s.seen[path]
	if !ok {
		var err error
		l.id, l.dir, err = identify(path)
		l.there, l.real = err == nil, path
		if real, err := filepath.EvalSymlinks(path); err == nil {
			l.real = real
		}
		s.seen[path] = l
	}
	return l
}

func identify(path string) (id inode, dir bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return id, false, err
	}
	st := info.Sys().(*syscall.Stat_t)
	return inode{st.Dev, st.Ino}, info.IsDir(), nil
}

// below reports whether the file's name leads through a directory of the tree.
func (o *opened) below(t *tree, root inode) bool {
	if o.parents == nil {
		o.parents = []inode{}
		for dir := filepath.Dir(o.path); ; dir = filepath.Dir(dir) {
			if id, is, err := identify(dir); err == nil && is {
				o.parents = append(o.parents, id)
			}
			if dir == "/" || dir == "." {
				break
			}
		}
	}
	for _, id := range o.parents {
		if id == root || t.dirs[id] {
			return true
		}
	}
	return false
}

// remains are the ends of the names under which editors, package managers and we
// ourselves leave what a file held, beside it.
var remains = []string{"~", ".bak", ".backup", ".old", ".orig", ".save", ".tmp", ".swp", ".swo", ".swx", ".rpmsave", ".rpmorig", ".rpmnew",
	".dpkg-old", ".dpkg-new", ".dpkg-dist", ".dpkg-tmp", ".ucf-old", ".ucf-new", ".ucf-dist"}

// isRemains reports whether the name is that of what the file at path held, or shall hold next.
func isRemains(name, path string) bool {
	if filepath.Dir(name) != filepath.Dir(path) {
		return false
	}
	base := filepath.Base(path)
	rest, ok := strings.CutPrefix(strings.TrimLeft(filepath.Base(name), ".#"), strings.TrimLeft(base, "."))
	if !ok {
		return false
	}
	if strings.HasPrefix(rest, ".lbshipd-new-") { // internal/wholefile
		return true
	}
	if len(rest) == 4 && strings.HasPrefix(rest, ".sw") || rest == ".un~" { // Vim, of several
		return true
	}
	// With a number or a time behind it: .bak.2, .save.1, .~1~, Ansible's .4711.2026-11-21@08:00:00~, and a copy by hand.
	bare := strings.TrimRight(rest, "0123456789.-_:@~T")
	for _, end := range remains {
		if rest == end || bare == end || bare == "" && rest != "" {
			return true
		}
	}
	return rest == "#" // Emacs
}
