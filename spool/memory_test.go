package spool

import (
	"io"
	"os"
	"testing"
	"time"
)

// memory is a file system of one file, for fuzzing; what else is written is
// forgotten.
type memory struct {
	name string
	data []byte
}

func readAll(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (m *memory) MkdirAll(string) error { return nil }

func (m *memory) List(string) ([]FileInfo, error) {
	return []FileInfo{{m.name, int64(len(m.data)), time.Time{}}}, nil
}

func (m *memory) OpenFile(name string, flag int) (File, error) {
	if name == "spool/"+m.name {
		return m, nil
	}
	if flag&os.O_CREATE == 0 {
		return nil, os.ErrNotExist
	}
	return &memory{}, nil
}

func (m *memory) Remove(string) error         { return nil }
func (m *memory) Rename(string, string) error { return nil }
func (m *memory) SyncDir(string) error        { return nil }
func (m *memory) Close() error                { return nil }
func (m *memory) Sync() error                 { return nil }
func (m *memory) Truncate(int64) error        { return nil }

func (m *memory) ReadAt(p []byte, at int64) (int, error) {
	if at >= int64(len(m.data)) {
		return 0, io.EOF
	}
	n := copy(p, m.data[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
