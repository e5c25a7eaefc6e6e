package monitoring

// failing is 1 for each target that takes nothing.
const failing = "max without (class) (lbshipd_target_failing) == 1"

// slow selects the targets that do not keep up, as the daemon itself decides before
// it warns: one that keeps up has for a moment something at risk too.
const slow = "and on (job, instance, target) (lbshipd_target_behind_inputs > 0 or lbshipd_target_lag_seconds > 30 or " + failing + ")"

const keepsUntil = "Nothing yet: what the target has not had stays at its sources. `lbshipd status` says how long each source will keep it (AT RISK), and LbshipdAtRisk fires four hours before the first of it goes."

var targetAlerts = []Alert{
	{
		Name: "LbshipdTargetFailing", Severity: Warning, For: "10m",
		Expr:        failing,
		Summary:     "{{ $labels.instance }} cannot send to target {{ $labels.target }}",
		Description: `Sends have failed for 10 minutes, with an error of the class {{ range query (printf "lbshipd_target_failing{job=%q,instance=%q,target=%q} == 1" $labels.job $labels.instance $labels.target) }}{{ .Labels.class }}{{ end }}.`,
		Means:       "Each send to this target fails and is tried again, with pauses of up to half a minute. Other targets are not affected.",
		Danger:      keepsUntil,
		First:       "lbshipd test target {{ $labels.target }}",
		Remedy: "The test names the step that fails. resolve, connect, timeout: the network, a firewall, the server itself. tls: the certificates of either side, their names and dates. auth: the token, the password or the tenant. " +
			"rate_limited, server_error: the server's own limits and its log. Once it takes records again, the backlog goes first, by itself.",
	},
	{
		Name: "LbshipdTargetFailingEverywhere", Severity: Critical, For: "5m",
		Expr: "count by (cluster, job, target) (" + failing + ") / count by (cluster, job, target) (lbshipd_target_queue_limit_bytes) > 0.5\n" +
			"and count by (cluster, job, target) (lbshipd_target_queue_limit_bytes) > 1",
		Summary:     "Target {{ $labels.target }} takes nothing from most nodes",
		Description: "{{ $value | humanizePercentage }} of the nodes that have this target fail to send to it.",
		Means:       "The fault is with the target or on the way to it, not with one node. Have Alertmanager hold back LbshipdTargetFailing for the same target meanwhile.",
		Danger:      keepsUntil + " The node with the smallest journal is the first.",
		First:       "lbshipd test target {{ $labels.target }}",
		Remedy: "Mend the target. If that takes longer than the sources keep what they have (panel \"Least time left\" of the overview), give the target a `spool` with room for the outage, or the journals more (SystemMaxUse= in journald.conf): " +
			"both work at once, without a restart of lbshipd.",
	},
	{
		Name: "LbshipdLagGrowing", Severity: Warning, For: "10m",
		Expr: "min_over_time(lbshipd_target_lag_seconds[5m]) > 60\n" +
			"and deriv(lbshipd_target_lag_seconds[5m]) > 0 and deriv(lbshipd_target_lag_seconds[30m]) > 0\n" +
			"unless on (job, instance, target) " + failing,
		Summary:     "Target {{ $labels.target }} takes records ever later from {{ $labels.instance }}",
		Description: "The oldest record in its queue has waited for at least {{ $value | humanizeDuration }}, and longer all the time over 5 and over 30 minutes.",
		Means:       "The target answers, but more slowly than records come.",
		Danger:      keepsUntil + " What arrives there arrives late.",
		First:       "lbshipd status",
		Remedy: "Look at the panels \"Request duration\" and \"CPU\": a target that answers slowly has to be made faster or be given more at once (`batchBytes`); a source that is louder than usual may be given a higher `minLevel`. " +
			"rate_limited in \"Retries by class\" is the target's own limit.",
	},
	{
		Name: "LbshipdBacklogGrowing", Severity: Warning, For: "10m",
		Expr: "lbshipd_at_risk_bytes > 64 * 1024 * 1024\n" +
			"and deriv(lbshipd_at_risk_bytes[15m]) > 0 and deriv(lbshipd_at_risk_bytes[1h]) > 0\n" +
			"unless on (job, instance, target) " + failing,
		Summary:     "Target {{ $labels.target }} falls behind source {{ $labels.source }} on {{ $labels.instance }}",
		Description: "{{ $value | humanize1024 }}B of the source have not been taken, and it has become more over 15 minutes and over an hour.",
		Means:       "The target takes records, but fewer than the source writes: it reads its own backlog and does not catch up.",
		Danger:      keepsUntil,
		First:       "lbshipd status",
		Remedy:      "As for LbshipdLagGrowing. If the source is only loud for a while, nothing needs to be done: the panel \"At risk\" turns down by itself.",
	},
	{
		Name: "LbshipdAtRisk", Severity: Warning, For: "5m",
		Expr:        "lbshipd_at_risk_seconds < 4 * 3600\n" + slow,
		Summary:     "Source {{ $labels.source }} on {{ $labels.instance }} will soon drop what target {{ $labels.target }} has not had",
		Description: "In about {{ $value | humanizeDuration }} the source drops the first records that the target has not taken.",
		Means:       "A target does not keep up, and the journal or the rotated files behind it are about to be removed by whoever limits them: journald, logrotate, or the source's own maxHeldBytes, maxHeldFiles, maxHeldAge.",
		Danger:      "The oldest records that the target has not taken, from the time that the alert names. Other targets have theirs.",
		First:       "lbshipd status",
		Remedy:      "Mend the target (LbshipdTargetFailing). To win time: raise SystemMaxUse= in journald.conf and `systemctl restart systemd-journald`, keep more files in logrotate, raise the source's maxHeld*, or give the target a `spool`.",
	},
	{
		Name: "LbshipdAtRiskSoon", Severity: Critical, For: "1m",
		Expr:        "lbshipd_at_risk_seconds < 3600\n" + slow,
		Summary:     "Source {{ $labels.source }} on {{ $labels.instance }} drops within the hour what target {{ $labels.target }} has not had",
		Description: "In about {{ $value | humanizeDuration }} the source drops the first records that the target has not taken.",
		Means:       "As LbshipdAtRisk, with less than an hour left.",
		Danger:      "The oldest records that the target has not taken, from the time that the alert names.",
		First:       "lbshipd status",
		Remedy:      "First win time, then mend: raise SystemMaxUse= in journald.conf and `systemctl restart systemd-journald`; for files, stop logrotate's timer, or copy the rotated files away; or give the target a `spool`.",
	},
	{
		Name: "LbshipdSpoolFilling", Severity: Warning, For: "5m",
		Expr:        "lbshipd_target_spool_bytes / (lbshipd_target_spool_limit_bytes > 0) > 0.8",
		Summary:     "The spool of target {{ $labels.target }} on {{ $labels.instance }} is nearly full",
		Description: "{{ $value | humanizePercentage }} of its maxBytes are used.",
		Means:       "The target has been away or slow, and its spool keeps what its sources may have dropped already.",
		Danger:      "Nothing yet. Once the spool is full, records stay at their sources, which keep them as long as they keep anything.",
		First:       "lbshipd status",
		Remedy:      "Mend the target (LbshipdTargetFailing), or raise maxBytes of its spool if the disk has room for it.",
	},
	{
		Name: "LbshipdSpoolStuck", Severity: Warning, For: "5m",
		Expr:        "lbshipd_target_spool_stuck == 1",
		Summary:     "The spool of target {{ $labels.target }} on {{ $labels.instance }} takes no more records",
		Description: "It is full, or its disk cannot be written.",
		Means:       "The target is behind, and what it has not had stays at its sources, as without a spool.",
		Danger:      "What the sources drop before the target is back: LbshipdAtRisk says when.",
		First:       "lbshipd status",
		Remedy:      "The status has the reason. Full: mend the target or raise maxBytes. Disk full, read-only or broken: LbshipdDiskFilling and the kernel's log.",
	},
}
