package journald

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"os/exec"
	"sort"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// journalWriter writes journal files of every kind, for those that this
// machine's systemd does not write: lz4 and xz payloads, both layouts, both
// hashes. `journalctl --verify` is held against it.
type journalWriter struct {
	t        testing.TB
	compress byte
	compact  bool
	keyed    bool

	buf      []byte
	hdr      header
	data     map[string]*writtenData
	fields   map[string]uint64
	entries  []uint64
	times    [2]uint64 // of the last entry
	arrays   uint64
	objects  uint64
	realtime uint64
	bucketsD [64][]uint64
	bucketsF [16][]uint64
}

type writtenData struct {
	off     uint64
	hash    uint64
	entries []uint64
}

func newJournalWriter(t testing.TB, compress byte, compact, keyed bool, id string) *journalWriter {
	w := &journalWriter{t: t, compress: compress, compact: compact, keyed: keyed,
		data: map[string]*writtenData{}, fields: map[string]uint64{}}
	sum := sha256.Sum256([]byte(id))
	copy(w.hdr.fileID[:], sum[:16])
	copy(w.hdr.seqnumID[:], sum[16:])
	w.hdr.incompatible = uint32(compress)
	if compress == compressedZstd {
		w.hdr.incompatible = incompatZstd
	}
	if keyed {
		w.hdr.incompatible |= incompatKeyed
	}
	if compact {
		w.hdr.incompatible |= incompatCompact
	}
	w.buf = make([]byte, headerMaxSize)
	w.hdr.fieldHash = w.object(typeFieldHash, 0, make([]byte, 16*16)) + 16
	w.hdr.dataHash = w.object(typeDataHash, 0, make([]byte, 64*16)) + 16
	return w
}

// object appends an object and returns its offset.
func (w *journalWriter) object(typ, flags byte, body []byte) uint64 {
	for len(w.buf)%8 != 0 {
		w.buf = append(w.buf, 0)
	}
	off := uint64(len(w.buf))
	w.buf = append(w.buf, typ, flags, 0, 0, 0, 0, 0, 0)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, uint64(16+len(body)))
	w.buf = append(w.buf, body...)
	w.hdr.tailObject = off
	w.objects++
	return off
}

func (w *journalWriter) put(off, v uint64) { binary.LittleEndian.PutUint64(w.buf[off:], v) }

func (w *journalWriter) addData(payload []byte) *writtenData {
	if d := w.data[string(payload)]; d != nil {
		return d
	}
	d := &writtenData{hash: w.hdr.hashData(payload)}
	w.data[string(payload)] = d
	stored, flags := payload, byte(0)
	if len(payload) >= 200 && w.compress != 0 {
		stored, flags = w.squeeze(payload), w.compress
	}
	body := make([]byte, 48, 64+len(stored))
	if w.compact {
		body = body[:56]
	}
	d.off = w.object(typeData, flags, append(body, stored...))
	w.put(d.off+16, d.hash)
	w.link(w.bucketsD[:], d.hash, d.off)
	name, _, _ := bytes.Cut(payload, []byte("="))
	field, ok := w.fields[string(name)]
	if !ok {
		field = w.object(typeField, 0, append(make([]byte, 24), name...))
		w.fields[string(name)] = field
		w.put(field+16, w.hdr.hashData(name))
		w.link(w.bucketsF[:], w.hdr.hashData(name), field)
	}
	w.put(d.off+32, binary.LittleEndian.Uint64(w.buf[field+32:]))
	w.put(field+32, d.off)
	return d
}

func (w *journalWriter) link(buckets [][]uint64, hash, off uint64) {
	b := &buckets[hash%uint64(len(buckets))]
	if n := len(*b); n > 0 {
		w.put((*b)[n-1]+24, off)
	}
	*b = append(*b, off)
}

func (w *journalWriter) squeeze(p []byte) []byte {
	switch w.compress {
	case compressedZstd:
		e, err := zstd.NewWriter(nil)
		if err != nil {
			w.t.Fatal(err)
		}
		defer e.Close()
		return e.EncodeAll(p, nil)
	case compressedLZ4:
		out := make([]byte, 8+lz4.CompressBlockBound(len(p)))
		binary.LittleEndian.PutUint64(out, uint64(len(p)))
		n, err := lz4.CompressBlock(p, out[8:], nil)
		if err != nil || n == 0 {
			w.t.Fatalf("lz4: %d, %v", n, err)
		}
		return out[:8+n]
	}
	// What systemd's compress_blob_xz makes: one stream, no check, 1 MiB dictionary.
	cmd := exec.Command("xz", "--format=xz", "--check=none", "--lzma2=preset=0,dict=1MiB", "-c")
	cmd.Stdin = bytes.NewReader(p)
	out, err := cmd.Output()
	if err != nil {
		w.t.Skipf("no xz to compress with: %v", err)
	}
	return out
}

