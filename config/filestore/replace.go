package filestore

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/config"
)

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
		return fmt.Errorf("%w: lbshipd may not write into the folder %s: %w. Edit %s itself: it is read again as soon as it is saved", config.ErrReadOnly, folder, err, path)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: %s is a mount of its own and cannot be replaced: mount its folder", config.ErrReadOnly, path)
	}
	return fmt.Errorf("writing the configuration %s: %w", path, err)
}
