package spool

import (
	"fmt"
	"io"
	"os"
	"time"
)

// FS is what a spool needs of a file system. Tests put one in that fails.
type FS interface {
	MkdirAll(dir string) error
	// List returns the regular files of dir, in any order.
	List(dir string) ([]FileInfo, error)
	// OpenFile is os.OpenFile with mode 0600.
	OpenFile(name string, flag int) (File, error)
	Remove(name string) error
	Rename(from, to string) error
	// SyncDir makes names in dir durable.
	SyncDir(dir string) error
}

// FileInfo is one file of a directory.
type FileInfo struct {
	Name    string // without its directory
	Size    int64
	Changed time.Time
}

// File is one open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
}

// OS is the real file system.
type OS struct{}

var _ FS = OS{}

// MkdirAll makes dir and its parents, for its owner alone.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

// List lists the regular files of dir.
func (OS) List(dir string) ([]FileInfo, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // gone meanwhile, or not ours
		}
		files = append(files, FileInfo{e.Name(), info.Size(), info.ModTime()})
	}
	return files, nil
}

// OpenFile opens a file.
func (OS) OpenFile(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Remove deletes a file.
func (OS) Remove(name string) error { return os.Remove(name) }

// Rename renames a file.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// SyncDir syncs a directory.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening %s: %w", dir, err)
	}
	defer d.Close()
	return d.Sync()
}
