package file

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/lbshipd/lbshipd/record"
)

// maxCopies bounds how many files beside a path are looked at for a copy of what it held.
const maxCopies = 4096

// copyFile is a file that holds, compressed or as it was, what another one held.
type copyFile struct {
	path  string
	file  *os.File // closed when it is no longer reachable
	codec *codec   // nil: as it was
	mtime int64    // Unix ns
}

// copiesOf returns the files beside the place's path that may hold the content
// it is in, best first: a plain one that was checked to, else compressed ones whose beginning
// is right, the newest first. They are looked for where log rotators put them: in the
// same directory, under a name that begins like the path's ("app.log.1.gz",
// "app.log-20261121.zst", "app-20261121.log.xz"). A plain file in the globs is left out: it
// is an input of its own. So is the file itself, whose inode is not.
func (s *source) copiesOf(p *place, not inode) []copyFile {
	path, _ := unescapePath(p.path)
	if path == "" || p.offset == 0 || p.offset == lostOffset {
		return nil // nothing shows what it was
	}
	entries, err := os.ReadDir(parent(path))
	if err != nil {
		return nil
	}
	var found []copyFile
	for _, e := range entries {
		if !e.Type().IsRegular() || !rotatedName(filepath.Base(path), e.Name()) || len(found) == maxCopies {
			continue
		}
		if c, ok := s.openCopy(join(parent(path), e.Name()), p, not); ok {
			found = append(found, c)
		}
	}
	slices.SortStableFunc(found, func(a, b copyFile) int {
		if (a.codec == nil) != (b.codec == nil) {
			return map[bool]int{true: -1, false: 1}[a.codec == nil]
		}
		return cmp.Compare(b.mtime, a.mtime)
	})
	return found
}

// rotatedName reports whether a rotator may have given that name to the file base.
func rotatedName(base, name string) bool {
	const marks = ".-_~"
	stem := base
	if i := strings.IndexAny(base[1:], marks); i >= 0 {
		stem = base[:i+1]
	}
	rest, ok := strings.CutPrefix(name, stem)
	return ok && name != base && rest != "" && strings.IndexByte(marks, rest[0]) >= 0
}

// openCopy opens the file at path if it may hold what is before p.
func (s *source) openCopy(path string, p *place, not inode) (c copyFile, ok bool) {
	f, err := s.openFile(path)
	if err != nil {
		return c, false
	}
	defer func() {
		if !ok {
			f.Close()
		}
	}()
	st, id, mode, err := fstat(int(f.Fd()))
	if err != nil || mode&syscall.S_IFMT != syscall.S_IFREG || id == not {
		return c, false
	}
	c = copyFile{path: path, file: f, codec: sniffCodec(f), mtime: st.mtime}
	if c.codec == nil {
		if isCompressedName(path) || st.size < p.offset || s.globs.match(path) {
			return c, false
		}
		whole := input{file: f}
		head, tail, err := whole.fingerprint(p.offset)
		return c, err == nil && head == p.head && tail == p.tail
	}
	content, err := openStream(f, c.codec)
	if err != nil {
		return c, false
	}
	defer content.close()
	var buf [fingerprintSpan]byte
	n, _ := content.read(buf[:min(p.offset, fingerprintSpan)])
	return c, int64(n) == min(p.offset, fingerprintSpan) && xxhash.Sum64(buf[:n]) == p.head
}

// archives makes an archive of each of the files.
func archives(copies []copyFile) []*archive {
	list := make([]*archive, len(copies))
	for i, c := range copies {
		list[i] = &archive{path: c.path, file: c.file, codec: c.codec}
	}
	return list
}

// restoreCopies makes inputs of the stored ones whose files are gone, but
// whose content is in other files, and takes them from wanted.
func (d *discovery) restoreCopies(wanted map[string][]string) (restored []*input) {
	for key := range wanted {
		places := slices.Clone(d.known.byKey[key])
		slices.SortFunc(places, func(a, b place) int { return cmp.Compare(b.offset, a.offset) })
		// Targets are mostly at the same one, and each costs opening all that is there.
		places = slices.CompactFunc(places, func(a, b place) bool { return a.offset == b.offset && a.head == b.head && a.tail == b.tail })
		for i := range places {
			copies := d.src.copiesOf(&places[i], inode{})
			if len(copies) == 0 {
				continue
			}
			restored = append(restored, d.newCopyInput(key, &places[i], copies))
			delete(wanted, key)
			break
		}
	}
	return restored
}

func (d *discovery) newCopyInput(key string, p *place, copies []copyFile) *input {
	d.copies++
	path, _ := unescapePath(p.path)
	in := &input{
		id: inode{dev: ^uint64(0), ino: d.copies}, fd: -1, src: d.src, paths: map[string]bool{}, copies: copies,
		origin: &record.Origin{
			Source: d.src.name, Kind: "file", Input: key, Path: path, Host: d.src.deps.Host, Labels: d.src.labels,
		},
		path: p.path,
	}
	in.leave(time.Now())
	d.inputs[in.id] = in
	d.src.deps.Log.Info("a file was compressed or copied while it was not read to its end; its rest is read from there",
		"path", path, "from", copies[0].path, "candidates", len(copies))
	return in
}

// leaveOutAs says that the file at path is no text.
func (d *discovery) leaveOutAs(path, reason string) {
	if reason == compressedFile {
		d.leaveOut(path)
	} else {
		d.complain(path, reason, "it is an archive, an editor's swap file or a journal, and no text")
	}
}

// leaveOut says once for the source that compressed files are no text.
func (d *discovery) leaveOut(path string) {
	if d.complaints[path] == "compressed" {
		return
	}
	d.complaints[path] = "compressed"
	d.src.skipped(compressedFile, 1)
	if d.saidCompressed {
		return
	}
	d.saidCompressed = true
	d.src.deps.Log.Info("compressed files in the paths are left out, unless they hold the rest of a file that was not read to its end; this is said once",
		"path", path)
}
