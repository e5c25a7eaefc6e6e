package spool

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/lbshipd/lbshipd/record"
)

var testOrigin = &record.Origin{Source: "app", Kind: "file", Input: "8:1:77", Path: "/var/log/app.log", Host: "node1",
	Labels: []record.Label{{Name: "role", Value: "node"}, {Name: "zone", Value: "b"}}}

// batchOf makes a batch of numbered lines from..to-1.
func batchOf(t testing.TB, from, to int) *record.Batch {
	t.Helper()
	b := record.NewBatch()
	b.Origin = testOrigin
	b.Before, b.After = record.Position(fmt.Sprint(from)), record.Position(fmt.Sprint(to))
	for n := from; n < to; n++ {
		r := b.Add()
		r.Time, r.Offset, r.Level = 1_700_000_000_000_000_000+int64(n), int64(n)*20, record.LevelInfo
		r.Line = b.Copy(fmt.Appendf(nil, "line %d of the test", n))
		r.Message = r.Line[5:]
		b.Read++
		b.ReadBytes += int64(len(r.Line))
	}
	t.Cleanup(b.Release)
	return b
}

// events collects what a spool says.
type events struct{ list []Event }

func (e *events) add(ev Event) { e.list = append(e.list, ev) }

func (e *events) count(op string) int {
	n := 0
	for _, ev := range e.list {
		if ev.Op == op {
			n++
		}
	}
	return n
}

func open(t testing.TB, dir string, o Options) (*Spool, *events) {
	t.Helper()
	said := new(events)
	o.Event = said.add
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, said
}

func put(t testing.TB, s *Spool, from, to, step int) []Frame {
	t.Helper()
	var frames []Frame
	for ; from < to; from += step {
		f, err := s.Append([]Entry{{Batch: batchOf(t, from, min(from+step, to))}})
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, f...)
	}
	return frames
}

// drained is what Next gave.
type drained struct {
	lines []int
	lost  int64
	last  Frame
}

// drain reads all there is, and answers for it if asked to.
func drain(t testing.TB, s *Spool, answer bool) (d drained) {
	t.Helper()
	for {
		b := record.NewBatch()
		g, err := s.Next(b)
		var loss *LossError
		if errors.As(err, &loss) {
			d.lost += loss.Records
			err = nil
			if len(b.Records) == 0 {
				err = io.EOF
			}
		}
		if errors.Is(err, io.EOF) {
			b.Release()
			if loss != nil {
				continue
			}
			return d
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Records {
			var n int
			if _, err := fmt.Sscanf(string(b.Records[i].Line), "line %d of the test", &n); err != nil {
				t.Fatalf("%q: %v", b.Records[i].Line, err)
			}
			d.lines = append(d.lines, n)
		}
		d.last = g.Frame
		if answer {
			s.Answered(g.Frame)
		}
		b.Release()
	}
}

func wantRange(t testing.TB, got []int, from, to int) {
	t.Helper()
	if len(got) != to-from {
		t.Fatalf("%d lines, want %d to %d: %v", len(got), from, to-1, got)
	}
	for i, n := range got {
		if n != from+i {
			t.Fatalf("line %d is number %d, want %d", i, n, from+i)
		}
	}
}

func segmentsOf(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

func seeded(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}
