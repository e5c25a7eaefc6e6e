package deadletters

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"testing"

	"github.com/lbshipd/lbshipd/record"
)

// writerRig is a writer with what it told.
type writerRig struct {
	*Writer
	dataDir         string
	dropped, failed int
	log             bytes.Buffer
}

func newWriter(t testing.TB, dataDir string, maxBytes int64) *writerRig {
	r := &writerRig{dataDir: dataDir}
	r.Writer = NewWriter(dataDir, "loki", maxBytes, slog.New(slog.NewTextHandler(&r.log, nil)),
		Events{Dropped: func(n int) { r.dropped += n }, Failed: func(n int) { r.failed += n }})
	t.Cleanup(r.Close)
	return r
}

// letterBatch is n records, told apart by their lines.
func letterBatch(from, n int, line string) *record.Batch {
	b := record.NewBatch()
	b.Origin = &record.Origin{Source: "app", Kind: "file", Input: "1:2", Path: "/var/log/app.log", Host: "node1",
		Labels: []record.Label{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}}}
	for i := range n {
		r := b.Add()
		r.Time, r.Offset, r.Level = 1700000000_000000000+int64(from+i), int64(from+i), record.LevelInfo
		r.Line = b.Copy(fmt.Appendf(nil, "%d %s", from+i, line))
		r.Message = r.Line
		r.Header = b.NewHeader()
		r.Header.Unit = []byte("app.service")
	}
	return b
}

func (r *writerRig) add(from, n int, line string) {
	b := letterBatch(from, n, line)
	defer b.Release()
	for i := range b.Records {
		r.Add(b, i, "too_old", "entry has timestamp too old")
	}
}

// read returns the lines of all letters, and how many lines are damaged.
func read(t testing.TB, dataDir string) (lines []string, damaged int) {
	t.Helper()
	err := Read(dataDir, "loki", func(l *Letter, raw []byte) error {
		if !bytes.HasSuffix(raw, []byte("\n")) {
			return fmt.Errorf("no newline behind %q", raw)
		}
		lines = append(lines, string(l.LineBytes()))
		return nil
	}, func(string, Line) { damaged++ })
	if err != nil {
		t.Fatal(err)
	}
	return lines, damaged
}

func numbers(from, n int, line string) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("%d %s", from+i, line))
	}
	return out
}

// readAll reads one file to its end, as the readers do.
func readAll(r io.Reader) (letters []*Letter, damaged int, err error) {
	s := NewScanner(r)
	for {
		l, err := s.Next()
		if err == io.EOF {
			return letters, damaged, nil
		}
		if err != nil {
			return letters, damaged, err
		}
		if l.Err != nil {
			damaged++
			continue
		}
		letters = append(letters, l.Letter)
	}
}
