package journald

import (
	"encoding/binary"
	"math/bits"

	"github.com/dchest/siphash"
)

// hashData returns the hash under which a file's hash tables hold p:
// SipHash-2-4 keyed with the file's id, or Bob Jenkins' lookup3 in older files.
func (h *header) hashData(p []byte) uint64 {
	if !h.keyed() {
		return jenkins64(p)
	}
	return siphash.Hash(binary.LittleEndian.Uint64(h.fileID[:8]), binary.LittleEndian.Uint64(h.fileID[8:]), p)
}

// jenkins64 is lookup3's hashlittle2 with both seeds 0, the first result in
// the upper half.
func jenkins64(p []byte) uint64 {
	a := 0xdeadbeef + uint32(len(p))
	b, c := a, a
	le := binary.LittleEndian
	for len(p) > 12 {
		a += le.Uint32(p)
		b += le.Uint32(p[4:])
		c += le.Uint32(p[8:])
		a -= c
		a ^= bits.RotateLeft32(c, 4)
		c += b
		b -= a
		b ^= bits.RotateLeft32(a, 6)
		a += c
		c -= b
		c ^= bits.RotateLeft32(b, 8)
		b += a
		a -= c
		a ^= bits.RotateLeft32(c, 16)
		c += b
		b -= a
		b ^= bits.RotateLeft32(a, 19)
		a += c
		c -= b
		c ^= bits.RotateLeft32(b, 4)
		b += a
		p = p[12:]
	}
	if len(p) == 0 {
		return uint64(c)<<32 | uint64(b)
	}
	var last [12]byte
	copy(last[:], p)
	a += le.Uint32(last[:])
	b += le.Uint32(last[4:])
	c += le.Uint32(last[8:])
	c ^= b
	c -= bits.RotateLeft32(b, 14)
	a ^= c
	a -= bits.RotateLeft32(c, 11)
	b ^= a
	b -= bits.RotateLeft32(a, 25)
	c ^= b
	c -= bits.RotateLeft32(b, 16)
	a ^= c
	a -= bits.RotateLeft32(c, 4)
	b ^= a
	b -= bits.RotateLeft32(a, 14)
	c ^= b
	c -= bits.RotateLeft32(b, 24)
	return uint64(c)<<32 | uint64(b)
}
