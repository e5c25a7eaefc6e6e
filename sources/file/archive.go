package file

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// skipPerRead bounds how much of an archive one Read passes over, so that it
// can be stopped: about 20 ms of gzip's.
const skipPerRead = 4 << 20

// archive is the content of a file that holds, compressed or as a copy, what another file
// held: read forward from its beginning, with a window that can be read in any order.
//
// Life: made by a reader, and used by it alone but for free, which the pool of
// decoders may call at any time; what was freed is decompressed again when it is needed.
type archive struct {
	path  string   // immutable
	file  *os.File // immutable; read only with pread
	codec *codec   // immutable; nil: a copy

	used time.Time // guarded by the pool

	mu     sync.Mutex // guards all below
	stream *stream    // nil: to be opened
	buf    []byte     // the window
	base   int64      // offset of buf in the content
	head   []byte     // the first fingerprintSpan bytes, as far as they were read
	err    error      // what the stream ended with: io.EOF at a clean end
}

// top returns the offset behind what was decompressed.
func (a *archive) top() int64 { return a.base + int64(len(a.buf)) }

// free gives up what can be had again.
func (a *archive) free() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reset()
}

func (a *archive) reset() {
	if a.stream != nil {
		a.stream.close()
	}
	a.stream, a.buf, a.base, a.head, a.err = nil, nil, 0, nil, nil
}

// seek makes the window begin at at, and passes over no more than skipPerRead;
// false if that was too little.
func (a *archive) seek(at int64) bool {
	if at < a.base {
		a.reset()
	}
	for left := skipPerRead; ; {
		if keep := at - a.base; keep <= int64(len(a.buf)) {
			n := copy(a.buf, a.buf[keep:])
			a.buf, a.base = a.buf[:n], at
			return true
		}
		if a.err != nil {
			return true // it ends before at
		}
		if left <= 0 {
			return false
		}
		a.base, a.buf = a.top(), a.buf[:0]
		left -= a.grow(min(stepBytes, left))
	}
}

// ensure makes the window n bytes long, unless the content ends before.
func (a *archive) ensure(n int) {
	for len(a.buf) < n && a.err == nil {
		a.grow(n - len(a.buf))
	}
}

// grow adds up to n bytes to the window.
func (a *archive) grow(n int) int {
	if a.stream == nil {
		if a.stream, a.err = openStream(a.file, a.codec); a.err != nil {
			a.stream = nil
			return 0
		}
	}
	size := len(a.buf)
	if size+n > cap(a.buf) {
		buf := make([]byte, size, size+n)
		copy(buf, a.buf)
		a.buf = buf
	}
	got, err := a.stream.read(a.buf[size : size+n])
	a.buf, a.err = a.buf[:size+got], err
	if at := a.base + int64(size); at < fingerprintSpan && at == int64(len(a.head)) {
		a.head = append(a.head, a.buf[size:size+min(got, fingerprintSpan-len(a.head))]...)
	}
	return got
}

// pread reads at an offset, within the window or the head.
func (a *archive) pread(p []byte, at int64) int {
	switch {
	case at >= a.base && at <= a.top():
		return copy(p, a.buf[at-a.base:])
	case at >= 0 && at+int64(len(p)) <= int64(len(a.head)):
		return copy(p, a.head[at:])
	}
	return 0
}

// clean reports whether the content was read to its end, and that is whole.
func (a *archive) clean() bool { return errors.Is(a.err, io.EOF) }

// cut reports whether the file ends too early: it may still be written.
func (a *archive) cut() bool { return errors.Is(a.err, io.ErrUnexpectedEOF) }

// decoders bounds how many archives are held open in memory at once.
var decoders = decoderPool{most: 8, idle: 2 * time.Second}

// decoderPool gives out leave to hold the memory of an archive. One that was not used
// for a while gives way to another.
type decoderPool struct {
	most int
	idle time.Duration

	mu   sync.Mutex
	live []*archive
}

// admit reports whether a may be decompressed now.
func (p *decoderPool) admit(a *archive, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	oldest := -1
	for i, have := range p.live {
		if have == a {
			a.used = now
			return true
		}
		if oldest < 0 || have.used.Before(p.live[oldest].used) {
			oldest = i
		}
	}
	a.used = now
	if len(p.live) < p.most {
		p.live = append(p.live, a)
		return true
	}
	if now.Sub(p.live[oldest].used) < p.idle {
		return false
	}
	p.live[oldest].free() // its reader is not at it: it would have been used
	p.live[oldest] = a
	return true
}

// leave takes a out, and frees its memory.
func (p *decoderPool) leave(a *archive) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, have := range p.live {
		if have == a {
			p.live[i] = p.live[len(p.live)-1]
			p.live[len(p.live)-1] = nil
			p.live = p.live[:len(p.live)-1]
			break
		}
	}
	a.free()
}
