package file

import (
	"maps"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/lbshipd/lbshipd/sources"
)

// knownInputs are the inputs that have stored positions.
type knownInputs struct {
	byKey map[string][]place
	// byRest finds a key whose device number has changed.
	byRest map[string]string
}

func newKnownInputs(stored []sources.Stored) *knownInputs {
	k := &knownInputs{byKey: map[string][]place{}, byRest: map[string]string{}}
	for _, s := range stored {
		p, err := parsePosition(s.Position)
		if err != nil || s.Position == "" {
			continue
		}
		k.byKey[s.Input] = append(k.byKey[s.Input], p)
		if rest, ok := withoutDevice(s.Input); ok {
			k.byRest[rest] = s.Input
		}
	}
	return k
}

func (k *knownInputs) empty() bool { return len(k.byKey) == 0 }

// adopt gives a new input the key and the first path of the stored one that
// it is, if one of that one's positions is in it.
func (k *knownInputs) adopt(in *input) bool {
	key := in.origin.Input
	places, ok := k.byKey[key]
	if !ok {
		rest, marked := withoutDevice(key)
		if key, ok = k.byRest[rest]; !ok || !marked {
			return false
		}
		places = k.byKey[key]
	}
	for i := range places {
		p := &places[i]
		path, _ := unescapePath(p.path)
		if path == "" || in.verify(p) != nil {
			continue
		}
		if key != in.origin.Input && p.offset == 0 {
			continue // nothing shows that it is the same
		}
		in.origin.Input, in.origin.Path, in.path = key, path, p.path
		return true
	}
	return false
}

// restore finds the stored inputs that the walk did not: their files were
// renamed out of the globs while nobody looked; and what was born and rotated since.
func (d *discovery) restore() []*input {
	wanted, takenOver := d.missing(), d.src.estate.former != nil
	restored := d.restoreKnown(wanted)
	restored = append(restored, d.bornAndRotated(wanted)...)
	return append(restored, d.loseVanished(wanted, takenOver)...)
}

// restoreKnown makes inputs of those that are wanted and can be found, and takes them from wanted.
func (d *discovery) restoreKnown(wanted map[string][]string) (restored []*input) {
	if len(wanted) == 0 {
		d.src.estate.former = nil
		return nil
	}
	restored = d.inherit(wanted) // first: it takes no time, in which others come and go
	dirs := map[string]bool{}
	for name := range d.dirs {
		dirs[name] = true
	}
	for _, paths := range wanted {
		for _, path := range paths {
			dirs[parent(path)] = true
		}
	}
	have := 0
	d.steadily(slices.Collect(maps.Keys(dirs)), func(dir string) bool {
		if len(d.inputs) != have { // some were found at a path meanwhile
			for _, in := range d.inputs {
				delete(wanted, in.origin.Input)
			}
		}
		if len(wanted) > 0 {
			restored = append(restored, d.restoreFrom(dir, wanted)...)
		}
		have = len(d.inputs)
		return len(wanted) > 0
	})
	return append(restored, d.restoreCopies(wanted)...)
}

// missing returns the stored inputs, with their paths, that are of the globs
// and were not found.
func (d *discovery) missing() map[string][]string {
	have := map[string]bool{}
	for _, in := range d.inputs {
		have[in.origin.Input] = true
	}
	wanted := map[string][]string{}
	for key, places := range d.known.byKey {
		for i := range places {
			path, _ := unescapePath(places[i].path)
			if !have[key] && d.src.globs.match(path) {
				wanted[key] = append(wanted[key], path)
			}
		}
	}
	return wanted
}

// restoreFrom makes inputs of the files in a directory that are wanted, and
// takes them from wanted.
func (d *discovery) restoreFrom(dir string, wanted map[string][]string) (restored []*input) {
	inodes := map[string]bool{}
	for key := range wanted {
		ino, _ := keyInode(key)
		inodes[ino] = true
	}
	entries, err := d.list(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if !inodes[strconv.FormatUint(info.Sys().(*syscall.Stat_t).Ino, 10)] {
			continue
		}
		if in := d.reopen(join(dir, e.Name()), wanted); in != nil {
			restored = append(restored, in)
			delete(wanted, in.origin.Input)
		}
	}
	return restored
}

// reopen opens the file if it is one that is wanted.
func (d *discovery) reopen(path string, wanted map[string][]string) *input {
	f, err := d.src.openFile(path)
	if err != nil {
		return nil
	}
	fd := int(f.Fd())
	_, id, mode, err := fstat(fd)
	if err != nil || mode&syscall.S_IFMT != syscall.S_IFREG || d.inputs[id] != nil {
		f.Close()
		return nil
	}
	if sniffCodec(f) != nil {
		return d.reopenSqueezed(f, path, wanted)
	}
	in, adopted := d.newInput(f, fd, id, path)
	if !adopted || wanted[in.origin.Input] == nil {
		delete(d.inputs, id)
		f.Close()
		return nil
	}
	in.leave(time.Now())
	return in
}
