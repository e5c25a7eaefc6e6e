package loki

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"math"
	"slices"
	"time"
	"unsafe"

	"github.com/lbshipd/lbshipd/record"
)

// How many label sets are remembered, and how many bytes of them. Beyond
// either, the half that was not used for the longest time is forgotten.
const (
	maxStreams     = 8192
	maxStreamBytes = 16 << 20
)

// stream is one label set and what is known of it at the target.
type stream struct {
	labels string

	// Of the group that is being sent.
	group uint64 // number of the last group that had records of it
	refs  []ref
	done  int // leading refs that the target has answered for

	seen risk
}

// key says which stream a record belongs to, by what its label set is made of.
type key struct {
	origin     *record.Origin
	hash       uint64
	level      record.Level
	host       []byte
	unit       []byte
	identifier []byte
	st         *stream
}

// recent is one slot of the cache in front of the keys: a Header that was met
// in this Send. Its pointer says nothing in the next one.
type recent struct {
	origin *record.Origin
	header *record.Header
	st     *stream
	level  record.Level
}

// streams finds the stream of a record: by comparing pointers with those of
// the record before, then by pointers in a small cache, then by content in a
// hash table, and only then by making a label set.
type streams struct {
	last   recent
	cache  [256]recent
	seed   maphash.Seed
	table  []*key // open addressing, a power of two in size, at most half full
	keys   int
	byText map[string]*stream
	bytes  int // about what keys and streams weigh

	byHost, byUnit, byIdentifier, byLevel bool // which of them are labels
}

func (t *streams) init(attrs []attribute) {
	t.seed = maphash.MakeSeed()
	t.table = make([]*key, 64)
	t.byText = make(map[string]*stream)
	for _, a := range attrs {
		switch a {
		case attrHost:
			t.byHost = true
		case attrUnit:
			t.byUnit = true
		case attrIdentifier:
			t.byIdentifier = true
		case attrLevel:
			t.byLevel = true
		}
	}
}

// forgetPointers must be called when the batches of the last Send may have
// been released: their Headers may now be others.
func (t *streams) forgetPointers() {
	t.last = recent{}
	clear(t.cache[:])
}

// of returns the stream of a record.
func (s *Sink) streamOf(o *record.Origin, r *record.Record) *stream {
	t := &s.streams
	level := r.Level
	if !t.byLevel {
		level = record.LevelUnknown
	}
	if t.last.header == r.Header && t.last.origin == o && t.last.level == level && t.last.st != nil {
		return t.last.st
	}
	slot := &t.cache[pointerSlot(r.Header, level)]
	if slot.header != r.Header || slot.origin != o || slot.level != level || slot.st == nil {
		*slot = recent{o, r.Header, s.streamOfContent(o, r, level), level}
	}
	t.last = *slot
	return slot.st
}

// pointerSlot mixes a pointer and a level to a slot of the cache. It is a
// hint only: the pointers themselves are compared.
func pointerSlot(h *record.Header, level record.Level) uint8 {
	p := uint64(uintptr(unsafe.Pointer(h))) + uint64(level)<<3
	return uint8(p * 0x9E3779B97F4A7C15 >> 56)
}

// streamOfContent finds the stream by what its labels are made of.
func (s *Sink) streamOfContent(o *record.Origin, r *record.Record, level record.Level) *stream {
	t := &s.streams
	k := key{origin: o, level: level}
	if t.byHost {
		k.host = r.Header.Host
	}
	if t.byUnit {
		k.unit = r.Header.Unit
	}
	if t.byIdentifier {
		k.identifier = r.Header.Identifier
	}
	k.hash = t.hash(&k)
	mask := uint64(len(t.table) - 1)
	i := k.hash & mask
	for ; t.table[i] != nil; i = (i + 1) & mask {
		if e := t.table[i]; e.hash == k.hash && e.equal(&k) {
			return e.st
		}
	}
	labels := s.labelsOf(o, r)
	st := t.byText[labels]
	if st == nil {
		st = &stream{labels: labels}
		t.byText[labels] = st
		t.bytes += len(labels)
	}
	kept := new(key) // k itself stays on the stack
	*kept = k
	kept.st = st
	kept.host, kept.unit, kept.identifier = bytes.Clone(k.host), bytes.Clone(k.unit), bytes.Clone(k.identifier)
	t.table[i] = kept
	t.keys++
	t.bytes += len(k.host) + len(k.unit) + len(k.identifier)
	if 2*t.keys > len(t.table) {
		t.grow()
	}
	return st
}

