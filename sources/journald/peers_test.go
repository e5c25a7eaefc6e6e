package journald

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
)

// failing makes every read that touches the bytes [from, to) of a file fail
// with err, as a bad block does; on is switched by the test.
func failing(t *testing.T, path string, from, to int64, err error) (on *atomic.Bool) {
	on = &atomic.Bool{}
	on.Store(true)
	badDisk = func(p string, off int64, n int) (int, error) {
		if !on.Load() || p != path || off+int64(n) <= from || off >= to {
			return n, nil
		}
		return int(max(0, from-off)), &os.PathError{Op: "read", Path: p, Err: err}
	}
	t.Cleanup(func() { badDisk = nil })
	return on
}

// clockOf puts a clock into a reader that a test can turn.
func clockOf(r *Reader) *time.Time {
	now := time.Now()
	r.j.now = func() time.Time { return now }
	return &now
}

// TestReaderRecoversFromEBADMSG: a read that the kernel refuses, anywhere in the
// file, is an error that is visible and tried again; when it passes nothing is missing, and
// where it stays the rest is read all the same (fluent-bit 7019: silent after EBADMSG).
func TestReaderRecoversFromEBADMSG(t *testing.T) {
	dir := t.TempDir()
	path := fabricate(t, dir, "system.journal", 3000, 0, testbed.JournalLayout{Compact: true})
	size := int64(len(mustRead(t, path)))
	for _, units := range [][]string{nil, {"unit1*"}} {
		in := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: dir, Units: units}}, nil)
		whole, _, _ := readAll(t, open(t, in, ""))
		for _, errno := range []error{syscall.EBADMSG, syscall.EIO} {
			for at := int64(8 << 10); at < size; at += size / 11 {
				t.Run(fmt.Sprint(units, errno, at), func(t *testing.T) {
					recoversAt(t, dir, path, units, at, errno, whole)
				})
			}
		}
	}
}

func recoversAt(t *testing.T, dir, path string, units []string, at int64, errno error, whole []got) {
	skipped := counts{}
	in := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: dir, Units: units}}, skipped)
	on := failing(t, path, at, at+4096, errno)
	on.Store(false)
	r := open(t, in, "")
	on.Store(true)
	now := clockOf(r)
	recs, refused := readStubbornly(t, r, errno, 40)
	if refused {
		on.Store(false) // it passes
	}
	rest, again := readStubbornly(t, r, errno, 40)
	if again {
		t.Fatal("it fails although the disk is good")
	}
	if recs = append(recs, rest...); len(recs) != len(whole) || len(skipped) > 0 {
		t.Fatalf("%d of %d records after the error has passed, skipped %v", len(recs), len(whole), skipped)
	}
	for i := range recs {
		if !bytes.Equal(recs[i].Line, whole[i].Line) {
			t.Fatalf("record %d is %.100q, want %.100q", i, recs[i].Line, whole[i].Line)
		}
	}
	if !refused {
		return // nothing that is needed lies there
	}
	// It stays: what lies elsewhere is given.
	on.Store(true)
	r = open(t, in, "")
	*clockOf(r) = *now
	recs = recs[:0]
	for range 12 {
		more, _ := readStubbornly(t, r, errno, 3)
		recs = append(recs, more...)
		at := r.j.now().Add(failedFor / 2)
		r.j.now = func() time.Time { return at }
	}
	if len(recs) < len(whole)*8/10 {
		t.Fatalf("%d of %d records with a bad page at %d; skipped %v", len(recs), len(whole), at, skipped)
	}
	if len(recs) < len(whole) && len(skipped) == 0 {
		t.Errorf("%d of %d records, and nothing is told", len(recs), len(whole))
	}
}

