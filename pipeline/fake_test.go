package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
	"github.com/lbshipd/lbshipd/sources"
)

// tape is an input in memory: lines that are numbered by their position. It
// stands in for a file where a test must decide when what is read.
type tape struct {
	mu    sync.Mutex
	lines []string
	ended bool
	grown chan struct{}
	opens int

	broken error // of every Read; set before it is opened

	risk       func(pos record.Position) (sources.Risk, bool) // nil: not known; set before it is found
	unreadable int                                            // so many of the first lines are read and cannot be given; set before it is opened

	gaps map[int]*sources.GapError // what is lost at a line: as many lines as it says

	seeking func() error // asked before every Seek; set before it is opened

	asleep atomic.Bool  // its readers do not look whether there is anything new
	looked atomic.Int64 // when one of them last looked, Unix ns
}

func newTape(lines ...string) *tape { return &tape{lines: lines, grown: make(chan struct{})} }

func (t *tape) write(lines ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, lines...)
	close(t.grown)
	t.grown = make(chan struct{})
}

func (t *tape) opened() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.opens
}

func (t *tape) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	close(t.grown)
	t.grown = make(chan struct{})
}

// tapeSource is a source with one input, and another one in its place whenever
// rotate gives it: "next", "nextnext" and so on.
type tapeSource struct {
	tape   *tape
	rotate chan *tape
	cfg    *config.Source
	known  func() []sources.Stored
	older  *[]*tapeInput // what was found before, by whichever source of that name

	watched func() time.Time // nil: it is told at once
	trouble func() error     // nil: there is none
}

// Trouble implements sources.Troubled.
func (s *tapeSource) Trouble() error {
	if s.trouble == nil {
		return nil
	}
	return s.trouble()
}

// Watched implements sources.Watcher.
func (s *tapeSource) Watched() (at time.Time) {
	if s.watched != nil {
		at = s.watched()
	}
	return at
}

func (s *tapeSource) Run(ctx context.Context, found func(sources.Input)) error {
	if len(*s.older) == 0 {
		*s.older = append(*s.older, &tapeInput{s, s.tape, &record.Origin{Source: s.cfg.Name, Input: "tape", Path: "/tape"}, ""})
	}
	before, known := "", s.known()
	for _, in := range *s.older {
		name := in.origin.Input
		if in.tape.hasEnded() && len(known) > 0 && !slices.ContainsFunc(known, func(k sources.Stored) bool { return k.Input == name }) {
			continue // all had it: it is not looked for
		}
		found(&tapeInput{s, in.tape, in.origin, before})
		before = name
	}
	before = (*s.older)[len(*s.older)-1].origin.Input
	for {
		select {
		case next := <-s.rotate:
			name := "next" + strings.TrimPrefix(before, "tape")
			in := &tapeInput{s, next, &record.Origin{Source: s.cfg.Name, Input: name, Path: "/tape"}, before}
			*s.older = append(*s.older, in)
			found(in)
			before = name
		case <-ctx.Done():
			return nil
		}
	}
}

func (t *tape) hasEnded() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ended
}

type tapeInput struct {
	source      *tapeSource
	tape        *tape
	origin      *record.Origin
	predecessor string
}

func (in *tapeInput) Predecessor() string { return in.predecessor }

func (in *tapeInput) Origin() *record.Origin { return in.origin }

func (in *tapeInput) Risk(pos record.Position) (sources.Risk, bool) {
	if in.tape.risk == nil {
		return sources.Risk{}, false
	}
	return in.tape.risk(pos)
}

func (in *tapeInput) Start() record.Position {
	if in.source.cfg.StartAt == "beginning" {
		return ""
	}
	in.tape.mu.Lock()
	defer in.tape.mu.Unlock()
	return tapePosition(len(in.tape.lines))
}

func tapePosition(n int) record.Position { return record.Position(strconv.Itoa(n)) }

