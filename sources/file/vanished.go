package file

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/record"
)

// lostOffset is the offset of who was told that the rest of a file is lost: it is told once,
// though its position is kept, say for a target that is away.
const lostOffset = math.MaxInt64

// newVanished makes an input of a file that went before it could be opened: each target is told
// that it lost what was in it. known is how far any of them was.
//
// How long the file was when it went, nobody knows: for the target that was furthest, the loss is of
// unknown size, and may be none.
func (d *discovery) newVanished(key, path, why string, known int64) *input {
	d.copies++
	in := &input{
		id: inode{dev: ^uint64(0), ino: d.copies}, fd: -1, src: d.src, paths: map[string]bool{},
		origin: &record.Origin{Source: d.src.name, Kind: "file", Input: key, Path: path, Host: d.src.deps.Host, Labels: d.src.labels},
		path:   escapePath(path),
	}
	in.givenUp.Store(&surrender{size: known, why: why, vanished: true})
	in.leave(time.Now())
	d.inputs[in.id] = in
	return in
}

// loseVanished makes inputs of what is wanted and surely gone. What a source before this one had,
// in this process, may be answered for still.
func (d *discovery) loseVanished(wanted map[string][]string, takenOver bool) (gone []*input) {
	for key, paths := range wanted {
		if !slices.ContainsFunc(d.known.byKey[key], func(p place) bool { return p.offset != lostOffset && !p.deleted }) {
			continue // each target has had all of it, or was told
		}
		d.src.skipped("vanished_file", 1)
		d.src.deps.Log.Warn("a file that was being read is gone; what was written to it since is lost", "path", paths[0], "input", key)
		if takenOver || !onDeviceOf(parent(paths[0]), key) {
			continue
		}
		known := int64(0)
		for i := range d.known.byKey[key] {
			if at := d.known.byKey[key][i].offset; at != lostOffset {
				known = max(known, at)
			}
		}
		in := d.newVanished(key, paths[0], "it was deleted while lbshipd did not run", known)
		in.adopted = true
		gone = append(gone, in)
	}
	return gone
}

// onDeviceOf reports whether a directory is there, and on the device that key is of: a file
// system that is not mounted yet has lost nothing.
func onDeviceOf(dir, key string) bool {
	st, err := os.Stat(dir)
	if err != nil || unix.Access(dir, unix.R_OK|unix.X_OK) != nil {
		return false
	}
	id := st.Sys().(*syscall.Stat_t)
	return strings.HasPrefix(key, deviceOf(id.Dev)+":")
}

// deviceOf is a device as keys have it.
func deviceOf(dev uint64) string { return fmt.Sprintf("%d.%d", unix.Major(dev), unix.Minor(dev)) }

// loseUnseen announces a file that was deleted before it could be opened, and before what is at
// its path now, if anything. Its inode is not known; that there was one is.
func (d *discovery) loseUnseen(path string, next *input) {
	d.src.skipped("deleted_unread", 1)
	d.src.deps.Log.Warn("a file was deleted before it could be opened", "path", path)
	st, err := os.Stat(parent(path))
	if err != nil {
		return
	}
	dev := st.Sys().(*syscall.Stat_t).Dev
	born := uint64(kernelNow().UnixNano())
	if next != nil {
		born = keyBirth(next.origin.Input) - 1
	}
	key := fmt.Sprintf("%s:%d:b%x", deviceOf(dev), ^d.copies, born)
	d.announce(d.newVanished(key, path, "it was deleted before it could be opened", 0), false)
}
