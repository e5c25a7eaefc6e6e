package journald

import (
	"encoding/binary"
	"fmt"
)

// The layout follows systemd's JOURNAL_FILE_FORMAT: all numbers are little
// endian, all objects are aligned to 8 bytes and begin with a 16-byte header
// of type, flags, 6 reserved bytes and size.

// Offsets within the file header, in bytes.
const (
	headerMinSize = 208 // systemd 187 and older
	headerMaxSize = 272 // systemd 254

	hdrIncompatible = 12
	hdrState        = 16
	hdrFileID       = 24
	hdrMachineID    = 40
	hdrSeqnumID     = 72
	hdrHeaderSize   = 88
	hdrArenaSize    = 96
	hdrDataHash     = 104
	hdrDataHashSize = 112
	hdrFieldHash    = 120
	hdrFieldHashLen = 128
	hdrTailObject   = 136
	hdrEntries      = 152
	hdrTailSeqnum   = 160
	hdrHeadSeqnum   = 168
	hdrEntryArray   = 176
	hdrHeadRealtime = 184
	hdrTailRealtime = 192
	hdrData         = 208
)

const signature = "LPKSHHRH"

// Incompatible flags of the file header.
const (
	incompatXZ      = 1 << 0
	incompatLZ4     = 1 << 1
	incompatKeyed   = 1 << 2
	incompatZstd    = 1 << 3
	incompatCompact = 1 << 4
	incompatKnown   = incompatXZ | incompatLZ4 | incompatKeyed | incompatZstd | incompatCompact
)

// States of a journal file.
const (
	stateOffline  = 0
	stateOnline   = 1
	stateArchived = 2
)

// id128 is a 128-bit identifier as systemd writes it.
type id128 [16]byte

// header is what is used of a journal file's header.
type header struct {
	incompatible uint32
	state        uint8
	fileID       id128
	machineID    id128
	seqnumID     id128
	size         uint64 // of the header
	arena        uint64
	dataHash     uint64 // offset of the data hash table's items
	dataHashLen  uint64 // bytes
	fieldHash    uint64
	fieldHashLen uint64
	tailObject   uint64
	entries      uint64
	tailSeqnum   uint64
	headSeqnum   uint64
	entryArray   uint64
	headRealtime uint64
	tailRealtime uint64
	data         uint64 // number of data objects; 0 if the header is too old to say
}

func (h *header) compact() bool { return h.incompatible&incompatCompact != 0 }
func (h *header) keyed() bool   { return h.incompatible&incompatKeyed != 0 }

// parse reads a header from b, which holds the first bytes of the file.
func (h *header) parse(b []byte) error {
	if len(b) < headerMinSize {
		return fmt.Errorf("file of %d bytes is shorter than a journal header", len(b))
	}
	if string(b[:8]) != signature {
		return fmt.Errorf("no journal file: wrong signature %q", b[:8])
	}
	le := binary.LittleEndian
	h.incompatible = le.Uint32(b[hdrIncompatible:])
	if odd := h.incompatible &^ incompatKnown; odd != 0 {
		return fmt.Errorf("journal file has unknown incompatible flags %#x", odd)
	}
	h.state = b[hdrState]
	copy(h.fileID[:], b[hdrFileID:])
	copy(h.machineID[:], b[hdrMachineID:])
	copy(h.seqnumID[:], b[hdrSeqnumID:])
	h.size = le.Uint64(b[hdrHeaderSize:])
	if h.size < headerMinSize || h.size > 1<<20 {
		return fmt.Errorf("journal header claims a size of %d bytes", h.size)
	}
	h.arena = le.Uint64(b[hdrArenaSize:])
	h.dataHash = le.Uint64(b[hdrDataHash:])
	h.dataHashLen = le.Uint64(b[hdrDataHashSize:])
	h.fieldHash = le.Uint64(b[hdrFieldHash:])
	h.fieldHashLen = le.Uint64(b[hdrFieldHashLen:])
	h.tailObject = le.Uint64(b[hdrTailObject:])
	h.entries = le.Uint64(b[hdrEntries:])
	h.tailSeqnum = le.Uint64(b[hdrTailSeqnum:])
	h.headSeqnum = le.Uint64(b[hdrHeadSeqnum:])
	h.entryArray = le.Uint64(b[hdrEntryArray:])
	h.headRealtime = le.Uint64(b[hdrHeadRealtime:])
	h.tailRealtime = le.Uint64(b[hdrTailRealtime:])
	h.data = 0
	if h.size >= hdrData+8 && len(b) >= hdrData+8 {
		h.data = le.Uint64(b[hdrData:])
	}
	return nil
}
