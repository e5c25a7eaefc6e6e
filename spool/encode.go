package spool

import (
	"encoding/binary"
	"unsafe"

	"github.com/lbshipd/lbshipd/record"
)

// payloadVersion is the first byte of a payload.
const payloadVersion = 1

// How a record's header is written.
const (
	headerNone = iota
	headerSame
	headerOwn
)

// appendPayload encodes b behind dst. It does not allocate but to grow dst.
func appendPayload(dst []byte, b *record.Batch, notes []byte, now int64) []byte {
	dst = append(dst, payloadVersion)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(now))
	dst = appendOrigin(dst, b.Origin)
	dst = appendText(dst, string(b.Before))
	dst = appendText(dst, string(b.After))
	dst = binary.AppendUvarint(dst, uint64(b.Read))
	dst = binary.AppendUvarint(dst, uint64(b.ReadBytes))
	dst = binary.AppendUvarint(dst, uint64(b.Filtered))
	dst = appendBytes(dst, notes)
	dst = binary.AppendUvarint(dst, uint64(len(b.Records)))
	var time, offset int64
	var header *record.Header
	for i := range b.Records {
		r := &b.Records[i]
		dst = binary.AppendVarint(dst, r.Time-time)
		dst = binary.AppendVarint(dst, r.Offset-offset)
		time, offset = r.Time, r.Offset
		dst = append(dst, byte(r.Level), r.Facility)
		dst = binary.AppendUvarint(dst, uint64(r.Flags))
		dst = appendBytes(dst, r.Line)
		dst = appendPart(dst, r.Line, r.Message)
		dst, header = appendHeader(dst, r, header)
		dst = binary.AppendUvarint(dst, uint64(len(r.Fields)))
		for j := range r.Fields {
			dst = appendPart(dst, r.Line, r.Fields[j].Name)
			dst = appendPart(dst, r.Line, r.Fields[j].Value)
		}
	}
	return dst
}

func appendOrigin(dst []byte, o *record.Origin) []byte {
	var none record.Origin
	if o == nil {
		o = &none
	}
	at := len(dst)
	dst = append(dst, 0, 0) // room for the length: two bytes do for nearly all
	for _, s := range [...]string{o.Source, o.Kind, o.Input, o.Path, o.Host} {
		dst = appendText(dst, s)
	}
	dst = binary.AppendUvarint(dst, uint64(len(o.Labels)))
	for i := range o.Labels {
		dst = appendText(dst, o.Labels[i].Name)
		dst = appendText(dst, o.Labels[i].Value)
	}
	var length [binary.MaxVarintLen64]byte
	size := len(dst) - at - 2
	n := binary.PutUvarint(length[:], uint64(size))
	if n != 2 {
		if n > 2 {
			dst = append(dst, length[:n-2]...) // to be overwritten
		}
		copy(dst[at+n:], dst[at+2:at+2+size])
		dst = dst[:at+n+size]
	}
	copy(dst[at:], length[:n])
	return dst
}

// appendHeader encodes the header of r and returns the one that the next
// record may refer to.
func appendHeader(dst []byte, r *record.Record, before *record.Header) ([]byte, *record.Header) {
	h := r.Header
	switch {
	case h == nil || len(h.Host)+len(h.Identifier)+len(h.PID)+len(h.MsgID)+len(h.Unit) == 0:
		return append(dst, headerNone), before
	case h == before || before != nil && sameHeader(h, before):
		return append(dst, headerSame), before
	}
	dst = append(dst, headerOwn)
	for _, p := range [...][]byte{h.Host, h.Identifier, h.PID, h.MsgID, h.Unit} {
		dst = appendPart(dst, r.Line, p)
	}
	return dst, h
}

func sameHeader(a, b *record.Header) bool {
	return string(a.PID) == string(b.PID) && string(a.Identifier) == string(b.Identifier) && string(a.MsgID) == string(b.MsgID) &&
		string(a.Unit) == string(b.Unit) && string(a.Host) == string(b.Host)
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendBytes(dst, p []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(p))), p...)
}

// appendPart writes p as a place in line if that is where it lies.
func appendPart(dst, line, p []byte) []byte {
	if at, ok := within(line, p); ok {
		dst = binary.AppendUvarint(dst, uint64(len(p))<<1|1)
		return binary.AppendUvarint(dst, uint64(at))
	}
	dst = binary.AppendUvarint(dst, uint64(len(p))<<1)
	return append(dst, p...)
}

// within tells whether p is a subslice of line, and where it begins.
func within(line, p []byte) (int, bool) {
	if len(p) == 0 || len(line) == 0 {
		return 0, false
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(p))) - uintptr(unsafe.Pointer(unsafe.SliceData(line)))
	if at > uintptr(len(line)) || at+uintptr(len(p)) > uintptr(len(line)) {
		return 0, false
	}
	return int(at), true
}
