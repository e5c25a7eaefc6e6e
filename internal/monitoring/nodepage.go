package monitoring

// nodePage is the dashboard of one node.
func nodePage() *dashboard {
	const here = `job=~"$job", instance="$node"`
	q := func(expr string) string { return chosen(expr, here) }
	b := newBoard("lbshipd-node", "lbshipd: one node", "Sources, targets, ledger, queues, memory, CPU and descriptors of one node.",
		datasourceVariable(),
		choice("cluster", "Cluster", `label_values(lbshipd_build_info, cluster)`, ".*"),
		choice("job", "Job", `label_values(lbshipd_build_info{cluster=~"$cluster"}, job)`, ".+"),
		single("node", "Node", `label_values(lbshipd_build_info{cluster=~"$cluster", job=~"$job"}, instance)`),
		choice("source", "Source", q(`label_values(lbshipd_source_inputs{NODES}, source)`), ".+"),
		choice("target", "Target", q(`label_values(lbshipd_target_queue_limit_bytes{NODES}, target)`), ".+"))
	nodeNow(b, q)
	nodeSources(b, q)
	nodeTargets(b, q)
	nodeLedger(b, q)
	nodeProcess(b, q)
	return b.d
}

func nodeNow(b *board, q func(string) string) {
	b.row("Now")
	b.label("Version", q(`lbshipd_build_info{NODES}`), "{{version}} ({{goversion}})")
	b.label("Configuration", q(`lbshipd_config_info{NODES}`), "{{hash}}")
	b.stat("Runs since", inDuration, "-", q(`time() - process_start_time_seconds{NODES}`))
	b.stat("Configuration applied", inDuration, "-", q(`time() - lbshipd_config_last_reload_success_timestamp_seconds{NODES}`))
	b.stat("Newest configuration refused", plain, "-", q(`1 - lbshipd_config_last_reload_successful{NODES}`), 1)
	b.stat("Objects left out", plain, "-", q(`sum(lbshipd_config_rejected_objects{NODES})`), 1)
	b.stat("Store away", plain, "-", q(`lbshipd_config_cached{NODES}`), 1)
	b.stat("Positions not saved", plain, "-", q(`1 - lbshipd_positions_last_save_successful{NODES}`), 1)
}

func nodeSources(b *board, q func(string) string) {
	b.row("Sources")
	b.graph("Read", perSecond, "Records a second, those below minLevel included.",
		line{q(`rate(lbshipd_source_read_records_total{SOURCES}[$__rate_interval])`), "{{source}}"})
	b.graph("Read, bytes", bytesPerSecond, "", line{q(`rate(lbshipd_source_read_bytes_total{SOURCES}[$__rate_interval])`), "{{source}}"})
	b.graph("Filtered", perSecond, "Records below the source's minLevel.",
		line{q(`rate(lbshipd_source_filtered_records_total{SOURCES}[$__rate_interval])`), "{{source}}"})
	b.graph("Not as the format says", perSecond, "Shipped all the same: lines that are not of the logFormat, of unknown level, or cut at maxLineBytes.",
		line{q(`rate(lbshipd_source_unparsed_records_total{SOURCES}[$__rate_interval])`), "{{source}}: unparsed"},
		line{q(`rate(lbshipd_source_unknown_level_records_total{SOURCES}[$__rate_interval])`), "{{source}}: level unknown"},
		line{q(`rate(lbshipd_source_truncated_records_total{SOURCES}[$__rate_interval])`), "{{source}}: cut"})
	b.graph("Cannot be read", plain, "Errors while reading or opening, things that were left out, and gaps, since the daemon started.",
		line{q(`lbshipd_source_read_errors_total{SOURCES} > 0`), "{{source}}: errors"},
		line{q(`lbshipd_source_skipped_total{SOURCES}`), "{{source}}: left out, {{reason}}"},
		line{q(`lbshipd_source_gaps_total{SOURCES}`), "{{source}}: gap, {{reason}}"})
	b.graph("Lost at the source", plain, "Since the daemon started, as far as their number is known.",
		line{q(`lbshipd_source_lost_records_total{SOURCES}`), "{{source}}: records, {{reason}}"},
		line{q(`lbshipd_source_lost_bytes_total{SOURCES}`), "{{source}}: bytes, {{reason}}"})
	b.graph("Inputs", plain, "Files or journals that are open.", line{q(`lbshipd_source_inputs{SOURCES}`), "{{source}}"})
	b.graph("Held files", plain, "Deleted or rotated files that a target still needs.", line{q(`lbshipd_source_held_files{SOURCES}`), "{{source}}"})
	b.graph("Held space", inBytes, "Of deleted files.", line{q(`lbshipd_source_held_bytes{SOURCES}`), "{{source}}"})
	b.graph("Silent for", inSeconds, "Since the last record was read.",
		line{q(`time() - (lbshipd_source_last_read_timestamp_seconds{SOURCES} > 0)`), "{{source}}"})
	b.graph("Longer silent than silentAfter", plain, "1 while it is.", line{q(`lbshipd_source_silent{SOURCES}`), "{{source}}"})
	b.graph("Records in each hour", plain, "1 if the source had any in the hour before: what LbshipdSourceSilent goes by. Needs the rules.",
		line{q(`lbshipd:source_spoke:bool1h{SOURCES}`), "{{source}}"})
}

