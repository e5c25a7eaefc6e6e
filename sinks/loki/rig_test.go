package loki

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// rig is a sink with what it told the pipeline.
type rig struct {
	*Sink
	mu       sync.Mutex
	outcomes []string
	notes    map[string]int
	letters  []*record.Record // only with keep
	owners   []string         // the sources of letters
	reasons  []string         // why they are letters
}

func newRig(t testing.TB, l config.LokiTarget, bundle *config.TLSBundle) *rig {
	t.Helper()
	return newRigWith(t, l, bundle, false)
}

// newRigWith makes a rig that keeps what is refused, if keep is set.
func newRigWith(t testing.TB, l config.LokiTarget, bundle *config.TLSBundle, keep bool) *rig {
	t.Helper()
	r := &rig{notes: map[string]int{}}
	deps := sinks.Deps{
		Host: "node1", Bundle: bundle,
		Request: func(took time.Duration, outcome string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.outcomes = append(r.outcomes, outcome)
		},
		Note: func(reason string, n int) { r.notes[reason] += n },
	}
	if keep {
		deps.DeadLetter = func(b *record.Batch, i int, reason, detail string) {
			r.letters = append(r.letters, &b.Records[i])
			r.owners = append(r.owners, b.Origin.Source)
			r.reasons = append(r.reasons, reason)
			if detail == "" || len(detail) > maxDetail {
				t.Errorf("detail of %d bytes", len(detail))
			}
		}
	}
	s, err := New(&config.Target{Name: "t", Loki: &l}, deps)
	if err != nil {
		t.Fatal(err)
	}
	r.Sink = s.(*Sink)
	t.Cleanup(func() { r.Close(context.Background()) })
	return r
}

func (r *rig) requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.outcomes)
}

// line is a record of a test; stream is its unit.
type line struct {
	stream string
	at     time.Time
	text   string
	fields []string // names and values
}

var batchNumber atomic.Int64

// batchOf makes a batch of one input; its positions are unlike any other's.
func batchOf(lines ...line) *record.Batch {
	b := record.NewBatch()
	b.Origin = testOrigin
	n := batchNumber.Add(1)
	b.Before, b.After = record.Position(fmt.Sprintf("p%d", n-1)), record.Position(fmt.Sprintf("p%d", n))
	for _, l := range lines {
		r := b.Add()
		r.Time, r.Line, r.Level = l.at.UnixNano(), b.Copy([]byte(l.text)), record.LevelInfo
		r.Header = b.NewHeader()
		r.Header.Unit = b.Copy([]byte(l.stream))
		for i := 0; i < len(l.fields); i += 2 {
			b.AddField(r, []byte(l.fields[i]), []byte(l.fields[i+1]))
		}
	}
	return b
}

var testOrigin = &record.Origin{Source: "src", Kind: "journald", Input: "journal", Host: "node1"}

// send sends batches once and wants no error.
func (r *rig) send(t testing.TB, batches ...*record.Batch) sinks.Result {
	t.Helper()
	res, err := r.Send(t.Context(), batches)
	if err != nil {
		t.Fatalf("Send: %v", err)
	}
	checkComplete(t, res, batches)
	return res
}

// checkComplete: every record is accounted for, once.
func checkComplete(t testing.TB, res sinks.Result, batches []*record.Batch) {
	t.Helper()
	n := 0
	for _, b := range batches[:res.Batches] {
		n += len(b.Records)
	}
	if res.Delivered+res.RefusedRecords() != n {
		t.Errorf("of %d records in %d answered batches %d delivered and %d refused", n, res.Batches, res.Delivered, res.RefusedRecords())
	}
}

// untilSent sends as the pipeline does: again and again what is not answered.
func (r *rig) untilSent(t testing.TB, batches ...*record.Batch) (total sinks.Result) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for total.Batches < len(batches) {
		res, err := r.Send(t.Context(), batches[total.Batches:])
		checkComplete(t, res, batches[total.Batches:])
		total.Batches += res.Batches
		total.Delivered += res.Delivered
		total.Refused = append(total.Refused, res.Refused...)
		if err == nil {
			continue
		}
		var failed *sinks.Error
		if !errors.As(err, &failed) {
			t.Fatalf("error %v is not a *sinks.Error", err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("not sent after a minute: %v", err)
		}
		time.Sleep(10 * time.Millisecond) // the pipeline's back-off
	}
	return total
}

// wantError sends and wants an error of that class.
func (r *rig) wantError(t testing.TB, class string, batches ...*record.Batch) (sinks.Result, *sinks.Error) {
	t.Helper()
	res, err := r.Send(t.Context(), batches)
	var failed *sinks.Error
	if !errors.As(err, &failed) {
		t.Fatalf("Send gave %+v and error %v, want one of class %s", res, err, class)
	}
	if failed.Class != class {
		t.Fatalf("class %s (%v), want %s", failed.Class, err, class)
	}
	checkComplete(t, res, batches)
	return res, failed
}

func refusedOf(res sinks.Result, reason string) int {
	n := 0
	for _, f := range res.Refused {
		if f.Reason == reason {
			n += f.Records
		}
	}
	return n
}
