// Package wholefile replaces files as a whole.
package wholefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Owner is whose a file is, and who may do what with it.
type Owner struct {
	uid, gid int // -1: whoever writes it
	mode     fs.FileMode
}

// Mine is a file of whoever writes it.
func Mine(mode fs.FileMode) Owner { return Owner{uid: -1, gid: -1, mode: mode} }

// temporary is how the names of files begin that are not whole yet, behind a dot
// and the name of the file that they are to be.
const temporary = ".lbshipd-new-"

// Replace writes a file so that there is always either the old one or the
// new one, whatever is killed or loses power: a temporary file beside it, fsync,
// rename, fsync of the folder. check, if not nil, is called last before the rename.
func Replace(path string, data []byte, o Owner, check func() error) error {
	dir, base := filepath.Split(path)
	removeStale(dir, base)
	f, err := os.CreateTemp(dir, "."+base+temporary+"*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already if all went well
	if err := fill(f, data, o); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if check != nil {
		if err := check(); err != nil {
			return err
		}
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncFolder(dir)
}

func fill(f *os.File, data []byte, o Owner) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	if o.uid >= 0 && (o.uid != os.Geteuid() || o.gid != os.Getegid()) {
		if err := f.Chown(o.uid, o.gid); err != nil {
			return fmt.Errorf("giving the new file its owner: %w", err)
		}
	}
	if err := f.Chmod(o.mode); err != nil {
		return err
	}
	return f.Sync()
}

// removeStale removes what a kill has left of an earlier attempt.
func removeStale(dir, base string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "."+base+temporary) {
			_ = os.Remove(filepath.Join(dir, e.Name())) // it only takes up space
		}
	}
}

// SyncFolder makes what was created, renamed or deleted in dir survive a loss of power.
func SyncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// OwnerOf returns whose a file is.
func OwnerOf(info fs.FileInfo) Owner {
	o := Owner{uid: -1, gid: -1, mode: info.Mode().Perm()}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		o.uid, o.gid = int(s.Uid), int(s.Gid)
	}
	return o
}
