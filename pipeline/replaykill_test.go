package pipeline

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/deadletters"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// fileSink writes lines to a file; it refuses those that end with 5.
type fileSink struct {
	f    *os.File
	deps sinks.Deps
}

func (s *fileSink) Send(ctx context.Context, batches []*record.Batch) (sinks.Result, error) {
	res := sinks.Result{Batches: len(batches)}
	for _, b := range batches {
		for i := range b.Records {
			line := b.Records[i].Line
			if line[len(line)-1] == '5' {
				s.deps.DeadLetter(b, i, "five", "words")
				res.Refused = append(res.Refused, sinks.Refusal{Source: b.Origin.Source, Reason: "five", Records: 1})
				continue
			}
			if _, err := fmt.Fprintf(s.f, "%s\n", line); err != nil {
				return sinks.Result{}, err
			}
			res.Delivered++
		}
	}
	return res, nil
}

func (s *fileSink) Close(context.Context) error { return nil }

// TestDeadLettersChild is what TestKilledAnywhere runs and kills.
func TestDeadLettersChild(t *testing.T) {
	dir, mode := os.Getenv("LBSHIPD_TEST_LETTERS"), os.Getenv("LBSHIPD_TEST_MODE")
	switch mode {
	case "write":
		var from int
		fmt.Sscan(os.Getenv("LBSHIPD_TEST_FROM"), &from)
		w := deadletters.NewWriter(dir, "a", 1<<20, slog.New(slog.DiscardHandler), deadletters.Events{Dropped: func(int) { panic("dropped") }, Failed: func(int) { panic("failed") }})
		for i := from; ; i++ {
			b := record.NewBatch()
			b.Origin = &record.Origin{Source: "one", Kind: "file", Input: "f"}
			r := b.Add()
			r.Line = fmt.Appendf(nil, "%s %d", strings.Repeat("x", i%300), i)
			r.Message, r.Time, r.Offset = r.Line, int64(i), int64(i)
			w.Add(b, 0, "too_old", "words")
			b.Release()
			if i%3 == 0 {
				w.Flush()
				fmt.Printf("kept %d\n", i)
			}
		}
	case "replay":
		if _, err := newFileReplay(t, dir).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	default:
		t.Skip("it is run by TestKilledAnywhere")
	}
}

func newFileReplay(t *testing.T, dir string) *Replay {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &Replay{DataDir: dir, From: "a", Config: &config.Config{}, To: &config.Target{Name: "a"}, Timeout: 20 * time.Second,
		Log: slog.New(slog.DiscardHandler), MakeSink: func(_ *config.Target, d sinks.Deps) (sinks.Sink, string, error) {
			return &fileSink{f, d}, "file", nil
		}}
}

// child runs TestDeadLettersChild, kills it at some moment, and returns the last
// number that it said was kept.
func child(t *testing.T, dir, mode string, from int, lives time.Duration) int {
	cmd := exec.Command(os.Args[0], "-test.run=^TestDeadLettersChild$")
	cmd.Env = append(os.Environ(), "LBSHIPD_TEST_LETTERS="+dir, "LBSHIPD_TEST_MODE="+mode, fmt.Sprint("LBSHIPD_TEST_FROM=", from))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Error(err)
		return from - 1
	}
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return from - 1
	}
	last, timer := from-1, (*time.Timer)(nil)
	if mode == "replay" {
		timer = time.AfterFunc(lives, func() { cmd.Process.Kill() })
	}
	for s := bufio.NewScanner(out); s.Scan(); {
		fmt.Sscanf(s.Text(), "kept %d", &last)
		if timer == nil { // it writes now
			timer = time.AfterFunc(lives, func() { cmd.Process.Kill() })
		}
	}
	cmd.Wait()
	if timer != nil {
		timer.Stop()
	}
	return last
}

// The daemon and replays are killed at random moments, side by side. What was
// said to be kept is delivered or still there, what is refused again is there
// and is not delivered, and nothing is damaged.
func TestKilledAnywhere(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	written := map[int]bool{} // said to be kept
	from, killed := 0, 0
	for range 12 {
		done := make(chan struct{})
		lives := time.Duration(5+rnd.IntN(150)) * time.Millisecond
		go func() {
			defer close(done)
			child(t, dir, "replay", 0, lives)
		}()
		last := child(t, dir, "write", from, time.Duration(5+rnd.IntN(60))*time.Millisecond)
		for i := from; i <= last; i++ {
			written[i] = true
		}
		if last >= from {
			killed++
		}
		from = last + 1000 // what it wrote and did not say is not told apart
		<-done
	}
	if killed < 1 || len(written) < 10 {
		t.Fatalf("only %d writers came to writing, %d letters", killed, len(written))
	}
	res, err := newFileReplay(t, dir).Run(t.Context())
	if err != nil || res.Damaged > 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	delivered, kept := map[int]int{}, map[int]int{}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		var n int
		fmt.Sscan(fields[len(fields)-1], &n)
		delivered[n]++
	}
	lines, reasons := lettersOf(t, dir)
	for i, line := range lines {
		var n int
		fields := strings.Fields(line)
		fmt.Sscan(fields[len(fields)-1], &n)
		kept[n]++
		if reasons[i] != "five" {
			t.Errorf("%d is kept for %s", n, reasons[i])
		}
	}
	twice := 0
	for i := range written {
		switch {
		case i%10 == 5 && (kept[i] != 1 || delivered[i] != 0), i%10 != 5 && (delivered[i] == 0 || kept[i] != 0):
			t.Errorf("letter %d was delivered %d times and is kept %d times", i, delivered[i], kept[i])
		}
		if delivered[i] > 1 {
			twice++
		}
	}
	t.Logf("%d letters, %d of them sent more than once", len(written), twice)
}
