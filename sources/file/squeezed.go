package file

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// squeezed is a compressed file that was born since the former daemon had last watched, and
// whose name is that of a file that was rotated: it may hold what was never read.
type squeezed struct {
	copyFile
	id    inode
	first string // the path in the globs that it was rotated from
	born  uint64 // Unix ns
	ended int64  // when what is in it was last written to, Unix ns; 0: not known
}

// squeezedAt opens the compressed file at path; nil if there is none that was born since, or it is known to
// hold nothing that was written after from: there may be a thousand of them.
func (d *discovery) squeezedAt(path, first string, since time.Time, from int64) *squeezed {
	f, err := d.src.openFile(path)
	if err != nil {
		return nil
	}
	st, id, mode, err := fstat(int(f.Fd()))
	born := birth(int(f.Fd()))
	if err != nil || mode&syscall.S_IFMT != syscall.S_IFREG || born == 0 || int64(born) < since.UnixNano() {
		f.Close()
		return nil
	}
	z := &squeezed{copyFile: copyFile{path: path, file: f, codec: sniffCodec(f), mtime: st.mtime}, id: id, first: first, born: born}
	if z.ended = z.lastWrite(); z.ended != 0 && z.ended < from {
		f.Close()
		return nil
	}
	return z
}

// matters returns since when what was written may be what nobody has read: until the former daemon had last
// watched, only what no target had answered for.
func (d *discovery) matters(wanted map[string][]string, since time.Time) int64 {
	from := since.UnixNano() - int64(bornSlack)
	for key := range wanted {
		if d.unansweredKey(key) {
			from = min(from, int64(keyBirth(key)))
		}
	}
	return from
}

// unansweredKey reports whether a known input's birth is known, and no target had answered for any of it.
func (d *discovery) unansweredKey(key string) bool {
	return keyBirth(key) != 0 && !slices.ContainsFunc(d.known.byKey[key], func(p place) bool { return p.offset > 0 })
}

// lastWrite returns when what was compressed was last written to: gzip, xz, zstd, bzip2 and
// logrotate give the compressed file that modification time, which is older than the file then, and gzip
// has it in its header (RFC 1952 section 2.3). 0 if neither tells.
func (z *squeezed) lastWrite() int64 {
	if z.mtime < int64(z.born) {
		return z.mtime
	}
	var head [8]byte
	if n, _ := z.file.ReadAt(head[:], 0); n < len(head) || z.codec == nil || z.codec.name != "gzip" {
		return 0
	}
	at := int64(binary.LittleEndian.Uint32(head[4:])) * 1e9
	if at == 0 || at+1e9 >= int64(z.born) {
		return 0 // that is when it was compressed
	}
	return at + 1e9 - 1
}

// Marks of the keys of compressed files that are read, and of those that are only announced.
const (
	markRead      = "z"
	markAnnounced = "y"
)

// key is what the file is known by as an input. begin is when what is in it began, about: the
// key has it in the place of a birth.
func (z *squeezed) key(mark string, begin int64) string {
	return fmt.Sprintf("%s:%d:%s%x-b%x", deviceOf(z.id.dev), z.id.ino, mark, z.born, begin)
}

// squeezedKey returns which of the keys is of the compressed file, "" if none is. Its device number may
// have changed.
func squeezedKey[V any](keys map[string]V, mark string, id inode, born uint64) string {
	want := fmt.Sprintf("%d:%s%x", id.ino, mark, born)
	for key := range keys {
		_, rest, _ := strings.Cut(key, ":")
		if have, _, ok := strings.Cut(rest, "-"); ok && have == want {
			return key
		}
	}
	return ""
}

// reopenSqueezed makes an input of a compressed file that was one before, and is wanted.
func (d *discovery) reopenSqueezed(f *os.File, path string, wanted map[string][]string) *input {
	st, id, _, err := fstat(int(f.Fd()))
	key := squeezedKey(wanted, markRead, id, birth(int(f.Fd())))
	if err != nil || key == "" {
		f.Close()
		return nil
	}
	if !slices.ContainsFunc(d.known.byKey[key], func(p place) bool { return p.offset != lostOffset }) {
		f.Close()
		return nil // all that it held is counted as lost
	}
	return d.newCopyInput(key, &place{path: escapePath(wanted[key][0])}, []copyFile{{path: path, file: f, codec: sniffCodec(f), mtime: st.mtime}})
}

// unreadSqueezed makes inputs of those compressed files that hold what was never read, older ones
// first, and announces those of which that cannot be known.
func (d *discovery) unreadSqueezed(all map[inode]*squeezed, wanted map[string][]string) (found []*input) {
	if len(all) == 0 {
		return nil
	}
	used := map[inode]bool{}
	defer func() {
		for id, z := range all {
			if !used[id] {
				z.file.Close()
			}
		}
	}()
	list := slices.DeleteFunc(inOrder(all), func(z *squeezed) bool {
		return squeezedKey(d.known.byKey, markRead, z.id, z.born) != "" || squeezedKey(d.known.byKey, markAnnounced, z.id, z.born) != "" || z.besidePlain()
	})
	d.claimed()
	d.claimFor("") // what was there before they were may have been truncated since
	list = slices.DeleteFunc(list, func(z *squeezed) bool { return d.claims.files[z.id] || d.madeOf(z) })
	known := d.unanswered(list, wanted)
	since := d.src.deps.LastSaved.UnixNano()
	begin := map[string]int64{} // by the path they were rotated from
	for _, z := range list {
		if key := known[z.id]; key != "" {
			used[z.id] = true
			found = append(found, d.newCopyInput(key, &place{path: escapePath(z.first)}, []copyFile{z.copyFile}))
			continue
		}
		// Behind what was known at that path, which may be younger than when it was surely watched.
		from := max(begin[z.first]+1, since, int64(keyBirth(d.lastKey(z.first)))+1)
		switch d.judge(z, since-int64(bornSlack)) {
		case unread:
			used[z.id] = true
			found = append(found, d.newCopyInput(z.key(markRead, from), &place{path: escapePath(z.first)}, []copyFile{z.copyFile}))
			begin[z.first] = max(from, cmp.Or(z.ended, int64(z.born)))
		case unknown:
			d.complain(z.path, "rotated_compressed", "it was rotated and compressed while no daemon ran; it may hold lines that were never read, or all of it was read")
			found = append(found, d.newVanished(z.key(markAnnounced, from), z.first,
				fmt.Sprintf("%s was made of it while lbshipd did not run, and whether that was read before cannot be told", filepath.Base(z.path)), 0))
		}
	}
	return found
}

