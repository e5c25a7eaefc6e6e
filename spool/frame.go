package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

const (
	segmentMagic  = "lbspool"
	formatVersion = '1'
	segmentHeader = 40
	frameMagic    = "LBSF"
	frameHeader   = 36
	// maxPayload bounds a frame: more than the longest line and all of its fields.
	maxPayload = 64 << 20
	suffix     = ".seg"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errFormat is a segment of a version that this program does not know.
var errFormat = errors.New("format of another version of lbshipd")

// segmentID is what the name of a segment says.
type segmentID struct {
	frame  uint64 // number of its first frame
	record uint64 // number of its first record
	salt   uint32
}

func (id segmentID) name() string {
	return fmt.Sprintf("%016x-%016x-%08x%s", id.frame, id.record, id.salt, suffix)
}

// parseName is the reverse of name.
func parseName(name string) (id segmentID, ok bool) {
	text, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return id, false
	}
	if n, err := fmt.Sscanf(text, "%016x-%016x-%08x", &id.frame, &id.record, &id.salt); n != 3 || err != nil {
		return id, false
	}
	return id, id.name() == name && id.frame > 0 && id.record > 0
}

func (id segmentID) header(now int64) []byte {
	h := make([]byte, 0, segmentHeader)
	h = append(h, segmentMagic...)
	h = append(h, formatVersion)
	h = binary.LittleEndian.AppendUint64(h, id.frame)
	h = binary.LittleEndian.AppendUint64(h, id.record)
	h = binary.LittleEndian.AppendUint64(h, uint64(now))
	h = binary.LittleEndian.AppendUint32(h, id.salt)
	return binary.LittleEndian.AppendUint32(h, crc32.Update(id.salt, castagnoli, h))
}

// checkHeader verifies the first bytes of a segment.
func (id segmentID) checkHeader(f io.ReaderAt) error {
	var h [segmentHeader]byte
	if _, err := f.ReadAt(h[:], 0); err != nil {
		return fmt.Errorf("reading the segment's header: %w", err)
	}
	le := binary.LittleEndian
	sum := crc32.Update(id.salt, castagnoli, h[:36]) == le.Uint32(h[36:])
	switch {
	case string(h[:7]) == segmentMagic && h[7] != formatVersion && h[7] >= '0' && h[7] <= 'z':
		return fmt.Errorf("version %q, want %q: %w", h[7], formatVersion, errFormat)
	case string(h[:7]) != segmentMagic || !sum:
		return errors.New("the segment's header is damaged")
	case le.Uint64(h[8:]) != id.frame || le.Uint64(h[16:]) != id.record || le.Uint32(h[32:]) != id.salt:
		return errors.New("the segment's header is not that of its name")
	}
	return nil
}

// A Frame names a batch in the spool.
type Frame struct {
	Number uint64 // of the frame
	Next   uint64 // number of the first record behind it
}

// head is a frame's header.
type head struct {
	frame   uint64
	record  uint64 // number of its first record
	records uint32
	size    uint32 // of the payload
	crc     uint32 // of the payload
}

func (h *head) next() uint64 { return h.record + uint64(h.records) }

// put writes the header of a payload into dst, which has frameHeader bytes.
func (h *head) put(dst []byte, salt uint32) {
	le := binary.LittleEndian
	copy(dst, frameMagic)
	le.PutUint32(dst[4:], h.size)
	le.PutUint32(dst[8:], h.records)
	le.PutUint32(dst[12:], h.crc)
	le.PutUint64(dst[16:], h.frame)
	le.PutUint64(dst[24:], h.record)
	le.PutUint32(dst[32:], crc32.Update(salt, castagnoli, dst[:32]))
}

// parse reads a header; false if p is none.
func (h *head) parse(p []byte, salt uint32) bool {
	le := binary.LittleEndian
	if len(p) < frameHeader || string(p[:4]) != frameMagic || crc32.Update(salt, castagnoli, p[:32]) != le.Uint32(p[32:]) {
		return false
	}
	h.size, h.records, h.crc = le.Uint32(p[4:]), le.Uint32(p[8:]), le.Uint32(p[12:])
	h.frame, h.record = le.Uint64(p[16:]), le.Uint64(p[24:])
	return h.size > 0 && h.size <= maxPayload && h.frame > 0 && h.record > 0
}
