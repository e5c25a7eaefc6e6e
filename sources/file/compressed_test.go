package file

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// compressors write what the tools write that rotators call.
var compressors = []struct {
	ending string
	tool   []string
}{
	{"", nil},
	{".gz", []string{"gzip", "-c"}},
	{".zst", []string{"zstd", "-q", "-6", "-c"}},
	{".zstd", []string{"zstd", "-q", "-c"}},
	{".xz", []string{"xz", "-c"}},
	{".bz2", []string{"bzip2", "-c"}},
	{".lz4", nil},
}

// compressed returns what is in path as the compressor writes it.
func compress(t testing.TB, path, ending string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if ending == "" {
		return data
	}
	var out bytes.Buffer
	if ending == ".lz4" {
		w := lz4.NewWriter(&out)
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		w.Close()
		return out.Bytes()
	}
	for _, c := range compressors {
		if c.ending != ending {
			continue
		}
		cmd := exec.Command(c.tool[0], append(c.tool[1:len(c.tool):len(c.tool)], path)...)
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %v", c.tool, err)
		}
	}
	return out.Bytes()
}

// squeeze replaces path by its compressed form at to, a file of another inode.
func squeeze(t *testing.T, path, to, ending string) {
	t.Helper()
	must(t, os.WriteFile(to, compress(t, path, ending), 0o644))
	must(t, os.Remove(path))
}

func compressInProcess(t testing.TB, data []byte, codec string) []byte {
	var out bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&out)
	if codec == "zstd" {
		w, _ = zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// FuzzStreams: whatever a file holds, reading it ends, with an error at worst.
func FuzzStreams(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "seed")
	if err := os.WriteFile(path, bytes.Repeat([]byte("a line of text\n"), 50), 0o644); err != nil {
		f.Fatal(err)
	}
	for _, c := range compressors {
		data := compress(f, path, c.ending)
		f.Add(data)
		f.Add(data[:len(data)/2])
		f.Add(append(bytes.Clone(data), data...))
		f.Add(append(bytes.Clone(data), "trailing garbage"...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "x")
		must(t, os.WriteFile(path, data, 0o644))
		file, err := os.Open(path)
		must(t, err)
		defer file.Close()
		codec := sniffCodec(file)
		sizeInside(file, codec, false)
		s, err := openStream(file, codec)
		if err != nil {
			return
		}
		defer s.close()
		buf := make([]byte, 64<<10)
		total := 0
		for total < 16<<20 {
			n, err := s.read(buf)
			total += n
			if err != nil {
				if codec == nil && total != len(data) {
					t.Errorf("%d of %d bytes", total, len(data))
				}
				return
			}
			if n < len(buf) {
				t.Fatalf("%d bytes and no error", n)
			}
		}
	})
}
