package filetext

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, f *File, text string) {
	t.Helper()
	got, err := f.Text()
	if err != nil || got != text {
		t.Fatalf("Text() = %q, %v; want %q", got, err, text)
	}
}

func TestReadAgainWhenChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write(t, path, "one\n")
	f := New(path)
	want(t, f, "one")
	write(t, path, "second\r\n") // in place, another size
	want(t, f, "second")

	renamed := path + ".new"
	write(t, renamed, "third!")
	if err := os.Rename(renamed, path); err != nil {
		t.Fatal(err)
	}
	want(t, f, "third!")
}

// A file that did not change is not read again: take its text away under an
// unchanged stamp and the old one is still given; Forget lifts that.
func TestUnchangedIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write(t, path, "one")
	f := New(path)
	want(t, f, "one")
	f.text = "kept"
	want(t, f, "kept")
	f.Forget()
	want(t, f, "one")
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	large, empty, fifo := filepath.Join(dir, "large"), filepath.Join(dir, "empty"), filepath.Join(dir, "fifo")
	write(t, large, strings.Repeat("x", maxSize+1))
	write(t, empty, "\n")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, says string }{
		{filepath.Join(dir, "missing"), "no such file"},
		{large, "larger than"},
		{empty, "is empty"},
		{fifo, "not a regular file"},
		{dir, "not a regular file"},
	} {
		_, err := New(c.path).Text()
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: error %v; want one with the path and %q", c.path, err, c.says)
		}
	}
}

func TestMissingThenThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	f := New(path)
	if _, err := f.Text(); err == nil {
		t.Fatal("no error for a missing file")
	}
	write(t, path, "now")
	want(t, f, "now")
}
