package testbed

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
)

// cutTorn takes off what a server that was killed has written of a last line:
// what it writes when it is back would be taken for the rest of it.
func cutTorn(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Truncate(path, int64(bytes.LastIndexByte(text, '\n')+1))
}
