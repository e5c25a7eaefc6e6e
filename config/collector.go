package config

import (
	"context"
	"time"
)

// Collector is what one node reports of itself. The fields down to
// exporterQueueSize have the names and values that clients of this API know;
// numbers of 64 bits are strings in JSON.
type Collector struct {
	ID                      string               `json:"id"` // name of the node
	LastSeen                time.Time            `json:"lastSeen"`
	AlloyStatus             string               `json:"alloyStatus"`     // ALLOY_UNSPECIFIED, ALLOY_ONLINE, ALLOY_STALE, ALLOY_OFFLINE: of lbshipd here
	ConfigHash              string               `json:"configHash"`      // Event.Hash of what runs
	RemotecfgStatus         string               `json:"remotecfgStatus"` // REMOTECFG_UNSPECIFIED, REMOTECFG_UP, REMOTECFG_DOWN: the store is reached, or not
	PipelineHealth          string               `json:"pipelineHealth"`  // UNSPECIFIED, HEALTHY, DEGRADED, UNKNOWN, ERROR
	UnhealthyComponents     []UnhealthyComponent `json:"unhealthyComponents"`
	PipelineCheckedAt       time.Time            `json:"pipelineCheckedAt"`
	PipelineError           string               `json:"pipelineError"`
	ExporterSendFailedDelta int64                `json:"exporterSendFailedDelta,string"` // failed sends since the last report
	LokiDroppedEntriesDelta int64                `json:"lokiDroppedEntriesDelta,string"` // records that Loki targets refused, since the last report
	FailingExporters        []string             `json:"failingExporters"`               // names of targets
	TotalExporters          int32                `json:"totalExporters"`
	ExporterSendFailedTotal int64                `json:"exporterSendFailedTotal,string"`
	ExporterQueueSize       int64                `json:"exporterQueueSize,string"` // records that targets have not answered

	// Our own.
	Version    string            `json:"version,omitempty"`
	NodeLabels map[string]string `json:"nodeLabels,omitempty"`
	Rejected   []Rejected        `json:"rejected,omitempty"` // objects that this node cannot use
	Sources    []CollectorSource `json:"sources,omitempty"`
	Targets    []CollectorTarget `json:"targets,omitempty"`
}

// UnhealthyComponent is a source, target or other part that does not work.
type UnhealthyComponent struct {
	LocalID     string    `json:"localId"` // such as target/siem
	Name        string    `json:"name"`
	State       string    `json:"state"` // such as failing, rejected
	Message     string    `json:"message"`
	UpdatedTime time.Time `json:"updatedTime"`
}

// CollectorSource is how one source does on a node.
type CollectorSource struct {
	Name  string  `json:"name"`
	Rate  float64 `json:"rate"` // records a second that were read in the 10 seconds before the report
	Error string  `json:"error,omitempty"`
}

// CollectorTarget is how one target is served by a node.
type CollectorTarget struct {
	Name          string   `json:"name"`
	Rate          float64  `json:"rate"`       // records a second that it has taken in the 10 seconds before the report
	LagSeconds    float64  `json:"lagSeconds"` // how long the oldest queued record has waited
	BehindInputs  int      `json:"behindInputs"`
	AtRiskBytes   *int64   `json:"atRiskBytes,omitempty"`
	AtRiskSeconds *float64 `json:"atRiskSeconds,omitempty"`
	Error         string   `json:"error,omitempty"`
}

// Values of Collector.
const (
	AlloyOnline   = "ALLOY_ONLINE"
	AlloyStale    = "ALLOY_STALE"
	AlloyOffline  = "ALLOY_OFFLINE"
	RemotecfgUp   = "REMOTECFG_UP"
	RemotecfgDown = "REMOTECFG_DOWN"

	HealthHealthy  = "HEALTHY"
	HealthDegraded = "DEGRADED"
	HealthUnknown  = "UNKNOWN"
	HealthError    = "ERROR"
)

// Collectors is where nodes report, and where the reports of all are read.
type Collectors interface {
	// Report stores a node's report. AlloyStatus and LastSeen are made when it is
	// read: from whether the node's lease is alive, and since when it is not. A report that
	// fails is not stored: its deltas belong into the next one.
	Report(ctx context.Context, c Collector) error
	// Collectors returns all nodes that have reported and were not forgotten, by ID.
	Collectors(ctx context.Context) ([]Collector, error)
	// Forget deletes the report of a node that is gone for good; ErrNotFound.
	Forget(ctx context.Context, id string) error
}
