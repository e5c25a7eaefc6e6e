package file

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// refuseThose makes the rig's source be refused the files that hold a text, and returns how
// often that was asked.
func refuseThose(r *rig, text string) (asked func() int) {
	var mu sync.Mutex
	n := 0
	tune := r.tune
	r.tune = func(s *source) {
		tune(s)
		s.deps.Refused = func(f *os.File) error {
			var buf [64]byte
			k, _ := f.ReadAt(buf[:], 0)
			if !strings.Contains(string(buf[:k]), text) {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			n++
			return errors.New("it is a secret")
		}
	}
	return func() int { mu.Lock(); defer mu.Unlock(); return n }
}

// Nothing of a file that is refused is read, however the source comes to it; what is beside it
// is read, and so is what takes its place.
func TestRefusedFilesAreNotRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	write(t, path, "one\n")
	write(t, filepath.Join(dir, "key.log"), "secret\n")
	must(t, os.Symlink("key.log", filepath.Join(dir, "link.log")))
	r := newRig(t, filepath.Join(dir, "*.log"))
	asked := refuseThose(r, "secret")
	r.start()
	r.expect("one")
	r.until("both names to be refused", func() bool { return asked() >= 2 })
	write(t, filepath.Join(dir, "new"), "secret too\n")
	seen := asked()
	must(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "late.log")))
	r.until("a new one to be refused", func() bool { return asked() > seen })
	write(t, filepath.Join(dir, "new"), "harmless\n")
	must(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "key.log")))
	write(t, path, "two\n")
	r.until("what took its place", func() bool { return r.count() >= 3 })
	for _, text := range r.texts() {
		if strings.Contains(text, "secret") {
			t.Errorf("%q was read", text)
		}
	}
	r.clean()
	if n := r.skip("unreadable"); n != 0 {
		t.Errorf("%d were said to be unreadable", n)
	}
}

// Nor is it read in place of a file that was rotated, as that or as a copy of it.
func TestRefusedFilesAreNotReadAsWhatWasRotated(t *testing.T) {
	t.Parallel()
	for _, ending := range []string{"", ".gz"} {
		t.Run("app.log.1"+ending, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "app.log")
			write(t, path, "secret one\n")
			r := newRig(t, path)
			r.start()
			r.expect("secret one")
			r.stop()
			write(t, path, "secret two\n")
			if ending == "" {
				must(t, os.Rename(path, path+".1"))
			} else {
				squeeze(t, path, path+".1"+ending, ending)
			}
			write(t, path, "next\n")
			refuseThose(r, map[string]string{"": "secret", ".gz": "\x1f\x8b"}[ending])
			r.start()
			r.until("the new file", func() bool { return r.count() >= 2 })
			r.until("the old one to be given up", func() bool { return r.skip("vanished_file") == 1 })
			r.stop()
			if got := strings.Join(r.texts(), "|"); got != "secret one|next" {
				t.Errorf("read %q", got)
			}
		})
	}
}

// A file that was born and rotated while no daemon ran is asked about too.
func TestRefusedFilesAreNotReadAsBorn(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "app.log"), "one\n")
	write(t, filepath.Join(dir, "app.log.1"), "secret\n")
	r := newRig(t, filepath.Join(dir, "app.log"))
	r.ran = true
	asked := refuseThose(r, "secret")
	tune := r.tune
	r.tune = func(s *source) { tune(s); s.deps.LastSaved = time.Now().Add(-time.Minute) }
	r.start()
	r.expect("one")
	if asked() == 0 {
		t.Error("nobody was asked")
	}
}

// What is written in place of a file's content, such as a new key over the old one, is not read if it must
// not be any more, though the file has been open since before; nor is it after a reload.
func TestRefusedFilesAreNotReadOnceTheyAreOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, other := filepath.Join(dir, "app.log"), filepath.Join(dir, "other.log")
	write(t, path, "one\n")
	write(t, other, "two\n")
	r := newRig(t, filepath.Join(dir, "*.log"))
	asked := refuseThose(r, "secret")
	r.start()
	r.until("both", func() bool { return r.count() >= 2 })
	must(t, os.WriteFile(path, []byte("secret\n"), 0o600))
	r.until("the refusal", func() bool { return asked() > 0 })
	write(t, other, "three\n")
	r.until("the other file", func() bool { return r.count() >= 3 })
	r.until("that it is asked again", func() bool { return asked() >= 2 })
	must(t, os.WriteFile(path, []byte("harmless once more\n"), 0o600))
	r.until("what may be read", func() bool { return r.count() >= 4 })
	for _, text := range r.texts() {
		if strings.Contains(text, "secret") {
			t.Errorf("%q was read", text)
		}
	}
}

// All of the package's files are opened where that is asked.
func TestFilesAreOpenedInOnePlace(t *testing.T) {
	files, err := filepath.Glob("*.go")
	must(t, err)
	places := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		must(t, err)
		code := strings.ReplaceAll(string(text), "os.Open(os.DevNull)", "")
		for _, call := range []string{"os.Open", "os.ReadFile(", "unix.Open", "syscall.Open"} {
			n := strings.Count(code, call)
			places += n
			if n > 0 && name != "open.go" {
				t.Errorf("%s opens files with %s: openFile in open.go asks whether they may be read", name, call)
			}
		}
	}
	if places != 1 {
		t.Errorf("files are opened in %d places", places)
	}
}
