package journald

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
)

// readDamaged reads a damaged file in every way and fails if that takes long.
func readDamaged(t testing.TB, path string, units []string) (recs []got, skipped counts) {
	t.Helper()
	skipped = counts{}
	began := time.Now()
	in := inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: filepath.Dir(path), Units: units, Fields: []string{"*"}}}, skipped)
	in.(*Source).files = []string{path} // closing an inotify descriptor takes 15 ms
	r, err := in.Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	recs, _, _ = readAll(t, r.(*Reader))
	if d := time.Since(began); d > time.Minute {
		t.Fatalf("reading took %v", d)
	}
	return recs, skipped
}

func smallJournal(t testing.TB, compact bool, n int) (path string, b []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "system.journal")
	newJournalWriter(t, compressedZstd, compact, true, "small").writeSome(path, n)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, b
}

func lines(recs []got) map[string]bool {
	m := map[string]bool{}
	for i := range recs {
		m[fmt.Sprint(recs[i].Time, string(recs[i].Line))] = true
	}
	return m
}

// TestTruncatedAnywhere: what lies before the cut is still read.
func TestTruncatedAnywhere(t *testing.T) {
	t.Parallel()
	for _, compact := range []bool{false, true} {
		path, whole := smallJournal(t, compact, 300)
		recs, skipped := readDamaged(t, path, nil)
		if len(recs) != 300 || len(skipped) != 0 {
			t.Fatalf("%d records, skipped %v", len(recs), skipped)
		}
		all := lines(recs)
		for _, cut := range []int{0, 1, 100, headerMinSize, 271, 272, 280, 1000, 1600, len(whole) / 3, len(whole) / 2,
			len(whole) * 3 / 4, len(whole) - 3000, len(whole) - 900, len(whole) - 8, len(whole) - 1} {
			if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
				t.Fatal(err)
			}
			before := 0
			for i := range entriesBefore(whole, uint64(cut)) {
				before = i + 1
			}
			recs, skipped := readDamaged(t, path, nil)
			if len(recs) < before {
				t.Errorf("compact %v, cut at %d of %d: %d records of %d, skipped %v", compact, cut, len(whole), len(recs), before, skipped)
			}
			for line := range lines(recs) {
				if !all[line] {
					t.Errorf("cut at %d: invented %.200q", cut, line)
				}
			}
			readDamaged(t, path, []string{"unit3", "unit1*"})
		}
	}
}

// entriesBefore yields the entries that lie wholly before cut.
func entriesBefore(b []byte, cut uint64) (list []uint64) {
	le := binary.LittleEndian
	for off := le.Uint64(b[hdrHeaderSize:]); off+16 <= cut && off+16 < uint64(len(b)); {
		size := le.Uint64(b[off+8:])
		if b[off] == typeEntry && off+size <= cut {
			list = append(list, off)
		}
		off += (size + 7) &^ 7
	}
	return list
}

// TestBitFlips: no panic, no hang, and what one flip does not touch is read.
func TestBitFlips(t *testing.T) {
	t.Parallel()
	for _, compact := range []bool{false, true} {
		path, whole := smallJournal(t, compact, 200)
		recs, _ := readDamaged(t, path, nil)
		all := lines(recs)
		rnd := rand.New(rand.NewSource(7))
		worst := len(all)
		for range 150 {
			b := bytes.Clone(whole)
			at := headerMaxSize + rnd.Intn(len(b)-headerMaxSize)
			b[at] ^= 1 << rnd.Intn(8)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			recs, skipped := readDamaged(t, path, nil)
			kept := 0
			for line := range lines(recs) {
				if all[line] {
					kept++
				}
			}
			worst = min(worst, kept)
			// One data object may be in many entries, but an entry is never lost
			// for it; at most a repeated MESSAGE changes in all of them.
			if len(recs) < 198 {
				t.Fatalf("flip at %d: %d of 200 records, skipped %v", at, len(recs), skipped)
			}
			readDamaged(t, path, []string{"unit3"})
		}
		t.Logf("compact %v: at worst %d of 200 records unchanged", compact, worst)
	}
}

