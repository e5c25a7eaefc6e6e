package file

import (
	"context"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// windowBytes is the most that one Read takes from a file, unless a single
// line is longer. With what is read before it, it fits a batch's largest
// chunk, and it holds a line of the default maxLineBytes with its newline.
const windowBytes = 257 << 10

// stepBytes is how much is read and split at a time, so that it is split
// while it is in the processor's cache.
const stepBytes = 128 << 10

// reader implements sources.Reader. Between calls it holds no memory of the
// file: an unfinished line is read again from its beginning.
//
// Life: made by input.Open; the caller must call Close.
type reader struct {
	in  *input
	src *source

	at  place           // where the next Read goes on; its path is immutable
	pos record.Position // at's text
	enc encoding

	until  int64 // offset to stop at, or -1
	stop   place // which that is
	stopIn bool  // it was seen to be in the content that is read

	seen    stat  // the file as the last Read that drained it saw it
	fresh   bool  // seen may miss a write of the same clock tick
	more    bool  // the last Read left data behind, or nothing was read yet
	scanned int64 // no newline between at.offset and here, if it is behind at.offset
	nuls    int64 // only NULs between at.offset and here, if it is behind at.offset
	known   int64 // the file's size when it was last looked at
	held    bool  // an unfinished line waits for its end

	lastChange time.Time // when the file was last seen to have changed
	stamps     stamps
	rate       float64   // bytes a second at which it is written, about
	heated     time.Time // when rate was last worked out

	ready  chan struct{} // the poller's wake-up
	turn   uint64        // of Wait; guarded by the poller
	waits  bool          // guarded by the poller
	closed bool

	copyState

	lagOffset, lagSize atomic.Int64
	looked             atomic.Int64 // when the poller last found nothing new, since made
	made               time.Time    // immutable
}

var (
	_ sources.Reader = (*reader)(nil)
	_ sources.Lagger = (*reader)(nil)
)

func newReader(in *input, at place) *reader {
	r := &reader{
		in: in, src: in.src, at: at, pos: at.text(), until: -1, more: true, made: time.Now(),
		lastChange: time.Now(), ready: make(chan struct{}, 1),
	}
	if at.offset > 0 {
		r.enc, _ = in.sniff() // a file that cannot be read will fail in Read too
	}
	if st, _, _, err := fstat(in.fd); err == nil {
		r.known = st.size
	}
	r.openTimes()
	r.note()
	in.opened(r)
	return r
}

// Wait implements sources.Reader.
func (r *reader) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.arc != nil || r.over {
		return r.waitCopy(ctx)
	}
	if r.more {
		return nil
	}
	select {
	case <-r.ready: // of a Wait that was cancelled while it was woken
	default:
	}
	r.src.poller.add(r)
	select {
	case <-r.ready:
		return nil
	case <-ctx.Done():
		r.src.poller.remove(r)
		return ctx.Err()
	}
}

// due reports whether Read may have something to give; called by the poller
// while the reader waits.
func (r *reader) due(now time.Time) bool {
	st, _, _, err := fstat(r.in.fd)
	if err != nil {
		return true // Read will say it
	}
	r.known = max(r.known, st.size)
	r.lagSize.Store(st.size)
	if st != r.seen {
		// Nothing to do behind the stop unless the file was cut before it.
		return r.until < 0 || r.at.offset < r.until || st.size < r.at.offset
	}
	if r.fresh && now.UnixNano()-st.mtime > int64(pollTick) {
		return true
	}
	if gone := r.in.gone(); !gone.IsZero() && r.until < 0 {
		quiet := r.quiet(gone, now)
		if quiet >= r.src.endAfter || r.held && quiet >= r.src.tearAfter {
			return true
		}
	}
	r.looked.Store(max(1, int64(now.Sub(r.made))))
	return false
}

// Looked implements sources.Looker; it may be called at any time.
func (r *reader) Looked() time.Time {
	if since := r.looked.Load(); since != 0 {
		return r.made.Add(time.Duration(since))
	}
	return time.Time{}
}

// quiet returns how long the gone file has not changed.
func (r *reader) quiet(gone, now time.Time) time.Duration {
	if gone.Before(r.lastChange) {
		gone = r.lastChange
	}
	return now.Sub(gone)
}

// Read implements sources.Reader.
func (r *reader) Read(b *record.Batch) error {
	b.Origin, b.Before, b.After, b.TimeAt = r.in.origin, r.pos, r.pos, r.stamps.at
	if r.closed {
		return r.in.pathError("read", os.ErrClosed)
	}
	if r.over {
		return r.endCopy()
	}
	if r.arc != nil {
		return r.readCopy(b)
	}
	st, _, _, err := fstat(r.in.fd)
	if s := r.in.givenUp.Load(); s != nil { // looked at behind fstat: it may be another file's
		return r.yield(b, s)
	}
	if err != nil {
		return r.in.pathError("stat", err)
	}
	now := time.Now()
	changed := st != r.seen
	if changed && r.seen != (stat{}) {
		r.lastChange = now
	}
	if st.size < r.at.offset {
		return r.lose(b, "truncated", st.size)
	}
	r.known = st.size
	if changed && st.size == r.seen.size {
		r.scanned, r.nuls = 0, 0 // written in place
	}
	from := r.at.offset
	err = r.take(b, st, now, changed || r.fresh)
	if st.links == 0 && r.at.offset == st.size && r.until < 0 && !r.at.deleted {
		r.at.deleted = true // who comes after a restart is to know
		r.pos = r.at.text()
	}
	b.After = r.pos
	b.Read, b.ReadBytes = len(b.Records), max(0, r.at.offset-from)
	if changed {
		r.heat(b.ReadBytes, now)
	}
	r.note()
	return err
}

