package pipeline

import (
	"log/slog"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/deadletters"
	"github.com/lbshipd/lbshipd/record"
)

// The metrics of dead letters; only targets with deadLetters have them.
var (
	specDeadBytes   = Metric{"lbshipd_target_dead_letters_bytes", "gauge", []string{"target"}, "What the dead letters of the target weigh on disk."}
	specDeadDropped = Metric{"lbshipd_target_dead_letters_dropped_total", "counter", []string{"target"}, "Dead letters that were dropped to make room for newer ones, or for being larger than the target's deadLetters.maxBytes."}
	specDeadErrors  = Metric{"lbshipd_target_dead_letters_errors_total", "counter", []string{"target"}, "Refused records that could not be kept as dead letters because writing failed; they are counted as refused all the same."}
)

// deadLetters keeps what a target refuses for good. All methods do nothing on
// nil, which is a target that keeps nothing.
type deadLetters struct {
	w       *deadletters.Writer
	metrics *targetMetrics
}

// newDeadLetters returns nil if the target keeps none. Nothing is touched yet.
func newDeadLetters(dataDir string, t *config.Target, log *slog.Logger, m *targetMetrics) *deadLetters {
	if t.DeadLetters == nil || dataDir == "" {
		return nil
	}
	dropped, failed := m.all.counter(specDeadDropped, t.Name), m.all.counter(specDeadErrors, t.Name)
	return &deadLetters{metrics: m, w: deadletters.NewWriter(dataDir, t.Name, int64(t.DeadLetters.MaxBytes), log, deadletters.Events{
		Dropped: func(n int) { dropped.Add(float64(n)) },
		Failed:  func(n int) { failed.Add(float64(n)) },
	})}
}

// sink is what sinks.Deps.DeadLetter is to be.
func (d *deadLetters) sink() func(b *record.Batch, i int, reason, detail string) {
	if d == nil {
		return nil
	}
	return d.w.Add
}

// open repairs what a crash has left; if it cannot, the first refusal tries again.
func (d *deadLetters) open(log *slog.Logger) {
	if d == nil {
		return
	}
	if err := d.w.Open(); err != nil {
		log.Error("dead letters cannot be kept; shipping goes on", "error", err)
	}
}

// flush makes the letters of a Send durable. The positions of its records must
// not move before.
func (d *deadLetters) flush() {
	if d != nil {
		d.w.Flush()
	}
}

func (d *deadLetters) close() {
	if d != nil {
		d.w.Close()
	}
}

// err returns why letters cannot be kept, nil if they can.
func (d *deadLetters) err() error {
	if d == nil {
		return nil
	}
	return d.w.Err()
}

func (d *deadLetters) sample() {
	if d != nil {
		d.metrics.all.gauge(specDeadBytes, d.metrics.name).Set(float64(d.w.Bytes()))
	}
}
