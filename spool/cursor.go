package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

const (
	cursorName  = "cursor"
	cursorMagic = "lbspcur1"
	slotSize    = 64
)

// cursor is how far the target has answered, and what was appended.
type cursor struct {
	count      uint64 // of writes
	answered   uint64 // last frame that is answered
	record     uint64 // first record behind it
	nextFrame  uint64 // to be appended
	nextRecord uint64
	written    int64  // Unix ns
	taken      uint32 // frames up to answered that are not saved in what the owner counts
}

// saved is the last frame that is answered, and counted where it lasts.
func (c *cursor) saved() uint64 { return c.answered - uint64(c.taken) }

func (c *cursor) encode() []byte {
	p := append(make([]byte, 0, slotSize), cursorMagic...)
	for _, v := range [...]uint64{c.count, c.answered, c.record, c.nextFrame, c.nextRecord, uint64(c.written)} {
		p = binary.LittleEndian.AppendUint64(p, v)
	}
	p = binary.LittleEndian.AppendUint32(p, c.taken)
	return binary.LittleEndian.AppendUint32(p, crc32.Checksum(p, castagnoli))
}

func (c *cursor) decode(p []byte) bool {
	le := binary.LittleEndian
	if len(p) < slotSize || string(p[:8]) != cursorMagic || crc32.Checksum(p[:60], castagnoli) != le.Uint32(p[60:]) {
		return false
	}
	*c = cursor{count: le.Uint64(p[8:]), answered: le.Uint64(p[16:]), record: le.Uint64(p[24:]),
		nextFrame: le.Uint64(p[32:]), nextRecord: le.Uint64(p[40:]), written: int64(le.Uint64(p[48:])), taken: le.Uint32(p[56:])}
	return uint64(c.taken) <= c.answered && c.nextFrame > c.answered && c.record > 0 && c.nextRecord >= c.record
}

// errNoCursor is a cursor file of which no slot is valid.
var errNoCursor = errors.New("no part of it verifies")

// readCursor reads the better slot; os.ErrNotExist if there is no file.
func readCursor(fs FS, path string) (c cursor, err error) {
	f, err := fs.OpenFile(path, os.O_RDONLY)
	if err != nil {
		return c, err
	}
	defer f.Close()
	var p [2 * slotSize]byte
	n, err := f.ReadAt(p[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("reading the spool's cursor: %w", err)
	}
	var other cursor
	ok := c.decode(p[:min(n, slotSize)])
	if other.decode(p[min(n, slotSize):n]) && (!ok || other.count > c.count) {
		c, ok = other, true
	}
	if !ok {
		return cursor{}, fmt.Errorf("the spool's cursor is damaged: %w", errNoCursor)
	}
	return c, nil
}
