package journald

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
	"github.com/pierrec/lz4/v4"
)

// Flags of a data object: how its payload is compressed.
const (
	compressedXZ   = 1 << 0
	compressedLZ4  = 1 << 1
	compressedZstd = 1 << 2
	compressedMask = compressedXZ | compressedLZ4 | compressedZstd
)

// errTooLarge: a payload is larger than the reader is allowed to hold.
var errTooLarge = errors.New("payload is larger than the limit")

// xzDictMax is what an xz stream may ask for as its dictionary; systemd
// writes 1 MiB.
const xzDictMax = 8 << 20

// inflater undoes the compression of data payloads, into memory of its own
// that the next call reuses. No stream, whatever it claims, makes it hold more
// than limit bytes.
type inflater struct {
	limit int
	out   []byte
	zstd  *zstd.Decoder
	src   bytes.Reader
}

// inflate returns the payload p as flags say it is compressed.
func (z *inflater) inflate(flags byte, p []byte) ([]byte, error) {
	switch flags & compressedMask {
	case 0:
		return p, nil
	case compressedZstd:
		return z.inflateZstd(p)
	case compressedLZ4:
		return z.inflateLZ4(p)
	case compressedXZ:
		return z.inflateXZ(p)
	}
	return nil, fmt.Errorf("data object claims two compressions at once (%#x)", flags)
}

func (z *inflater) room(n int) []byte {
	if cap(z.out) < n || cap(z.out) > 1<<20 && n < 1<<16 {
		z.out = make([]byte, n)
	}
	return z.out[:n]
}

func (z *inflater) inflateZstd(p []byte) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(p); err != nil {
		return nil, fmt.Errorf("zstd payload: %w", err)
	}
	if z.zstd == nil {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(uint64(z.limit)), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return nil, fmt.Errorf("zstd decoder: %w", err)
		}
		z.zstd = d
	}
	if h.HasFCS {
		if h.FrameContentSize > uint64(z.limit) {
			return nil, errTooLarge
		}
		// A size that lies is caught by the decoder, which never writes beyond
		// it; a ratio above 1:65536 is no zstd that systemd writes.
		if h.FrameContentSize > uint64(len(p))<<16 {
			return nil, errTooLarge
		}
		out, err := z.zstd.DecodeAll(p, z.room(int(h.FrameContentSize))[:0])
		if err != nil {
			return nil, fmt.Errorf("zstd payload: %w", err)
		}
		return out, nil
	}
	z.src.Reset(p)
	if err := z.zstd.Reset(&z.src); err != nil {
		return nil, fmt.Errorf("zstd payload: %w", err)
	}
	return z.readAll(z.zstd, "zstd")
}

// inflateLZ4: systemd puts the size before the LZ4 block, 8 bytes little endian.
func (z *inflater) inflateLZ4(p []byte) ([]byte, error) {
	if len(p) < 9 {
		return nil, fmt.Errorf("lz4 payload of %d bytes", len(p))
	}
	n := binary.LittleEndian.Uint64(p)
	// LZ4 cannot do better than 1:255.
	if n > uint64(z.limit) || n > uint64(len(p))*256 {
		return nil, errTooLarge
	}
	out := z.room(int(n))
	got, err := lz4.UncompressBlock(p[8:], out)
	if err != nil {
		return nil, fmt.Errorf("lz4 payload: %w", err)
	}
	if got != int(n) {
		return nil, fmt.Errorf("lz4 payload holds %d bytes and claims %d", got, n)
	}
	return out, nil
}

// inflateXZ uses mikelolasagasti/xz: it is the maintained of the pure Go
// ports of XZ Embedded and reads streams without a check, as systemd writes.
func (z *inflater) inflateXZ(p []byte) ([]byte, error) {
	z.src.Reset(p)
	r, err := xz.NewReader(&z.src, xzDictMax)
	if err != nil {
		return nil, fmt.Errorf("xz payload: %w", err)
	}
	return z.readAll(r, "xz")
}

func (z *inflater) readAll(r io.Reader, kind string) ([]byte, error) {
	out := z.room(64 << 10)
	n := 0
	for {
		m, err := r.Read(out[n:])
		n += m
		if err == io.EOF {
			z.out = out
			return out[:n], nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s payload: %w", kind, err)
		}
		if n < len(out) {
			continue
		}
		if n >= z.limit {
			return nil, errTooLarge
		}
		out = append(out, make([]byte, min(len(out), z.limit+1-len(out)))...)
	}
}

// close frees what the decoders hold.
func (z *inflater) close() {
	if z.zstd != nil {
		z.zstd.Close()
		z.zstd = nil
	}
	z.out = nil
}
