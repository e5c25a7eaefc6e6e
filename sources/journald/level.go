package journald

import "github.com/lbshipd/lbshipd/record"

// priorities are the data objects "PRIORITY=0" to "PRIORITY=7" of one file, so
// that an entry's level is known from its item offsets alone.
type priorities struct {
	offs  [8]uint64
	bloom uint64 // of offs, to pass over other items quickly
	data  uint64 // header's count of data objects when last looked for
}

var priorityPayloads = func() (p [8][]byte) {
	for i := range p {
		p[i] = []byte("PRIORITY=" + string(rune('0'+i)))
	}
	return p
}()

func bloomBit(off uint64) uint64 { return 1 << (off >> 3 & 63) }

// resolve looks for the objects that were not there yet.
func (p *priorities) resolve(f *file, z *inflater) {
	if p.data != 0 && p.data == f.hdr.data {
		return
	}
	for i := range p.offs {
		if p.offs[i] != 0 {
			continue
		}
		if off, err := f.findData(priorityPayloads[i], z); err == nil && off != 0 {
			p.offs[i] = off
			p.bloom |= bloomBit(off)
		}
	}
	p.data = f.hdr.data
}

// level returns the most severe level among the items, unknown if none of
// them is a priority.
func (p *priorities) level(items []uint64) record.Level {
	best := record.LevelUnknown
	for _, off := range items {
		if p.bloom&bloomBit(off) == 0 {
			continue
		}
		for i, have := range p.offs {
			if have == off {
				best = max(best, record.FromSeverity(uint8(i)))
			}
		}
	}
	return best
}
