package monitoring

// sourceRules keep, each minute, whether a source has had records in the hour
// before: what a source is used to is then cheap to ask for.
var sourceRules = []Rule{
	{Record: "lbshipd:source_spoke:bool1h", Expr: "increase(lbshipd_source_read_records_total[1h]) > bool 0"},
}

var sourceAlerts = []Alert{
	{
		Name: "LbshipdSourceSilent", Severity: Warning, For: "5m",
		Expr: "lbshipd_source_silent == 1\n" +
			"or\nlbshipd:source_spoke:bool1h == 0\n" +
			"and avg_over_time(lbshipd:source_spoke:bool1h[4d]) > 0.75\n" +
			"and lbshipd:source_spoke:bool1h offset 1d >= 0\n" +
			// Not after the node was off or not scraped, nor while the source is not read, because none of its targets takes anything.
			"and lbshipd_source_inputs > 0 and lbshipd_source_inputs offset 1h > 0\n" +
			"and on (job, instance, source) min by (job, instance, source) (lbshipd_ledger_in_flight_records) == 0",
		Summary:     "Source {{ $labels.source }} on {{ $labels.instance }} is silent",
		Description: "Nothing for longer than its silentAfter; or, for an hour, nothing of a source that in the last four days had records in more than three quarters of all hours.",
		Means:       "A source that usually has records has none. Without a silentAfter the alert ends by itself after a day of silence, which is then what the source is used to.",
		Danger:      "Nothing that was written is in danger. What should have been written may be missing: the program hangs, logs elsewhere, or logs to a file that was deleted.",
		First:       "lbshipd doctor",
		Remedy: "It finds programs that still write to a deleted file, and what the daemon may not read. Else: is the program alive, and does it log (`systemctl status UNIT`, `journalctl -u UNIT -n 5`, `ls -l` of the file)? One that writes to a deleted file: restart it, or have logrotate signal it. " +
			"If it logs under another unit, identifier or path now, change the source. `silentAfter` on the source says how long it may be silent.",
	},
	{
		Name: "LbshipdSourceWithoutInputs", Severity: Warning, For: "1h",
		Expr:        "lbshipd_source_inputs == 0",
		Summary:     "Source {{ $labels.source }} on {{ $labels.instance }} has nothing to read",
		Description: "For an hour there has been no file or journal that it matches and may read.",
		Means:       "No file matches the source's paths, or the daemon may not look into their folder; or there is no journal.",
		Danger:      "Whatever is written where the source does not look, once it is rotated away.",
		First:       "lbshipd doctor",
		Remedy:      "It names what it finds, with the command that mends it. Else compare `paths` with what there is (`sudo -u lbshipd ls -l PATH`). A folder that the user lbshipd may not enter: docs/install.md, \"What it may read\". If the program is not on this node, give the source `nodes` or a `nodeSelector`.",
	},
	{
		Name: "LbshipdSourceUnreadable", Severity: Warning, For: "15m",
		Expr:        "increase(lbshipd_source_read_errors_total[10m]) > 0",
		Summary:     "Source {{ $labels.source }} on {{ $labels.instance }} cannot be read",
		Description: "About {{ $value | humanize }} errors while reading or opening an input within 10 minutes.",
		Means:       "At least one file or journal of the source cannot be opened or read. It is tried again; its position is kept.",
		Danger:      "What the input holds, once it is rotated away or vacuumed.",
		First:       "lbshipd doctor",
		Remedy:      "It names the input, the error and the command that mends it. permission denied: docs/install.md, \"What it may read\", has the least that helps (an ACL, a group). Input/output error: the disk (`dmesg`).",
	},
}