// readStubbornly reads until nothing more comes, or the kernel's error did so many times in a row.
func readStubbornly(t *testing.T, r *Reader, errno error, tries int) (recs []got, refused bool) {
	t.Helper()
	for range tries {
		b := record.NewBatch()
		err := r.Read(b)
		for i := range b.Records {
			recs = append(recs, clone(b, &b.Records[i]))
		}
		n := b.Read
		b.Release()
		switch {
		case errors.Is(err, errno) && n == 0:
			refused = true
			if !strings.Contains(err.Error(), "system.journal") {
				t.Fatalf("the error does not name the file: %v", err)
			}
		case err != nil:
			t.Fatal(err)
		case n == 0:
			return recs, refused
		default:
			refused = false
		}
	}
	return recs, refused
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCorruptJournalHarmsItselfOnly: while a real journald writes and rotates, damaged files
// appear among the good ones and archived ones are damaged: bits flipped, cut
// off, tails zeroed, garbage, headers torn. All that is written meanwhile arrives once, in
// order (beats 32782, 39352, 34077: a corrupt journal kills or stops the input).
func TestCorruptJournalHarmsItselfOnly(t *testing.T) {
	for _, ids := range [][]string{nil, {"app"}} {
		t.Run(fmt.Sprint(ids), func(t *testing.T) {
			j := testbed.StartJournald(t)
			out := j.Stdout(t, "app", "app.service", 6)
			for i := range 2000 {
				out.Line(fmt.Sprint("before ", i))
			}
			j.Sync(t)
			j.Rotate(t)
			archived, _ := filepath.Glob(filepath.Join(j.Dir, "system@*.journal"))
			if len(archived) == 0 {
				t.Fatal("nothing is archived")
			}
			good := mustRead(t, archived[0])
			skipped := counts{}
			in := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: j.Dir, Identifiers: ids}, StartAt: "end"}, skipped)
			r := startOf(t, in)
			rnd := rand.New(rand.NewSource(11))
			const rounds, lines = 12, 200
			next := 0
			for round := range rounds {
				addDamaged(t, j.Dir, good, round, rnd)
				for i := range lines {
					out.Line(fmt.Sprint("live ", round*lines+i))
				}
				if round%4 == 3 {
					j.Sync(t)
					j.Rotate(t)
				}
				for next < (round+1)*lines {
					n := follow(t, r, 1, func(_ *record.Batch, rec *record.Record) {
						num, ok := strings.CutPrefix(string(rec.Line), "live ")
						if ok && num != fmt.Sprint(next) {
							t.Fatalf("got %q where %d is next; skipped %v", rec.Line, next, skipped)
						}
						if ok {
							next++
						}
					})
					if n == 0 {
						t.Fatalf("silent after %d of %d lines; skipped %v", next, rounds*lines, skipped)
					}
				}
			}
			idle(t, r, time.Second)
		})
	}
}

// addDamaged makes a damaged file in dir, in a way of its own each round.
func addDamaged(t *testing.T, dir string, good []byte, round int, rnd *rand.Rand) {
	t.Helper()
	b := bytes.Clone(good)
	b[hdrFileID] ^= byte(round + 1) // a file of its own
	used := int(min(uint64(len(b)), leUint64(b[hdrTailObject:])))
	switch round % 6 {
	case 0: // bits
		for range 50 {
			b[headerMaxSize+rnd.Intn(used-headerMaxSize)] ^= 1 << rnd.Intn(8)
		}
	case 1: // cut off
		b = b[:headerMaxSize+rnd.Intn(used-headerMaxSize)]
	case 2: // zeroed tail, as after a power cut
		clear(b[used/2:])
	case 3: // garbage
		rnd.Read(b[:used])
	case 4: // a torn header
		rnd.Read(b[hdrTailObject:headerMaxSize])
	case 5: // online for ever, without a writer
		b[hdrState] = stateOnline
		clear(b[used*3/4:])
	}
	name := fmt.Sprintf("system@%032x-%016x-%016x.journal", round+1, 1, testStart)
	if round%2 == 1 {
		name = fmt.Sprintf("damaged%d.journal", round)
	}
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o640); err != nil {
		t.Fatal(err)
	}
	// And one of journald's own archived files, under the reader.
	archived, _ := filepath.Glob(filepath.Join(dir, "system@*.journal"))
	if path := archived[rnd.Intn(len(archived))]; round%3 == 2 {
		if err := os.Truncate(path, int64(rnd.Intn(len(good)))); err != nil {
			t.Fatal(err)
		}
	}
}

func leUint64(b []byte) (n uint64) {
	for i := range 8 {
		n |= uint64(b[i]) << (8 * i)
	}
	return n
}
