package admin

import (
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/pipeline"
	"github.com/lbshipd/lbshipd/positions"
)

// Status is the answer of /status: what runs, and what became of every record.
// Times are RFC 3339 in UTC, absent if there is none; lists are sorted by name.
type Status struct {
	Status    string         `json:"status"`  // "ok", "degraded" (see reasons) or "unavailable" (not yet, or no longer)
	Reasons   []string       `json:"reasons"` // in words, what is not as it should be
	Version   string         `json:"version"`
	Config    ConfigStatus   `json:"config"`
	Positions PositionStatus `json:"positions"`
	Sources   []SourceStatus `json:"sources"`
	Targets   []TargetStatus `json:"targets"`
	Ledger    []LedgerStatus `json:"ledger"`
	// Collector is what this node has reported last, whether it could be stored or
	// not (then its remotecfgStatus is REMOTECFG_DOWN); absent if it does not report.
	Collector *config.Collector `json:"collector,omitempty"`
}

// ConfigStatus is which configuration runs.
type ConfigStatus struct {
	Applied  *time.Time        `json:"applied,omitempty"`  // when the running one was applied
	Refused  string            `json:"refused,omitempty"`  // why the newest one is not the running one
	Hash     string            `json:"hash,omitempty"`     // of the running one: the same on all nodes that have the same objects
	Cached   bool              `json:"cached,omitempty"`   // the store cannot be reached: what it held last is running
	Rejected []config.Rejected `json:"rejected,omitempty"` // objects that the running one does without, and why

	StoreAwaySince *time.Time `json:"storeAwaySince,omitempty"` // since when the configuration store cannot be reached
}

// PositionStatus is how the last save of the positions and the ledger went.
type PositionStatus struct {
	Saved *time.Time `json:"saved,omitempty"` // the last good save
	Error string     `json:"error,omitempty"` // of the last save
}

// SourceStatus is one source at work.
type SourceStatus struct {
	Name   string  `json:"name"`
	Kind   string  `json:"kind"`   // "journald" or "file"
	Format string  `json:"format"` // its logFormat
	Inputs int     `json:"inputs"` // files or journals that are open
	Rate   float64 `json:"rate"`   // records a second that were read in the last 10 seconds
	Error  string  `json:"error,omitempty"`

	QuietSeconds float64 `json:"quietSeconds"`        // how long nothing was read from it, since the daemon runs
	Silent       bool    `json:"silent"`              // that is longer than its silentAfter
	HeldFiles    int     `json:"heldFiles,omitempty"` // that it holds open though they were deleted or rotated away
	HeldBytes    int64   `json:"heldBytes,omitempty"` // of the disk that deleted ones among them occupy
}

// TargetStatus is one target at work.
type TargetStatus struct {
	Name          string     `json:"name"`
	Kind          string     `json:"kind"`            // "loki", "rsyslog" or "stdout"
	Class         string     `json:"class,omitempty"` // of the error it suffers from
	Error         string     `json:"error,omitempty"` // in its own words
	FailingSince  *time.Time `json:"failingSince,omitempty"`
	NextTry       *time.Time `json:"nextTry,omitempty"`
	BehindInputs  int        `json:"behindInputs"`  // inputs that are not read for it together with the others
	QueuedRecords int64      `json:"queuedRecords"` // not answered
	QueueBytes    int64      `json:"queueBytes"`    // memory that they hold
	QueueLimit    int64      `json:"queueLimitBytes"`
	LagSeconds    float64    `json:"lagSeconds"` // how long the oldest of them has been queued
	Rate          float64    `json:"rate"`       // records a second that it has taken in the last 10 seconds

	Spool *SpoolStatus `json:"spool,omitempty"` // absent if it has none
}

// SpoolStatus is the spool of a target.
type SpoolStatus struct {
	Records int64  `json:"records"` // not answered; they are among the queued ones
	Bytes   int64  `json:"bytes"`   // on disk
	Limit   int64  `json:"limitBytes"`
	Full    bool   `json:"full"`
	Error   string `json:"error,omitempty"` // why nothing can be written to it
}

