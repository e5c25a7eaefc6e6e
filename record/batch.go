package record

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// Chunk sizes, in bytes. A batch takes the smallest class that holds what is
// asked for, so that a line a minute does not pin a quarter of a megabyte.
var chunkClasses = [...]int{4 << 10, 32 << 10, 288 << 10}

var chunkPools [len(chunkClasses)]sync.Pool

var batchPool = sync.Pool{New: func() any { return new(Batch) }}

// maxKeptRecords bounds the record slots that a pooled batch keeps.
const maxKeptRecords = 4096

// emptyHeader is the Header of records that have none of their own.
var emptyHeader Header

// Batch is an immutable run of records of one input, in input order, with the
// positions before its first and after its last record. Whoever fills it owns
// it; once it is handed on it must not change.
//
// Life: NewBatch gives one reference; Retain adds one for each further owner,
// Release gives one back; the last Release returns its memory to the pools,
// and then no byte of it may be read. A batch's memory never moves while it
// lives.
type Batch struct {
	Origin  *Origin
	Before  Position
	After   Position
	Records []Record

	// Read counts what the reader took from the input for this batch,
	// including what it filtered itself; Bytes is their size.
	Read      int
	ReadBytes int64
	// Filtered counts the records dropped below the minimum level so far.
	Filtered int

	// PositionAt, if set, gives the position just before a record of this
	// batch, for stages that hold records back.
	PositionAt func(r *Record) Position

	// TimeAt, if set, gives the time of the record at offset that has none of
	// its own (TimeAssigned), and up to which offset times go on by a nanosecond
	// per byte: the same ones whenever it is read again. Until it is asked, Time is a
	// guess. It may be called until the Reader's next Read.
	TimeAt func(offset int64) (t, until int64)

	refs    atomic.Int32
	chunk   []byte // what Alloc cuts from; len is what is used
	chunks  [][]byte
	fields  []Field
	headers []Header
	bytes   int
}

// NewBatch returns an empty batch with one reference.
func NewBatch() *Batch {
	b := batchPool.Get().(*Batch)
	b.refs.Store(1)
	return b
}

// Retain adds n references.
func (b *Batch) Retain(n int32) {
	if b.refs.Add(n) <= n {
		panic("record: Retain of a released batch")
	}
}

// Release gives one reference back. The last one recycles the batch.
func (b *Batch) Release() {
	n := b.refs.Add(-1)
	if n > 0 {
		return
	}
	if n < 0 {
		panic(fmt.Sprintf("record: batch released %d times too often", -n))
	}
	b.reset()
	batchPool.Put(b)
}

func (b *Batch) reset() {
	for _, c := range b.chunks {
		for i, size := range chunkClasses {
			if cap(c) == size {
				chunkPools[i].Put(&chunkBox{c[:0]})
			}
		}
	}
	clear(b.chunks)
	clear(b.Records)
	clear(b.fields)
	clear(b.headers)
	b.chunks, b.chunk = b.chunks[:0], nil
	b.Records, b.fields, b.headers = b.Records[:0], b.fields[:0], b.headers[:0]
	if cap(b.Records) > maxKeptRecords {
		b.Records = nil
	}
	if cap(b.fields) > 8*maxKeptRecords {
		b.fields = nil
	}
	if cap(b.headers) > maxKeptRecords {
		b.headers = nil
	}
	b.Origin, b.Before, b.After, b.PositionAt, b.TimeAt = nil, "", "", nil, nil
	b.Read, b.ReadBytes, b.Filtered, b.bytes = 0, 0, 0, 0
}

// chunkBox keeps sync.Pool from allocating a slice header per Put... of the
// same size: one small allocation per chunk, never one per line.
type chunkBox struct{ b []byte }

// Alloc returns n bytes of the batch's memory, not zeroed, with no spare
// capacity. They stay where they are until the last Release.
func (b *Batch) Alloc(n int) []byte {
	if cap(b.chunk)-len(b.chunk) < n {
		b.grow(n)
	}
	at := len(b.chunk)
	b.chunk = b.chunk[:at+n]
	return b.chunk[at : at+n : at+n]
}

// Copy returns a copy of p in the batch's memory.
func (b *Batch) Copy(p []byte) []byte {
	q := b.Alloc(len(p))
	copy(q, p)
	return q
}

// Shrink gives back the last unused bytes of the most recent Alloc, which was
// of size n and of which only the first used bytes are kept.
func (b *Batch) Shrink(n, used int) {
	b.chunk = b.chunk[:len(b.chunk)-(n-used)]
}

func (b *Batch) grow(n int) {
	class := -1
	for i, size := range chunkClasses {
		// A batch that grows beyond one small chunk takes larger ones.
		if n <= size && (len(b.chunks) <= i || i == len(chunkClasses)-1) {
			class = i
			break
		}
	}
	if class < 0 {
		b.chunk = make([]byte, 0, n)
	} else if box, ok := chunkPools[class].Get().(*chunkBox); ok {
		b.chunk = box.b
	} else {
		b.chunk = make([]byte, 0, chunkClasses[class])
	}
	b.chunks = append(b.chunks, b.chunk[:0:cap(b.chunk)])
	b.bytes += cap(b.chunk)
}

// Add appends a record and returns it, cleared but for Header, Facility.
// The pointer is valid until the next Add.
func (b *Batch) Add() *Record {
	if len(b.Records) < cap(b.Records) {
		b.Records = b.Records[:len(b.Records)+1]
	} else {
		b.Records = append(b.Records, Record{})
	}
	r := &b.Records[len(b.Records)-1]
	*r = Record{Header: &emptyHeader, Facility: NoFacility}
	return r
}

// NewHeader returns a cleared Header that lives as long as the batch.
func (b *Batch) NewHeader() *Header {
	if len(b.headers) == cap(b.headers) {
		// A new slab; records keep pointing into the old one.
		b.headers = make([]Header, 0, max(16, min(2*cap(b.headers), maxKeptRecords)))
	}
	b.headers = b.headers[:len(b.headers)+1]
	h := &b.headers[len(b.headers)-1]
	*h = Header{}
	return h
}

// AddField appends a field to r, which must be the record last given by Add
// or the only one whose fields are being added now: the fields of a record
// are contiguous in the batch's slab.
func (b *Batch) AddField(r *Record, name, value []byte) {
	if len(b.fields) == cap(b.fields) {
		slab := make([]Field, 0, max(64, min(2*cap(b.fields), 8*maxKeptRecords)))
		// The current record's fields move with it; earlier records keep the old slab.
		slab = append(slab, r.Fields...)
		b.fields = slab
		if len(r.Fields) > 0 {
			r.Fields = b.fields[:len(r.Fields)]
		}
	}
	at := len(b.fields)
	b.fields = append(b.fields, Field{name, value})
	if len(r.Fields) == 0 {
		r.Fields = b.fields[at : at+1 : at+1]
		return
	}
	n := len(r.Fields) + 1
	r.Fields = b.fields[at+1-n : at+1 : at+1]
}

// Size is what the batch weighs in a queue, in bytes: its memory chunks and
// its record slots.
func (b *Batch) Size() int {
	return b.bytes + len(b.Records)*recordOverhead + len(b.fields)*48
}