func (in *tapeInput) Open(pos record.Position) (sources.Reader, error) {
	at := 0
	if pos != "" {
		n, err := strconv.Atoi(string(pos))
		if err != nil {
			return nil, fmt.Errorf("position %q: %w", pos, sources.ErrStale)
		}
		at = n
	}
	t := in.tape
	t.mu.Lock()
	t.opens++
	t.mu.Unlock()
	return &tapeReader{tape: t, at: at, until: -1}, nil
}

type tapeReader struct {
	tape  *tape
	at    int
	until int
}

func (r *tapeReader) Wait(ctx context.Context) error {
	for {
		r.tape.mu.Lock()
		ready := !r.tape.asleep.Load() && (r.at < len(r.tape.lines) && r.at != r.until || r.tape.ended)
		grown := r.tape.grown
		r.tape.mu.Unlock()
		if !ready && !r.tape.asleep.Load() {
			r.tape.looked.Store(time.Now().UnixNano())
		}
		if ready {
			return ctx.Err()
		}
		select {
		case <-grown:
		case <-time.After(10 * time.Millisecond): // look again
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *tapeReader) Looked() time.Time { return time.Unix(0, r.tape.looked.Load()) }

func (r *tapeReader) Read(b *record.Batch) error {
	r.tape.mu.Lock()
	defer r.tape.mu.Unlock()
	b.Before, b.After = tapePosition(r.at), tapePosition(r.at)
	if r.tape.broken != nil {
		return r.tape.broken
	}
	start := r.at
	gap := r.tape.gaps[r.at]
	if gap != nil && r.at != r.until {
		r.at += int(gap.Records)
	}
	b.PositionAt = func(rec *record.Record) record.Position { return tapePosition(int(rec.Offset)) }
	for n := 1 + rand.IntN(20); n > 0 && r.at < len(r.tape.lines) && r.at != r.until && (r.at == start || r.tape.gaps[r.at] == nil); n-- {
		if r.at < r.tape.unreadable {
			b.Read++
			r.at++
			continue
		}
		rec := b.Add()
		rec.Line = b.Copy([]byte(r.tape.lines[r.at]))
		rec.Message = rec.Line
		rec.Time, rec.Offset = int64(r.at), int64(r.at)
		b.ReadBytes += int64(len(rec.Line))
		b.Read++
		r.at++
	}
	b.After = tapePosition(r.at)
	if gap != nil && r.at != start {
		return gap
	}
	if r.tape.ended && r.at == len(r.tape.lines) && r.at-start == 0 {
		return io.EOF
	}
	return nil
}

func (r *tapeReader) Until(pos record.Position) { r.until, _ = strconv.Atoi(string(pos)) }
func (r *tapeReader) Close() error              { return nil }

// shelf is a sink in memory that can be told to fail.
type shelf struct {
	mu     sync.Mutex
	lines  []string
	sends  int
	closed int
	fail   func(send int) error // nil: never
	grown  chan struct{}
	block  chan struct{} // while set, Send hangs until it is closed
}

func newShelf() *shelf { return &shelf{grown: make(chan struct{})} }

func (s *shelf) Send(ctx context.Context, batches []*record.Batch) (sinks.Result, error) {
	s.mu.Lock()
	block := s.block
	s.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return sinks.Result{}, &sinks.Error{Class: sinks.ClassShutdown, Err: ctx.Err()}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sends++
	var err error
	if s.fail != nil {
		err = s.fail(s.sends)
	}
	var res sinks.Result
	for i, b := range batches {
		if err != nil && i >= len(batches)/2 {
			return res, err
		}
		for j := range b.Records {
			s.lines = append(s.lines, string(b.Records[j].Line))
		}
		res.Batches++
		res.Delivered += len(b.Records)
	}
	close(s.grown)
	s.grown = make(chan struct{})
	return res, nil
}

func (s *shelf) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed++
	return nil
}

func (s *shelf) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

func (s *shelf) hold(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on {
		s.block = make(chan struct{})
		return
	}
	close(s.block)
	s.block = nil
}

// house is a supervisor over tapes and shelves, in a data directory that
// survives it.
type house struct {
	t       *testing.T
	dir     string
	sup     *Supervisor
	store   *positions.Store
	reg     *prometheus.Registry
	tapes   map[string]*tape
	rotate  chan *tape
	found   map[string]*[]*tapeInput // by source
	shelves map[string]*shelf
	made    map[string]int                 // sinks made, by target
	sink    func(target string) sinks.Sink // nil: the shelf
	log     *bytes.Buffer
	watched func() time.Time // of all tapes; nil: they are told at once
	trouble func() error     // of all tapes; nil: there is none
}

func newHouse(t *testing.T) *house {
	return &house{t: t, rotate: make(chan *tape, 1), dir: t.TempDir(), tapes: map[string]*tape{}, found: map[string]*[]*tapeInput{}, shelves: map[string]*shelf{}, made: map[string]int{}}
}

func (h *house) open() {
	h.t.Helper()
	var err error
	var out io.Writer = io.Discard
	if h.log != nil {
		out = h.log
	}
	log := slog.New(slog.NewTextHandler(out, nil))
	if h.store, err = positions.Open(h.dir, log); err != nil {
		h.t.Fatal(err)
	}
	h.reg = prometheus.NewRegistry()
	h.sup = New(Options{Log: log, Store: h.store, Registry: h.reg, Host: "node1", Version: "test", DataDir: h.dir})
	h.sup.patience = 3 * time.Millisecond
	h.sup.makeSource = func(c *config.Source, d sources.Deps) (sources.Source, string, error) {
		if h.tapes[c.Name] == nil {
			return nil, "", errors.New("no such tape")
		}
		if h.found[c.Name] == nil {
			h.found[c.Name] = &[]*tapeInput{}
		}
		return &tapeSource{h.tapes[c.Name], h.rotate, c, d.Known, h.found[c.Name], h.watched, h.trouble}, "file", nil
	}
	h.sup.makeSink = func(c *config.Target, _ sinks.Deps) (sinks.Sink, string, error) {
		if h.shelves[c.Name] == nil {
			return nil, "", errors.New("no such shelf")
		}
		h.made[c.Name]++
		if h.sink != nil {
			return h.sink(c.Name), "stdout", nil
		}
		return h.shelves[c.Name], "stdout", nil
	}
}

func (h *house) apply(cfg *config.Config) {
	h.t.Helper()
	if err := h.sup.Apply(cfg); err != nil {
		h.t.Fatal(err)
	}
}

// stop stops within d and closes the store.
func (h *house) stop(d time.Duration) int64 {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	left := h.sup.Stop(ctx)
	if err := h.store.Close(); err != nil {
		h.t.Fatal(err)
	}
	return left
}

// await waits until cond holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// awaitLines waits until the shelf holds n lines, and fails at once if it holds more.
func (h *house) awaitLines(target string, n int) {
	h.t.Helper()
	s := h.shelves[target]
	await(h.t, fmt.Sprintf("%d lines at %s", n, target), func() bool {
		got := len(s.got())
		if got > n {
			h.t.Fatalf("%s holds %d lines, more than %d", target, got, n)
		}
		return got == n
	})
}

func numbered(from, to int) []string {
	var lines []string
	for i := from; i < to; i++ {
		lines = append(lines, fmt.Sprintf("line %d", i))
	}
	return lines
}

func simpleConfig(source string, targets ...string) *config.Config {
	c := &config.Config{Sources: []config.Source{{Name: source, LogFormat: "raw", StartAt: "beginning"}}}
	for _, t := range targets {
		c.Targets = append(c.Targets, config.Target{Name: t, Stdout: &config.StdoutTarget{}, QueueBytes: 1 << 20})
	}
	return c
}
