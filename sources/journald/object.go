package journald

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Object types.
const (
	typeData       = 1
	typeField      = 2
	typeEntry      = 3
	typeDataHash   = 4
	typeFieldHash  = 5
	typeEntryArray = 6
	typeTag        = 7
)

const (
	objectHeaderSize = 16
	dataPayload      = 64 // offset of a data object's payload, regular layout
	dataPayloadSmall = 72 // compact layout
	fieldPayload     = 40
	entryItems       = 64
	arrayItems       = 24
	hashItemSize     = 16

	// maxEntryBytes bounds an entry object. journald writes 1024 fields at
	// most, journal-remote no more than fit 64 Ki items.
	maxEntryBytes = entryItems + 16<<16
)

// object returns the whole object of type typ at off, whose size is at least
// min and at most max bytes. It is valid until the next view.
func (f *file) object(off uint64, typ byte, min, max uint64) ([]byte, error) {
	if off&7 != 0 || off < f.hdr.size {
		return nil, fmt.Errorf("%w: offset %d is not that of an object", errCorrupt, off)
	}
	h, err := f.view(off, objectHeaderSize)
	if err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint64(h[8:])
	if h[0] != typ {
		return nil, fmt.Errorf("%w: type %d where %d is expected", errCorrupt, h[0], typ)
	}
	if size < min {
		return nil, fmt.Errorf("%w: size of %d bytes", errCorrupt, size)
	}
	if size > max {
		if size > f.size || off > f.size-size {
			return nil, errBeyond
		}
		return nil, errTooLarge
	}
	return f.view(off, size)
}

// entry is a decoded entry object.
type entry struct {
	loc   location
	items []uint64 // offsets of its data objects
}

// readEntry decodes the entry at off into e, whose items it reuses.
func (f *file) readEntry(off uint64, e *entry) error {
	b, err := f.object(off, typeEntry, entryItems, maxEntryBytes)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	e.loc = location{
		seqnumID:  f.hdr.seqnumID,
		seqnum:    le.Uint64(b[16:]),
		realtime:  le.Uint64(b[24:]),
		monotonic: le.Uint64(b[32:]),
		xor:       le.Uint64(b[56:]),
	}
	copy(e.loc.boot[:], b[40:])
	// systemd refuses the same three as invalid.
	if e.loc.seqnum == 0 || e.loc.realtime == 0 || e.loc.realtime >= 1<<55 || e.loc.monotonic >= 1<<55 {
		return fmt.Errorf("%w: entry with sequence number %d, time %d, monotonic time %d",
			errCorrupt, e.loc.seqnum, e.loc.realtime, e.loc.monotonic)
	}
	items := e.items[:0]
	if f.hdr.compact() {
		for p := b[entryItems:]; len(p) >= 4; p = p[4:] {
			items = append(items, uint64(le.Uint32(p)))
		}
	} else {
		for p := b[entryItems:]; len(p) >= 16; p = p[16:] {
			items = append(items, le.Uint64(p))
		}
	}
	e.items = items
	return nil
}

// dataHeader is the fixed part of a data object.
type dataHeader struct {
	flags     byte
	size      uint64
	hash      uint64
	nextHash  uint64
	nextField uint64
	entry     uint64 // the first entry that has it
	array     uint64 // of the others
	entries   uint64
}

func (f *file) payloadOffset() uint64 {
	if f.hdr.compact() {
		return dataPayloadSmall
	}
	return dataPayload
}

// readData returns the header and the stored payload of the data object at off.
func (f *file) readData(off uint64, limit int, h *dataHeader) ([]byte, error) {
	start := f.payloadOffset()
	b, err := f.object(off, typeData, start+1, start+uint64(limit))
	if err != nil {
		return nil, err
	}
	h.decode(b)
	return b[start:], nil
}

func (h *dataHeader) decode(b []byte) {
	le := binary.LittleEndian
	h.flags = b[1]
	h.size = le.Uint64(b[8:])
	h.hash = le.Uint64(b[16:])
	h.nextHash = le.Uint64(b[24:])
	h.nextField = le.Uint64(b[32:])
	h.entry = le.Uint64(b[40:])
	h.array = le.Uint64(b[48:])
	h.entries = le.Uint64(b[56:])
}

