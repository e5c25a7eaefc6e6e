package journald

import (
	"bytes"

	"github.com/lbshipd/lbshipd/record"
)

// headerKey tells records apart whose header may differ: the data objects
// that it is made of.
type headerKey struct {
	file *file
	offs [headerFields]uint64
}

// headerSlots is how many headers of a batch are remembered, for the case that
// a few programs take turns.
const headerSlots = 32

// headerCache finds the Header of a record among those of its batch.
type headerCache struct {
	keys [headerSlots]headerKey
	have [headerSlots]*record.Header
	last *record.Header
}

func (c *headerCache) reset() { *c = headerCache{} }

// get returns the header that key stands for.
func (c *headerCache) get(b *record.Batch, key *headerKey, values *cache) *record.Header {
	mix := uint64(0)
	for _, off := range key.offs {
		mix = mix*31 + off>>3
	}
	slot := mix * 0x9e3779b97f4a7c15 >> 59
	if c.have[slot] != nil && c.keys[slot] == *key {
		c.last = c.have[slot]
		return c.last
	}
	h := c.make(b, key, values)
	if c.last != nil && sameHeader(c.last, h) {
		h = c.last // from another file, which has its own data objects
	}
	c.keys[slot], c.have[slot], c.last = *key, h, h
	return h
}

func sameHeader(a, b *record.Header) bool {
	return bytes.Equal(a.Host, b.Host) && bytes.Equal(a.Identifier, b.Identifier) &&
		bytes.Equal(a.PID, b.PID) && bytes.Equal(a.Unit, b.Unit)
}

func (c *headerCache) make(b *record.Batch, key *headerKey, values *cache) *record.Header {
	value := func(f field) []byte {
		off := key.offs[f-fieldHost]
		if off == 0 {
			return nil
		}
		d, err := values.get(key.file, off)
		if err != nil {
			return nil
		}
		return b.Copy(d.value[:min(len(d.value), maxHeaderValue)])
	}
	h := b.NewHeader()
	h.Host = value(fieldHost)
	if h.Identifier = value(fieldIdentifier); h.Identifier == nil {
		h.Identifier = value(fieldComm)
	}
	if h.PID = value(fieldPID); h.PID == nil {
		h.PID = value(fieldSyslogPID)
	}
	h.Unit = value(fieldUnit)
	// UNIT is the sender's word: it is taken from PID 1, whose own unit is
	// init.scope, and where there is nothing better.
	if h.Unit == nil || string(h.Unit) == "init.scope" {
		if about := value(fieldAboutUnit); about != nil {
			h.Unit = about
		}
	}
	return h
}

// maxHeaderValue bounds a header field, in bytes; journald's own are shorter.
const maxHeaderValue = 4 << 10
