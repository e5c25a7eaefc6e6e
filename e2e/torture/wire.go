package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The fake Loki reads pushes with decoders of its own, so that a mistake in
// the libraries that lbshipd uses cannot hide itself.

// unsnap undoes snappy's block format
// (https://github.com/google/snappy/blob/main/format_description.txt).
func unsnap(src []byte, limit int) ([]byte, error) {
	size, n := binary.Uvarint(src)
	if n <= 0 || size > uint64(limit) {
		return nil, fmt.Errorf("snappy: a length of %d", size)
	}
	src = src[n:]
	dst := make([]byte, 0, size)
	for len(src) > 0 {
		tag := src[0]
		if tag&3 == 0 {
			length, skip := int(tag>>2), 1
			if length >= 60 {
				extra := length - 59
				if len(src) < 1+extra {
					return nil, errors.New("snappy: a literal without its length")
				}
				length = 0
				for i := extra; i > 0; i-- {
					length = length<<8 | int(src[i])
				}
				skip += extra
			}
			length++
			if len(src) < skip+length {
				return nil, errors.New("snappy: a literal is cut off")
			}
			dst = append(dst, src[skip:skip+length]...)
			src = src[skip+length:]
			continue
		}
		size, offset, length := 0, 0, 1+int(tag>>2)
		switch tag & 3 {
		case 1:
			size, length = 2, 4+int(tag>>2&7)
		case 2:
			size = 3
		case 3:
			size = 5
		}
		if len(src) < size {
			return nil, errors.New("snappy: a copy is cut off")
		}
		switch tag & 3 {
		case 1:
			offset = int(tag>>5)<<8 | int(src[1])
		case 2:
			offset = int(binary.LittleEndian.Uint16(src[1:]))
		case 3:
			offset = int(binary.LittleEndian.Uint32(src[1:]))
		}
		if offset == 0 || offset > len(dst) {
			return nil, fmt.Errorf("snappy: a copy from %d back", offset)
		}
		for range length {
			dst = append(dst, dst[len(dst)-offset])
		}
		src = src[size:]
	}
	if uint64(len(dst)) != size {
		return nil, fmt.Errorf("snappy: %d bytes, announced were %d", len(dst), size)
	}
	return dst, nil
}

// pushStream is one stream of a push (logproto.StreamAdapter).
type pushStream struct {
	labels  string
	entries []pushEntry
}

// pushEntry is one line (logproto.EntryAdapter).
type pushEntry struct {
	at   int64 // Unix ns
	line []byte
	meta string // the structured metadata as it was encoded
}

// fields calls f with each field of a protobuf message: value for varints,
// data for what has a length.
func fields(msg []byte, f func(number int, value uint64, data []byte) error) error {
	for len(msg) > 0 {
		key, n := binary.Uvarint(msg)
		if n <= 0 {
			return errors.New("protobuf: a key is cut off")
		}
		msg = msg[n:]
		value, n := uint64(0), 0
		var data []byte
		switch key & 7 {
		case 0:
			if value, n = binary.Uvarint(msg); n <= 0 {
				return errors.New("protobuf: a number is cut off")
			}
		case 1:
			n = 8
		case 5:
			n = 4
		case 2:
			length, skip := binary.Uvarint(msg)
			if skip <= 0 || length > uint64(len(msg)-skip) {
				return errors.New("protobuf: a field is cut off")
			}
			data, n = msg[skip:skip+int(length)], skip+int(length)
		default:
			return fmt.Errorf("protobuf: wire type %d", key&7)
		}
		if n > len(msg) {
			return errors.New("protobuf: a field is cut off")
		}
		msg = msg[n:]
		if err := f(int(key>>3), value, data); err != nil {
			return err
		}
	}
	return nil
}

// decodePush takes a logproto.PushRequest apart.
func decodePush(msg []byte) (streams []pushStream, err error) {
	err = fields(msg, func(number int, _ uint64, data []byte) error {
		if number != 1 {
			return fmt.Errorf("a push has a field %d", number)
		}
		s, err := decodeStream(data)
		streams = append(streams, s)
		return err
	})
	return streams, err
}

func decodeStream(msg []byte) (s pushStream, err error) {
	err = fields(msg, func(number int, _ uint64, data []byte) error {
		switch number {
		case 1:
			s.labels = string(data)
		case 2:
			e, err := decodeEntry(data)
			s.entries = append(s.entries, e)
			return err
		}
		return nil
	})
	return s, err
}

func decodeEntry(msg []byte) (e pushEntry, err error) {
	err = fields(msg, func(number int, _ uint64, data []byte) error {
		switch number {
		case 1:
			return fields(data, func(number int, value uint64, _ []byte) error {
				switch number {
				case 1:
					e.at += int64(value) * 1e9
				case 2:
					e.at += int64(value)
				}
				return nil
			})
		case 2:
			e.line = data
		case 3:
			e.meta += string(data)
		}
		return nil
	})
	return e, err
}
