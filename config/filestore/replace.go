package filestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/config"
)

// owner is whose a file is, and who may do what with it. -1 stands for whoever writes it.
type owner struct {
	uid, gid int
	mode     fs.FileMode
}

// temporary is how the names of files begin that are not whole yet, behind a dot
// and the name of the file that they are to be.
const temporary = ".lbshipd-new-"

// replaceFile writes a file so that there is always either the old one or the
// new one, whatever is killed or loses power: a temporary file beside it, fsync,
// rename, fsync of the folder. check, if not nil, is called last before the rename.
func replaceFile(path string, data []byte, o owner, check func() error) error {
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
	return syncFolder(dir)
}

func fill(f *os.File, data []byte, o owner) error {
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

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// realPath follows the symbolic links of a path, and says why what it leads to
// must not be replaced.
func realPath(path string) (string, error) {
	if slices.ContainsFunc(chain(path), func(link string) bool { return filepath.Base(link) == "..data" }) {
		return "", fmt.Errorf("%w: %s is mounted by Kubernetes from a ConfigMap or Secret: change that", config.ErrReadOnly, path)
	}
	return filepath.EvalSymlinks(path)
}

// writeError says what an error of a write means: whether it can ever work here.
func writeError(path string, err error) error {
	folder := filepath.Dir(path)
	switch {
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: %s is on a read-only file system", config.ErrReadOnly, path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: lbshipd may not write into the folder %s: %w", config.ErrReadOnly, folder, err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: %s is a mount of its own and cannot be replaced: mount its folder", config.ErrReadOnly, path)
	}
	return fmt.Errorf("writing the configuration %s: %w", path, err)
}

// ownerOf returns whose a file is.
func ownerOf(info fs.FileInfo) owner {
	o := owner{uid: -1, gid: -1, mode: info.Mode().Perm()}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		o.uid, o.gid = int(s.Uid), int(s.Gid)
	}
	return o
}