// inOrder sorts the files by when what is in them was written.
func inOrder(all map[inode]*squeezed) []*squeezed {
	list := make([]*squeezed, 0, len(all))
	for _, z := range all {
		list = append(list, z)
	}
	slices.SortFunc(list, func(a, b *squeezed) int {
		return cmp.Or(cmp.Compare(cmp.Or(a.ended, int64(a.born)), cmp.Or(b.ended, int64(b.born))), cmp.Compare(a.born, b.born))
	})
	return list
}

// verdict is what is known of a compressed file.
type verdict int

const (
	old     verdict = iota // what is in it was read when it was written
	unread                 // nobody has read it
	unknown                // either may be
)

// judge decides by times, and by where the file is that was at the path when it was last watched.
func (d *discovery) judge(z *squeezed, since int64) verdict {
	at := d.lastKnown(z.first)
	if at != nil && at.file != nil && d.inPlace(at) && (d.paths[z.first] == at || z.ended == 0) {
		return old // that one was not rotated since, or not yet compressed: who compresses takes them in turn
	}
	if z.ended != 0 && z.ended < since {
		return old
	}
	if z.codec == nil || holdsTar(z) {
		return unknown
	}
	if z.ended != 0 {
		return unread
	}
	if at == nil {
		return unknown
	}
	c, ok := d.claimed().of[at.origin.Input]
	switch {
	case !ok:
		return unknown
	case c.codec == nil || birth(int(c.file.Fd())) >= z.born:
		return old
	}
	return unread
}

// lastKnown returns the input that was the last one known at a path; nil if it is no input any more.
func (d *discovery) lastKnown(path string) *input {
	last := d.lastKey(path)
	for _, in := range d.inputs {
		if in.origin.Input == last && in.givenUp.Load() == nil {
			return in
		}
	}
	return nil
}

// lastKey returns the key of the youngest known input at a path, "" if none is known.
func (d *discovery) lastKey(path string) (last string) {
	for key, places := range d.known.byKey {
		if at, _ := unescapePath(places[0].path); at == path && (last == "" || keyBirth(key) > keyBirth(last)) {
			last = key
		}
	}
	return last
}

// inPlace reports whether the file still holds what was read of it, if anything was.
func (d *discovery) inPlace(in *input) bool {
	return slices.ContainsFunc(d.known.byKey[in.origin.Input], func(p place) bool { return p.offset > 0 && in.verify(&p) == nil })
}

// unanswered tells which of the files are inputs that were known and are gone, and of which nothing shows
// what they are, for no target had answered for any of it: what was compressed was last written to
// while there was no later one at that path.
func (d *discovery) unanswered(list []*squeezed, wanted map[string][]string) map[inode]string {
	known := map[inode]string{}
	for key, paths := range wanted {
		if !d.unansweredKey(key) {
			continue
		}
		for _, z := range slices.Backward(list) {
			if slices.Contains(paths, z.first) && z.ended >= int64(keyBirth(key)) && z.ended < d.src.deps.LastSaved.UnixNano() &&
				known[z.id] == "" && z.codec != nil && !holdsTar(z) {
				known[z.id] = key
				delete(wanted, key)
				break
			}
		}
	}
	return known
}

// besidePlain reports whether what the file was made of is there still: that is read anyway.
func (z *squeezed) besidePlain() bool {
	plain := strings.TrimSuffix(z.path, filepath.Ext(z.path))
	if plain == z.first || !isCompressedName(z.path) {
		return false
	}
	_, err := os.Lstat(plain)
	return err == nil
}

// madeOf reports whether the file was made of one that is open, which is read anyway.
func (d *discovery) madeOf(z *squeezed) bool {
	return z.codec != nil && d.copied(z.first, 0, z.mtime, func() (io.Reader, func(), error) {
		s, err := openStream(z.file, z.codec)
		if err != nil {
			return nil, nil, err
		}
		return streamReader{s}, s.close, nil
	})
}

// holdsTar reports whether it is an archive of files, and no text.
func holdsTar(z *squeezed) bool {
	s, err := openStream(z.file, z.codec)
	if err != nil {
		return false
	}
	defer s.close()
	var head [262]byte
	n, _ := s.read(head[:])
	return n == len(head) && bytes.HasPrefix(head[257:], []byte("ustar"))
}

type streamReader struct{ s *stream }

func (r streamReader) Read(p []byte) (int, error) { return r.s.read(p) }