// take is Read on a file that is not shorter than it was.
func (r *reader) take(b *record.Batch, st stat, now time.Time, changed bool) error {
	limit, tear := st.size, false
	if stops, err := r.stops(limit); err != nil {
		return err
	} else if stops {
		// A stop is where another Reader was: if that is within a line, the
		// line was torn or cut there.
		limit, tear = r.until, true
	}
	gone := r.in.gone()
	if !gone.IsZero() && r.until < 0 {
		tear = r.quiet(gone, now) >= r.src.tearAfter
	}
	if r.at.offset >= limit {
		if changed {
			if ok, err := r.same(); err != nil {
				return err
			} else if !ok {
				return r.lose(b, "rewritten", st.size)
			}
		}
		r.drained(st, now, false)
		if r.at.offset == st.size && r.until < 0 && !gone.IsZero() &&
			r.quiet(gone, now) >= r.src.endAfter && r.in.end() {
			return io.EOF
		}
		return nil
	}
	if !changed && !tear && !r.more {
		return nil // an unfinished line, as before
	}
	if r.at.offset == 0 && notText(r.in.file) != "" {
		r.in.finish() // it was empty when it was found; discovery finds it again, and says what it is
		return io.EOF
	}
	return r.fill(b, limit, st, now, tear)
}

// drained notes that nothing more can be had of the file as it is.
func (r *reader) drained(st stat, now time.Time, held bool) {
	r.seen, r.held, r.more = st, held, false
	r.fresh = now.UnixNano()-st.mtime <= int64(pollTick)
}

// same reports whether the bytes before the offset are what they were. An
// error says nothing of them.
func (r *reader) same() (bool, error) {
	var buf [fingerprintSpan]byte
	n := min(r.at.offset, fingerprintSpan)
	got, err := r.pread(buf[:n], r.at.offset-n)
	if err != nil {
		return false, r.in.pathError("read", err)
	}
	return int64(got) == n && xxhash.Sum64(buf[:n]) == r.at.tail, nil
}

// lose makes the reader go on where the content of a file, that was replaced, is now, or
// else at the beginning of what replaced it.
func (r *reader) lose(b *record.Batch, reason string, size int64) error {
	if r.arc != nil {
		r.checked = false // another content than it was: leaveCopy will say it
		return nil
	}
	if r.in.givenUp.Load() != nil {
		r.more = true // the next Read will say it
		return nil
	}
	r.in.setStale()
	if copies := r.src.copiesOf(&r.at, r.in.id); len(copies) > 0 {
		r.fromCopies(copies)
		return nil
	}
	return r.restart(b, reason, size)
}

// restart makes the reader go on at the beginning of a file whose content was replaced.
func (r *reader) restart(b *record.Batch, reason string, size int64) error {
	if r.in.refuse() {
		r.more = true // the next Read will end
		return nil
	}
	lost := max(0, r.known-r.at.offset)
	if reason == "rewritten" {
		lost = 0 // what was there, nobody can tell
	}
	gap := &sources.GapError{Reason: reason, Bytes: lost}
	gap.Detail = gapDetail(r.in.origin.Path, reason, r.at.offset, size, lost)
	r.at = place{head: emptyHash, tail: emptyHash, path: r.in.path}
	r.pos = r.at.text()
	r.stamps.restart() // from here on, and not before, the offsets are those of another content
	r.enc, r.seen, r.scanned, r.nuls, r.held = plain, stat{}, 0, 0, false
	r.known, r.more, r.lastChange, r.stopIn = size, true, time.Now(), false
	b.After = r.pos
	r.note()
	return gap
}

// Until implements sources.Reader. A position that cannot be read lifts the stop.
func (r *reader) Until(pos record.Position) {
	r.until, r.stopIn = -1, false
	if p, err := parsePosition(pos); err == nil && pos != "" {
		r.until, r.stop = p.offset, p
	}
	r.seen, r.more = stat{}, true
}

// stops reports whether the stop is within limit. It lifts one that is of another
// content: the Reader that stood there had what the file held before it was truncated.
func (r *reader) stops(limit int64) (bool, error) {
	if r.until < 0 || r.until > limit {
		return false, nil
	}
	if r.stopIn || r.until <= r.at.offset {
		return true, nil
	}
	head, tail, err := r.fingerprint(r.until)
	if err != nil {
		return false, r.in.pathError("read", err)
	}
	if r.stopIn = head == r.stop.head && tail == r.stop.tail; !r.stopIn {
		r.until = -1
	}
	return r.stopIn, nil
}

// Close implements sources.Reader. The descriptor is the input's.
func (r *reader) Close() error {
	if !r.closed {
		r.closed = true
		r.stamps.close()
		r.in.closed(r)
		r.src.poller.remove(r)
		if r.arc != nil {
			decoders.leave(r.arc)
		}
	}
	return nil
}

// Lag implements sources.Lagger; it may be called at any time.
func (r *reader) Lag() int64 {
	return max(0, r.lagSize.Load()-r.lagOffset.Load())
}

func (r *reader) note() {
	r.lagOffset.Store(r.at.offset)
	r.lagSize.Store(r.known)
}