func TestHeaderDamage(t *testing.T) {
	t.Parallel()
	path, whole := smallJournal(t, true, 100)
	rnd := rand.New(rand.NewSource(3))
	for range 120 {
		b := bytes.Clone(whole)
		for range 1 + rnd.Intn(3) {
			b[rnd.Intn(headerMaxSize)] = byte(rnd.Intn(256))
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		readDamaged(t, path, nil)
		readDamaged(t, path, []string{"unit3"})
	}
}

// TestLoops: chains that bite their own tail end.
func TestLoops(t *testing.T) {
	t.Parallel()
	path, whole := smallJournal(t, false, 300)
	le := binary.LittleEndian
	for off := uint64(headerMaxSize); off+16 < uint64(len(whole)); {
		size := le.Uint64(whole[off+8:])
		var links []uint64
		switch whole[off] {
		case typeEntryArray:
			links = []uint64{16}
		case typeData:
			links = []uint64{24, 32, 40, 48}
		}
		for _, link := range links {
			b := bytes.Clone(whole)
			le.PutUint64(b[off+link:], off)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if recs, skipped := readDamaged(t, path, nil); len(recs) != 300 {
				t.Fatalf("loop at %d+%d: %d records, skipped %v", off, link, len(recs), skipped)
			}
			readDamaged(t, path, []string{"unit3", "unit1*"})
		}
		if off += (size + 7) &^ 7; off > 8000 && off+16 < uint64(len(whole)) && whole[off] != typeEntryArray {
			off = nextArray(whole, off)
		}
	}
}

func nextArray(b []byte, off uint64) uint64 {
	for off+16 < uint64(len(b)) && b[off] != typeEntryArray {
		off += (binary.LittleEndian.Uint64(b[off+8:]) + 7) &^ 7
	}
	return off
}

// TestAbsurdSizes: a size in the file is never believed.
func TestAbsurdSizes(t *testing.T) {
	t.Parallel()
	path, whole := smallJournal(t, false, 50)
	le := binary.LittleEndian
	for off := uint64(headerMaxSize); off+16 < uint64(len(whole)); off += (le.Uint64(whole[off+8:]) + 7) &^ 7 {
		for _, size := range []uint64{0, 1, 15, 17, 1 << 20, 1 << 33, 1 << 62, 1<<64 - 1} {
			b := bytes.Clone(whole)
			le.PutUint64(b[off+8:], size)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if recs, skipped := readDamaged(t, path, nil); len(recs) < 49 {
				t.Fatalf("size %d at %d: %d records, skipped %v", size, off, len(recs), skipped)
			}
		}
		if off > 4000 {
			break
		}
	}
}

// TestBombs: payloads that claim to inflate beyond the limit are skipped.
func TestBombs(t *testing.T) {
	t.Parallel()
	z := &inflater{limit: 1 << 20}
	big := bytes.Repeat([]byte("MESSAGE=aaaaaaaa"), 1<<17) // 2 MiB
	for _, kind := range []byte{compressedXZ, compressedLZ4, compressedZstd} {
		w := &journalWriter{t: t, compress: kind}
		if _, err := z.inflate(kind, w.squeeze(big)); !errors.Is(err, errTooLarge) && kind != compressedZstd || err == nil {
			t.Errorf("kind %d: %v", kind, err)
		}
		small := big[:1<<20-16]
		if got, err := z.inflate(kind, w.squeeze(small)); err != nil || !bytes.Equal(got, small) {
			t.Errorf("kind %d: %d bytes, %v", kind, len(got), err)
		}
		if cap(z.out) > 4<<20 {
			t.Errorf("kind %d: %d bytes held", kind, cap(z.out))
		}
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var export []byte
	for i, n := range []int{70_000, 300_000, 16 << 20, 16<<20 + 1} {
		export = testbed.AppendExport(export, testStart+uint64(i), uint64(i)+1, testBoot,
			testbed.Field{Name: "MESSAGE", Value: strings.Repeat("x", n-1) + "y"}, testbed.Field{Name: "PRIORITY", Value: "3"})
	}
	for _, compress := range []bool{false, true} {
		sub := filepath.Join(dir, fmt.Sprint(compress))
		os.Mkdir(sub, 0o755)
		testbed.FabricateJournal(t, filepath.Join(sub, "a.journal"), bytes.NewReader(export), testbed.JournalLayout{Compress: compress})
		recs, _, _ := readAll(t, open(t, inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: sub}}, nil), ""))
		if len(recs) != 4 {
			t.Fatalf("%d records", len(recs))
		}
		for i, n := range []int{70_000, 300_000, 16 << 20, 16 << 20} {
			cut := recs[i].Flags&record.Truncated != 0
			if len(recs[i].Line) != n || cut != (i == 3) || recs[i].Line[n-1] == 'y' == cut || recs[i].Level != record.LevelError {
				t.Errorf("compress %v, message %d: %d bytes, cut %v, level %v", compress, i, len(recs[i].Line), cut, recs[i].Level)
			}
		}
	}
}

// TestTruncatedUnderUs: libsystemd dies of SIGBUS here.
func TestTruncatedUnderUs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := fabricate(t, dir, "system.journal", 5000, 0, testbed.JournalLayout{Compact: true})
	skipped := counts{}
	r := open(t, inputOf(t, config.Source{Journald: &config.JournaldSource{Directory: dir}}, skipped), "")
	b := record.NewBatch()
	if err := r.Read(b); err != nil || len(b.Records) == 0 {
		t.Fatal(len(b.Records), err)
	}
	b.Release()
	if err := os.Truncate(path, 100_000); err != nil {
		t.Fatal(err)
	}
	readAll(t, r)
	if len(skipped) == 0 {
		t.Error("nothing was told")
	}
	t.Log(skipped)
}

// TestZeroedHashTables: matches are found by looking at every entry.
func TestBrokenHashTable(t *testing.T) {
	t.Parallel()
	path, whole := smallJournal(t, false, 200)
	want, _ := readDamaged(t, path, []string{"unit3"})
	b := bytes.Clone(whole)
	table := binary.LittleEndian.Uint64(b[hdrDataHash:])
	for i := range uint64(64 * 16) {
		b[table+i] = 0x58
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	recs, _ := readDamaged(t, path, []string{"unit3"})
	if len(recs) != len(want) || len(want) == 0 {
		t.Errorf("%d records, %d in the undamaged file", len(recs), len(want))
	}
}
