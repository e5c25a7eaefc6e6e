package pipeline

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The metrics of the ledger. They are gauges because they go back, after a
// crash, to what was saved last: a rate would take that for a counter that
// began anew.
var (
	specLedgerRead       = Metric{"lbshipd_ledger_read_records", "gauge", pairLabels, "Records of the source that came up for the target, those known to be lost included: the sum of delivered, filtered, refused, lost and in flight. A line that came in parts is one record. Kept across restarts."}
	specLedgerDelivered  = Metric{"lbshipd_ledger_delivered_records", "gauge", pairLabels, "Records that the target has taken. Kept across restarts."}
	specLedgerFiltered   = Metric{"lbshipd_ledger_filtered_records", "gauge", pairLabels, "Records below the source's minLevel. Kept across restarts."}
	specLedgerRefused    = Metric{"lbshipd_ledger_refused_records", "gauge", reasonLabels, "Records that the target refused for good, by reason. Kept across restarts."}
	specLedgerLost       = Metric{"lbshipd_ledger_lost_records", "gauge", reasonLabels, "Records that were gone before they could be read, as far as their number is known, by reason. Kept across restarts."}
	specLedgerLostBytes  = Metric{"lbshipd_ledger_lost_bytes", "gauge", reasonLabels, "Bytes that were gone before they could be read, as far as their number is known, by reason. Kept across restarts."}
	specLedgerGaps       = Metric{"lbshipd_ledger_gaps", "gauge", reasonLabels, "Times that something was gone before it could be read, by reason. Kept across restarts."}
	specLedgerUnsized    = Metric{"lbshipd_ledger_unsized_gaps", "gauge", reasonLabels, "Gaps of which neither the records nor the bytes are known, by reason. Kept across restarts."}
	specLedgerInFlight   = Metric{"lbshipd_ledger_in_flight_records", "gauge", pairLabels, "Records that are queued, sent and not answered, or held back until they are whole. A restart reads them again."}
	specAtRiskBytes      = Metric{"lbshipd_at_risk_bytes", "gauge", pairLabels, "Bytes of the source that the target has not taken and that the source will not keep for ever. Absent where that cannot be known."}
	specAtRiskSeconds    = Metric{"lbshipd_at_risk_seconds", "gauge", pairLabels, "Time until the source is likely to drop the first of what is at risk. Absent where that cannot be known, and while nothing is at risk."}
	specLedgerDifference = Metric{"lbshipd_ledger_difference_records", "gauge", pairLabels, "Records read less those delivered, filtered, refused, lost and in flight: 0, or lbshipd has a fault."}
)

var (
	pairLabels   = []string{"source", "target"}
	reasonLabels = []string{"source", "target", "reason"}
)

// ledgerMetrics lists the specifications that ledgerCollector keeps.
func ledgerMetrics() []Metric {
	return []Metric{specLedgerRead, specLedgerDelivered, specLedgerFiltered, specLedgerRefused, specLedgerLost, specLedgerLostBytes,
		specLedgerGaps, specLedgerUnsized, specLedgerInFlight, specLedgerDifference, specAtRiskBytes, specAtRiskSeconds}
}

// ledgerCollector makes the series of the ledger when they are scraped: all of
// them at one moment, so that each scrape adds up.
type ledgerCollector struct {
	sup   *Supervisor
	descs map[string]*prometheus.Desc
}

func newLedgerCollector(s *Supervisor) *ledgerCollector {
	c := &ledgerCollector{sup: s, descs: map[string]*prometheus.Desc{}}
	for _, m := range ledgerMetrics() {
		c.descs[m.Name] = prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *ledgerCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *ledgerCollector) Collect(ch chan<- prometheus.Metric) {
	risks := c.sup.atRisk()
	for _, r := range c.sup.Ledger() {
		if !r.Running {
			continue
		}
		send := func(m Metric, value int64, reason ...string) {
			ch <- prometheus.MustNewConstMetric(c.descs[m.Name], prometheus.GaugeValue, float64(value), append([]string{r.Source, r.Target}, reason...)...)
		}
		if risk, known := risks[r.Pair]; known {
			send(specAtRiskBytes, risk.Bytes)
			if risk.Left >= 0 {
				send(specAtRiskSeconds, int64(risk.Left/time.Second))
			}
		}
		send(specLedgerRead, r.Read)
		send(specLedgerDelivered, r.Delivered)
		send(specLedgerFiltered, r.Filtered)
		send(specLedgerInFlight, r.InFlight)
		send(specLedgerDifference, r.Difference())
		for _, x := range r.Refused {
			send(specLedgerRefused, x.Records, label(x.Reason))
		}
		for _, x := range r.Lost {
			send(specLedgerLost, x.Records, label(x.Reason))
			send(specLedgerLostBytes, x.Bytes, label(x.Reason))
			send(specLedgerGaps, x.Gaps, label(x.Reason))
			send(specLedgerUnsized, x.Unsized, label(x.Reason))
		}
	}
}

// label makes a stored word one that can be a label value.
func label(s string) string { return strings.ToValidUTF8(s, "?") }

func sortLedger(list []LedgerRow) {
	slices.SortFunc(list, func(a, b LedgerRow) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Target, b.Target))
	})
}
