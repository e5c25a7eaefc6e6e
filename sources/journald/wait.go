package journald

import (
	"context"
	"encoding/binary"
	"time"
)

// pollEvery is how often the headers of the files that may grow are looked at:
// journald wakes watchers of a file only every 250 ms, a read of its header
// costs half a microsecond.
const pollEvery = 20 * time.Millisecond

// A journal that was quiet for quietAfter is looked at half as often.
const quietAfter = 3 * time.Second

// Wait implements sources.Reader.
func (r *Reader) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.full || r.checked.IsZero() || len(r.j.gaps) > 0 || r.behind != nil {
		return nil
	}
	timer := time.NewTimer(max(0, r.poll-time.Since(r.checked)))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-timer.C:
			if r.until != "" && r.pos == r.until {
				timer.Reset(r.poll)
				continue
			}
			if r.j.news(now) || r.j.matcher != nil && now.Sub(r.moved) >= idleMove {
				return nil
			}
			if now.Sub(r.gave) > quietAfter {
				timer.Reset(2 * r.poll)
			} else {
				timer.Reset(r.poll)
			}
		}
	}
}

// news reports whether refresh would find something new.
func (j *journal) news(now time.Time) bool {
	if j.torn || j.seam != nil || j.dirs.changed(now) {
		return true
	}
	var b [8]byte
	for _, f := range j.order {
		if !f.state.live {
			continue
		}
		if f.fd == nil {
			return true
		}
		n, err := f.pread(b[:], hdrEntries)
		if err != nil || n < len(b) || binary.LittleEndian.Uint64(b[:]) != f.hdr.entries {
			return true
		}
		if f.state.inHeap {
			return true // behind the fence
		}
	}
	return false
}

// tail returns the last entry of all files in order.
func (j *journal) tail() (loc location, ok bool) {
	for _, f := range j.order {
		if f.hdr.entries == 0 || j.use(f) != nil {
			continue
		}
		if l, has := f.lastEntry(); has && (!ok || l.compare(&loc) > 0) {
			loc, ok = l, true
		}
	}
	return loc, ok
}

// examined returns the last entry up to which everything was looked at,
// matching or not, when nothing is left to be given.
func (j *journal) examined() (loc location, ok bool) {
	for _, f := range j.order {
		s := &f.stream
		if !s.given || f.state.fenced && j.fenced(&s.seen) {
			continue
		}
		if !ok || s.seen.compare(&loc) > 0 {
			loc, ok = s.seen, true
		}
	}
	return loc, ok
}
