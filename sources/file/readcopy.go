package file

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// archiveSettle is how long a compressed file that ends too early must not
// have changed to be taken for broken; before, somebody may be writing it.
const archiveSettle = 10 * time.Second

// copyState is what a reader keeps while it reads what is left of a file from
// another one.
type copyState struct {
	arc     *archive   // nil: the reader reads its own file
	others  []*archive // to be tried if arc turns out to be another content
	checked bool       // arc holds what is before the offset
	written stat       // arc's file when it was found to be cut
	pause   time.Duration
	stopped bool // at until
	over    bool // io.EOF is due
}

// fromCopies makes the reader go on in the first of the copies that holds what is before its offset.
func (r *reader) fromCopies(copies []copyFile) {
	list := archives(copies)
	r.copyState = copyState{arc: list[0], others: list[1:]}
	r.scanned, r.nuls, r.held, r.more, r.stopIn = 0, 0, false, true, false
}

// waitCopy is Wait while the reader reads from a copy.
func (r *reader) waitCopy(ctx context.Context) error {
	if r.over || !r.stopped && r.pause == 0 {
		return nil
	}
	if r.stopped {
		<-ctx.Done()
		return ctx.Err()
	}
	timer := time.NewTimer(r.pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readCopy is Read while the reader reads from a copy.
func (r *reader) readCopy(b *record.Batch) error {
	now := time.Now()
	r.pause, r.stopped = 0, false
	a := r.arc
	if !decoders.admit(a, now) {
		r.pause = pollTick
		return nil
	}
	from := r.at.offset
	a.mu.Lock()
	done, err := r.stepCopy(b, now)
	r.known = max(r.known, a.top())
	end := copyEnd{clean: a.clean(), cut: a.cut(), why: a.err}
	a.mu.Unlock()
	b.After = r.pos
	b.Read, b.ReadBytes = len(b.Records), max(0, r.at.offset-from)
	r.more = true
	if done && err == nil {
		err = r.leaveCopy(b, end)
	}
	r.note()
	return err
}

// stepCopy reads on in the copy; done if there is nothing more in it. The archive is locked.
func (r *reader) stepCopy(b *record.Batch, now time.Time) (done bool, err error) {
	a, lead := r.arc, min(r.at.offset, fingerprintSpan)
	if !a.seek(r.at.offset - lead) {
		return false, nil
	}
	if !r.checked {
		a.ensure(int(lead))
		if !r.sameCopy() {
			return !r.waitForWriter(now), nil
		}
		r.checked = true
		r.enc, _ = sniffEncoding(a.head)
	}
	for room := lead + r.src.window; ; room += int64(r.src.maxLine + cutSlack) {
		a.ensure(int(room))
		limit, tear := a.top(), a.err != nil && !r.mayGrow(now)
		if stops, err := r.stops(limit); err != nil {
			return false, err
		} else if stops {
			limit, tear = r.until, true
		}
		from := r.at.offset
		if from < limit {
			if err := r.fill(b, limit, stat{size: limit}, now, tear); err != nil || r.at.offset > from {
				return false, err
			}
		}
		switch {
		case r.until >= 0 && r.until <= limit:
			r.stopped = true
			return false, nil
		case a.err != nil:
			return !r.waitForWriter(now), nil
		case r.nuls >= limit && r.nuls > from:
			return false, r.jump(limit) // NULs without end: they are no text, whatever follows
		}
	}
}

// sameCopy reports whether the copy holds what is before the offset.
func (r *reader) sameCopy() bool {
	span := min(r.at.offset, fingerprintSpan)
	a := r.arc
	if int64(len(a.head)) < span || xxhash.Sum64(a.head[:span]) != r.at.head {
		return false
	}
	ok, err := r.same()
	return ok && err == nil
}

// mayGrow reports whether the copy ends too early but was changed a moment ago.
func (r *reader) mayGrow(now time.Time) bool {
	if !r.arc.cut() {
		return false
	}
	st, _, _, err := fstat(int(r.arc.file.Fd()))
	return err == nil && now.UnixNano()-st.mtime < int64(r.src.archiveSettle)
}

// waitForWriter reports whether somebody may still be writing the copy, which
// is then read again from its beginning once it has changed.
func (r *reader) waitForWriter(now time.Time) bool {
	if !r.mayGrow(now) {
		return false
	}
	st, _, _, _ := fstat(int(r.arc.file.Fd()))
	if st != r.written {
		r.written = st
		r.arc.reset()
	}
	r.pause = r.src.archiveSettle / 10
	return true
}

// copyEnd is how a copy ended.
type copyEnd struct {
	clean, cut bool
	why        error
}

// leaveCopy goes on where there is nothing more to be had of a copy: with
// another one, with the file itself, or nowhere.
func (r *reader) leaveCopy(b *record.Batch, end copyEnd) error {
	a, checked := r.arc, r.checked
	decoders.leave(a)
	if !checked && len(r.others) > 0 {
		r.arc, r.others, r.written = r.others[0], r.others[1:], stat{}
		return nil
	}
	r.copyState = copyState{over: r.in.file == nil}
	if r.in.file != nil { // the file itself was truncated
		return r.loseBehind(b, a.path, checked)
	}
	if checked && end.clean {
		return nil // the next Read says io.EOF
	}
	gap := &sources.GapError{Reason: "corrupt", Detail: fmt.Sprintf("%s, which held %s, cannot be read behind offset %d: %v",
		a.path, r.in.origin.Path, r.at.offset, end.why)}
	if !checked {
		gap.Reason = "vanished"
		gap.Detail = fmt.Sprintf("%s is gone, and no file beside it holds what was read of it up to offset %d", r.in.origin.Path, r.at.offset)
		if end.clean { // else somebody may mend it
			r.tell(b)
		}
		return gap
	}
	if size, ok := sizeInside(a.file, a.codec, end.cut); ok && size > r.at.offset {
		gap.Bytes = size - r.at.offset
	}
	return gap
}

// loseBehind is lose for a truncated file whose copy was read.
func (r *reader) loseBehind(b *record.Batch, copied string, checked bool) error {
	at, st := r.at.offset, stat{}
	if now, _, _, err := fstat(r.in.fd); err == nil {
		st = now
	}
	err := r.restart(b, "truncated", st.size)
	if gap, ok := err.(*sources.GapError); ok && checked {
		gap.Detail += fmt.Sprintf(" (%s held it up to offset %d; what was written between that copy and the truncation, nobody can tell)", copied, at)
	}
	return err
}

// tell moves the position to where nobody is told once more that the rest is lost.
func (r *reader) tell(b *record.Batch) {
	r.at = place{offset: lostOffset, head: emptyHash, tail: emptyHash, path: r.at.path}
	r.pos = r.at.text()
	b.After = r.pos
}

// endCopy is Read once the copy was read to its end.
func (r *reader) endCopy() error {
	r.in.end()
	return io.EOF
}
