package positions

import (
	"log/slog"
	"testing"
)

// BenchmarkTimes asks for the time of one line: of a read that is new, and so
// is appended to the file, and of one that was given a time before.
func BenchmarkTimes(b *testing.B) {
	s, err := Open(b.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.Run("new", func(b *testing.B) {
		x, y := s.Times().Of("src", "8.1:123456:b18a2b3c4d5e6f70", numbered), s.Times().Of("src", "8.1:123457:b18a2b3c4d5e6f70", numbered)
		_, end, _ := x.State()
		b.ReportAllocs()
		for i := range int64(b.N) {
			x.At(0, end+100*i, end+100*i+100, 1) // in turn: each makes a checkpoint of its own
			x, y = y, x
		}
	})
	b.Run("again", func(b *testing.B) {
		in := s.Times().Of("src", "again", numbered)
		in.At(0, 0, 100, 1)
		b.ReportAllocs()
		for b.Loop() {
			in.At(0, 50, 100, 1)
		}
	})
}
