package pipeline

import (
	"github.com/prometheus/client_golang/prometheus"
)

// The metrics of a target's spool. All but the last are there, and 0, for
// targets that have none.
var (
	specSpoolBytes   = Metric{"lbshipd_target_spool_bytes", "gauge", []string{"target"}, "Disk space that the target's spool takes."}
	specSpoolRecords = Metric{"lbshipd_target_spool_records", "gauge", []string{"target"}, "Records in the target's spool that it has not answered for."}
	specSpoolLimit   = Metric{"lbshipd_target_spool_limit_bytes", "gauge", []string{"target"}, "The maxBytes of the target's spool; 0 if it has none."}
	specSpoolStuck   = Metric{"lbshipd_target_spool_stuck", "gauge", []string{"target"}, "1 while the target's spool takes no more records, because it is full or cannot be written: they stay at their sources."}
	specSpooled      = Metric{"lbshipd_target_spooled_records_total", "counter", []string{"target"}, "Records that were written to the target's spool."}
	specSpoolErrors  = Metric{"lbshipd_target_spool_errors_total", "counter", []string{"target", "op"}, "Things that went wrong with the files of the target's spool, by what was being done: open, append, read, cursor, delete; aside is a file that could not be used and was set aside, torn an end that was being written in a crash and was cut off."}
)

func spoolSpecs() []Metric {
	return []Metric{specSpoolBytes, specSpoolRecords, specSpoolLimit, specSpoolStuck, specSpooled, specSpoolErrors}
}

// spoolMetrics are the metrics of one target's spool.
type spoolMetrics struct {
	spoolBytes, spoolRecords, spoolLimit, spoolStuck prometheus.Gauge
	spooled                                          prometheus.Counter
}

func (m *metrics) spool(target string) spoolMetrics {
	return spoolMetrics{spoolBytes: m.gauge(specSpoolBytes, target), spoolRecords: m.gauge(specSpoolRecords, target),
		spoolLimit: m.gauge(specSpoolLimit, target), spoolStuck: m.gauge(specSpoolStuck, target), spooled: m.counter(specSpooled, target)}
}

func (m *targetMetrics) spoolError(op string) {
	m.all.counter(specSpoolErrors, m.name, op).Inc()
}

// SpoolStatus is the spool of a target.
type SpoolStatus struct {
	On      bool  // it is configured, or still holds records
	Bytes   int64 // on disk
	Limit   int64 // maxBytes; 0 if it is only emptied
	Records int64 // not answered
	Full    bool
	Err     error // why it takes no records, if it cannot be written
}

// spoolState tells how the spool does. t.mu is held.
func (t *target) spoolState() SpoolStatus {
	o := t.over
	if o == nil {
		return SpoolStatus{On: t.spoolErr != nil, Err: t.spoolErr}
	}
	st := o.spool.Stats()
	return SpoolStatus{On: true, Bytes: st.Bytes, Limit: o.limit, Records: st.Records, Full: o.full, Err: o.err}
}

// sampleSpool refreshes the gauges of the spool. t.mu is held.
func (t *target) sampleSpool() {
	st := t.spoolState()
	t.metrics.spoolBytes.Set(float64(st.Bytes))
	t.metrics.spoolRecords.Set(float64(st.Records))
	stuck := 0.0
	if st.Full || st.Err != nil {
		stuck = 1
	}
	t.metrics.spoolStuck.Set(stuck)
}
