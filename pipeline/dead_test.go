package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/deadletters"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// refuser is a sink that refuses some lines for good, each for a reason.
type refuser struct {
	deps   sinks.Deps
	mu     sync.Mutex
	taken  []string
	refuse func(line string) (reason string)
	fail   func(send int) error // nil: never; it takes the first half of the batches then
	sends  int
}

func (p *refuser) Send(ctx context.Context, batches []*record.Batch) (sinks.Result, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sends++
	var res sinks.Result
	var err error
	if p.fail != nil {
		if err = p.fail(p.sends); err != nil {
			batches = batches[:len(batches)/2]
		}
	}
	for _, b := range batches {
		res.Batches++
		for i := range b.Records {
			line := string(b.Records[i].Line)
			reason := p.refuse(line)
			if reason == "" {
				p.taken = append(p.taken, line)
				res.Delivered++
				continue
			}
			if p.deps.DeadLetter != nil {
				p.deps.DeadLetter(b, i, reason, "because of "+line)
			}
			res.Refused = append(res.Refused, sinks.Refusal{Source: b.Origin.Source, Reason: reason, Records: 1})
		}
	}
	return res, err
}

func (p *refuser) Close(context.Context) error { return nil }

func (p *refuser) make(_ *config.Target, d sinks.Deps) (sinks.Sink, string, error) {
	p.deps = d
	return p, "stdout", nil
}

func endsWith(digit, reason string) func(string) string {
	return func(line string) string {
		if strings.HasSuffix(line, digit) {
			return reason
		}
		return ""
	}
}

func keepingConfig() *config.Config {
	cfg := simpleConfig("app", "a")
	cfg.Targets[0].DeadLetters = &config.DeadLetters{MaxBytes: 1 << 20}
	return cfg
}

// lettersOf returns the lines of a target's letters, and their reasons.
func lettersOf(t *testing.T, dir string) (lines, reasons []string) {
	t.Helper()
	err := deadletters.Read(dir, "a", func(l *deadletters.Letter, _ []byte) error {
		lines, reasons = append(lines, string(l.LineBytes())), append(reasons, l.Reason)
		return nil
	}, func(path string, l deadletters.Line) { t.Errorf("%s:%d: %v", path, l.Number, l.Err) })
	if err != nil {
		t.Error(err)
	}
	return lines, reasons
}

// Wherever a SIGKILL would come, what was refused before a stored position is
// among the letters.
func TestLettersAreKeptBeforePositionsMove(t *testing.T) {
	h := newHouse(t)
	h.tapes["app"] = newTape(numbered(0, 5000)...)
	sink := &refuser{refuse: endsWith("7", "too_old")}
	h.open()
	h.sup.makeSink = sink.make
	h.apply(keepingConfig())
	looks := 0
	await(t, "all of it", func() bool {
		at := 0
		for _, e := range h.store.Entries("app") {
			if e.Input == "tape" {
				at, _ = strconv.Atoi(string(e.Position))
			}
		}
		lines, _ := lettersOf(t, h.dir)
		have := map[string]bool{}
		for _, l := range lines {
			have[l] = true
		}
		for i := 7; i < at; i += 10 {
			if !have[fmt.Sprint("line ", i)] {
				t.Fatalf("the position is %d, and line %d is not among the %d letters", at, i, len(lines))
			}
		}
		looks++
		return at == 5000
	})
	h.stop(time.Minute)
	if lines, _ := lettersOf(t, h.dir); len(lines) != 500 || len(sink.taken) != 4500 {
		t.Errorf("%d letters, %d lines taken, after %d looks", len(lines), len(sink.taken), looks)
	}
}

