// Package stdout prints records on standard output: for a first look, for
// containers whose runtime takes it from there, and for pipes.
package stdout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// flushBytes is how much is gathered before it is written.
const flushBytes = 64 << 10

// encoder appends one record, with its newline, to dst.
type encoder func(dst []byte, o *record.Origin, r *record.Record) []byte

// Sink prints to one writer.
type Sink struct {
	name   string // of the target
	w      io.Writer
	encode encoder
	fields bool
	deps   sinks.Deps
	buf    []byte
	ends   []mark

	// After a write that failed in the middle:
	torn    []byte        // rest of the record of which a part was written
	partial *record.Batch // the batch it belongs to, nil if none
	written int           // leading records of partial that are written, the torn one included
}

// mark says that a batch is written once the first end bytes of buf are.
type mark struct {
	end   int
	batch *record.Batch
	skip  int // leading records of the batch that were written before
}

var (
	_ sinks.Tester    = (*Sink)(nil)
	_ sinks.Sink      = (*Sink)(nil)
	_ sinks.FieldUser = (*Sink)(nil)
)

// New makes the sink of t. Text is coloured if standard output is a terminal
// and NO_COLOR (no-color.org) is not set.
func New(t *config.Target, d sinks.Deps) (sinks.Sink, error) {
	colour := term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == ""
	s, err := newSink(t.Stdout.Format, os.Stdout, colour, d)
	if err != nil {
		return nil, err
	}
	s.name = t.Name
	return s, nil
}

func newSink(format string, w io.Writer, colour bool, d sinks.Deps) (*Sink, error) {
	s := &Sink{w: w, deps: d}
	switch format {
	case "", "text":
		s.encode = textEncoder(colour)
	case "json":
		s.encode, s.fields = appendJSON, true
	case "logfmt":
		s.encode, s.fields = appendLogfmt, true
	default:
		return nil, fmt.Errorf("stdout.format %q: want text, json or logfmt", format)
	}
	return s, nil
}

// UsesFields implements sinks.FieldUser: text shows the line alone.
func (s *Sink) UsesFields() bool { return s.fields }

// Send prints the batches. A batch counts once its last byte was written. If
// writing fails in the middle of a batch, the next Send goes on there, so that
// whoever reads gets each line once and whole.
func (s *Sink) Send(ctx context.Context, batches []*record.Batch) (sinks.Result, error) {
	var res sinks.Result
	s.buf, s.ends = append(s.buf[:0], s.torn...), s.ends[:0]
	for i, b := range batches {
		m := mark{batch: b}
		if i == 0 && b == s.partial {
			m.skip = s.written
		}
		for j := m.skip; j < len(b.Records); j++ {
			s.buf = s.encode(s.buf, b.Origin, &b.Records[j])
		}
		m.end = len(s.buf)
		s.ends = append(s.ends, m)
		if len(s.buf) < flushBytes && i+1 < len(batches) {
			continue
		}
		if err := s.flush(&res); err != nil {
			return res, err
		}
		if ctx.Err() != nil && i+1 < len(batches) {
			return res, &sinks.Error{Class: sinks.ClassShutdown, Err: ctx.Err()}
		}
	}
	return res, nil
}

// flush writes what is gathered and notes which batches are done.
func (s *Sink) flush(res *sinks.Result) error {
	start := time.Now()
	n, err := s.w.Write(s.buf)
	res.Bytes += int64(n)
	done := 0
	for _, m := range s.ends {
		if m.end > n {
			break
		}
		done++
		res.Batches++
		res.Delivered += len(m.batch.Records)
	}
	if err == nil && n < len(s.buf) {
		err = io.ErrShortWrite
	}
	if err != nil {
		s.resumeAt(n, done)
		s.deps.Request(time.Since(start), sinks.ClassLocal)
		return &sinks.Error{Class: sinks.ClassLocal, Err: fmt.Errorf("writing to standard output: %w", cause(err))}
	}
	s.deps.Request(time.Since(start), "ok")
	s.buf, s.ends, s.torn, s.partial = s.buf[:0], s.ends[:0], s.torn[:0], nil
	return nil
}

// resumeAt notes where to go on after n bytes were written and done batches
// are whole. Each record is one line, whatever it holds.
func (s *Sink) resumeAt(n, done int) {
	begin := 0
	if done > 0 {
		begin = s.ends[done-1].end
	}
	next := s.ends[done]
	written := next.skip + bytes.Count(s.buf[begin:n], newline)
	if done == 0 && len(s.torn) > 0 {
		if n < len(s.torn) { // not even the rest of the torn record is out
			s.torn = append(s.torn[:0], s.torn[n:]...)
			return
		}
		written-- // the newline of the torn record, which is counted in skip
	}
	s.torn = s.torn[:0]
	if n > begin && s.buf[n-1] != '\n' {
		end := n + bytes.IndexByte(s.buf[n:], '\n') + 1
		s.torn = append(s.torn, s.buf[n:end]...)
		written++
	}
	s.partial, s.written = next.batch, written
}

var newline = []byte{'\n'}

// cause is what is behind a *PathError: that it is a write to standard output
// is said already.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Close leaves standard output open: it is not ours alone.
func (s *Sink) Close(context.Context) error { return nil }