func (w *journalWriter) addEntry(realtime, monotonic uint64, boot id128, fields ...testbed.Field) {
	var items []*writtenData
	for _, f := range append(fields, testbed.Field{Name: "_BOOT_ID", Value: boot.String()}) {
		items = append(items, w.addData([]byte(f.Name+"="+f.Value)))
	}
	sort.Slice(items, func(a, b int) bool { return items[a].off < items[b].off })
	body := binary.LittleEndian.AppendUint64(nil, uint64(len(w.entries))+1)
	body = binary.LittleEndian.AppendUint64(body, realtime)
	body = binary.LittleEndian.AppendUint64(body, monotonic)
	body = append(body, boot[:]...)
	xor := uint64(0)
	for _, d := range items {
		xor ^= d.hash
	}
	body = binary.LittleEndian.AppendUint64(body, xor)
	for _, d := range items {
		if w.compact {
			body = binary.LittleEndian.AppendUint32(body, uint32(d.off))
			continue
		}
		body = binary.LittleEndian.AppendUint64(body, d.off)
		body = binary.LittleEndian.AppendUint64(body, d.hash)
	}
	off := w.object(typeEntry, 0, body)
	for _, d := range items {
		d.entries = append(d.entries, off)
	}
	w.entries = append(w.entries, off)
	if w.hdr.headRealtime == 0 {
		w.hdr.headRealtime = realtime
	}
	w.hdr.tailRealtime, w.times = realtime, [2]uint64{realtime, monotonic}
	copy(w.buf[56:72], boot[:])
}

// array appends entry arrays of at most 100 items each and returns the first.
func (w *journalWriter) array(items []uint64) (first, last uint64, n int) {
	for len(items) > 0 {
		k := min(len(items), 100)
		body := make([]byte, 8)
		for _, off := range items[:k] {
			if w.compact {
				body = binary.LittleEndian.AppendUint32(body, uint32(off))
			} else {
				body = binary.LittleEndian.AppendUint64(body, off)
			}
		}
		off := w.object(typeEntryArray, 0, body)
		w.arrays++
		if last != 0 {
			w.put(last+16, off)
		} else {
			first = off
		}
		last, n, items = off, k, items[k:]
	}
	return first, last, n
}

// bytes finishes the file.
func (w *journalWriter) bytes() []byte {
	le := binary.LittleEndian
	main, tail, tailN := w.array(w.entries)
	for _, d := range sortedData(w.data) {
		w.put(d.off+40, d.entries[0])
		first, last, n := w.array(d.entries[1:])
		w.put(d.off+48, first)
		w.put(d.off+56, uint64(len(d.entries)))
		if w.compact {
			le.PutUint32(w.buf[d.off+64:], uint32(last))
			le.PutUint32(w.buf[d.off+68:], uint32(n))
		}
	}
	w.table(w.hdr.dataHash, w.bucketsD[:])
	w.table(w.hdr.fieldHash, w.bucketsF[:])
	for len(w.buf)%8 != 0 {
		w.buf = append(w.buf, 0)
	}
	b := w.buf
	copy(b, signature)
	le.PutUint32(b[hdrIncompatible:], w.hdr.incompatible)
	b[hdrState] = stateArchived
	copy(b[hdrFileID:], w.hdr.fileID[:])
	copy(b[hdrSeqnumID:], w.hdr.seqnumID[:])
	copy(b[hdrMachineID:], "0123456789abcdef")
	n := uint64(len(w.entries))
	for at, v := range map[uint64]uint64{hdrHeaderSize: headerMaxSize, hdrArenaSize: uint64(len(b)) - headerMaxSize,
		hdrDataHash: w.hdr.dataHash, hdrDataHashSize: 64 * 16, hdrFieldHash: w.hdr.fieldHash, hdrFieldHashLen: 16 * 16,
		hdrTailObject: w.hdr.tailObject, 144: w.objects, hdrEntries: n, hdrTailSeqnum: n, hdrHeadSeqnum: 1,
		hdrEntryArray: main, hdrHeadRealtime: w.hdr.headRealtime, hdrTailRealtime: w.hdr.tailRealtime, 200: w.times[1],
		hdrData: uint64(len(w.data)), 216: uint64(len(w.fields)), 232: w.arrays, 264: w.entries[n-1]} {
		w.put(at, v)
	}
	le.PutUint32(b[256:], uint32(tail))
	le.PutUint32(b[260:], uint32(tailN))
	return b
}

func sortedData(m map[string]*writtenData) (list []*writtenData) {
	for _, d := range m {
		list = append(list, d)
	}
	sort.Slice(list, func(a, b int) bool { return list[a].off < list[b].off })
	return list
}

func (w *journalWriter) table(at uint64, buckets [][]uint64) {
	for i, b := range buckets {
		if len(b) > 0 {
			w.put(at+uint64(i)*16, b[0])
			w.put(at+uint64(i)*16+8, b[len(b)-1])
		}
	}
}

// writeSome writes n of someEntries into the file at path.
func (w *journalWriter) writeSome(path string, n int) {
	w.t.Helper()
	for i, e := range parseExport(w.t, someEntries(n, 0)) {
		var boot id128
		if err := parseID(&boot, testBoot); err != nil {
			w.t.Fatal(err)
		}
		w.addEntry(uint64(e.realtime), uint64(i)*10+1, boot, e.fields[1:]...)
	}
	if err := os.WriteFile(path, w.bytes(), 0o600); err != nil {
		w.t.Fatal(err)
	}
}
