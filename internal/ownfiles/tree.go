package ownfiles

import (
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// treeFor is how long what was found at a place, and in a directory, is believed: it is for the names that
	// do not lead there (hard links, single files that are mounted elsewhere), and nobody but
	// root makes those. A source with ten thousand files opens them at once.
	treeFor = 100 * time.Millisecond
	// treeDeep and treeMost bound how far a directory is looked into: whoever keeps
	// their keys in /etc has all of that refused by name, and the rest by what was found.
	treeDeep = 5
	treeMost = 20_000
)

// tree is what is in a directory and below it.
type tree struct {
	files map[inode]bool
	dirs  map[inode]bool
	above map[inode]bool // what the directory is in: a link to that leads out of it
}

// walk looks into a directory, also through symbolic links, which is how a spool comes to be
// on another disk and how secrets are mounted.
func walk(dir string) *tree {
	t := &tree{files: map[inode]bool{}, dirs: map[inode]bool{}, above: map[inode]bool{}}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		for ; real != "/"; real = filepath.Dir(real) {
			if id, _, err := identify(filepath.Dir(real)); err == nil {
				t.above[id] = true
			}
		}
	}
	t.into(dir, treeDeep)
	return t
}

func (t *tree) into(dir string, deep int) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if len(t.files)+len(t.dirs) >= treeMost {
			return
		}
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		st := info.Sys().(*syscall.Stat_t)
		id := inode{st.Dev, st.Ino}
		switch {
		case !info.IsDir():
			t.files[id] = true
		case deep > 0 && !t.dirs[id] && !t.above[id]:
			t.dirs[id] = true
			t.into(path, deep-1)
		}
	}
}
