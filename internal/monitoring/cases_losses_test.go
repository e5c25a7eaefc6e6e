package monitoring

func init() { alertCases = append(alertCases, lossCases...) }

const silence = "Nothing for longer than its silentAfter; or, for an hour, nothing of a source that in the last four days had records in more than three quarters of all hours."

var lossCases = []alertCase{
	{
		alert: "LbshipdRecordsLost", when: "the first gap of all makes the series", at: "130m",
		series:      map[string]string{on("lbshipd_source_gaps_total", app+`,reason="vacuumed"`): "_x120 1x30", on("process_start_time_seconds", ""): "0x150"},
		labels:      node("source", "app", "reason", "vacuumed"),
		summary:     "Records of source app on n1 were gone before they could be read",
		description: "1 gaps within the last hour, for the reason vacuumed.",
	},
	{
		alert: "LbshipdRecordsLost", when: "there are more gaps than an hour before", at: "130m",
		series:      map[string]string{on("lbshipd_source_gaps_total", app+`,reason="vacuumed"`): "7x120 9x30", on("process_start_time_seconds", ""): "0x150"},
		labels:      node("source", "app", "reason", "vacuumed"),
		summary:     "Records of source app on n1 were gone before they could be read",
		description: "2 gaps within the last hour, for the reason vacuumed.",
	},
	{
		alert: "LbshipdRecordsLost", when: "the daemon was down, and finds a gap when it starts with fewer than before", at: "130m",
		series:      map[string]string{on("lbshipd_source_gaps_total", app+`,reason="vacuumed"`): "7x100 _x20 3x30", on("process_start_time_seconds", ""): "0x100 _x20 7200x30"},
		labels:      node("source", "app", "reason", "vacuumed"),
		summary:     "Records of source app on n1 were gone before they could be read",
		description: "3 gaps within the last hour, for the reason vacuumed.",
	},
	{
		alert: "LbshipdRecordsLost", when: "Prometheus was away an hour ago, and nothing is new since", at: "130m",
		series: map[string]string{on("lbshipd_source_gaps_total", app+`,reason="vacuumed"`): "7x60 _x20 7x60", on("process_start_time_seconds", ""): "0x60 _x20 0x60"},
	},
	{
		alert: "LbshipdRecordsLost", when: "Prometheus was away an hour ago, and there are more since", at: "130m",
		series:      map[string]string{on("lbshipd_source_gaps_total", app+`,reason="vacuumed"`): "7x60 _x20 9x60", on("process_start_time_seconds", ""): "0x60 _x20 0x60"},
		labels:      node("source", "app", "reason", "vacuumed"),
		summary:     "Records of source app on n1 were gone before they could be read",
		description: "2 gaps within the last hour, for the reason vacuumed.",
	},
	{
		alert: "LbshipdRecordsLost", when: "the last gap is more than an hour ago", at: "150m",
		series: map[string]string{on("lbshipd_source_gaps_total", app+`,reason="vacuumed"`): "_x20 7x130", on("process_start_time_seconds", ""): "0x150"},
	},
	{
		alert: "LbshipdSpoolLost", when: "a part of it is damaged", at: "130m",
		series:      map[string]string{on("lbshipd_target_lost_records_total", loki+`,reason="spool_corrupt"`): "_x120 250x30", on("process_start_time_seconds", ""): "0x150"},
		labels:      node("target", "loki", "reason", "spool_corrupt"),
		summary:     "Records in the spool of target loki on n1 cannot be read again",
		description: "250 records within the last hour (spool_corrupt).",
	},
	{
		alert: "LbshipdSpoolLost", when: "what is lost was lost at the source", at: "130m",
		series: map[string]string{on("lbshipd_target_lost_records_total", loki+`,reason="vacuumed"`): "_x120 250x30", on("process_start_time_seconds", ""): "0x150"},
	},
	{
		alert: "LbshipdRecordsRefused", when: "the first that is refused", at: "130m",
		series:      map[string]string{on("lbshipd_target_refused_records_total", loki+`,reason="too_old"`): "_x120 12x30", on("process_start_time_seconds", ""): "0x150"},
		labels:      node("target", "loki", "reason", "too_old"),
		summary:     "Target loki has refused records of n1 for good",
		description: "12 records within the last hour, for the reason too_old.",
	},
	{
		alert: "LbshipdRecordsRefused", when: "that was hours ago", at: "150m",
		series: map[string]string{on("lbshipd_target_refused_records_total", loki+`,reason="too_old"`): "12x150", on("process_start_time_seconds", ""): "0x150"},
	},
	{
		alert: "LbshipdDeadLettersLost", when: "letters cannot be written", at: "90m",
		series:      map[string]string{on("lbshipd_target_dead_letters_errors_total", loki): "0x60 30x30", on("lbshipd_target_dead_letters_dropped_total", loki): "0x90"},
		labels:      node("target", "loki"),
		summary:     "Dead letters of target loki on n1 are not kept",
		description: "About 30 refused records of the last hour were pushed out by newer ones, or could not be written.",
	},
	{
		alert: "LbshipdDeadLettersLost", when: "all are kept", at: "90m",
		series: map[string]string{on("lbshipd_target_dead_letters_errors_total", loki): "0x90", on("lbshipd_target_dead_letters_dropped_total", loki): "5x90"},
	},
	{
		alert: "LbshipdLedgerImbalance", when: "records are missing in it", at: "6m",
		series:      map[string]string{on("lbshipd_ledger_difference_records", pair): "3x10"},
		labels:      node("source", "app", "target", "loki"),
		summary:     "The ledger of source app and target loki on n1 does not add up",
		description: "Read is 3 records more than delivered, filtered, refused, lost and in flight.",
	},
	{
		alert: "LbshipdLedgerImbalance", when: "it adds up", at: "9m",
		series: map[string]string{on("lbshipd_ledger_difference_records", pair): "0x10"},
	},
	{
		alert: "LbshipdMiscounted", when: "an answer does not fit", at: "90m",
		series:      map[string]string{on("lbshipd_target_miscounted_total", loki): "0x60 1x30"},
		labels:      node("target", "loki"),
		summary:     "Answers of target loki to n1 do not fit what was sent",
		description: "About 1 answers within the last hour.",
	},
	{
		alert: "LbshipdMiscounted", when: "none did for an hour", at: "90m",
		series: map[string]string{on("lbshipd_target_miscounted_total", loki): "0x10 1x80"},
	},
	{
		alert: "LbshipdSourceSilent", when: "a busy source falls silent", every: "10m", at: "3000m",
		series: map[string]string{on("lbshipd_source_read_records_total", app): "0+600x290 174000x12", on("lbshipd_source_inputs", app): "1x302",
			on("lbshipd_ledger_in_flight_records", pair): "0x302", on("lbshipd_ledger_in_flight_records", app+`,target="away"`): "0x290 5000x12"},
		labels:      node("source", "app"),
		summary:     "Source app on n1 is silent",
		description: silence,
	},
	{
		alert: "LbshipdSourceSilent", when: "it says so itself", at: "6m",
		series:      map[string]string{on("lbshipd_source_silent", app): "1x10", on("lbshipd_source_silent", `source="b"`): "0x10"},
		labels:      node("source", "app"),
		summary:     "Source app on n1 is silent",
		description: silence,
	},
	{
		alert: "LbshipdSourceSilent", when: "it speaks once an hour; once a day; is new; has nothing to read", every: "10m", at: "3000m",
		series: map[string]string{
			on("lbshipd_source_read_records_total", `source="hourly"`): "0+1x278 279x5 280x5 281x5 282x5", on("lbshipd_source_inputs", `source="hourly"`): "1x302",
			on("lbshipd_source_read_records_total", `source="daily"`): "0+1x6 6x138 6+1x6 12x150", on("lbshipd_source_inputs", `source="daily"`): "1x302",
			on("lbshipd_source_read_records_total", `source="new"`): "_x260 0+1x30 30x12", on("lbshipd_source_inputs", `source="new"`): "_x260 1x42",
			on("lbshipd_source_read_records_total", `source="gone"`): "0+600x290 174000x12", on("lbshipd_source_inputs", `source="gone"`): "1x292 0x10",
		},
	},
	{
		alert: "LbshipdSourceSilent", when: "it is not read: its only target is away, is disabled; the node was off until just now", every: "10m", at: "3000m",
		series: map[string]string{
			on("lbshipd_source_read_records_total", `source="held"`): "0+600x290 174000x12", on("lbshipd_source_inputs", `source="held"`): "1x302",
			on("lbshipd_ledger_in_flight_records", `source="held",target="loki"`): "0x290 5000x12",
			on("lbshipd_source_read_records_total", `source="for nobody"`):        "0+600x290 174000x12", on("lbshipd_source_inputs", `source="for nobody"`): "1x302",
			on("lbshipd_ledger_in_flight_records", `source="for nobody",target="siem"`):                "0x290",
			`lbshipd_source_read_records_total{job="lbshipd",instance="n2",source="app"}`:              "0+600x280 _x16 0x6",
			`lbshipd_source_inputs{job="lbshipd",instance="n2",source="app"}`:                          "1x280 _x16 1x6",
			`lbshipd_ledger_in_flight_records{job="lbshipd",instance="n2",source="app",target="loki"}`: "0x280 _x16 0x6",
		},
	},
	{
		alert: "LbshipdSourceWithoutInputs", when: "nothing matches", at: "61m",
		series:      map[string]string{on("lbshipd_source_inputs", app): "0x70"},
		labels:      node("source", "app"),
		summary:     "Source app on n1 has nothing to read",
		description: "For an hour there has been no file or journal that it matches and may read.",
	},
	{
		alert: "LbshipdSourceWithoutInputs", when: "a file is replaced", at: "69m",
		series: map[string]string{on("lbshipd_source_inputs", app): "1x30 0x2 1x37"},
	},
	{
		alert: "LbshipdSourceUnreadable", when: "an input cannot be opened for half an hour", at: "45m",
		series:      map[string]string{on("lbshipd_source_read_errors_total", app): "0x10 0+2x40"},
		labels:      node("source", "app"),
		summary:     "Source app on n1 cannot be read",
		description: "About 20 errors while reading or opening an input within 10 minutes.",
	},
	{
		alert: "LbshipdSourceUnreadable", when: "one error", at: "45m",
		series: map[string]string{on("lbshipd_source_read_errors_total", app): "0x30 1x20"},
	},
}
