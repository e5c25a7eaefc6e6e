package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/deadletters"
	"github.com/lbshipd/lbshipd/internal/backoff"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// Replay sends dead letters again. Its fields are set before Run and not
// changed from then on.
//
// A file of letters is replaced, by what is kept of it, once all of it was
// answered: a replay that is killed leaves the file as it was, and what it had sent
// of it is sent once more by the next one.
type Replay struct {
	DataDir string
	From    string         // the target whose letters they are
	Config  *config.Config // resolved
	To      *config.Target // where they are sent
	Reason  string         // only letters refused for it; empty: all
	Keep    bool           // the files stay as they are
	Timeout time.Duration  // how long a target may take nothing before it is over
	Log     *slog.Logger
	Host    string

	// MakeSink makes the target's sink; nil: the real one.
	MakeSink func(*config.Target, sinks.Deps) (sinks.Sink, string, error)

	sink    sinks.Sink
	session *deadletters.Session
	refused map[letterPlace]why // of the Send that is under way
	number  int
	lastErr error
	result  Replayed
}

// Replayed is what a replay did, in letters.
type Replayed struct {
	Delivered int
	Refused   map[string]int    // again, by reason
	Details   map[string]string // the target's words when it refused one for the reason first
	Left      int               // not answered, so kept
	Other     int               // of another reason than was asked for, kept
	Repeats   int               // of a letter that was there before; removed
	Damaged   int               // lines that are no letters; kept
	// Err says why the target did not take those that are left.
	Err error
}

type letterPlace struct {
	batch *record.Batch
	index int
}

type why struct{ reason, detail string }

// One Send is given about that many bytes of lines, and that many letters at most.
const (
	replayBytes   = 1 << 20
	replayLetters = 4096
)

