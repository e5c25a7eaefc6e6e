package file

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// holdEvery is how often what is held is compared with its bounds.
const holdEvery = time.Second

// holding are the files that no path in the globs leads to any more and that
// are still open: for who has not read them to their end, or because they may
// still be written.
//
// It belongs to the goroutine of Run; what it knows is published in source.held.
type holding struct {
	src   *source
	files map[*input]*heldFile
	next  time.Time // when to look again
	said  time.Time // when the giving up was last said
}

// heldFile is one file as it was last looked at.
type heldFile struct {
	since  time.Time
	needed int64 // bytes behind the reader that is furthest behind
	disk   int64 // bytes of the disk that only we hold
	idle   time.Time
}

// surrender says that an input was given up with so many bytes in it.
type surrender struct {
	size     int64
	why      string
	vanished bool // it was never open, and may have been longer
}

var _ sources.Holder = (*source)(nil)

// Held implements sources.Holder.
func (s *source) Held() sources.Held {
	return sources.Held{Files: int(s.heldFiles.Load()), Bytes: s.heldBytes.Load()}
}

// look takes in what is held, and gives up what is beyond the bounds. inputs
// are those that discovery knows.
func (h *holding) look(inputs map[inode]*input, now time.Time) {
	if now.Before(h.next) {
		return
	}
	h.next = now.Add(min(holdEvery, h.src.rescan))
	for _, in := range inputs {
		h.take(in)
	}
	for in, f := range h.files {
		if !h.measure(in, f, now) {
			delete(h.files, in)
		}
	}
	if most := h.src.maxHeldAge; most > 0 {
		for in, f := range h.files {
			if f.needed > 0 && now.Sub(f.since) > most {
				h.giveUp(in, fmt.Sprintf("it was held for %v, longer than maxHeldAge %v", now.Sub(f.since).Round(time.Second), most), now)
			}
		}
	}
	files, disk := h.sum()
	for most := h.src.maxHeldBytes; most > 0 && disk > most; files, disk = h.sum() {
		h.giveUp(h.oldest(true), fmt.Sprintf("deleted files hold %d bytes of the disk, more than maxHeldBytes %d", disk, most), now)
	}
	for most := h.src.maxHeldFiles; most > 0 && files > most; files, disk = h.sum() {
		h.giveUp(h.oldest(false), fmt.Sprintf("%d files are held, more than maxHeldFiles %d", files, most), now)
	}
	h.src.heldFiles.Store(int64(files))
	h.src.heldBytes.Store(disk)
}

// take has the input looked at from now on, if its file is gone. That must have
// been before discovery forgets the input, also when a daemon that was stopped for a
// while finds that the file is gone and that the input has ended at once.
func (h *holding) take(in *input) {
	if gone := in.gone(); in.file != nil && !gone.IsZero() && in.givenUp.Load() == nil && h.files[in] == nil {
		h.files[in] = &heldFile{since: gone}
	}
}

// measure looks at one held file; false if it is held no longer.
func (h *holding) measure(in *input, f *heldFile, now time.Time) bool {
	var st syscall.Stat_t
	if in.givenUp.Load() != nil || in.gone().IsZero() || syscall.Fstat(in.fd, &st) != nil {
		return false
	}
	f.disk = 0
	if st.Nlink == 0 {
		f.disk = min(st.Size, st.Blocks*512)
	}
	lowest, open := in.lowest()
	if open {
		f.needed, f.idle = max(0, st.Size-lowest), time.Time{}
		return true
	}
	if f.idle.IsZero() {
		f.idle = now
	}
	// A reader may be about to be opened anew.
	return !in.hasEnded() || now.Sub(f.idle) < h.src.endAfter
}

func (h *holding) sum() (files int, disk int64) {
	for _, f := range h.files {
		files++
		disk += f.disk
	}
	return files, disk
}

// oldest returns the file to give up first: one that nobody needs, else the
// one that is held for longest. With onDisk only those count that hold disk space.
func (h *holding) oldest(onDisk bool) (first *input) {
	for in, f := range h.files {
		if onDisk && f.disk == 0 {
			continue
		}
		if first == nil {
			first = in
			continue
		}
		best := h.files[first]
		if (f.needed == 0) != (best.needed == 0) {
			if f.needed == 0 {
				first = in
			}
		} else if f.since.Before(best.since) {
			first = in
		}
	}
	return first
}

// giveUp lets go of a file, for whoever has not read it.
func (h *holding) giveUp(in *input, why string, now time.Time) {
	f := h.files[in]
	delete(h.files, in)
	if err := in.surrender(why); err != nil {
		h.src.deps.Log.Error("a held file cannot be given up", "path", in.origin.Path, "error", err)
		return
	}
	if f.needed == 0 {
		return
	}
	h.src.skipped("given_up_file", 1)
	if now.Sub(h.said) < time.Second {
		return // each reader's gap says it too
	}
	h.said = now
	h.src.deps.Log.Error("a held file is given up; who has not read it to its end loses the rest",
		"path", in.origin.Path, "bytes", f.needed, "reason", why)
}

// surrender frees the file, though its descriptor's number stays taken until
// the input is gone: a Reader may be in the middle of using it, or stuck for days in front of a
// target that is down.
func (in *input) surrender(why string) error {
	st, _, _, err := fstat(in.fd)
	if err != nil {
		return err
	}
	return in.letGo(&surrender{size: st.size, why: why})
}

func (in *input) letGo(s *surrender) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	in.givenUp.Store(s) // first: who then sees the empty file knows why
	return unix.Dup3(int(null.Fd()), in.fd, unix.O_CLOEXEC)
}

// lowest returns the offset of the open Reader that is furthest behind, and
// whether there is one.
func (in *input) lowest() (offset int64, open bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for r := range in.readers {
		if at := r.lagOffset.Load(); !open || at < offset {
			offset, open = at, true
		}
	}
	return offset, open
}

func (in *input) opened(r *reader) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.readers == nil {
		in.readers = map[*reader]bool{}
	}
	in.readers[r] = true
}

func (in *input) closed(r *reader) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.readers, r)
}

// yield is Read of a file that was given up: what is left of it, and then the end.
func (r *reader) yield(b *record.Batch, s *surrender) error {
	b.After = r.pos
	left := s.size - r.at.offset
	if r.over || left <= 0 && !s.vanished || r.at.offset == lostOffset || r.at.deleted && left <= 0 {
		return r.endCopy()
	}
	r.over = true
	if s.vanished {
		offset := r.at.offset
		r.tell(b)
		return &sources.GapError{Reason: "vanished", Bytes: max(0, left),
			Detail: fmt.Sprintf("%s is gone, and what it held behind offset %d, if anything: %s", r.in.origin.Path, offset, s.why)}
	}
	return &sources.GapError{Reason: "given_up", Bytes: left,
		Detail: fmt.Sprintf("%s was gone, and was given up with %d bytes behind offset %d unread: %s", r.in.origin.Path, left, r.at.offset, s.why)}
}
