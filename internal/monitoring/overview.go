package monitoring

import "strings"

// query templates: NODES stands for the selector of the chosen nodes, and SOURCES and
// TARGETS for that of the chosen sources and targets on them.
func chosen(expr, nodes string) string {
	return strings.NewReplacer(
		"PAIRS", nodes+`, source=~"$source", target=~"$target"`,
		"SOURCES", nodes+`, source=~"$source"`,
		"TARGETS", nodes+`, target=~"$target"`,
		"NODES", nodes).Replace(expr)
}

// overview is the dashboard of all nodes.
func overview() *dashboard {
	const nodes = `cluster=~"$cluster", job=~"$job", instance=~"$node"`
	q := func(expr string) string { return chosen(expr, nodes) }
	b := newBoard("lbshipd-overview", "lbshipd: all nodes", "Rates, lag, what is at risk and what is lost, failing targets, versions and configurations of all nodes.",
		datasourceVariable(),
		choice("cluster", "Cluster", `label_values(lbshipd_build_info, cluster)`, ".*"),
		choice("job", "Job", `label_values(lbshipd_build_info{cluster=~"$cluster"}, job)`, ".+"),
		choice("node", "Node", `label_values(lbshipd_build_info{cluster=~"$cluster", job=~"$job"}, instance)`, ".+"),
		choice("source", "Source", q(`label_values(lbshipd_source_inputs{NODES}, source)`), ".+"),
		choice("target", "Target", q(`label_values(lbshipd_target_queue_limit_bytes{NODES}, target)`), ".+"))

	b.row("Now")
	b.stat("Nodes", plain, "none", q(`count(lbshipd_build_info{NODES})`))
	b.stat("Nodes down", plain, "0", q(`count(up{NODES} == 0 and on (job, instance) count by (job, instance) (last_over_time(lbshipd_build_info{NODES}[1d])))`), 1)
	b.stat("Records read", perSecond, "-", q(`sum(rate(lbshipd_source_read_records_total{SOURCES}[$__rate_interval]))`))
	b.stat("Records delivered", perSecond, "-", q(`sum(rate(lbshipd_target_delivered_records_total{TARGETS}[$__rate_interval]))`))
	b.stat("Failing targets", plain, "0", q(`count(max without (class) (lbshipd_target_failing{TARGETS}) == 1)`), 1)
	b.stat("Longest lag", inDuration, "-", q(`max(lbshipd_target_lag_seconds{TARGETS})`), 60, 600)
	b.stat("Least time left", inDuration, "nothing is at risk", q(`min(lbshipd_at_risk_seconds{PAIRS})`), 14400, 3600)
	b.stat("Gaps, kept across restarts", plain, "0", q(`sum(lbshipd_ledger_gaps{PAIRS})`), 1)
	b.table("Alerts", "What fires now, or is about to (pending).", []string{"__name__"},
		column{"", plain, q(`ALERTS{alertname=~"Lbshipd.+", cluster=~"$cluster", job=~"$job"}`)})

	b.row("Flow")
	b.graph("Read, by source", perSecond, "Records a second that sources have yielded, those below minLevel included. What is read again for a target that fell behind counts again.",
		line{q(`sum by (source) (rate(lbshipd_source_read_records_total{SOURCES}[$__rate_interval]))`), "{{source}}"})
	b.graph("Delivered, by target", perSecond, "Records a second that targets have taken.",
		line{q(`sum by (target) (rate(lbshipd_target_delivered_records_total{TARGETS}[$__rate_interval]))`), "{{target}}"})
	b.graph("Sent, by target", bytesPerSecond, "As encoded and compressed, repeats included.",
		line{q(`sum by (target) (rate(lbshipd_target_sent_bytes_total{TARGETS}[$__rate_interval]))`), "{{target}}"})

	b.row("Targets")
	b.graph("Nodes on which a target fails", plain, "By the class of the last error.",
		line{q(`sum by (target, class) (lbshipd_target_failing{TARGETS}) > 0`), "{{target}}: {{class}}"})
	b.graph("Lag", inSeconds, "How long the oldest record in the queue has waited, on the worst node.",
		line{q(`max by (target) (lbshipd_target_lag_seconds{TARGETS})`), "{{target}}"})
	b.graph("Request duration, 99th percentile", inSeconds, "From a request to the target's answer, good or not.",
		line{q(`histogram_quantile(0.99, sum by (le, target) (rate(lbshipd_target_request_duration_seconds_bucket{TARGETS}[$__rate_interval])))`), "{{target}}"})
	b.graph("Retries by class", perSecond, "Sends that failed and are tried again.",
		line{q(`sum by (target, class) (rate(lbshipd_target_retries_total{TARGETS}[$__rate_interval])) > 0`), "{{target}}: {{class}}"})
	b.graph("Refused", perSecond, "Records that targets refused for good.",
		line{q(`sum by (target, reason) (rate(lbshipd_target_refused_records_total{TARGETS}[$__rate_interval])) > 0`), "{{target}}: {{reason}}"})
	b.graph("Spools", inBytes, "Disk space that they take on all nodes.",
		line{q(`sum by (target) (lbshipd_target_spool_bytes{TARGETS})`), "{{target}}"})

	b.row("At risk, and lost")
	b.graph("Least time left", inSeconds, "Until a source is likely to drop the first of what a target has not had: the ten nearest.",
		line{q(`bottomk(10, lbshipd_at_risk_seconds{PAIRS})`), "{{instance}} {{source}} to {{target}}"})
	b.graph("At risk", inBytes, "What targets have not taken and sources will not keep for ever.",
		line{q(`sum by (target) (lbshipd_at_risk_bytes{PAIRS})`), "{{target}}"})
	b.graph("Ledger imbalance", plain, "Always 0, or lbshipd has a fault.",
		line{q(`sum by (instance) (abs(lbshipd_ledger_difference_records{PAIRS}))`), "{{instance}}"})
	b.table("Losses, kept across restarts", "Records that were gone before a target was given them, as far as their number is known.", []string{"__name__"},
		column{"gaps", plain, q(`sum by (job, instance, source, target, reason) (lbshipd_ledger_gaps{PAIRS}) > 0`)},
		column{"records", plain, q(`sum by (job, instance, source, target, reason) (lbshipd_ledger_lost_records{PAIRS})`)},
		column{"bytes", inBytes, q(`sum by (job, instance, source, target, reason) (lbshipd_ledger_lost_bytes{PAIRS})`)},
		column{"of unknown size", plain, q(`sum by (job, instance, source, target, reason) (lbshipd_ledger_unsized_gaps{PAIRS})`)})

	b.row("Nodes")
	b.table("Nodes", "A click on a node shows its page.", []string{"__name__"},
		column{"read", perSecond, q(`sum by (job, instance) (rate(lbshipd_source_read_records_total{NODES}[5m]))`)},
		column{"delivered", perSecond, q(`sum by (job, instance) (rate(lbshipd_target_delivered_records_total{NODES}[5m]))`)},
		column{"failing targets", plain, q(`sum by (job, instance) (max without (class) (lbshipd_target_failing{NODES}))`)},
		column{"lag", inDuration, q(`max by (job, instance) (lbshipd_target_lag_seconds{NODES})`)},
		column{"at risk", inBytes, q(`sum by (job, instance) (lbshipd_at_risk_bytes{NODES})`)},
		column{"memory", inBytes, q(`max by (job, instance) (process_resident_memory_bytes{NODES} and on (job, instance) lbshipd_build_info)`)},
		column{"CPU", share, q(`max by (job, instance) (rate(process_cpu_seconds_total{NODES}[5m]) and on (job, instance) lbshipd_build_info)`)},
		column{"running for", inDuration, q(`max by (job, instance) (time() - process_start_time_seconds{NODES} and on (job, instance) lbshipd_build_info)`)},
		column{"disk left", inBytes, q(`max by (job, instance) (lbshipd_data_directory_free_bytes{NODES})`)})
	b.table("Certificates", "The twenty that expire next. cert: that which is shown; ca: the authorities.", []string{"__name__"},
		column{"expires in", inDuration, q(`bottomk(20, lbshipd_tls_bundle_not_after_timestamp_seconds{NODES} - time())`)})

	b.row("Versions and configurations")
	b.graph("Versions", plain, "Nodes by the version that they run.",
		line{q(`count by (version) (lbshipd_build_info{NODES})`), "{{version}}"})
	b.graph("Nodes alive", plain, "Of those that report to etcd.",
		line{q(`max(lbshipd_collectors_known{NODES})`), "known"}, line{q(`max(lbshipd_collectors_online{NODES})`), "alive"})
	b.graph("Configuration not as it should be", plain, "Nodes.",
		line{q(`count(lbshipd_config_last_reload_successful{NODES} == 0)`), "the newest one is refused"},
		line{q(`count(lbshipd_config_cached{NODES} == 1)`), "etcd cannot be reached"},
		line{q(`count(sum by (job, instance) (lbshipd_config_rejected_objects{NODES}) > 0)`), "objects are left out"})
	b.table("Configurations", "Which one each node runs, and since when; nodes on one etcd should have the same hash.", []string{"__name__"},
		column{"since", "dateTimeAsIso", q(`lbshipd_config_info{NODES} * on (job, instance) group_left () lbshipd_config_last_reload_success_timestamp_seconds{NODES} * 1000`)})
	return b.d
}
