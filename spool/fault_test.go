package spool

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/record"
)

// unsynced is the real file system without the time that fsync takes.
type unsynced struct{ OS }

func (u unsynced) OpenFile(name string, flag int) (File, error) {
	f, err := u.OS.OpenFile(name, flag)
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

func (unsynced) SyncDir(string) error { return nil }

type unsyncedFile struct{ File }

func (unsyncedFile) Sync() error { return nil }

// faulty is a file system of which any call may fail.
type faulty struct {
	unsynced
	mu   sync.Mutex
	fail func(op string) error // nil: nothing fails
}

func (f *faulty) err(op string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail == nil {
		return nil
	}
	return f.fail(op)
}

func (f *faulty) set(fail func(op string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

func (f *faulty) OpenFile(name string, flag int) (File, error) {
	if err := f.err("open"); err != nil {
		return nil, err
	}
	file, err := f.unsynced.OpenFile(name, flag)
	if err != nil {
		return nil, err
	}
	return &faultyFile{file, f}, nil
}

func (f *faulty) Remove(name string) error {
	if err := f.err("remove"); err != nil {
		return err
	}
	return f.unsynced.Remove(name)
}

func (f *faulty) SyncDir(dir string) error { return f.err("syncdir") }

type faultyFile struct {
	File
	fs *faulty
}

// WriteAt writes a part of p before it fails.
func (f *faultyFile) WriteAt(p []byte, at int64) (int, error) {
	if err := f.fs.err("write"); err != nil {
		n, _ := f.File.WriteAt(p[:rand.IntN(len(p)+1)], at)
		return n, err
	}
	return f.File.WriteAt(p, at)
}

func (f *faultyFile) ReadAt(p []byte, at int64) (int, error) {
	if err := f.fs.err("read"); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, at)
}

func (f *faultyFile) Sync() error { return f.fs.err("sync") }

func (f *faultyFile) Truncate(n int64) error {
	if err := f.fs.err("truncate"); err != nil {
		return err
	}
	return f.File.Truncate(n)
}

// Every call to the disk may fail at any time, also those that clean up, and
// the process may end at any time: what Append has promised is given, in order, and
// nothing is told as lost. What it has refused may come all the same after a
// crash, but then in its place.
func TestFailingDiskLosesNothing(t *testing.T) {
	rnd := seeded(t)
	refused, reopened := 0, 0
	for range 120 {
		dir, fs := t.TempDir(), &faulty{}
		s, _ := open(t, dir, Options{SegmentBytes: 600, FS: fs})
		next, answered, base := 0, 0, 0 // lines, and the line of record 1
		for range 60 {
			fs.set(func(op string) error {
				if op == "read" || rnd.IntN(6) != 0 {
					return nil
				}
				return unix.EIO
			})
			n := 1 + rnd.IntN(6) // another try is of another size
			_, err := s.Append([]Entry{{Batch: batchOf(t, next, next+n)}})
			if err == nil {
				next += n
			} else {
				refused++
			}
			if rnd.IntN(4) == 0 {
				b := record.NewBatch()
				if g, err := s.Next(b); err == nil {
					s.Answered(g.Frame)
					answered = base + int(g.Next) - 1
				}
				b.Release()
			}
			if rnd.IntN(20) != 0 {
				continue
			}
			fs.set(nil)
			if rnd.IntN(2) == 0 {
				s.Close()
			}
			s, _ = open(t, dir, Options{SegmentBytes: 600, FS: fs})
			reopened++
			if s.at.nextRecord == 1 { // cursor and segments are gone: only if all was answered
				if answered != next {
					t.Fatalf("all is gone, and %d of %d are answered", answered, next)
				}
				base = next
			}
			// What was refused may be there all the same.
			if end := base + int(s.at.nextRecord) - 1; end < next {
				t.Fatalf("%d lines are there, %d were promised", end, next)
			} else {
				next = end
			}
		}
		fs.set(nil)
		d := drain(t, s, true)
		if d.lost != 0 {
			t.Fatalf("%d records are told as lost", d.lost)
		}
		if len(d.lines) > 0 {
			wantRange(t, d.lines, d.lines[0], next)
		} else if answered != next {
			t.Fatalf("nothing is left, %d of %d are answered", answered, next)
		}
	}
	if refused < 50 || reopened < 50 {
		t.Errorf("%d appends refused, %d reopened: that proves little", refused, reopened)
	}
}

// Whatever call fails, Append has then promised nothing, and can be called again.
func TestAppendThatFailsPromisesNothing(t *testing.T) {
	for _, op := range []string{"write", "sync", "syncdir", "open"} {
		dir, fs := t.TempDir(), &faulty{}
		s, said := open(t, dir, Options{FS: fs, SegmentBytes: 1})
		put(t, s, 0, 10, 5)
		fs.set(func(now string) error {
			if now == op {
				return unix.ENOSPC
			}
			return nil
		})
		before := s.Stats()
		if frames, err := s.Append([]Entry{{Batch: batchOf(t, 90, 95)}}); !errors.Is(err, unix.ENOSPC) || frames != nil || s.Stats() != before {
			t.Errorf("%s: %v, %v, %+v", op, frames, err, s.Stats())
		}
		if said.count(OpAppend) != 1 {
			t.Errorf("%s: said %v", op, said.list)
		}
		fs.set(nil)
		put(t, s, 10, 20, 5)
		s.Close()
		s, _ = open(t, dir, Options{FS: fs})
		d := drain(t, s, true)
		wantRange(t, d.lines, 0, 20)
	}
}

// What a refused append left behind, because not even that could be taken back, is void
// as soon as another one has taken its place.
func TestRestOfARefusedAppendIsVoid(t *testing.T) {
	dir, fs := t.TempDir(), &faulty{}
	s, _ := open(t, dir, Options{FS: fs})
	put(t, s, 0, 10, 5)
	fs.set(func(op string) error {
		if op == "sync" || op == "truncate" || op == "remove" {
			return unix.EIO
		}
		return nil
	})
	if _, err := s.Append([]Entry{{Batch: batchOf(t, 90, 93)}, {Batch: batchOf(t, 93, 95)}}); err == nil {
		t.Fatal("a failed fsync is no failure")
	}
	fs.set(nil)
	put(t, s, 10, 40, 5)
	s.Close()
	s, _ = open(t, dir, Options{FS: fs})
	d := drain(t, s, false) // an answer would delete it
	wantRange(t, d.lines, 0, 40)
	if d.lost != 0 {
		t.Errorf("%d lost", d.lost)
	}
}

// volatile is a file system that loses what was not synced when the power goes.
type volatile struct {
	OS
	files map[string]*volatileFile // by name; all that were ever opened for writing
}

type volatileFile struct {
	File
	synced, size int64
}

func (v *volatile) OpenFile(name string, flag int) (File, error) {
	f, err := v.OS.OpenFile(name, flag)
	if err != nil || flag&unix.O_CREAT == 0 || strings.HasSuffix(name, cursorName) {
		return f, err
	}
	v.files[name] = &volatileFile{File: f}
	return v.files[name], nil
}

func (f *volatileFile) WriteAt(p []byte, at int64) (int, error) {
	f.size = max(f.size, at+int64(len(p)))
	return f.File.WriteAt(p, at)
}

func (f *volatileFile) Sync() error {
	f.synced = f.size
	return f.File.Sync()
}

// cut leaves of each file what was synced, and something of the rest.
func (v *volatile) cut(t *testing.T, intN func(int) int) {
	t.Helper()
	for name, f := range v.files {
		f.Close()
		if rest := int(f.size - f.synced); rest > 0 {
			if err := os.Truncate(name, f.synced+int64(intN(rest+1))); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	clear(v.files)
}

// The power goes between any two calls: what Append has promised is there.
func TestPowerLoss(t *testing.T) {
	rnd := seeded(t)
	dir, fs := t.TempDir(), &volatile{files: map[string]*volatileFile{}}
	next := 0
	for range 20 {
		s, _ := open(t, dir, Options{SegmentBytes: 2 << 10, FS: fs})
		if end := int(s.at.nextRecord) - 1; end < next {
			t.Fatalf("%d lines are there, %d were promised", end, next)
		}
		for range rnd.IntN(20) {
			n := 1 + rnd.IntN(30)
			put(t, s, next, next+n, n)
			next += n
		}
		fs.cut(t, rnd.IntN)
	}
	s, _ := open(t, dir, Options{})
	d := drain(t, s, true)
	wantRange(t, d.lines, 0, next)
	if d.lost != 0 || next < 200 {
		t.Errorf("%d lines, %d lost", next, d.lost)
	}
}

// A disk that cannot be read for a while costs time, and nothing else.
func TestUnreadableForAWhile(t *testing.T) {
	fs := &faulty{}
	s, said := open(t, t.TempDir(), Options{FS: fs})
	put(t, s, 0, 100, 10)
	tries := 0
	fs.set(func(op string) error {
		if op != "read" || tries >= readTries-1 {
			return nil
		}
		tries++
		return unix.EIO
	})
	for range readTries - 1 {
		b := record.NewBatch()
		if _, err := s.Next(b); !errors.Is(err, unix.EIO) {
			t.Fatalf("%v, want EIO", err)
		}
		b.Release()
	}
	d := drain(t, s, true)
	wantRange(t, d.lines, 0, 100)
	if said.count(OpRead) == 0 || d.lost != 0 {
		t.Errorf("%d lost, %v", d.lost, said.list)
	}
}

// A disk that can never be read again loses what is on it, and says so; what
// comes later goes on.
func TestUnreadableForEver(t *testing.T) {
	fs := &faulty{}
	s, _ := open(t, t.TempDir(), Options{FS: fs})
	put(t, s, 0, 100, 10)
	fs.set(func(op string) error {
		if op == "read" {
			return unix.EIO
		}
		return nil
	})
	var lost int64
	for range 100 {
		b := record.NewBatch()
		g, err := s.Next(b)
		b.Release()
		var loss *LossError
		if errors.As(err, &loss) {
			lost += loss.Records
			s.Answered(g.Frame)
		}
		if errors.Is(err, io.EOF) {
			break
		}
	}
	if lost != 100 {
		t.Errorf("%d lost, want 100", lost)
	}
	fs.set(nil)
	put(t, s, 100, 150, 10)
	wantRange(t, drain(t, s, true).lines, 100, 150)
}

// A segment that cannot be deleted is deleted when it can be.
func TestDeletionIsTriedAgain(t *testing.T) {
	dir, fs := t.TempDir(), &faulty{}
	s, said := open(t, dir, Options{FS: fs, SegmentBytes: 300})
	put(t, s, 0, 100, 10)
	fs.set(func(op string) error {
		if op == "remove" {
			return unix.EACCES
		}
		return nil
	})
	drain(t, s, true)
	if said.count(OpDelete) == 0 || len(segmentsOf(t, dir)) == 0 {
		t.Fatalf("deleted all the same: %v", said.list)
	}
	fs.set(nil)
	put(t, s, 100, 110, 10)
	drain(t, s, true)
	if left := segmentsOf(t, dir); len(left) != 0 || s.Stats().Bytes != 0 {
		t.Errorf("%v stay, %+v", left, s.Stats())
	}
}

func TestRaceOfAppendAndNext(t *testing.T) {
	s, _ := open(t, t.TempDir(), Options{FS: unsynced{}, SegmentBytes: 1 << 10})
	const total = 3000
	go func() {
		for n := 0; n < total; n += 5 {
			b := record.NewBatch()
			b.Origin = testOrigin
			for i := range 5 {
				r := b.Add()
				r.Offset = int64(n + i)
				r.Line = b.Copy([]byte("x"))
			}
			if _, err := s.Append([]Entry{{Batch: b}}); err != nil {
				panic(err)
			}
			b.Release()
		}
	}()
	var got []int64
	for len(got) < total {
		b := record.NewBatch()
		g, err := s.Next(b)
		if err == nil {
			for i := range b.Records {
				got = append(got, b.Records[i].Offset)
			}
			s.Answered(g.Frame)
		} else if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		b.Release()
	}
	if !slices.IsSorted(got) || got[total-1] != total-1 {
		t.Error("out of order")
	}
}
