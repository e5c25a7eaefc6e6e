package wholefile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	is := func(want string, mode os.FileMode) {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want || info.Mode().Perm() != mode {
			t.Errorf("%q, mode %o, %v; want %q, %o", got, info.Mode().Perm(), err, want, mode)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 1 {
			t.Errorf("left in the folder: %v", entries)
		}
	}
	// What a kill has left of another attempt goes away with the next one.
	if err := os.WriteFile(filepath.Join(dir, ".state"+temporary+"1"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, []byte("one"), Mine(0o640), nil); err != nil {
		t.Fatal(err)
	}
	is("one", 0o640)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, []byte("two"), OwnerOf(info), func() error {
		if b, _ := os.ReadFile(path); string(b) != "one" {
			t.Errorf("before the rename it holds %q", b)
		}
		return errors.New("somebody was here first")
	}); err == nil {
		t.Error("what check refuses is written")
	}
	is("one", 0o640)
	if err := Replace(path, []byte("two"), OwnerOf(info), nil); err != nil {
		t.Fatal(err)
	}
	is("two", 0o640)
	if err := Replace(filepath.Join(dir, "no", "folder"), nil, Mine(0o600), nil); err == nil {
		t.Error("a file in a folder that is not there is written")
	}
}
