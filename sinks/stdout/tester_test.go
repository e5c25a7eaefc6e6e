package stdout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/sinks"
)

func TestTestPrintsOneRecord(t *testing.T) {
	var out bytes.Buffer
	s, err := newSink("json", &out, false, sinks.Deps{Host: "node1"})
	if err != nil {
		t.Fatal(err)
	}
	s.name = "console"
	r := sinks.NewTestReport(s.Test(t.Context(), "alice"))
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || !r.OK || len(r.Steps) != 1 || r.Steps[0].Name != sinks.StepRecord {
		t.Errorf("%+v, %v: %s", r, err, out.String())
	}
	if !strings.Contains(out.String(), "lbshipd test record: alice has the target console tested from node1.") || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("printed %s", out.String())
	}
}

// A reader of standard output that has stopped holds up one test at most, and
// nobody who waits for it.
func TestTestOfAnOutputThatNobodyReads(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	w.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	for err == nil {
		_, err = w.Write(make([]byte, 1<<10))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	w.SetWriteDeadline(time.Time{})
	s, err := newSink("text", w, false, sinks.Deps{Host: "node1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"whoever reads it has stopped reading", "another test"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		steps := s.Test(ctx, "")
		cancel()
		if len(steps) != 1 || steps[0].OK || !strings.Contains(steps[0].Message, want) {
			t.Errorf("%+v, want %q", steps, want)
		}
	}
	r.Close() // the write ends, and with it the test
	for deadline := time.Now().Add(time.Minute); ; {
		steps := s.Test(t.Context(), "")
		if strings.Contains(steps[0].Message, "broken pipe") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", steps)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
