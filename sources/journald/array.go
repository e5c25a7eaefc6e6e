package journald

import (
	"encoding/binary"
	"fmt"
	"sort"
)

// notAnOffset stands for an empty array item, where 0 says that there is none.
const notAnOffset = 1

// chunkItems is how many entry array items are read at once.
const chunkItems = 256

// arrayRef is one entry array object of a chain.
type arrayRef struct {
	off   uint64
	n     uint64 // items it has room for
	start uint64 // items in the arrays before it
}

// entryWalker walks all entries of a file in file order, along the chain of
// its global entry arrays or, where that is broken, from object to object.
type entryWalker struct {
	arr     arrayRef
	idx     uint64 // index of the next entry
	buf     []uint64
	pos     int
	started bool

	scanning bool
	at       uint64 // next object to look at while scanning
	last     uint64 // offset of the last entry given
	seqnum   uint64 // its sequence number
}

func (f *file) itemSize() uint64 {
	if f.hdr.compact() {
		return 4
	}
	return 8
}

// readArray reads the fixed part of the entry array at off and what follows it.
func (f *file) readArray(off uint64) (n, next uint64, err error) {
	if off&7 != 0 || off < f.hdr.size {
		return 0, 0, fmt.Errorf("%w: offset %d is not that of an entry array", errCorrupt, off)
	}
	var b [arrayItems]byte
	m, err := f.pread(b[:], off)
	if err != nil {
		return 0, 0, err
	}
	if m < len(b) {
		return 0, 0, errBeyond
	}
	size := binary.LittleEndian.Uint64(b[8:])
	if b[0] != typeEntryArray || size < arrayItems+f.itemSize() || size > 1<<40 {
		return 0, 0, fmt.Errorf("%w: type %d, size %d where an entry array is expected", errCorrupt, b[0], size)
	}
	next = binary.LittleEndian.Uint64(b[16:])
	if next != 0 && next <= off {
		return 0, 0, fmt.Errorf("%w: loop of entry arrays", errCorrupt)
	}
	return (size - arrayItems) / f.itemSize(), next, nil
}

// readItems reads up to n items of the array at arr from item i on into buf.
// Fewer come back where the file ends early.
func (f *file) readItems(buf []uint64, arr, i, n uint64) ([]uint64, error) {
	var raw [chunkItems * 8]byte
	size := f.itemSize()
	n = min(n, chunkItems)
	m, err := f.pread(raw[:n*size], arr+arrayItems+i*size)
	if err != nil && uint64(m) < size {
		return buf[:0], err
	}
	buf = buf[:0]
	for p := raw[:m]; uint64(len(p)) >= size; p = p[size:] {
		if size == 4 {
			buf = append(buf, uint64(binary.LittleEndian.Uint32(p)))
		} else {
			buf = append(buf, binary.LittleEndian.Uint64(p))
		}
	}
	if len(buf) == 0 {
		return buf, errBeyond
	}
	return buf, nil
}

// nextOffset returns the offset of the next of the first limit entries, or 0
// if there is none. An offset that cannot be is returned as well: it is the
// caller who finds no entry there.
func (f *file) nextOffset(w *entryWalker, limit uint64) (uint64, error) {
	if w.scanning {
		return f.scanEntry(w)
	}
	if w.pos < len(w.buf) {
		off := w.buf[w.pos]
		w.pos++
		w.idx++
		return max(off, notAnOffset), nil
	}
	if w.idx >= limit {
		return 0, nil
	}
	if err := f.toArray(w, w.idx); err != nil {
		return 0, err
	}
	i := w.idx - w.arr.start
	var err error
	w.buf, err = f.readItems(w.buf, w.arr.off, i, min(w.arr.n-i, limit-w.idx))
	w.pos = 0
	if err != nil {
		w.buf = w.buf[:0]
		return 0, err
	}
	w.pos = 1
	w.idx++
	return max(w.buf[0], notAnOffset), nil
}

