package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ReadFile reads a whole regular file of at most limit bytes. It does not
// wait at a fifo, and does not read a device or a folder. Errors name the file
// once; errors.Is finds fs.ErrNotExist and fs.ErrPermission.
func ReadFile(path string, limit int64) ([]byte, fs.FileMode, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", path, reason(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", path, reason(err))
	}
	if info.IsDir() {
		return nil, 0, fmt.Errorf("%s: is a folder, not a file", path)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s: is no regular file (%s)", path, info.Mode().Type())
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", path, reason(err))
	}
	if int64(len(data)) > limit {
		return nil, 0, fmt.Errorf("%s: is longer than %d bytes", path, limit)
	}
	return data, info.Mode(), nil
}

// reason takes the path and the call out of an error of package os.
func reason(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}
