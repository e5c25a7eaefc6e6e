package pipeline

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metric is the specification of one metric: what docs/metrics.md is made
// from, and what a test holds /metrics against.
type Metric struct {
	Name   string
	Kind   string // counter, gauge or histogram
	Labels []string
	Help   string
}

// The metrics of sources. What is read a second time for a target that fell
// behind is counted a second time; the ledger counts it once.
var (
	specRead       = Metric{"lbshipd_source_read_records_total", "counter", []string{"source"}, "Records read from the source, those below its minimum level included."}
	specReadBytes  = Metric{"lbshipd_source_read_bytes_total", "counter", []string{"source"}, "Bytes read from the source."}
	specFiltered   = Metric{"lbshipd_source_filtered_records_total", "counter", []string{"source"}, "Records dropped because their level is below the source's minLevel."}
	specUnparsed   = Metric{"lbshipd_source_unparsed_records_total", "counter", []string{"source"}, "Records that are not of the source's logFormat; they are shipped as they are."}
	specUnknown    = Metric{"lbshipd_source_unknown_level_records_total", "counter", []string{"source"}, "Records whose level is unknown; they pass every minLevel."}
	specTruncated  = Metric{"lbshipd_source_truncated_records_total", "counter", []string{"source"}, "Records that were cut because they are longer than maxLineBytes."}
	specSkipped    = Metric{"lbshipd_source_skipped_total", "counter", []string{"source", "reason"}, "Things in the source that could not be read and were left out, by reason."}
	specLost       = Metric{"lbshipd_source_lost_records_total", "counter", []string{"source", "reason"}, "Records that were gone before they could be read, as far as their number is known, by reason."}
	specLostBytes  = Metric{"lbshipd_source_lost_bytes_total", "counter", []string{"source", "reason"}, "Bytes that were gone before they could be read, as far as their number is known, by reason."}
	specGaps       = Metric{"lbshipd_source_gaps_total", "counter", []string{"source", "reason"}, "Times that something was gone before it could be read, its size known or not, by reason."}
	specInputs     = Metric{"lbshipd_source_inputs", "gauge", []string{"source"}, "Inputs (files or journals) of the source that are open."}
	specHeldFiles  = Metric{"lbshipd_source_held_files", "gauge", []string{"source"}, "Files that are held open though they were deleted or rotated away, because a target still needs them or they may still be written."}
	specHeldBytes  = Metric{"lbshipd_source_held_bytes", "gauge", []string{"source"}, "Disk space of deleted files that are held open."}
	specLastRead   = Metric{"lbshipd_source_last_read_timestamp_seconds", "gauge", []string{"source"}, "When records of the source were last read, in Unix seconds; 0 if none were since the daemon started."}
	specSilent     = Metric{"lbshipd_source_silent", "gauge", []string{"source"}, "1 while the source has yielded nothing for longer than its silentAfter, 0 otherwise."}
	specReadErrors = Metric{"lbshipd_source_read_errors_total", "counter", []string{"source"}, "Errors while reading or opening an input; reading is tried again."}
)

// The metrics of targets.
var (
	specDelivered  = Metric{"lbshipd_target_delivered_records_total", "counter", []string{"target"}, "Records that the target has taken."}
	specRefused    = Metric{"lbshipd_target_refused_records_total", "counter", []string{"target", "reason"}, "Records that the target refused for good, by reason."}
	specLostTarget = Metric{"lbshipd_target_lost_records_total", "counter", []string{"target", "reason"}, "Records lost on the way to the target, as far as their number is known, by reason."}
	specSent       = Metric{"lbshipd_target_sent_bytes_total", "counter", []string{"target"}, "Bytes sent to the target, as encoded and compressed, repeats included."}
	specRetries    = Metric{"lbshipd_target_retries_total", "counter", []string{"target", "class"}, "Sends that failed and are tried again, by class of error."}
	specFailing    = Metric{"lbshipd_target_failing", "gauge", []string{"target", "class"}, "1 while the last send to the target failed with this class of error."}
	specQueue      = Metric{"lbshipd_target_queue_bytes", "gauge", []string{"target"}, "Memory held by the queue of the target, records in flight included."}
	specLimit      = Metric{"lbshipd_target_queue_limit_bytes", "gauge", []string{"target"}, "The target's queueBytes."}
	specLagSeconds = Metric{"lbshipd_target_lag_seconds", "gauge", []string{"target"}, "How long the oldest unanswered record has been queued; 0 if there is none."}
	specLagRecords = Metric{"lbshipd_target_lag_records", "gauge", []string{"target"}, "Records that are queued or in flight."}
	specBehind     = Metric{"lbshipd_target_behind_inputs", "gauge", []string{"target"}, "Inputs that are read for this target alone, because it fell behind the others."}
	specAdjusted   = Metric{"lbshipd_target_adjusted_total", "counter", []string{"target", "reason"}, "Changes made to records so that the target takes them, by reason."}
	specAddress    = Metric{"lbshipd_target_address_in_use", "gauge", []string{"target", "address"}, "1 for the address that the target is or was last connected to, 0 for others that it has used. Targets of kind rsyslog only."}
	specMiscounted = Metric{"lbshipd_target_miscounted_total", "counter", []string{"target"}, "Answers whose delivered and refused records are not those that were sent: a fault of lbshipd."}
	specRequests   = Metric{"lbshipd_target_request_duration_seconds", "histogram", []string{"target", "outcome"}, "Time from a request to the target's answer, by outcome: ok or a class of error."}
)