func (t *streams) hash(k *key) uint64 {
	const prime = 0x9E3779B97F4A7C15
	h := uint64(uintptr(unsafe.Pointer(k.origin)))*prime + uint64(k.level)
	h = h*prime + maphash.Bytes(t.seed, k.host)
	h = h*prime + maphash.Bytes(t.seed, k.unit)
	h = h*prime + maphash.Bytes(t.seed, k.identifier)
	return h ^ h>>32
}

func (k *key) equal(o *key) bool {
	return k.origin == o.origin && k.level == o.level && bytes.Equal(k.identifier, o.identifier) &&
		bytes.Equal(k.unit, o.unit) && bytes.Equal(k.host, o.host)
}

// grow doubles the table.
func (t *streams) grow() {
	old := t.table
	t.table = make([]*key, 2*len(old))
	mask := uint64(len(t.table) - 1)
	for _, k := range old {
		if k == nil {
			continue
		}
		i := k.hash & mask
		for t.table[i] != nil {
			i = (i + 1) & mask
		}
		t.table[i] = k
	}
}

// trim bounds what is remembered. It must be called between groups only.
func (t *streams) trim() {
	if t.keys <= maxStreams && t.bytes <= maxStreamBytes {
		return
	}
	all := make([]*stream, 0, len(t.byText))
	for _, st := range t.byText {
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b *stream) int { return cmp.Compare(b.group, a.group) })
	clear(t.byText)
	t.bytes = 0
	for _, st := range all {
		if len(t.byText) == maxStreams/2 || t.bytes+len(st.labels) > maxStreamBytes/2 {
			break
		}
		t.byText[st.labels] = st
		t.bytes += len(st.labels)
	}
	// Keys find their stream again by its text.
	t.table, t.keys = make([]*key, 64), 0
	t.forgetPointers()
}

// risk is what is known of a stream at the target, to decide whether its
// records may share a request with other streams.
//
// Loki's ingester answers a push with the error of the last stream in it only
// (pkg/ingester/instance.go, Push: appendErr is overwritten by each stream):
// lines of the others that it did not take, for being too far behind, above
// the stream's rate, or one stream too many, are dropped under a 204. So a
// stream shares a request only while none of these can happen to it, and is
// sent by itself otherwise, so that the answer is about it.
type risk struct {
	proven time.Time // last time the target took records of this stream by themselves
	newest int64     // newest timestamp that was taken
	bucket float64   // bytes sent lately, leaking at bucketRate
	filled time.Time // when bucket was right
}

const (
	// provenFor is well below chunk_idle_period (30 minutes), after which Loki
	// closes an idle stream and counts it anew against max_global_streams.
	provenFor = 10 * time.Minute
	// maxBack and maxSpan are well below max_chunk_age/2 (1 hour), behind which
	// Loki refuses lines.
	maxBack = time.Minute
	maxSpan = 15 * time.Minute
	// bucketRate and bucketSize are well below per_stream_rate_limit (3 MB/s)
	// and its burst (15 MB), and below the desired_rate (1.5 MB/s) at which
	// Loki shards a stream.
	bucketRate = 1 << 20 // bytes/s
	bucketSize = 4 << 20 // bytes
	// creationGrace is creation_grace_period, Loki's default.
	creationGrace = 10 * time.Minute
)

// settled reports whether the part can share a request with other streams.
func (p *part) settled(now time.Time) bool {
	seen := &p.st.seen
	if seen.proven.IsZero() || now.Sub(seen.proven) > provenFor {
		return false
	}
	if seen.fill(now)+float64(p.bytes) > bucketSize {
		return false
	}
	newest, oldest := seen.newest, p.st.refs[p.from].rec.Time
	for i := p.from; i < p.to; i++ {
		t := p.st.refs[i].rec.Time
		if newest-t > int64(maxBack) {
			return false
		}
		newest, oldest = max(newest, t), min(oldest, t)
	}
	return newest-oldest <= int64(maxSpan)
}

func (k *risk) fill(now time.Time) float64 {
	if !k.filled.IsZero() {
		k.bucket = max(0, k.bucket-now.Sub(k.filled).Seconds()*bucketRate)
	}
	k.filled = now
	return k.bucket
}

// taken notes that the target answered for the part, alone in its request or
// not. refused says that it did not take all of it: times in the future are
// then likely to be among what it did not take.
func (p *part) taken(now time.Time, alone, refused bool) {
	seen := &p.st.seen
	seen.bucket = seen.fill(now) + float64(p.bytes)
	grace := int64(math.MaxInt64)
	if refused {
		grace = now.Add(creationGrace).UnixNano()
	}
	for i := p.from; i < p.to; i++ {
		if t := p.st.refs[i].rec.Time; t <= grace {
			seen.newest = max(seen.newest, t)
		}
	}
	if alone {
		seen.proven = now
	}
}
