package file

import (
	"io/fs"
	"os"
	"syscall"
	"time"
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

// refuse lets go of the file if it must not be read any more, and reports whether that is so. It may have
// been opened long before somebody said that it holds a secret, or taken a secret's place under another name: it is asked
// again when a Reader is opened, and when a Reader is to read another content than it was.
func (in *input) refuse() bool {
	if in.file == nil || in.src.deps.Refused == nil || in.givenUp.Load() != nil {
		return in.givenUp.Load() != nil
	}
	why := in.src.deps.Refused(in.file)
	if why == nil {
		return false
	}
	in.leave(time.Now())
	if err := in.letGo(&surrender{why: why.Error()}); err != nil { // of no size: nothing of it is lost
		in.src.deps.Log.Error("a file that must not be read cannot be closed", "path", in.origin.Path, "error", err)
	}
	return true
}

// refused is a file that must not be read: as if it were not there, for who refused
// it has told so.
type refused struct{ error }

func (refused) Is(target error) bool { return target == fs.ErrNotExist }