// toArray makes w.arr the array that holds entry idx, which is not before it.
func (f *file) toArray(w *entryWalker, idx uint64) error {
	if !w.started || w.arr.start > idx {
		off := f.hdr.entryArray
		n, _, err := f.readArray(off)
		if err != nil {
			return err
		}
		w.arr, w.started = arrayRef{off: off, n: n}, true
	}
	for idx-w.arr.start >= w.arr.n {
		_, next, err := f.readArray(w.arr.off)
		if err != nil {
			return err
		}
		if next == 0 {
			return fmt.Errorf("%w: the entry arrays end at entry %d", errCorrupt, w.arr.start+w.arr.n)
		}
		n, _, err := f.readArray(next)
		if err != nil {
			return err
		}
		w.arr = arrayRef{off: next, n: n, start: w.arr.start + w.arr.n}
	}
	return nil
}

// seekIndex makes the entry of that index the next one.
func (f *file) seekIndex(w *entryWalker, idx uint64) {
	w.scanning = false
	w.buf, w.pos, w.idx = w.buf[:0], 0, idx
}

// startScan goes on without entry arrays, behind the last entry given.
func (f *file) startScan(w *entryWalker) {
	w.scanning, w.buf, w.pos = true, w.buf[:0], 0
	w.at = max(w.last, align8(f.hdr.size))
}

// scanEntry looks for the next entry object from w.at on. What is no object
// is stepped over 8 bytes at a time.
func (f *file) scanEntry(w *entryWalker) (uint64, error) {
	end := f.size
	if f.hdr.state == stateOnline && f.hdr.tailObject < end {
		end = f.hdr.tailObject // what is there may be being written
	}
	for w.at+objectHeaderSize <= end {
		off := w.at
		b, err := f.view(off, objectHeaderSize)
		if err != nil {
			return 0, err
		}
		size := binary.LittleEndian.Uint64(b[8:])
		if b[0] == 0 || b[0] > typeTag || size < objectHeaderSize || size > f.size-off {
			w.at += 8
			continue
		}
		if b[0] != typeEntry {
			w.at += align8(size)
			continue
		}
		if size < entryItems || size > maxEntryBytes || off <= w.last {
			w.at += 8
			continue
		}
		if b, err = f.view(off, entryItems); err != nil {
			return 0, err
		}
		if binary.LittleEndian.Uint64(b[16:]) <= w.seqnum {
			w.at += 8
			continue
		}
		w.at += align8(size)
		return off, nil
	}
	return 0, nil
}

// chain lists the entry arrays from off on, as far as they hold the first n
// items and can be read.
func (f *file) chain(off, n uint64) []arrayRef {
	var refs []arrayRef
	start := uint64(0)
	for off != 0 && start < n {
		items, next, err := f.readArray(off)
		if err != nil {
			break
		}
		refs = append(refs, arrayRef{off, items, start})
		start += items
		off = next
	}
	return refs
}

func (f *file) itemAt(refs []arrayRef, i uint64) (uint64, error) {
	k := sort.Search(len(refs), func(k int) bool { return refs[k].start > i }) - 1
	if k < 0 || i-refs[k].start >= refs[k].n {
		return 0, errBeyond
	}
	var one [1]uint64
	got, err := f.readItems(one[:], refs[k].off, i-refs[k].start, 1)
	if err != nil {
		return 0, err
	}
	return got[0], nil
}

// searchEntries returns the index of the first of n entries for which behind
// is true; behind must be false for all before and true for all after it.
// Entries that cannot be read are passed over.
func (f *file) searchEntries(n uint64, behind func(off uint64, loc *location) bool) uint64 {
	refs := f.chain(f.hdr.entryArray, n)
	if len(refs) == 0 {
		return 0
	}
	n = min(n, refs[len(refs)-1].start+refs[len(refs)-1].n)
	var e entry
	lo, hi := uint64(0), n
	for lo < hi {
		mid := lo + (hi-lo)/2
		probe := mid
		for ; probe < hi; probe++ {
			off, err := f.itemAt(refs, probe)
			if err == nil && f.readEntry(off, &e) == nil {
				if behind(off, &e.loc) {
					hi = mid
				} else {
					lo = probe + 1
				}
				break
			}
			if probe-mid > 64 {
				probe = hi
				break
			}
		}
		if probe >= hi && hi != mid {
			hi = mid // nothing readable above
		}
	}
	return lo
}

func align8(n uint64) uint64 { return (n + 7) &^ 7 }