// Run sends what there is. The error is about what is here: a file that cannot
// be read, a sink that cannot be made, another replay that is at work.
func (r *Replay) Run(ctx context.Context) (Replayed, error) {
	r.result.Refused, r.result.Details = map[string]int{}, map[string]string{}
	makeSink := r.MakeSink
	if makeSink == nil {
		makeSink = newSink
	}
	r.refused = map[letterPlace]why{}
	var err error
	r.sink, _, err = makeSink(r.To, sinks.Deps{
		Log: r.Log, Host: r.Host, Bundle: r.Config.TLSBundle(r.To),
		Request: func(time.Duration, string) {}, Note: func(string, int) {}, Using: func(string) {},
		DeadLetter: func(b *record.Batch, i int, reason, detail string) {
			r.refused[letterPlace{b, i}] = why{reason, detail}
		},
	})
	if err != nil {
		return r.result, fmt.Errorf("target %q: %w", r.To.Name, err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		r.sink.Close(closing)
	}()
	if r.session, err = deadletters.Begin(r.DataDir, r.From); err != nil {
		return r.result, err
	}
	defer r.session.End()
	for _, path := range r.session.Files {
		if ctx.Err() != nil {
			break // the rest is not even counted
		}
		if err := r.file(ctx, path); err != nil {
			return r.result, fmt.Errorf("%s: %w", path, err)
		}
	}
	return r.result, nil
}

// file sends the letters of one file, and keeps of it what is to be kept.
func (r *Replay) file(ctx context.Context, path string) error {
	w, err := r.session.Rewrite(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // dropped by the daemon, to make room
	}
	if err != nil {
		return err
	}
	in, changed := deadletters.NewScanner(w.Original), false
	for {
		c, err := r.gather(in)
		if err != nil && !errors.Is(err, io.EOF) {
			w.Abort()
			return err
		}
		r.send(ctx, c)
		for i := range c.lines {
			if c.lines[i].changed {
				changed = true
			}
			if !c.lines[i].gone {
				w.Keep(c.lines[i].raw)
			}
		}
		if errors.Is(err, errTooLong) {
			r.Log.Warn("a damaged line is too long to be copied: the file stays as it is, though letters of it were sent", "path", path)
			changed = false
			break
		}
		if err != nil {
			break
		}
	}
	if r.Keep || !changed {
		w.Abort()
		return nil
	}
	return w.Commit()
}

// errTooLong ends a file: what is behind such a line stays for the next time.
var errTooLong = fmt.Errorf("too long a line: %w", io.EOF)

// chunk is a run of a file's lines, and the batches of those that are sent.
type chunk struct {
	lines   []replayLine
	batches []*record.Batch
	sent    []int // indices of lines, in the order of the batches' records
}

// replayLine is one line and what becomes of it.
type replayLine struct {
	raw     []byte
	letter  *deadletters.Letter // nil: it is not sent
	gone    bool                // delivered, or a repeat
	changed bool                // gone, or other than it was
}

// gather reads the next lines. io.EOF comes with the last ones.
func (r *Replay) gather(in *deadletters.Scanner) (*chunk, error) {
	c, bytes := new(chunk), 0
	for bytes < replayBytes && len(c.lines) < replayLetters {
		l, err := in.Next()
		if err != nil {
			return c, err
		}
		x := replayLine{raw: append([]byte(nil), l.Raw...)}
		bytes += len(x.raw)
		switch {
		case l.Err != nil && l.Raw == nil:
			r.result.Damaged++
			return c, errTooLong
		case l.Err != nil:
			r.result.Damaged++
		case r.Reason != "" && l.Letter.Reason != r.Reason:
			r.result.Other++
		case r.session.Repeat(l.Letter.ID):
			r.result.Repeats++
			x.gone, x.changed = true, true
		default:
			x.letter = l.Letter
		}
		c.lines = append(c.lines, x)
	}
	return c, nil
}

// build makes batches of the letters: of one origin each, and small.
func (r *Replay) build(c *chunk) {
	var b *record.Batch
	var last *deadletters.Letter
	bytes := 0
	for i := range c.lines {
		l := c.lines[i].letter
		if l == nil {
			continue
		}
		if b == nil || bytes > replayBytes/4 || !l.SameOrigin(last) {
			var origin *record.Origin
			if b != nil && l.SameOrigin(last) {
				origin = b.Origin // sinks know it by its address
			} else {
				origin = l.Origin()
			}
			b, bytes = record.NewBatch(), 0
			b.Origin = origin
			b.Before = record.Position(fmt.Sprintf("replay:%d", r.number))
			r.number++
			b.After = record.Position(fmt.Sprintf("replay:%d", r.number))
			c.batches = append(c.batches, b)
		}
		l.AddTo(b)
		bytes += len(c.lines[i].raw)
		b.Read++
		b.ReadBytes += int64(len(l.LineBytes()))
		c.sent = append(c.sent, i)
		last = l
	}
}

// send sends a chunk's letters until all are answered, or the target has taken
// nothing for Timeout, or ctx ends.
func (r *Replay) send(ctx context.Context, c *chunk) {
	r.build(c)
	defer func() {
		for _, b := range c.batches {
			b.Release()
		}
	}()
	wait := backoff.Backoff{Min: retryMin, Max: retryMax}
	deadline := time.Now().Add(r.Timeout)
	rest, sent := c.batches, c.sent
	for len(rest) > 0 && r.result.Err == nil {
		sending, cancel := context.WithDeadline(ctx, deadline)
		res, err := r.sink.Send(sending, rest)
		cancel()
		for _, b := range rest[:res.Batches] {
			r.settle(c, b, sent[:len(b.Records)])
			sent = sent[len(b.Records):]
		}
		rest = rest[res.Batches:]
		if res.Batches > 0 {
			deadline = time.Now().Add(r.Timeout)
			wait.Reset()
		}
		if len(rest) > 0 {
			r.pause(ctx, err, wait.Next(), deadline)
		}
	}
	r.result.Left += len(sent)
}

// pause waits before the next try, or notes that it is over.
func (r *Replay) pause(ctx context.Context, err error, d time.Duration, deadline time.Time) {
	var e *sinks.Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		d = e.RetryAfter
	}
	if e == nil || e.Class != sinks.ClassShutdown {
		r.lastErr = err
	}
	switch {
	case ctx.Err() != nil:
		r.result.Err = errors.New("interrupted")
	case time.Now().Add(d).After(deadline):
		if r.lastErr == nil {
			r.lastErr = errors.New("no answer")
		}
		r.result.Err = fmt.Errorf("nothing was taken for %v: %w", r.Timeout, r.lastErr)
	default:
		r.Log.Warn("target does not take the letters; they are sent again", "target", r.To.Name, "error", err, "next_try_in", d.Round(time.Millisecond).String())
		if !sleep(ctx, d) {
			r.result.Err = errors.New("interrupted")
		}
	}
}

// settle notes the answer for the letters of one batch.
func (r *Replay) settle(c *chunk, b *record.Batch, lines []int) {
	for i, at := range lines {
		x := &c.lines[at]
		x.changed = true
		w, no := r.refused[letterPlace{b, i}]
		if !no {
			x.gone = true
			r.result.Delivered++
			continue
		}
		delete(r.refused, letterPlace{b, i})
		r.result.Refused[w.reason]++
		if r.result.Details[w.reason] == "" {
			r.result.Details[w.reason] = w.detail
		}
		l := x.letter
		l.Refused, l.Target, l.Reason, l.Detail = time.Now().UTC(), r.To.Name, w.reason, w.detail
		if raw, err := l.AppendTo(nil); err == nil {
			x.raw = raw
		}
	}
}