// LedgerStatus is one row of the ledger. Its equation is
//
//	read = delivered + filtered + refused + lost + inFlight
type LedgerStatus struct {
	Source        string            `json:"source"`
	Target        string            `json:"target"`
	Running       bool              `json:"running"` // source and target are at work; else this is what is stored
	Read          int64             `json:"read"`
	Delivered     int64             `json:"delivered"`
	Filtered      int64             `json:"filtered"`
	Refused       int64             `json:"refused"`
	Lost          int64             `json:"lost"` // as far as the number is known
	InFlight      int64             `json:"inFlight"`
	Difference    int64             `json:"difference"` // 0, or lbshipd has a fault
	RefusedBy     map[string]int64  `json:"refusedByReason,omitempty"`
	LostBy        map[string]LostBy `json:"lostByReason,omitempty"`
	AtRiskBytes   *int64            `json:"atRiskBytes,omitempty"`   // not taken, and not kept by the source for ever; absent if not known
	AtRiskSeconds *float64          `json:"atRiskSeconds,omitempty"` // until the first of it is dropped; absent if not known or nothing is at risk
}

// LostBy is what was lost for one reason.
type LostBy struct {
	Records     int64 `json:"records"` // as far as their number is known
	Bytes       int64 `json:"bytes"`   // as far as their number is known
	Gaps        int64 `json:"gaps"`
	UnsizedGaps int64 `json:"unsizedGaps"` // of which neither is known
}

// StatusOf makes the answer of /status.
func StatusOf(st pipeline.Status, version string) Status {
	s := Status{Status: "ok", Reasons: st.Reasons(), Version: version,
		Config:    ConfigStatus{at(st.Applied), text(st.Refused), st.Hash, st.Cached, st.Rejected, at(st.Away)},
		Positions: PositionStatus{at(st.Saved), text(st.SaveErr)},
		Sources:   []SourceStatus{}, Targets: []TargetStatus{}, Ledger: []LedgerStatus{}}
	switch {
	case st.Stopped:
		s.Status, s.Reasons = "unavailable", append([]string{"lbshipd is stopping"}, s.Reasons...)
	case st.Applied.IsZero():
		s.Status, s.Reasons = "unavailable", append([]string{"no configuration is running"}, s.Reasons...)
	case len(s.Reasons) > 0:
		s.Status = "degraded"
	default:
		s.Reasons = []string{}
	}
	for _, x := range st.Sources {
		s.Sources = append(s.Sources, SourceStatus{x.Name, x.Kind, x.Format, x.Inputs, x.Rate, text(x.Err), x.Quiet.Seconds(), x.Silent, x.Held.Files, x.Held.Bytes})
	}
	for _, x := range st.Targets {
		t := TargetStatus{Name: x.Name, Kind: x.Kind, Class: x.Class, Error: text(x.Err), BehindInputs: x.Behind,
			QueuedRecords: x.Queued, QueueBytes: x.QueueBytes, QueueLimit: x.QueueLimit, LagSeconds: x.Lag.Seconds(), Rate: x.Rate}
		if sp := x.Spool; sp.On {
			t.Spool = &SpoolStatus{sp.Records, sp.Bytes, sp.Limit, sp.Full, text(sp.Err)}
		}
		if x.Err != nil {
			t.FailingSince, t.NextTry = at(x.Since), at(x.NextTry)
		}
		s.Targets = append(s.Targets, t)
	}
	for i := range st.Ledger {
		row := Row(&st.Ledger[i])
		if risk, known := st.AtRisk[st.Ledger[i].Pair]; known && row.Running {
			row.AtRiskBytes = &risk.Bytes
			if risk.Left >= 0 {
				seconds := risk.Left.Seconds()
				row.AtRiskSeconds = &seconds
			}
		}
		s.Ledger = append(s.Ledger, row)
	}
	return s
}

// Row is one row of the ledger as /status gives it.
func Row(r *pipeline.LedgerRow) LedgerStatus {
	l := LedgerStatus{Source: r.Source, Target: r.Target, Running: r.Running, Read: r.Read, Delivered: r.Delivered, Filtered: r.Filtered,
		Refused: r.RefusedRecords(), Lost: r.LostRecords(), InFlight: r.InFlight, Difference: r.Difference()}
	if len(r.Refused) > 0 {
		l.RefusedBy = map[string]int64{}
	}
	for _, x := range r.Counts.Refused {
		l.RefusedBy[x.Reason] += x.Records
	}
	if len(r.Lost) > 0 {
		l.LostBy = map[string]LostBy{}
	}
	for _, x := range r.Counts.Lost {
		l.LostBy[x.Reason] = LostBy{x.Records, x.Bytes, x.Gaps, x.Unsized}
	}
	return l
}

// StoredRows is the ledger of a data directory, of which nothing runs.
func StoredRows(rows []positions.Row) []LedgerStatus {
	list := []LedgerStatus{}
	for i := range rows {
		list = append(list, Row(&pipeline.LedgerRow{Pair: rows[i].Pair, Counts: rows[i].Counts}))
	}
	return list
}

func at(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
