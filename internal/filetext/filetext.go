// Package filetext holds a short text that lives in a file: a token or a
// password that somebody else renews. It is read again when the file changes.
package filetext

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
)

// maxSize bounds what is read, in bytes: secrets are short, and a path that
// names a log file by mistake must not be sent as a header.
const maxSize = 64 << 10

// File is the text of one file. It may be used by several goroutines.
type File struct {
	path string

	mu   sync.Mutex
	last stamp // of the file that text was read from; zero: nothing was read yet
	text string
}

// stamp tells two contents of a path apart: a rename over the path changes the
// inode, a rewrite in place changes the times. The change time cannot be set
// by a user, so a rewrite that keeps size and modification time is seen too.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
}

// New returns the text of the file at path, without opening it.
func New(path string) *File { return &File{path: path} }

// Path returns the path of the file.
func (f *File) Path() string { return f.path }

// Text returns the file's text without the newlines at its end. The file is
// read only if it changed since the last call. An empty file and one above
// 64 KiB are errors: neither is a secret. After an error the next call tries
// again.
func (f *File) Text() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var st syscall.Stat_t
	if err := syscall.Stat(f.path, &st); err != nil {
		return "", fmt.Errorf("reading the secret in %s: %w", f.path, err)
	}
	if stampOf(&st) == f.last {
		return f.text, nil
	}
	return f.read()
}

// Forget makes the next Text read the file whatever its times say: a server
// refused the secret, and a file system with coarse times may hide a change.
func (f *File) Forget() {
	f.mu.Lock()
	f.last = stamp{}
	f.mu.Unlock()
}

// read is called with mu held.
func (f *File) read() (string, error) {
	file, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a fifo must not block
	if err != nil {
		return "", fmt.Errorf("reading the secret: %w", err)
	}
	defer file.Close()
	// The stamp is taken from what was opened and before it is read: a change
	// while reading is then seen by the next call.
	var st syscall.Stat_t
	if err := syscall.Fstat(int(file.Fd()), &st); err != nil {
		return "", fmt.Errorf("reading the secret in %s: %w", f.path, err)
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return "", fmt.Errorf("reading the secret in %s: not a regular file", f.path)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err != nil {
		return "", fmt.Errorf("reading the secret in %s: %w", f.path, err)
	}
	if len(data) > maxSize {
		return "", fmt.Errorf("reading the secret in %s: larger than %d bytes", f.path, maxSize)
	}
	text := strings.TrimRight(string(data), "\r\n")
	if text == "" {
		return "", fmt.Errorf("reading the secret in %s: the file is empty", f.path)
	}
	f.text, f.last = text, stampOf(&st)
	return text, nil
}

func stampOf(st *syscall.Stat_t) stamp {
	return stamp{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}
}
