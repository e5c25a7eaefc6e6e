package file

import (
	"time"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

var _ sources.Risker = (*input)(nil)

// Risk implements sources.Risker. At risk is what lies behind pos in a file
// that was deleted or rotated out of the globs: it is there only as long as it is
// held open, which maxHeldAge bounds, and maxHeldBytes and maxHeldFiles at a time that nobody
// knows. A file that a path in the globs leads to is threatened by nothing that can be seen.
func (in *input) Risk(pos record.Position) (sources.Risk, bool) {
	gone := in.gone()
	if gone.IsZero() {
		return sources.Risk{}, false // before pos is taken apart: every file is asked, all the time
	}
	p, err := parsePosition(pos)
	if err != nil {
		return sources.Risk{}, false
	}
	if s := in.givenUp.Load(); s != nil {
		return sources.Risk{Bytes: max(0, s.size-p.offset)}, true
	}
	if in.file == nil {
		c := &in.copies[0]
		size, ok := sizeInside(c.file, c.codec, false)
		if st, err := c.file.Stat(); c.codec == nil && err == nil {
			size, ok = st.Size(), true
		}
		return sources.Risk{Bytes: max(0, size-p.offset), Left: -1}, ok
	}
	st, _, _, err := fstat(in.fd)
	if err != nil {
		return sources.Risk{}, false
	}
	risk := sources.Risk{Bytes: max(0, st.size-p.offset), Left: -1}
	if most := in.src.maxHeldAge; most > 0 && risk.Bytes > 0 {
		risk.Left = max(0, most-time.Since(gone))
	}
	return risk, true
}
