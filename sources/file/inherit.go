package file

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/sources"
)

// estate is what a source whose Run has ended leaves behind: the files that it has
// open. Those that were deleted meanwhile are only to be had from it.
type estate struct {
	mu     sync.Mutex
	inputs map[string]*input // by key
	former *estate           // of the source that this one replaces, until Run begins
}

var _ sources.Heir = (*source)(nil)

// Inherit implements sources.Heir.
func (s *source) Inherit(former sources.Source) {
	f, ok := former.(*source)
	if !ok {
		return
	}
	s.estate.former = &f.estate
	if f.estate.former != nil { // one reload came so soon after another that its Run never began
		s.estate.former = f.estate.former
	}
	if at := f.Watched(); at.After(s.deps.LastSaved) { // it has watched on since this one was made
		s.deps.LastSaved = at
		s.watching.mu.Lock()
		s.watching.at = at
		s.watching.mu.Unlock()
	}
}

// bequeath leaves behind what discovery has open.
func (d *discovery) bequeath() {
	left := map[string]*input{}
	for in := range d.holding.files {
		left[in.origin.Input] = in
	}
	for _, in := range d.inputs {
		left[in.origin.Input] = in
	}
	e := &d.src.estate
	e.mu.Lock()
	defer e.mu.Unlock()
	e.inputs = left
	letGo(len(left))
}

// inherit makes inputs of what is wanted and still open in the source that this one
// replaces, be it on the disk or not, and takes them from wanted.
func (d *discovery) inherit(wanted map[string][]string) (inherited []*input) {
	from := d.src.estate.former
	if from == nil {
		return nil
	}
	d.src.estate.former = nil
	from.mu.Lock()
	defer from.mu.Unlock()
	for key := range wanted {
		if in := d.inheritOne(from.inputs[key]); in != nil {
			inherited = append(inherited, in)
			delete(wanted, key)
		}
	}
	from.inputs = nil
	return inherited
}

func (d *discovery) inheritOne(old *input) *input {
	if old == nil {
		return nil
	}
	if g := old.givenUp.Load(); g != nil && g.vanished {
		in := d.newVanished(old.origin.Input, old.origin.Path, g.why, g.size)
		in.adopted = true
		return in
	}
	if old.file == nil {
		return nil
	}
	fd, err := unix.FcntlInt(uintptr(old.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		d.src.deps.Log.Error("a deleted file cannot be taken over", "path", old.origin.Path, "error", err)
		return nil
	}
	f := os.NewFile(uintptr(fd), old.file.Name())
	_, id, _, err := fstat(fd)
	if err != nil || old.givenUp.Load() != nil || d.inputs[id] != nil {
		f.Close()
		return nil
	}
	in, adopted := d.newInput(f, fd, id, old.origin.Path)
	if !adopted {
		delete(d.inputs, id)
		f.Close()
		return nil
	}
	gone := old.gone() // it is held since then
	if gone.IsZero() {
		gone = time.Now() // it went after the former source had ended
	}
	in.leave(gone)
	return in
}
