package filestore

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/lbshipd/lbshipd/config"
)

// snapshot is what the configuration file and the files that it names held at
// one time.
type snapshot struct {
	config   *config.Config
	err      error
	gone     bool // the configuration file itself is not there
	revision string
	files    map[string]file
	text     []byte // of the configuration file
}

// file is one file that was read.
type file struct {
	digest  string // of the contents, or what is wrong with it
	missing bool   // it is not there
	stat    stamp  // as it was before it was read
	at      time.Time
}

// stamp is what changes of a file when its contents do.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
	mode         uint32
	err          error
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		var number syscall.Errno
		errors.As(err, &number)
		return stamp{err: number}
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{size: info.Size()}
	}
	return stamp{dev: s.Dev, ino: s.Ino, size: s.Size, mtime: s.Mtim, ctime: s.Ctim, mode: s.Mode}
}

// read loads the configuration and remembers every file that it took.
func read(path string) snapshot {
	s := snapshot{files: map[string]file{}}
	s.config, s.err = config.LoadWith(path, func(name string, limit int64) ([]byte, fs.FileMode, error) {
		data, mode, err := s.readFile(name, limit)
		if name == path {
			s.text = data
		}
		return data, mode, err
	})
	s.gone = s.files[path].missing
	hash := sha256.New()
	for _, name := range s.paths() {
		fmt.Fprintf(hash, "%q %s\n", name, s.files[name].digest)
	}
	s.revision = string(hash.Sum(nil))
	return s
}

// readFile is config.ReadFile with a memory.
func (s *snapshot) readFile(path string, limit int64) ([]byte, fs.FileMode, error) {
	f := file{stat: stampOf(path), at: time.Now()}
	data, mode, err := config.ReadFile(path, limit)
	if err != nil {
		f.digest = "error: " + err.Error()
		f.missing = errors.Is(err, fs.ErrNotExist)
	} else {
		f.digest = fmt.Sprintf("%x", sha256.Sum256(data))
	}
	s.files[path] = f
	return data, mode, err
}

// paths returns the files that were read, sorted.
func (s *snapshot) paths() []string {
	paths := make([]string, 0, len(s.files))
	for path := range s.files {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

// granularity is how long two writes may share one time stamp: kernels stamp
// with their tick, some file systems with two seconds (FAT).
const granularity = 2 * time.Second

// changed reports whether a file may hold something else by now, without
// reading it. What was written just before it was read may have been written
// again within the same time stamp.
func (s *snapshot) changed() bool {
	for path, f := range s.files {
		now := stampOf(path)
		if now != f.stat {
			return true
		}
		if now.err == nil && f.at.Sub(time.Unix(now.mtime.Unix())) < granularity {
			return true
		}
	}
	return false
}
