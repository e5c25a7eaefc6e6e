package journald

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// FuzzFile: whatever is in a file, reading it ends, without a panic.
func FuzzFile(f *testing.F) {
	for _, compress := range []byte{0, compressedXZ, compressedLZ4, compressedZstd} {
		for _, compact := range []bool{false, true} {
			path := filepath.Join(f.TempDir(), "seed.journal")
			newJournalWriter(f, compress, compact, compact, "seed").writeSome(path, 12)
			b, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
			f.Add(b[:len(b)/2])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, "system.journal")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		began := cpuTime()
		for _, units := range [][]string{nil, {"unit3", "unit1*"}} {
			s, err := New(&config.Source{Name: "f", StartAt: "beginning", MinLevel: record.LevelInfo,
				Journald: &config.JournaldSource{Directory: dir, Units: units, Fields: []string{"*"}}}, sources.Deps{Skipped: func(string, int) {}})
			if err != nil {
				t.Fatal(err)
			}
			s.(*Source).files = []string{path}
			r, err := s.(sources.Input).Open("")
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				batch := record.NewBatch()
				err := r.Read(batch)
				n := batch.Read
				batch.Release()
				if n == 0 && err == nil {
					break
				}
			}
			r.Close()
		}
		_ = Inspect(context.Background(), io.Discard, InspectOptions{Files: []string{path}, Output: "json"})
		if d := cpuTime() - began; d > 5*time.Second {
			t.Fatalf("took %v for %d bytes", d, len(b))
		}
	})
}

// FuzzCursor: a cursor that is accepted is written as it means.
func FuzzCursor(f *testing.F) {
	f.Add("s=0123456789abcdef0123456789abcdef;i=1;b=0123456789abcdef0123456789abcdef;m=2;t=3;x=4")
	f.Add("s=;i=;b=;m=;t=;x=")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := parseCursor(s)
		if err != nil {
			return
		}
		again, err := parseCursor(string(l.position()))
		if err != nil || again != l {
			t.Fatalf("%q became %q: %v", s, l.position(), err)
		}
	})
}

// FuzzGlob: any pattern ends, soon.
func FuzzGlob(f *testing.F) {
	f.Add("a*b[!c-d]?", "axbz!")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		matchGlob(pattern, s)
		if name, err := mangleUnit(pattern); err == nil && name == "" {
			t.Fatalf("%q became empty", pattern)
		}
	})
}
