package stdout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
	"github.com/lbshipd/lbshipd/sinks/probe"
)

// testTimeout is how long printing may take: the target has no timeout.
const testTimeout = 10 * time.Second

// printing holds one test at a time: one that is stuck in a write cannot be
// ended, and is not to have company.
var printing = make(chan struct{}, 1)

// Test implements sinks.Tester: it prints one record.
func (s *Sink) Test(ctx context.Context, by string) []sinks.Step {
	p := probe.New("", testTimeout)
	p.Do(ctx, sinks.StepRecord, func(ctx context.Context) (string, error) {
		select {
		case printing <- struct{}{}:
		default:
			return "", errors.New("another test is being printed, or waits for whoever reads standard output to go on reading")
		}
		done := make(chan error, 1)
		go func() {
			defer func() { <-printing }()
			done <- s.print(probe.Line(s.deps.Host, s.name, by))
		}()
		select {
		case err := <-done:
			return "one record was printed", err
		case <-ctx.Done():
			return "", fmt.Errorf("standard output has not taken a line within %s: whoever reads it has stopped reading", testTimeout)
		}
	})
	return p.List()
}

// Probe implements sinks.Tester: without a record there is nothing to test.
func (s *Sink) Probe(context.Context) []sinks.Step {
	p := probe.New("", testTimeout)
	p.Add(sinks.StepConfig, "records are printed on the daemon's standard output", nil, 0)
	return p.List()
}

// print writes one line in one write, so that it is not mixed with others.
func (s *Sink) print(text string) error {
	b := record.NewBatch()
	defer b.Release()
	b.Origin = &record.Origin{Source: probe.Source, Kind: "test", Host: s.deps.Host}
	r := b.Add()
	r.Time, r.Level = time.Now().UnixNano(), record.LevelInfo
	r.Line = b.Copy([]byte(text))
	r.Message = r.Line
	r.Header = b.NewHeader()
	r.Header.Identifier = b.Copy([]byte(probe.Source))
	_, err := s.w.Write(s.encode(nil, b.Origin, r))
	if err != nil {
		return fmt.Errorf("writing to standard output: %w", cause(err))
	}
	return nil
}