// The metrics of the daemon.
var (
	specBuild      = Metric{"lbshipd_build_info", "gauge", []string{"version", "revision", "goversion"}, "Always 1; what the daemon was built from, as lbshipd version says: version, commit, and Go's version."}
	specReloadOK   = Metric{"lbshipd_config_last_reload_successful", "gauge", nil, "1 if the newest configuration is the running one, 0 if it was refused."}
	specReloadTime = Metric{"lbshipd_config_last_reload_success_timestamp_seconds", "gauge", nil, "When the running configuration was applied, in Unix seconds."}
	specRejected   = Metric{"lbshipd_config_rejected_objects", "gauge", []string{"kind"}, "Objects of the running configuration that it does without because they cannot be used, by kind."}
	specCached     = Metric{"lbshipd_config_cached", "gauge", nil, "1 while the configuration store cannot be reached and what it held last is running."}
	specSaveOK     = Metric{"lbshipd_positions_last_save_successful", "gauge", nil, "1 if the last save of the positions, and of the times given to lines without one, was good."}
)

// Metrics lists the specification of every metric of lbshipd itself, in the
// order of the reference page.
func Metrics() []Metric {
	return slices.Concat(ownMetrics(), configMetrics(), ledgerMetrics(), spoolSpecs())
}

// ownMetrics are those that are counted as things happen.
func ownMetrics() []Metric {
	return []Metric{
		specRead,
		specReadBytes,
		specFiltered,
		specUnparsed,
		specUnknown,
		specTruncated,
		specSkipped,
		specLost,
		specLostBytes,
		specGaps,
		specInputs, specHeldFiles, specHeldBytes, specSilent,
		specReadErrors, specLastRead,
		specDelivered,
		specRefused,
		specLostTarget,
		specSent,
		specRetries,
		specFailing,
		specQueue,
		specLimit,
		specLagSeconds,
		specLagRecords,
		specBehind,
		specAdjusted,
		specAddress,
		specRequests, specDeadBytes, specDeadDropped, specDeadErrors,
		specBuild,
		specReloadOK,
		specMiscounted,
		specReloadTime,
		specRejected, specCached,
		specSaveOK,
	}
}

// metrics holds the vectors behind the specification.
type metrics struct {
	counters map[string]*prometheus.CounterVec
	gauges   map[string]*prometheus.GaugeVec
	requests *prometheus.HistogramVec
	outcomes allOutcomes
	flows    flows
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{counters: map[string]*prometheus.CounterVec{}, gauges: map[string]*prometheus.GaugeVec{}}
	for _, s := range slices.Concat(ownMetrics(), configMetrics(), spoolSpecs()) {
		switch s.Kind {
		case "counter":
			m.counters[s.Name] = prometheus.NewCounterVec(prometheus.CounterOpts{Name: s.Name, Help: s.Help}, s.Labels)
			reg.MustRegister(m.counters[s.Name])
		case "gauge":
			m.gauges[s.Name] = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: s.Name, Help: s.Help}, s.Labels)
			reg.MustRegister(m.gauges[s.Name])
		case "histogram":
			m.requests = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: s.Name, Help: s.Help,
				Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, s.Labels)
			reg.MustRegister(m.requests)
		}
	}
	return m
}

func (m *metrics) counter(s Metric, labels ...string) prometheus.Counter {
	return m.counters[s.Name].WithLabelValues(labels...)
}

func (m *metrics) gauge(s Metric, labels ...string) prometheus.Gauge {
	return m.gauges[s.Name].WithLabelValues(labels...)
}

