package file

import (
	"bytes"
	"errors"
	"io"
	"os"

	"github.com/cespare/xxhash/v2"

	"github.com/lbshipd/lbshipd/sources"
)

// likeness is how much of two files is compared to see that one is a copy of the other, in bytes.
const likeness = 4 << 20

// claims are the files that are read as copies of what a known input held: they are no inputs
// of their own.
type claims struct {
	files map[inode]bool
	of    map[string]copyFile // by the known input's key: where it goes on
}

// claimed finds out what the readers of known inputs will go on in, once for a start.
func (d *discovery) claimed() *claims {
	if d.claims == nil {
		d.claims = &claims{map[inode]bool{}, map[string]copyFile{}}
		d.claimFor("")
	}
	return d.claims
}

// claimFor finds out what claimed does for the inputs that were at first ("": all), but those of which it is
// known: what was in place when it was looked at may have been truncated since, and a copy been compressed.
func (d *discovery) claimFor(first string) {
	for _, in := range d.inputs {
		if have, done := d.claims.of[in.origin.Input]; done && !have.deleted() || first != "" && in.origin.Path != first {
			continue
		}
		places := d.known.byKey[in.origin.Input]
		for i := range places {
			p := &places[i]
			if p.offset == 0 || p.offset == lostOffset {
				continue
			}
			copies := in.copies
			if in.file != nil {
				if !errors.Is(in.verify(p), sources.ErrStale) {
					continue
				}
				copies = d.src.copiesOf(p, in.id)
			}
			d.claims.claim(in, p, copies)
		}
	}
}

// claim takes the first of the copies that holds what is before the place, as a reader does. The
// only one that there is holds it as far as its beginning shows: it may be large.
func (c *claims) claim(in *input, p *place, copies []copyFile) {
	for _, have := range copies {
		if len(copies) > 1 && !have.holds(p) {
			continue
		}
		if _, id, _, err := fstat(int(have.file.Fd())); err == nil {
			c.files[id], c.of[in.origin.Input] = true, have
		}
		return
	}
}

// deleted reports whether the copy is under no name any more.
func (c *copyFile) deleted() bool {
	st, _, _, err := fstat(int(c.file.Fd()))
	return err == nil && st.links == 0
}

// holds reports whether the content before the place is in the copy.
func (c *copyFile) holds(p *place) bool {
	if size, ok := sizeInside(c.file, c.codec, false); ok && size < p.offset && size < 1<<31 {
		return false
	}
	s, err := openStream(c.file, c.codec)
	if err != nil {
		return false
	}
	defer s.close()
	span := min(p.offset, fingerprintSpan)
	var last []byte
	for buf, at := make([]byte, stepBytes), int64(0); at < p.offset; {
		n, err := s.read(buf[:min(int64(len(buf)), p.offset-at)])
		if at == 0 && (int64(n) < span || xxhash.Sum64(buf[:span]) != p.head) {
			return false
		}
		at += int64(n)
		last = append(last, buf[:n]...)
		last = append(last[:0], last[max(0, len(last)-int(span)):]...)
		if err != nil && at < p.offset {
			return false
		}
	}
	return xxhash.Sum64(last) == p.tail
}

// copied reports whether content is that of a file that is read and was rotated from, or is at, first, or
// the beginning of it: somebody made a copy. What is shorter than a KiB shows nothing, unless its modification time,
// mtime in Unix ns, is that file's too, as who compresses it sets it. A copy is
// younger than what it is of; born 0 says that its birth is not that of the content.
func (d *discovery) copied(first string, born uint64, mtime int64, open func() (io.Reader, func(), error)) bool {
	for _, in := range d.inputs {
		if in.file == nil || in.origin.Path != first || born != 0 && born <= birth(in.fd) {
			continue
		}
		r, done, err := open()
		if err != nil {
			return false
		}
		least := int(fingerprintSpan)
		if in.changed() == mtime {
			least = 1
		}
		same := sameBeginning(r, in.file, least)
		done()
		if same {
			return true
		}
	}
	return false
}

// sameBeginning reports whether the beginnings are the same, and of no less than least bytes.
func sameBeginning(r io.Reader, f *os.File, least int) bool {
	var a, b [32 << 10]byte
	at := 0
	for at < likeness {
		n, err := io.ReadFull(r, a[:])
		if m, _ := f.ReadAt(b[:n], int64(at)); m < n || !bytes.Equal(a[:n], b[:n]) {
			return false
		}
		if at += n; err != nil {
			return (err == io.EOF || err == io.ErrUnexpectedEOF) && at >= least
		}
	}
	return true
}
