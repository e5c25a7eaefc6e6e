package file

import (
	"io/fs"
	"os"
	"syscall"
)

// openFile opens a file that the configuration leads to. All of the package's files are opened
// here, so that what must not be read is refused whatever way leads to it: by what the
// descriptor is, for a name says little, and what it leads to may change meanwhile.
func (s *source) openFile(path string) (*os.File, error) {
	// O_NONBLOCK: a fifo that has come in the file's place must not block us.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil || s.deps.Refused == nil {
		return f, err
	}
	if err := s.deps.Refused(f); err != nil {
		f.Close()
		return nil, refused{err}
	}
	return f, nil
}

// refused is a file that must not be read: as if it were not there, for who refused
// it has told so.
type refused struct{ error }

func (refused) Is(target error) bool { return target == fs.ErrNotExist }
