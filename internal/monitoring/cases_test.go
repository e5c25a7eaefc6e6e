package monitoring

// alertCase is a history of metrics, and what an alert says to it.
type alertCase struct {
	alert  string
	when   string
	series map[string]string // by promtool's notation of a sample each minute
	every  string            // between samples, and evaluations; empty: a minute
	at     string
	labels map[string]string // nil: it does not fire

	summary, description string
}

// on returns a series of node n1.
func on(metric, labels string) string {
	if labels != "" {
		labels = "," + labels
	}
	return metric + `{job="lbshipd",instance="n1"` + labels + "}"
}

// node returns labels with those of n1.
func node(pairs ...string) map[string]string {
	all := map[string]string{"job": "lbshipd", "instance": "n1"}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return all
}

const loki, app, pair = `target="loki"`, `source="app"`, `source="app",target="loki"`

var alertCases = []alertCase{
	{
		alert: "LbshipdTargetFailing", when: "the class of its error changes while it fails", at: "16m",
		series:      map[string]string{on("lbshipd_target_failing", loki+`,class="connect"`): "0x4 1x6 0x10", on("lbshipd_target_failing", loki+`,class="tls"`): "0x10 1x10"},
		labels:      node("target", "loki"),
		summary:     "n1 cannot send to target loki",
		description: "Sends have failed for 10 minutes, with an error of the class tls.",
	},
	{
		alert: "LbshipdTargetFailing", when: "it fails for nine minutes", at: "14m",
		series: map[string]string{on("lbshipd_target_failing", loki+`,class="connect"`): "0x4 1x9"},
	},
	{
		alert: "LbshipdTargetFailingEverywhere", when: "two of three nodes fail", at: "6m",
		series: map[string]string{
			on("lbshipd_target_failing", loki+`,class="connect"`):                               "1x10",
			`lbshipd_target_failing{job="lbshipd",instance="n2",target="loki",class="timeout"}`: "1x10",
			on("lbshipd_target_queue_limit_bytes", loki):                                        "8x10",
			`lbshipd_target_queue_limit_bytes{job="lbshipd",instance="n2",target="loki"}`:       "8x10",
			`lbshipd_target_queue_limit_bytes{job="lbshipd",instance="n3",target="loki"}`:       "8x10",
			`lbshipd_target_queue_limit_bytes{job="lbshipd",instance="n4",target="other"}`:      "8x10",
		},
		labels:      map[string]string{"job": "lbshipd", "target": "loki"},
		summary:     "Target loki takes nothing from most nodes",
		description: "66.67% of the nodes that have this target fail to send to it.",
	},
	{
		alert: "LbshipdTargetFailingEverywhere", when: "one of two nodes fails, and one alone", at: "9m",
		series: map[string]string{
			on("lbshipd_target_failing", loki+`,class="connect"`):                         "1x10",
			on("lbshipd_target_queue_limit_bytes", loki):                                  "8x10",
			`lbshipd_target_queue_limit_bytes{job="lbshipd",instance="n2",target="loki"}`: "8x10",
			on("lbshipd_target_failing", `target="own",class="connect"`):                  "1x10",
			on("lbshipd_target_queue_limit_bytes", `target="own"`):                        "8x10",
		},
	},
	{
		alert: "LbshipdLagGrowing", when: "it grows for an hour", at: "60m",
		series:      map[string]string{on("lbshipd_target_lag_seconds", loki): "0+10x60"},
		labels:      node("target", "loki"),
		summary:     "Target loki takes records ever later from n1",
		description: "The oldest record in its queue has waited for at least 9m 10s, and longer all the time over 5 and over 30 minutes.",
	},
	{
		alert: "LbshipdLagGrowing", when: "it was large and shrinks; it grows because the target fails", at: "60m",
		series: map[string]string{
			on("lbshipd_target_lag_seconds", loki):                        "1000x40 1000-10x20",
			on("lbshipd_target_lag_seconds", `target="dead"`):             "0+10x60",
			on("lbshipd_target_failing", `target="dead",class="connect"`): "1x60",
		},
	},
	{
		alert: "LbshipdBacklogGrowing", when: "it grows by 2 MiB a minute", at: "100m",
		series:      map[string]string{on("lbshipd_at_risk_bytes", pair): "0+2097152x100"},
		labels:      node("source", "app", "target", "loki"),
		summary:     "Target loki falls behind source app on n1",
		description: "200MiB of the source have not been taken, and it has become more over 15 minutes and over an hour.",
	},
	{
		alert: "LbshipdBacklogGrowing", when: "it has grown, and shrinks for a quarter of an hour; it is small", at: "100m",
		series: map[string]string{on("lbshipd_at_risk_bytes", pair): "0+4000000x80 320000000-4000000x20", on("lbshipd_at_risk_bytes", `source="b",target="loki"`): "0+1000x100"},
	},
	{
		alert: "LbshipdAtRisk", when: "the target is behind and the source keeps it for an hour and a half", at: "6m",
		series: map[string]string{on("lbshipd_at_risk_seconds", pair): "5400x10", on("lbshipd_target_behind_inputs", loki): "1x10",
			on("lbshipd_target_lag_seconds", loki): "0x10"},
		labels:      node("source", "app", "target", "loki"),
		summary:     "Source app on n1 will soon drop what target loki has not had",
		description: "In about 1h 30m 0s the source drops the first records that the target has not taken.",
	},
	{
		alert: "LbshipdAtRisk", when: "the source keeps little, and the target keeps up", at: "9m",
		series: map[string]string{on("lbshipd_at_risk_seconds", pair): "600x10", on("lbshipd_target_behind_inputs", loki): "0x10",
			on("lbshipd_target_lag_seconds", loki): "1x10", on("lbshipd_target_failing", loki+`,class="tls"`): "0x10",
			on("lbshipd_at_risk_seconds", `source="app",target="b"`): "86400x10", on("lbshipd_target_behind_inputs", `target="b"`): "1x10"},
	},
	{
		alert: "LbshipdAtRiskSoon", when: "the target fails and the source keeps it for 20 minutes", at: "2m",
		series:      map[string]string{on("lbshipd_at_risk_seconds", pair): "1200x10", on("lbshipd_target_failing", loki+`,class="tls"`): "1x10"},
		labels:      node("source", "app", "target", "loki"),
		summary:     "Source app on n1 drops within the hour what target loki has not had",
		description: "In about 20m 0s the source drops the first records that the target has not taken.",
	},
	{
		alert: "LbshipdAtRiskSoon", when: "there is more than an hour", at: "9m",
		series: map[string]string{on("lbshipd_at_risk_seconds", pair): "5400x10", on("lbshipd_target_failing", loki+`,class="tls"`): "1x10"},
	},
	{
		alert: "LbshipdSpoolFilling", when: "it is at nine tenths", at: "6m",
		series:      map[string]string{on("lbshipd_target_spool_bytes", loki): "90x10", on("lbshipd_target_spool_limit_bytes", loki): "100x10"},
		labels:      node("target", "loki"),
		summary:     "The spool of target loki on n1 is nearly full",
		description: "90% of its maxBytes are used.",
	},
	{
		alert: "LbshipdSpoolFilling", when: "it is half full; there is none", at: "9m",
		series: map[string]string{on("lbshipd_target_spool_bytes", loki): "50x10", on("lbshipd_target_spool_limit_bytes", loki): "100x10",
			on("lbshipd_target_spool_bytes", `target="b"`): "0x10", on("lbshipd_target_spool_limit_bytes", `target="b"`): "0x10"},
	},
	{
		alert: "LbshipdSpoolStuck", when: "it is full", at: "6m",
		series:      map[string]string{on("lbshipd_target_spool_stuck", loki): "1x10"},
		labels:      node("target", "loki"),
		summary:     "The spool of target loki on n1 takes no more records",
		description: "It is full, or its disk cannot be written.",
	},
	{
		alert: "LbshipdSpoolStuck", when: "it was full for a moment", at: "9m",
		series: map[string]string{on("lbshipd_target_spool_stuck", loki): "1x3 0x6"},
	},
}