// freshDataHeader reads the fixed part of a data object as it is now: its
// links and counts change while the writer goes on.
func (f *file) freshDataHeader(off uint64, h *dataHeader) error {
	if off&7 != 0 || off < f.hdr.size {
		return fmt.Errorf("%w: offset %d is not that of an object", errCorrupt, off)
	}
	var b [dataPayload]byte
	n, err := f.pread(b[:], off)
	if err != nil {
		return err
	}
	if n < len(b) {
		return errBeyond
	}
	if b[0] != typeData {
		return fmt.Errorf("%w: type %d where a data object is expected", errCorrupt, b[0])
	}
	h.decode(b[:])
	return nil
}

// findData returns the offset of the data object with that payload
// ("FIELD=value"), or 0. It reads afresh: the chains grow.
func (f *file) findData(payload []byte, z *inflater) (uint64, error) {
	if f.hdr.dataHashLen < hashItemSize || f.hdr.dataHash == 0 {
		return 0, nil
	}
	hash := f.hdr.hashData(payload)
	off, err := f.bucket(f.hdr.dataHash, f.hdr.dataHashLen, hash)
	var last uint64
	for err == nil && off != 0 {
		// A chain only ever grows towards the end of the file.
		if off <= last {
			return 0, fmt.Errorf("%w: loop in a hash chain at offset %d", errCorrupt, off)
		}
		last = off
		var h dataHeader
		if err = f.freshDataHeader(off, &h); err != nil {
			break
		}
		if h.hash == hash {
			same, err := f.samePayload(off, payload, z)
			if err != nil {
				return 0, err
			}
			if same {
				return off, nil
			}
		}
		off = h.nextHash
	}
	return 0, err
}

func (f *file) samePayload(off uint64, payload []byte, z *inflater) (bool, error) {
	var h dataHeader
	p, err := f.readData(off, z.limit, &h)
	if err != nil {
		return false, err
	}
	if h.flags&compressedMask != 0 {
		if p, err = z.inflate(h.flags, p); err != nil {
			return false, fmt.Errorf("%w: %w", errCorrupt, err)
		}
	}
	return bytes.Equal(p, payload), nil
}

// bucket returns the head of the chain that hash falls into.
func (f *file) bucket(table, size, hash uint64) (uint64, error) {
	n := size / hashItemSize
	if n == 0 || size > f.size {
		return 0, errBeyond
	}
	var b [8]byte
	m, err := f.pread(b[:], table+hash%n*hashItemSize)
	if err != nil {
		return 0, err
	}
	if m < len(b) {
		return 0, errBeyond
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

// findField returns the offset of a field object, or 0.
func (f *file) findField(name string) (uint64, error) {
	if f.hdr.fieldHashLen < hashItemSize || f.hdr.fieldHash == 0 {
		return 0, nil
	}
	hash := f.hdr.hashData([]byte(name))
	off, err := f.bucket(f.hdr.fieldHash, f.hdr.fieldHashLen, hash)
	var last uint64
	for err == nil && off != 0 {
		if off <= last || off&7 != 0 {
			return 0, fmt.Errorf("%w: loop in a field hash chain at offset %d", errCorrupt, off)
		}
		last = off
		b := make([]byte, fieldPayload+len(name))
		var n int
		n, err = f.pread(b, off)
		if err != nil {
			break
		}
		if n < fieldPayload || b[0] != typeField {
			return 0, fmt.Errorf("%w: type %d where a field object is expected", errCorrupt, b[0])
		}
		le := binary.LittleEndian
		if le.Uint64(b[16:]) == hash && le.Uint64(b[8:]) == uint64(len(b)) && n == len(b) && string(b[fieldPayload:]) == name {
			return off, nil
		}
		off = le.Uint64(b[24:])
	}
	return 0, err
}

// fieldValues calls each for the data objects of a field, newest first, down
// to the one at until (exclusive), and returns the newest.
func (f *file) fieldValues(field, until uint64, z *inflater, each func(off uint64, payload []byte)) (uint64, error) {
	var b [fieldPayload]byte
	n, err := f.pread(b[:], field)
	if err != nil {
		return until, err
	}
	if n < len(b) || b[0] != typeField {
		return until, errCorrupt
	}
	head := binary.LittleEndian.Uint64(b[32:])
	var last uint64
	for off := head; off != 0 && off != until; {
		if last != 0 && off >= last {
			return until, fmt.Errorf("%w: loop in a field's values at offset %d", errCorrupt, off)
		}
		last = off
		var h dataHeader
		p, err := f.readData(off, z.limit, &h)
		if err == nil {
			p, err = z.inflate(h.flags, p)
		}
		if err != nil {
			return until, err
		}
		each(off, p)
		// The link is set after the object is published.
		if err := f.freshDataHeader(off, &h); err != nil {
			return until, err
		}
		off = h.nextField
	}
	return head, nil
}