func nodeTargets(b *board, q func(string) string) {
	b.row("Targets")
	b.graph("Delivered", perSecond, "", line{q(`rate(lbshipd_target_delivered_records_total{TARGETS}[$__rate_interval])`), "{{target}}"})
	b.graph("Sent", bytesPerSecond, "As encoded and compressed, repeats included.", line{q(`rate(lbshipd_target_sent_bytes_total{TARGETS}[$__rate_interval])`), "{{target}}"})
	b.graph("Lag", inSeconds, "How long the oldest record in the queue has waited.", line{q(`lbshipd_target_lag_seconds{TARGETS}`), "{{target}}"})
	b.graph("Failing", plain, "1 while the last send failed, by class of error.", line{q(`lbshipd_target_failing{TARGETS} > 0`), "{{target}}: {{class}}"})
	b.graph("Retries by class", perSecond, "", line{q(`rate(lbshipd_target_retries_total{TARGETS}[$__rate_interval]) > 0`), "{{target}}: {{class}}"})
	b.graph("Request duration", inSeconds, "From a request to the target's answer.",
		line{q(`histogram_quantile(0.5, sum by (le, target) (rate(lbshipd_target_request_duration_seconds_bucket{TARGETS}[$__rate_interval])))`), "{{target}}: median"},
		line{q(`histogram_quantile(0.99, sum by (le, target) (rate(lbshipd_target_request_duration_seconds_bucket{TARGETS}[$__rate_interval])))`), "{{target}}: 99th percentile"})
	b.graph("Requests by outcome", perSecond, "", line{q(`sum by (target, outcome) (rate(lbshipd_target_request_duration_seconds_count{TARGETS}[$__rate_interval]))`), "{{target}}: {{outcome}}"})
	b.graph("Queues", inBytes, "Memory of the queue, and its limit (queueBytes).",
		line{q(`lbshipd_target_queue_bytes{TARGETS}`), "{{target}}"}, line{q(`lbshipd_target_queue_limit_bytes{TARGETS}`), "{{target}}: limit"})
	b.graph("Queued records", plain, "Queued or in flight.", line{q(`lbshipd_target_lag_records{TARGETS}`), "{{target}}"})
	b.graph("Behind", plain, "Inputs that are read for this target alone.", line{q(`lbshipd_target_behind_inputs{TARGETS}`), "{{target}}"})
	b.graph("Changed so that it is taken", perSecond, "", line{q(`rate(lbshipd_target_adjusted_total{TARGETS}[$__rate_interval])`), "{{target}}: {{reason}}"})
	b.graph("Address in use", plain, "Of rsyslog targets.", line{q(`lbshipd_target_address_in_use{TARGETS} == 1`), "{{target}}: {{address}}"})
	b.graph("Refused and lost", plain, "Since the daemon started.",
		line{q(`lbshipd_target_refused_records_total{TARGETS}`), "{{target}}: refused, {{reason}}"},
		line{q(`lbshipd_target_lost_records_total{TARGETS}`), "{{target}}: lost, {{reason}}"},
		line{q(`lbshipd_target_miscounted_total{TARGETS} > 0`), "{{target}}: miscounted answers"})
	b.graph("Dead letters", inBytes, "On disk.", line{q(`lbshipd_target_dead_letters_bytes{TARGETS}`), "{{target}}"})
	b.graph("Dead letters not kept", plain, "Since the daemon started.",
		line{q(`lbshipd_target_dead_letters_dropped_total{TARGETS}`), "{{target}}: pushed out"},
		line{q(`lbshipd_target_dead_letters_errors_total{TARGETS}`), "{{target}}: could not be written"})
	b.graph("Spool", inBytes, "On disk, and its limit (maxBytes).",
		line{q(`lbshipd_target_spool_bytes{TARGETS}`), "{{target}}"}, line{q(`lbshipd_target_spool_limit_bytes{TARGETS} > 0`), "{{target}}: limit"})
	b.graph("Spooled records", plain, "In the spool; and a second, written to it.",
		line{q(`lbshipd_target_spool_records{TARGETS}`), "{{target}}: held"}, line{q(`rate(lbshipd_target_spooled_records_total{TARGETS}[$__rate_interval])`), "{{target}}: written a second"})
	b.graph("Spool not as it should be", plain, "",
		line{q(`lbshipd_target_spool_stuck{TARGETS}`), "{{target}}: takes no more"}, line{q(`lbshipd_target_spool_errors_total{TARGETS}`), "{{target}}: {{op}}"})
}

