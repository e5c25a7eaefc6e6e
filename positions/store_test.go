package positions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/record"
)

func open(t *testing.T, dir string) (*Store, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	s, err := Open(dir, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return s, &log
}

func set(t *testing.T, s *Store, k Key, p record.Position) {
	t.Helper()
	s.Set(k, p)
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
}

func TestPositionsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	awkward := Key{"src", "tgt", "a\tb\nc%d \xff é"}
	set(t, s, awkward, "s=1;i=2")
	set(t, s, Key{"src", "other", "x"}, "")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, dir)
	defer s.Close()
	if p, ok := s.Get(awkward); !ok || p != "s=1;i=2" {
		t.Errorf("got %q %v", p, ok)
	}
	if p, ok := s.Get(Key{"src", "other", "x"}); !ok || p != "" {
		t.Errorf("the empty position: got %q %v, want it stored", p, ok)
	}
	s.Forget(awkward)
	if _, ok := s.Get(awkward); ok {
		t.Error("forgotten key is still there")
	}
}

// A new key is on disk long before the second is over, and a restart can tell
// when that was.
func TestNewKeyIsSavedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, _ := open(t, dir)
		ctx, cancel := context.WithCancel(t.Context())
		go s.Run(ctx)
		synctest.Wait()
		s.Set(Key{"s", "t", "new"}, "1")
		time.Sleep(2 * saveNew)
		synctest.Wait()
		if entries, err := ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("on disk after %v: %v %v", 2*saveNew, entries, err)
		}
		cancel()
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		before := s.SavedAt()
		s, _ = open(t, dir)
		defer s.Close()
		if !before.IsZero() || s.SavedAt().IsZero() {
			t.Errorf("saved at %v, and after a restart at %v", before, s.SavedAt())
		}
	})
}

func TestSecondDaemonIsRefused(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	defer s.Close()
	if _, err := Open(dir, slog.Default()); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
}

func TestDamagedFileIsSetAsideAndThePreviousUsed(t *testing.T) {
	k := Key{"s", "t", "i"}
	for name, damage := range map[string]func([]byte) []byte{
		"empty":       func([]byte) []byte { return nil },
		"cut":         func(b []byte) []byte { return b[:len(b)-5] },
		"bit flipped": func(b []byte) []byte { b[len(header)+3] ^= 1; return b },
		"zeros":       func(b []byte) []byte { return make([]byte, len(b)) },
		"other":       func([]byte) []byte { return []byte("lbshipd-positions 3\nsum\t0\t0\n") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, _ := open(t, dir)
			set(t, s, k, "first")
			set(t, s, k, "second")
			s.Close()
			path := filepath.Join(dir, fileName)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(data), 0o600); err != nil {
				t.Fatal(err)
			}
			s, log := open(t, dir)
			defer s.Close()
			if p, _ := s.Get(k); p != "first" {
				t.Errorf("got %q, want the previous generation's", p)
			}
			if !strings.Contains(log.String(), "damaged: set aside, the previous generation is used") {
				t.Errorf("nothing said: %s", log)
			}
			if aside, _ := filepath.Glob(path + ".damaged-*"); len(aside) != 1 {
				t.Errorf("set aside: %v", aside)
			}
		})
	}
}

