package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lbshipd/lbshipd/parse"
	"github.com/lbshipd/lbshipd/record"
)

func testProcessor(t *testing.T, format string, min record.Level) *processor {
	t.Helper()
	p := &processor{min: min, metrics: newMetrics(prometheus.NewRegistry()).source("s"),
		options: parse.Options{MaxFields: maxFields, Location: time.UTC}}
	if format == "raw" {
		return p
	}
	var err error
	if p.format, err = parse.New(format, nil); err != nil {
		t.Fatal(err)
	}
	if format == "cri" {
		if p.inner, err = parse.New("auto", nil); err != nil {
			t.Fatal(err)
		}
		p.join, p.options.Fields = &joiner{max: 40}, true
	}
	return p
}

// readAt is when the lines of a test are read.
var readAt = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC).UnixNano()

func batchOf(first int, lines ...string) *record.Batch {
	b := record.NewBatch()
	b.PositionAt = func(r *record.Record) record.Position { return tapePosition(int(r.Offset)) }
	b.Before, b.After = tapePosition(first), tapePosition(first+len(lines))
	for i, line := range lines {
		r := b.Add()
		r.Line = b.Copy([]byte(line))
		r.Message, r.Time, r.Flags, r.Offset = r.Line, readAt, record.TimeAssigned, int64(first+i)
	}
	b.Read = len(lines)
	return b
}

func shown(b *record.Batch) []string {
	var out []string
	for i := range b.Records {
		r := &b.Records[i]
		at := time.Unix(0, r.Time).UTC().Format("05.000")
		if r.Flags&record.TimeAssigned != 0 {
			at = "read"
		}
		out = append(out, fmt.Sprintf("%s %s %s", at, r.Level, r.Line))
	}
	return out
}

func TestMinimumLevel(t *testing.T) {
	lines := []string{`{"level":"debug","msg":"a"}`, `{"level":"info","msg":"b"}`, `{"msg":"none"}`, `not json`, `{"level":"error","msg":"c","ts":"2026-01-02T03:04:05.678Z"}`}
	p := testProcessor(t, "json", record.LevelInfo)
	b := batchOf(0, lines...)
	p.process(b, false)
	want := []string{"read info " + lines[1], "read unknown " + lines[2], "read unknown " + lines[3], "05.678 error " + lines[4]}
	if got := shown(b); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if b.Filtered != 1 || b.Read != 5 {
		t.Errorf("filtered %d of %d", b.Filtered, b.Read)
	}
	if b.Records[2].Flags&record.Unparsed == 0 || b.Records[1].Flags&record.Unparsed != 0 {
		t.Error("unparsed is not marked")
	}
}

// A journal entry's own time stays, and its priority counts where the message
// says nothing.
func TestJournalEntryWithAFormat(t *testing.T) {
	p := testProcessor(t, "json", record.LevelWarning)
	p.ownTime = true
	b := batchOf(0, `{"level":"error","ts":"2020-01-01T00:00:00Z"}`, `{"level":"debug"}`, `{"a":1}`, `plain`)
	for i := range b.Records {
		b.Records[i].Level, b.Records[i].Flags = record.LevelInfo, 0
	}
	b.Records[3].Level = record.LevelCritical
	p.process(b, false)
	want := []string{`09.000 error {"level":"error","ts":"2020-01-01T00:00:00Z"}`, `09.000 critical plain`}
	if got := shown(b); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestPartsAreJoined(t *testing.T) {
	const at = "2026-01-02T03:04:0"
	p := testProcessor(t, "cri", record.LevelInfo)
	b := batchOf(0, at+"1Z stdout F INFO whole", at+"2Z stdout P ERROR one,", at+"3Z stderr P WARN err,", at+"4Z stdout P two,")
	p.process(b, false)
	if got, want := shown(b), []string{"01.000 info INFO whole"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// The position is held before the oldest part.
	if pos, held := p.join.held(); !held || pos != "1" {
		t.Errorf("held at %q %v, want 1", pos, held)
	}
	b = batchOf(4, at+"5Z stdout F three", at+"6Z stdout F DEBUG dropped")
	p.process(b, false)
	if got, want := shown(b), []string{"02.000 error ERROR one,two,three"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if pos, held := p.join.held(); !held || pos != "2" {
		t.Errorf("held at %q %v, want 2", pos, held)
	}
	// What is longer than a line may be is cut; the rest is not kept.
	b = batchOf(6, at+"7Z stderr P "+strings.Repeat("x", 1000), at+"8Z stderr F end")
	p.process(b, false)
	if got, want := shown(b), []string{"03.000 warning WARN err," + strings.Repeat("x", 31)}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if b.Records[0].Flags&record.Truncated == 0 {
		t.Error("the cut is not marked")
	}
	if _, held := p.join.held(); held {
		t.Error("something is held although nothing is open")
	}
}

func TestPartsWithoutAnEndAreShippedAsTorn(t *testing.T) {
	p := testProcessor(t, "cri", record.LevelUnknown)
	p.process(batchOf(0, "2026-01-02T03:04:01Z stdout P ERROR only"), false)
	b := batchOf(1)
	p.process(b, false)
	if len(b.Records) != 0 {
		t.Errorf("given up at once: %q", shown(b))
	}
	p.join.streams[0].since = time.Now().Add(-joinWithin)
	p.process(b, false)
	if got, want := shown(b), []string{"01.000 error ERROR only"}; !slices.Equal(got, want) || b.Records[0].Flags&record.Torn == 0 {
		t.Errorf("got %q, want %q, torn", got, want)
	}
	// At the end of an input nothing is waited for.
	p.process(batchOf(1, "2026-01-02T03:04:02Z stderr P last"), false)
	b = batchOf(2)
	p.process(b, true)
	if got, want := shown(b), []string{"02.000 unknown last"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