// forget drops every series of a removed source or target.
func (m *metrics) forget(label, name string) {
	match := prometheus.Labels{label: name}
	for _, v := range m.counters {
		v.DeletePartialMatch(match)
	}
	for _, v := range m.gauges {
		v.DeletePartialMatch(match)
	}
	m.requests.DeletePartialMatch(match)
	m.flows.forget(label, name)
}

// sourceMetrics are the metrics of one source; all of them exist from the
// start, so that a rate can be taken from the first scrape on.
type sourceMetrics struct {
	all  *metrics
	name string

	read, readBytes, filtered, unparsed, unknown, truncated, readErrors prometheus.Counter
	inputs, heldFiles, heldBytes, lastRead, silent                      prometheus.Gauge
	flow                                                                *flow // what is read
}

func (m *metrics) source(name string) *sourceMetrics {
	return &sourceMetrics{
		all: m, name: name,
		read: m.counter(specRead, name), readBytes: m.counter(specReadBytes, name), filtered: m.counter(specFiltered, name),
		unparsed: m.counter(specUnparsed, name), unknown: m.counter(specUnknown, name), truncated: m.counter(specTruncated, name),
		readErrors: m.counter(specReadErrors, name), inputs: m.gauge(specInputs, name),
		heldFiles: m.gauge(specHeldFiles, name), heldBytes: m.gauge(specHeldBytes, name), lastRead: m.gauge(specLastRead, name), silent: m.gauge(specSilent, name), flow: m.flows.of("source", name),
	}
}

func (m *sourceMetrics) skipped(reason string, n int) {
	m.all.counter(specSkipped, m.name, reason).Add(float64(n))
}

func (m *sourceMetrics) lost(reason string, records, bytes int64) {
	m.all.counter(specGaps, m.name, reason).Inc()
	m.all.counter(specLost, m.name, reason).Add(float64(records))
	m.all.counter(specLostBytes, m.name, reason).Add(float64(bytes))
}

// targetMetrics are the metrics of one target.
type targetMetrics struct {
	all  *metrics
	name string

	delivered, sentBytes, miscounted                  prometheus.Counter
	queueBytes, limit, lagSeconds, lagRecords, behind prometheus.Gauge
	failingClass                                      string    // of the series that is 1; used by the sender alone
	address                                           string    // likewise
	outcomes                                          *outcomes // of all targets of its kind
	flow                                              *flow     // what is delivered
	spoolMetrics
}

func (m *metrics) target(name string) *targetMetrics {
	return &targetMetrics{
		all: m, name: name,
		delivered: m.counter(specDelivered, name), sentBytes: m.counter(specSent, name),
		miscounted: m.counter(specMiscounted, name),
		queueBytes: m.gauge(specQueue, name), limit: m.gauge(specLimit, name), lagSeconds: m.gauge(specLagSeconds, name),
		lagRecords: m.gauge(specLagRecords, name), behind: m.gauge(specBehind, name), outcomes: new(outcomes), spoolMetrics: m.spool(name),
		flow: m.flows.of("target", name),
	}
}

func (m *targetMetrics) refused(reason string, records int) {
	m.outcomes.refused.Add(int64(records))
	m.all.counter(specRefused, m.name, reason).Add(float64(records))
}

func (m *targetMetrics) lost(reason string, records int64) {
	m.outcomes.lost.Add(records)
	m.all.counter(specLostTarget, m.name, reason).Add(float64(records))
}

func (m *targetMetrics) adjusted(reason string, n int) {
	m.all.counter(specAdjusted, m.name, reason).Add(float64(n))
}

// using says which address is connected to; used by the sender alone.
func (m *targetMetrics) using(address string) {
	if m.address != "" {
		m.all.gauge(specAddress, m.name, m.address).Set(0)
	}
	m.address = address
	m.all.gauge(specAddress, m.name, address).Set(1)
}

func (m *targetMetrics) request(took time.Duration, outcome string) {
	m.all.requests.WithLabelValues(m.name, outcome).Observe(took.Seconds())
}

func (m *targetMetrics) failing(class string) {
	m.outcomes.failed.Add(1)
	m.all.counter(specRetries, m.name, class).Inc()
	if m.failingClass != "" && m.failingClass != class {
		m.all.gauge(specFailing, m.name, m.failingClass).Set(0)
	}
	m.failingClass = class
	m.all.gauge(specFailing, m.name, class).Set(1)
}

func (m *targetMetrics) recovered() {
	if m.failingClass != "" {
		m.all.gauge(specFailing, m.name, m.failingClass).Set(0)
		m.failingClass = ""
	}
}
