package file

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
	"github.com/pierrec/lz4/v4"
)

// What a compressed file may ask for, whatever it claims: zstd -19 takes a
// window of 8 MiB, and xz -9 a dictionary of 64 MiB.
const (
	zstdWindowMax = 64 << 20
	xzDictMax     = 64 << 20
)

// compressed are the endings of files that are not text; what continues a
// stored position is read all the same, if its codec is known.
var compressed = []string{".gz", ".bz2", ".xz", ".zst", ".zstd", ".lz4", ".lzma", ".lzo", ".Z", ".zip", ".br"}

func isCompressedName(path string) bool { return slices.Contains(compressed, filepath.Ext(path)) }

// codec is a way of compressing a file.
type codec struct {
	name  string
	magic string
	open  func(io.Reader) (io.Reader, error)
}

// codecs are told by the first bytes of a file: RFC 1952 section 2.3.1, RFC
// 8878 section 3.1.1, the .xz file format section 2.1.1.1, bzip2, and the LZ4
// frame format.
var codecs = []codec{
	{"gzip", "\x1f\x8b\x08", openGzip},
	{"zstd", "\x28\xb5\x2f\xfd", openZstd},
	{"xz", "\xfd7zXZ\x00", func(r io.Reader) (io.Reader, error) { return xz.NewReader(r, xzDictMax) }},
	{"bzip2", "BZh", func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
	{"lz4", "\x04\x22\x4d\x18", func(r io.Reader) (io.Reader, error) { return lz4.NewReader(r), nil }},
}

// sniffCodec returns the codec of a file, nil if it is none that is known.
func sniffCodec(f io.ReaderAt) *codec {
	var head [6]byte
	n, _ := f.ReadAt(head[:], 0)
	for i := range codecs {
		if bytes.HasPrefix(head[:n], []byte(codecs[i].magic)) {
			return &codecs[i]
		}
	}
	return nil
}

// binaries are the first bytes of other files that are no text, and that globs such as * match: archives
// in the making, under whatever name, swap files of Vim, journals.
var binaries = []string{"PK\x03\x04", "\x1f\x9d", "\x89LZO\x00\r\n\x1a", "7z\xbc\xaf\x27\x1c", "b0VIM ", "LPKSHHRH"}

// notText returns why what is in a file is not to be read as lines, "" if it may be.
func notText(f io.ReaderAt) (reason string) {
	if sniffCodec(f) != nil {
		return compressedFile
	}
	var head [8]byte
	n, _ := f.ReadAt(head[:], 0)
	for _, magic := range binaries {
		if bytes.HasPrefix(head[:n], []byte(magic)) {
			return binaryFile
		}
	}
	return ""
}

// Reasons for which files are left out.
const (
	compressedFile = "compressed_file"
	binaryFile     = "binary_file"
)

func openGzip(r io.Reader) (io.Reader, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	return gzipMembers{z}, nil
}

// gzipMembers passes over what stands behind the last member and is none, as
// gzip(1) does.
type gzipMembers struct{ z *gzip.Reader }

func (g gzipMembers) Read(p []byte) (int, error) {
	n, err := g.z.Read(p)
	if errors.Is(err, gzip.ErrHeader) {
		err = io.EOF
	}
	return n, err
}

func openZstd(r io.Reader) (io.Reader, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindowMax))
}

// stream is the content of a file, from its beginning on.
type stream struct {
	r      io.Reader
	closer func()
}

// openStream returns the content of f, as it is without a codec. The caller must call close.
func openStream(f *os.File, c *codec) (s *stream, err error) {
	defer caught(&err)
	raw := bufio.NewReaderSize(io.NewSectionReader(f, 0, 1<<62), 64<<10)
	if c == nil {
		return &stream{raw, func() {}}, nil
	}
	r, err := c.open(raw)
	if err != nil {
		return nil, ended(err)
	}
	s = &stream{r, func() {}}
	if d, ok := r.(*zstd.Decoder); ok {
		s.closer = d.Close
	}
	return s, nil
}

// read fills p. The error is nil if it is full, io.EOF at the clean end,
// io.ErrUnexpectedEOF if the file ends too early, else what is wrong with it.
func (s *stream) read(p []byte) (n int, err error) {
	defer caught(&err)
	for n < len(p) {
		k, err := s.r.Read(p[n:])
		n += k
		if err == io.EOF {
			return n, err
		}
		if err != nil {
			return n, ended(err)
		}
	}
	return n, nil
}

func (s *stream) close() { s.closer() }

// ended gives every codec's word for an early end the same form.
func ended(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, xz.ErrBuf) {
		return fmt.Errorf("it ends too early: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// caught makes an error of a decoder's panic: whatever a file holds, it harms itself only.
func caught(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("decoder failed: %v", p)
	}
}

// sizeInside returns how many bytes the content has as the file itself says:
// gzip in its last bytes (modulo 4 GiB, and of its last member; void if it is cut), zstd in its
// head. False if that is not told.
func sizeInside(f *os.File, c *codec, cut bool) (int64, bool) {
	switch {
	case c == nil:
		return 0, false
	case c.name == "gzip" && !cut:
		st, err := f.Stat()
		var size [4]byte
		if err != nil || st.Size() < 18 {
			return 0, false
		}
		if _, err := f.ReadAt(size[:], st.Size()-4); err != nil {
			return 0, false
		}
		return int64(binary.LittleEndian.Uint32(size[:])), true
	case c.name == "zstd":
		var head [zstd.HeaderMaxSize]byte
		n, _ := f.ReadAt(head[:], 0)
		var h zstd.Header
		if h.Decode(head[:n]) == nil && h.HasFCS && h.FrameContentSize < 1<<62 {
			return int64(h.FrameContentSize), true
		}
	}
	return 0, false
}