func nodeLedger(b *board, q func(string) string) {
	b.row("Ledger: read = delivered + filtered + refused + lost + in flight")
	b.table("Ledger, kept across restarts", "", []string{"__name__", "job", "instance"},
		column{"read", plain, q(`sum by (source, target) (lbshipd_ledger_read_records{PAIRS})`)},
		column{"delivered", plain, q(`sum by (source, target) (lbshipd_ledger_delivered_records{PAIRS})`)},
		column{"filtered", plain, q(`sum by (source, target) (lbshipd_ledger_filtered_records{PAIRS})`)},
		column{"refused", plain, q(`sum by (source, target) (lbshipd_ledger_refused_records{PAIRS})`)},
		column{"lost", plain, q(`sum by (source, target) (lbshipd_ledger_lost_records{PAIRS})`)},
		column{"in flight", plain, q(`sum by (source, target) (lbshipd_ledger_in_flight_records{PAIRS})`)},
		column{"difference", plain, q(`sum by (source, target) (lbshipd_ledger_difference_records{PAIRS})`)},
		column{"at risk", inBytes, q(`sum by (source, target) (lbshipd_at_risk_bytes{PAIRS})`)},
		column{"time left", inDuration, q(`min by (source, target) (lbshipd_at_risk_seconds{PAIRS})`)})
	b.graph("In flight", plain, "Queued, sent and not answered, or held back until they are whole.", line{q(`lbshipd_ledger_in_flight_records{PAIRS}`), "{{source}} to {{target}}"})
	b.graph("At risk", inBytes, "What the target has not taken and the source will not keep for ever.", line{q(`lbshipd_at_risk_bytes{PAIRS}`), "{{source}} to {{target}}"})
	b.graph("Time left", inSeconds, "Until the source is likely to drop the first of it.", line{q(`lbshipd_at_risk_seconds{PAIRS}`), "{{source}} to {{target}}"})
}

func nodeProcess(b *board, q func(string) string) {
	b.row("Process")
	b.graph("Memory", inBytes, "",
		line{q(`process_resident_memory_bytes{NODES}`), "resident"}, line{q(`go_memstats_heap_inuse_bytes{NODES}`), "heap in use"},
		line{q(`go_memstats_stack_inuse_bytes{NODES}`), "stacks"})
	b.graph("CPU", share, "Of one processor.", line{q(`rate(process_cpu_seconds_total{NODES}[$__rate_interval])`), "CPU"})
	b.graph("Descriptors", plain, "", line{q(`process_open_fds{NODES}`), "open"}, line{q(`process_max_fds{NODES}`), "limit"})
	b.graph("Goroutines and threads", plain, "", line{q(`go_goroutines{NODES}`), "goroutines"}, line{q(`go_threads{NODES}`), "threads"})
	b.graph("Garbage collection", share, "Of the time, the pauses.", line{q(`rate(go_gc_duration_seconds_sum{NODES}[$__rate_interval])`), "pauses"})
	b.graph("Disk left", inBytes, "In the file system of the data directory.", line{q(`lbshipd_data_directory_free_bytes{NODES}`), "free"})
	b.graph("Certificates expire in", inSeconds, "",
		line{q(`lbshipd_tls_bundle_not_after_timestamp_seconds{NODES} - time()`), "{{bundle}}: {{part}}"})
	b.graph("Restarts", plain, "Within the hour before.", line{q(`changes(process_start_time_seconds{NODES}[1h])`), "restarts"})
}