// Without a place for letters shipping goes on, and it is seen.
func TestLettersThatCannotBeKept(t *testing.T) {
	h := newHouse(t)
	h.log = &bytes.Buffer{}
	h.tapes["app"] = newTape(numbered(0, 100)...)
	if err := os.WriteFile(filepath.Join(h.dir, "dead-letters"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	sink := &refuser{refuse: endsWith("7", "too_old")}
	h.open()
	h.sup.makeSink = sink.make
	h.apply(keepingConfig())
	await(t, "the answers", func() bool { return h.row("app", "a").Delivered == 90 })
	st := h.sup.Status()
	if text := strings.Join(st.Reasons(), "\n"); !strings.Contains(text, `target "a": refused records cannot be kept as dead letters`) {
		t.Errorf("the status says %q", text)
	}
	if n := counterValue(t, h, "lbshipd_target_dead_letters_errors_total"); n != 10 {
		t.Errorf("%v letters are counted as not kept, want 10", n)
	}
	h.stop(time.Minute)
}

func counterValue(t *testing.T, h *house, name string) float64 {
	t.Helper()
	families, err := h.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return -1
}

// putLetters makes n letters, "line 0" and so on, by turns of two reasons and
// of two sources.
func putLetters(t testing.TB, dir string, from, n int) {
	t.Helper()
	w := deadletters.NewWriter(dir, "a", 64<<20, slog.New(slog.DiscardHandler),
		deadletters.Events{Dropped: func(int) { t.Error("dropped") }, Failed: func(int) { t.Error("failed") }})
	defer w.Close()
	for i := from; i < from+n; i++ {
		b := record.NewBatch()
		b.Origin = &record.Origin{Source: []string{"one", "two"}[i/7%2], Kind: "file", Input: "f"}
		r := b.Add()
		r.Line = fmt.Appendf(nil, "line %d", i)
		r.Message, r.Time, r.Offset = r.Line, int64(i), int64(i)
		w.Add(b, 0, []string{"too_old", "too_long"}[i%2], "words")
		b.Release()
	}
}

func newReplayOf(dir string, sink *refuser) *Replay {
	return &Replay{DataDir: dir, From: "a", Config: &config.Config{}, To: &config.Target{Name: "b"}, Timeout: 20 * time.Second,
		Log: slog.New(slog.DiscardHandler), MakeSink: sink.make}
}

func TestReplay(t *testing.T) {
	dir := t.TempDir()
	putLetters(t, dir, 0, 1000)
	putLetters(t, dir, 990, 20) // as after a crash: ten of them are there
	sink := &refuser{refuse: endsWith("4", "label_limit"), fail: func(send int) error {
		if send%2 == 1 {
			return &sinks.Error{Class: sinks.ClassServer, RetryAfter: time.Millisecond, Err: errors.New("not now")}
		}
		return nil
	}}
	r := newReplayOf(dir, sink)
	r.Reason = "too_old" // the even ones
	res, err := r.Run(t.Context())
	if err != nil || res.Err != nil {
		t.Fatal(err, res.Err)
	}
	want := Replayed{Delivered: 404, Refused: map[string]int{"label_limit": 101}, Other: 510, Repeats: 5}
	if res.Delivered != want.Delivered || !maps.Equal(res.Refused, want.Refused) || res.Other != want.Other || res.Repeats != want.Repeats || res.Left != 0 {
		t.Errorf("%+v, want %+v", res, want)
	}
	if !strings.HasPrefix(res.Details["label_limit"], "because of line") {
		t.Errorf("details %v", res.Details)
	}
	var wantTaken, wantKept []string
	for i := range 1010 {
		if line := fmt.Sprint("line ", i); i%2 == 0 && i%10 != 4 {
			wantTaken = append(wantTaken, line)
		} else {
			wantKept = append(wantKept, line)
		}
	}
	if !slices.Equal(sink.taken, wantTaken) {
		t.Errorf("%d lines taken, want %d, in order", len(sink.taken), len(wantTaken))
	}
	kept, reasons := lettersOf(t, dir)
	if !slices.Equal(kept, wantKept) {
		t.Errorf("%d letters kept, want %d, in order", len(kept), len(wantKept))
	}
	for i, line := range kept {
		want := "too_long"
		if strings.HasSuffix(line, "4") {
			want = "label_limit"
		}
		if reasons[i] != want {
			t.Fatalf("%s is kept for %s, want %s", line, reasons[i], want)
		}
	}
	// And all the rest: the directory is empty then.
	last := newReplayOf(dir, &refuser{refuse: endsWith("never", "")})
	if res, err := last.Run(t.Context()); err != nil || res.Delivered != len(wantKept) || len(res.Refused) != 0 || res.Repeats != 5 {
		t.Errorf("%+v, %v", res, err)
	}
	if kept, _ := lettersOf(t, dir); len(kept) != 0 {
		t.Errorf("%d letters are left", len(kept))
	}
}

// A target that takes nothing for the timeout leaves the letters where they are.
func TestReplayGivesUp(t *testing.T) {
	dir := t.TempDir()
	putLetters(t, dir, 0, 100)
	sink := &refuser{refuse: endsWith("never", ""), fail: func(send int) error {
		if send == 1 {
			return &sinks.Error{Class: sinks.ClassServer, Err: errors.New("not now")} // after half of it
		}
		return &sinks.Error{Class: sinks.ClassServer, RetryAfter: time.Hour, Err: errors.New("come back later")}
	}}
	r := newReplayOf(dir, sink)
	r.Timeout = time.Second
	// The second Send and those after it take half of what is left.
	res, err := r.Run(t.Context())
	kept, _ := lettersOf(t, dir)
	if err != nil || res.Err == nil || !strings.Contains(res.Err.Error(), "come back later") {
		t.Errorf("%v, %v", res.Err, err)
	}
	if res.Delivered+res.Left != 100 || len(kept) != res.Left || res.Left == 0 || res.Delivered == 0 || len(sink.taken) != res.Delivered {
		t.Errorf("%+v, %d letters kept, %d lines taken", res, len(kept), len(sink.taken))
	}
	if !slices.Equal(slices.Concat(sink.taken, kept), numbered(0, 100)) {
		t.Error("what was taken and what is kept is not all of it, in order")
	}
}

func TestReplayKeepsAndIsAlone(t *testing.T) {
	dir := t.TempDir()
	putLetters(t, dir, 0, 30)
	busy, err := deadletters.Begin(dir, "a")
	if err != nil {
		t.Fatal(err)
	}
	sink := &refuser{refuse: endsWith("3", "no")}
	r := newReplayOf(dir, sink)
	if _, err := r.Run(t.Context()); !errors.Is(err, deadletters.ErrBusy) {
		t.Errorf("a second replay: %v", err)
	}
	busy.End()
	r = newReplayOf(dir, sink)
	r.Keep = true
	if res, err := r.Run(t.Context()); err != nil || res.Delivered != 27 {
		t.Errorf("%+v, %v", res, err)
	}
	if kept, reasons := lettersOf(t, dir); len(kept) != 30 || slices.Contains(reasons, "no") {
		t.Errorf("%d letters kept: %v", len(kept), reasons)
	}
}