func TestFullDiskKeepsTheOldFileAndRecovers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small tmpfs needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mounting a small tmpfs: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	s, log := open(t, dir)
	k := Key{"s", "t", "i"}
	set(t, s, k, "good")
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	s.Set(k, "later")
	s.saveAndTell()
	s.saveAndTell()
	if err := s.Err(); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("got %v, want ENOSPC", err)
	}
	if n := strings.Count(log.String(), "cannot be saved"); n != 1 {
		t.Errorf("said %d times: %s", n, log)
	}
	entries, err := ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Position != "good" {
		t.Errorf("on disk: %v %v", entries, err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.saveAndTell()
	if entries, err = ReadDir(dir); err != nil || entries[0].Position != "later" {
		t.Errorf("after the disk has space again: %v %v", entries, err)
	}
	s.Close()
}

func TestUnusedEntriesExpire(t *testing.T) {
	s, _ := open(t, t.TempDir())
	defer s.Close()
	now := time.Unix(1e9, 0)
	s.now = func() time.Time { return now }
	set(t, s, Key{"s", "t", "old"}, "1")
	set(t, s, Key{"s", "t", "quiet"}, "1")
	now = now.Add(keepUnused / 2)
	s.Touch(Key{"s", "t", "quiet"})
	now = now.Add(keepUnused/2 + time.Hour)
	set(t, s, Key{"s", "t", "new"}, "1")
	if _, ok := s.Get(Key{"s", "t", "old"}); ok {
		t.Error("an entry unused for more than 30 days is still there")
	}
	if _, ok := s.Get(Key{"s", "t", "quiet"}); !ok {
		t.Error("an entry in use has expired")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add((&contents{entries: []Entry{{Key{"a", "b", "c"}, "pos", 12}}}).encode())
	f.Add((&contents{rows: []Row{{Pair{"a", "b"}, someCounts(), 12}, {Pair{"a", "c"}, Counts{Read: 1, Filtered: 1}, 13}}}).encode())
	f.Add((&contents{}).encode())
	f.Add([]byte("lbshipd-positions 1\n12\ta\tb\tc\tpos\nsum\t00000000\t1\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decode(data)
		if err != nil {
			return
		}
		again, err := decode(c.encode())
		if err != nil || fmt.Sprint(again) != fmt.Sprint(c) {
			t.Errorf("%v became %v (%v)", c, again, err)
		}
	})
}

// After damage the previous generation is the only one there is: it must not be
// gone before the new one is in place.
func TestPreviousIsKeptUntilThereIsANewOne(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	k := Key{"src", "tgt", "in"}
	set(t, s, k, "1")
	set(t, s, k, "2")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, dir)
	defer s.Close()
	set(t, s, k, "3")
	entries, err := ReadFile(filepath.Join(dir, previousName))
	if err != nil || len(entries) != 1 || entries[0].Position != "1" {
		t.Errorf("the previous generation: %v %v", entries, err)
	}
	set(t, s, k, "4")
	set(t, s, k, "5")
	entries, err = ReadFile(filepath.Join(dir, previousName))
	if err != nil || len(entries) != 1 || entries[0].Position != "4" {
		t.Errorf("the previous generation: %v %v", entries, err)
	}
}

// If nothing is left, that is what is said, and both are kept.
func TestBothGenerationsDamaged(t *testing.T) {
	for name, previous := range map[string]bool{"both": true, "the only one": false} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			files := []string{fileName}
			if previous {
				files = append(files, previousName)
			}
			for _, name := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("damaged"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, log := open(t, dir)
			defer s.Close()
			if !strings.Contains(log.String(), "no generation of them is left") || strings.Contains(log.String(), "is used") {
				t.Errorf("it says: %s", log)
			}
			if aside, _ := filepath.Glob(filepath.Join(dir, "*.damaged-*")); len(aside) != len(files) {
				t.Errorf("set aside: %v", aside)
			}
		})
	}
}

// At no moment are the two generations one file, which a single fault would damage for both.
func TestGenerationsAreNeverOneFile(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	defer s.Close()
	set(t, s, Key{"src", "tgt", "in"}, "1")
	set(t, s, Key{"src", "tgt", "in"}, "2")
	done := make(chan error, 1)
	go func() {
		defer close(done)
		data := (&contents{}).encode()
		for range 5000 {
			s.loose = false
			if err := s.replace(data, false); err != nil {
				done <- err
				return
			}
		}
	}()
	for looks := 0; ; looks++ {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			if looks == 0 {
				t.Error("never looked")
			}
			return
		default:
		}
		// The previous one first: it never becomes the current one again, and while it is open its inode is not another file's.
		previous, err := os.Open(filepath.Join(dir, previousName))
		if err != nil {
			t.Fatal(err)
		}
		was, err1 := previous.Stat()
		is, err2 := os.Stat(filepath.Join(dir, fileName))
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		previous.Close()
		if os.SameFile(was, is) {
			t.Fatal("they are one file")
		}
	}
}

// Where names cannot be exchanged, the current file gets the other name too, and is never missing.
func TestPreviousWithoutExchange(t *testing.T) {
	s := &Store{dir: t.TempDir()}
	path, previous := filepath.Join(s.dir, fileName), filepath.Join(s.dir, previousName)
	if err := s.linkPrevious(path); err != nil {
		t.Fatalf("without a current file: %v", err)
	}
	for _, text := range []string{"1", "2", "2"} { // twice: as after a crash in between
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := s.linkPrevious(path); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{path, previous} {
				if got, err := os.ReadFile(name); err != nil || string(got) != text {
					t.Errorf("%s: %q, %v", name, got, err)
				}
			}
		}
	}
}
