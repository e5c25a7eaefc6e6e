package journald

import (
	"fmt"
	"math"
	"sort"
)

// noMore is the offset of "no further entry".
const noMore = math.MaxUint64

// leafCursor walks the entries that one data object is in, along the object's
// own entry arrays.
type leafCursor struct {
	cur    uint64 // the entry it stands at; 0 before the first
	total  uint64 // entries in the arrays
	arr    arrayRef
	i      uint64 // next item of arr to be read
	buf    []uint64
	pos    int
	failed error
}

// start reads the data object at off anew.
func (c *leafCursor) start(f *file, off uint64) error {
	var h dataHeader
	if err := f.freshDataHeader(off, &h); err != nil {
		return err
	}
	*c = leafCursor{buf: c.buf[:0]}
	if h.entries == 0 {
		c.cur = noMore
		return nil
	}
	c.cur = h.entry
	c.total = h.entries - 1
	if c.total == 0 || h.array == 0 {
		c.total = 0
		return nil
	}
	n, _, err := f.readArray(h.array)
	c.arr = arrayRef{off: h.array, n: n}
	return err
}

// seek moves on to the first entry at x or behind it.
func (c *leafCursor) seek(f *file, x uint64) (uint64, error) {
	for c.cur < x {
		if c.pos < len(c.buf) {
			rest := c.buf[c.pos:]
			k := sort.Search(len(rest), func(k int) bool { return rest[k] >= x })
			c.pos += k
			if k < len(rest) {
				c.cur = rest[k]
				c.pos++
				return c.cur, nil
			}
		}
		if err := c.fill(f, x); err != nil {
			return 0, err
		}
	}
	return c.cur, nil
}

// fill reads the next items that may be at x or behind it.
func (c *leafCursor) fill(f *file, x uint64) error {
	for {
		valid := min(c.arr.n, c.total-min(c.total, c.arr.start))
		if c.i < valid {
			if err := c.chunk(f, x, valid); err != nil {
				return err
			}
			if len(c.buf) > 0 {
				return nil
			}
			continue
		}
		if c.arr.start+c.arr.n >= c.total {
			c.cur, c.buf, c.pos = noMore, c.buf[:0], 0
			return nil
		}
		_, next, err := f.readArray(c.arr.off)
		if err != nil {
			return err
		}
		if next == 0 {
			return fmt.Errorf("%w: the entry arrays of a data object end early", errCorrupt)
		}
		n, _, err := f.readArray(next)
		if err != nil {
			return err
		}
		c.arr, c.i = arrayRef{off: next, n: n, start: c.arr.start + c.arr.n}, 0
	}
}

// chunk reads a chunk of the array that holds the first item at or behind x,
// or nothing if the whole array lies before it.
func (c *leafCursor) chunk(f *file, x, valid uint64) error {
	lo, hi := c.i, valid
	for first := true; ; first = false {
		var err error
		c.buf, err = f.readItems(c.buf, c.arr.off, lo, min(chunkItems, hi-lo))
		c.pos = 0
		if err != nil {
			return err
		}
		for k, off := range c.buf {
			if off == 0 || k > 0 && off <= c.buf[k-1] {
				return fmt.Errorf("%w: a data object's entry array is out of order", errCorrupt)
			}
		}
		if c.buf[len(c.buf)-1] >= x || !first {
			c.i = lo + uint64(len(c.buf))
			return nil
		}
		if lo, err = c.skipTo(f, lo+uint64(len(c.buf)), hi, x); err != nil {
			return err
		}
		if lo >= hi {
			c.i, c.buf = hi, c.buf[:0]
			return nil
		}
	}
}

// skipTo returns the first item of [lo, hi) at x or behind it, or hi.
func (c *leafCursor) skipTo(f *file, lo, hi, x uint64) (uint64, error) {
	for lo < hi {
		mid := lo + (hi-lo)/2
		var one [1]uint64
		got, err := f.readItems(one[:0], c.arr.off, mid, 1)
		if err != nil {
			return 0, err
		}
		if got[0] >= x {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo, nil
}

// startBulk makes the cursors of all leaves anew.
func (fm *fileMatch) startBulk(f *file) error {
	for i := range fm.leaves {
		l := &fm.leaves[i]
		l.cursors = make([]leafCursor, len(l.offs))
		for k, off := range l.offs {
			if err := l.cursors[k].start(f, off); err != nil {
				return err
			}
		}
	}
	return nil
}

// endBulk frees the cursors.
func (fm *fileMatch) endBulk() {
	for i := range fm.leaves {
		fm.leaves[i].cursors = nil
	}
}

// next returns the offset of the first entry at x or behind it that matches
// the term, walking the data objects' entry arrays; noMore if there is none.
func (fm *fileMatch) next(f *file, t *term, x uint64) (uint64, error) {
	switch t.op {
	case opAnd:
		for at, agreed := x, 0; ; {
			for i := range t.kids {
				got, err := fm.next(f, &t.kids[i], at)
				if err != nil || got == noMore {
					return got, err
				}
				if got != at {
					at, agreed = got, 0
				}
				if agreed++; agreed >= len(t.kids) {
					return at, nil
				}
			}
		}
	case opOr:
		best := uint64(noMore)
		for i := range t.kids {
			got, err := fm.next(f, &t.kids[i], x)
			if err != nil {
				return 0, err
			}
			best = min(best, got)
		}
		return best, nil
	}
	best := uint64(noMore)
	l := &fm.leaves[t.leaf]
	for k := range l.cursors {
		got, err := l.cursors[k].seek(f, x)
		if err != nil {
			return 0, err
		}
		best = min(best, got)
	}
	return best, nil
}
