package journald

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/lbshipd/lbshipd/record"
)

// field says what a data object means to the reader.
type field uint8

const (
	fieldOther field = iota
	fieldMessage
	fieldPriority
	fieldFacility
	// The fields of a record's header, in the order of headerKey.
	fieldHost
	fieldIdentifier
	fieldComm
	fieldPID
	fieldSyslogPID
	fieldUnit
	fieldAboutUnit
	fieldLast
)

const headerFields = int(fieldLast - fieldHost)

func fieldOf(name []byte) field {
	switch string(name) {
	case "MESSAGE":
		return fieldMessage
	case "PRIORITY":
		return fieldPriority
	case "SYSLOG_FACILITY":
		return fieldFacility
	case "_HOSTNAME":
		return fieldHost
	case "SYSLOG_IDENTIFIER":
		return fieldIdentifier
	case "_COMM":
		return fieldComm
	case "_PID":
		return fieldPID
	case "SYSLOG_PID":
		return fieldSyslogPID
	case "_SYSTEMD_UNIT":
		return fieldUnit
	case "UNIT":
		return fieldAboutUnit
	}
	return fieldOther
}

const (
	cacheSlots = 4096
	// cacheValueBytes: a longer value is not kept, so that the cache holds at
	// most 4 MiB of values.
	cacheValueBytes = 1 << 10
	maxNames        = 1024
)

// datum is one decoded data object.
type datum struct {
	file  *file
	off   uint64
	field field
	num   uint8 // of a level or facility
	extra bool  // one of the configured fields
	cut   bool  // value is only the beginning
	name  []byte
	value []byte // if it is of use
}

// cache keeps the data objects used last, at a slot that their offset gives:
// most fields of an entry are the same objects as in the entries before it.
// The file's salt keeps files of like layout from taking each other's slots.
type cache struct {
	slots   [cacheSlots]datum
	scratch datum // a datum that is not kept
	z       *inflater
	all     bool            // every field is asked for
	extra   map[string]bool // fields that are asked for
	names   map[string][]byte
	misses  int64
}

func newCache(fields []string, z *inflater) *cache {
	c := &cache{z: z, extra: map[string]bool{}, names: map[string][]byte{}}
	for _, name := range fields {
		if name == "*" {
			c.all = true
		}
		c.extra[name] = true
	}
	return c
}

// get returns the data object at off. It is valid until the next get.
func (c *cache) get(f *file, off uint64) (*datum, error) {
	d := &c.slots[((off>>3+f.salt)*0x9e3779b97f4a7c15)>>52]
	if d.off == off && d.file == f {
		return d, nil
	}
	return c.miss(f, off, d)
}

func (c *cache) miss(f *file, off uint64, slot *datum) (*datum, error) {
	c.misses++
	var h dataHeader
	p, cut, err := f.payload(off, c.z, &h)
	if err != nil {
		return nil, err
	}
	eq := bytes.IndexByte(p[:min(len(p), 4096)], '=')
	if eq < 1 {
		return nil, fmt.Errorf("%w: data object without a field name", errCorrupt)
	}
	d := &c.scratch
	value := p[eq+1:]
	// What only one entry has will hardly be asked for again.
	keep := h.entries != 1 && len(value) <= cacheValueBytes
	if keep {
		d = slot
	}
	d.file, d.off, d.cut, d.num = f, off, cut, 0
	d.field = fieldOf(p[:eq])
	d.extra = c.all || c.extra[string(p[:eq])]
	d.name = c.name(p[:eq], d.extra)
	switch d.field {
	case fieldPriority:
		d.num = uint8(record.LevelUnknown)
		if len(value) == 1 && value[0] >= '0' && value[0] <= '7' {
			d.num = uint8(record.FromSeverity(value[0] - '0'))
		}
	case fieldFacility:
		d.num = facility(value)
	}
	if !keep {
		d.value = value
		return d, nil
	}
	d.value = d.value[:0]
	if d.extra || d.field != fieldOther {
		d.value = append(d.value, value...)
	}
	return d, nil
}

// name returns a copy of a field's name that stays.
func (c *cache) name(name []byte, wanted bool) []byte {
	if !wanted {
		return nil
	}
	if n, ok := c.names[string(name)]; ok {
		return n
	}
	n := bytes.Clone(name)
	if len(c.names) < maxNames {
		c.names[string(name)] = n
	}
	return n
}

func facility(value []byte) uint8 {
	n := 0
	for _, c := range value {
		if c < '0' || c > '9' || n > 23 {
			return record.NoFacility
		}
		n = n*10 + int(c-'0')
	}
	if len(value) == 0 || n > 23 {
		return record.NoFacility
	}
	return uint8(n)
}

// payload returns "FIELD=value" of the data object at off, inflated; only its
// beginning (cut) where it is stored as it is and larger than the limit.
func (f *file) payload(off uint64, z *inflater, h *dataHeader) (p []byte, cut bool, err error) {
	p, err = f.readData(off, z.limit, h)
	if errors.Is(err, errTooLarge) {
		start := f.payloadOffset()
		if p, err = f.view(off, start+uint64(z.limit)); err != nil {
			return nil, false, err
		}
		if h.decode(p); h.flags&compressedMask != 0 {
			return nil, false, errTooLarge
		}
		return p[start:], true, nil
	}
	if err != nil || h.flags&compressedMask == 0 {
		return p, false, err
	}
	p, err = z.inflate(h.flags, p)
	if err != nil && !errors.Is(err, errTooLarge) {
		err = fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return p, false, err
}
