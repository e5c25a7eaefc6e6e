package monitoring

// ours selects processes of lbshipd: others have process_ metrics too.
const ours = "and on (job, instance) lbshipd_build_info"

const certificateRemedy = "Renew it. Files of a bundle are read again when they change, without a restart; credentials of the unit (LoadCredential=) need one; what is in the configuration is replaced with `lbshipd apply` or `lbshipd update tls-bundle`. " +
	"`lbshipd test target NAME` shows the dates of both sides afterwards."

var nodeAlerts = []Alert{
	{
		Name: "LbshipdDown", Severity: Critical, For: "5m",
		Expr:        "up == 0 and on (job, instance) count by (job, instance) (last_over_time(lbshipd_build_info[1d]))",
		Summary:     "{{ $labels.instance }} cannot be scraped",
		Description: "For 5 minutes its /metrics has not answered; within the last day it did.",
		Means:       "The daemon is down or hangs, the node is down, or the way to its admin port is closed (an expired certificate of the port too).",
		Danger:      "Nothing by that alone: what is not read stays at its sources and is read after the start. But nobody sees what is at risk. What the journal or logrotate removes meanwhile is lost.",
		First:       "systemctl status lbshipd",
		Remedy:      "`systemctl start lbshipd`; `journalctl -u lbshipd -n 50` has the reason why it ended. If it runs, ask it on the node (`lbshipd status`) and look at the network and at the admin port's certificate. The alert ends by itself a day after the last good scrape: take nodes that are gone out of the scrape configuration.",
	},
	{
		Name: "LbshipdRestarting", Severity: Warning,
		Expr:        "changes(process_start_time_seconds[1h]) > 3\n" + ours,
		Summary:     "lbshipd on {{ $labels.instance }} starts again and again",
		Description: "{{ $value }} starts within the last hour.",
		Means:       "It ends by itself or is killed: a fault, the watchdog, or a memory limit. systemd starts it again after a second.",
		Danger:      "Nothing is lost by that: each start goes on from what each target has answered. Targets may get some records twice.",
		First:       "journalctl -u lbshipd --since -1h --grep 'Main process exited|Watchdog|oom|panic'",
		Remedy:      "oom-kill: less `queueBytes`, or a larger MemoryMax=. watchdog, or a stack trace: report the fault with what `lbshipd support-bundle` collects. A wrong flag in daemon.env: `lbshipd check` and the first line after the start say which.",
	},
	{
		Name: "LbshipdCollectorOffline", Severity: Warning, For: "10m",
		Expr:        "max by (cluster, job) (\n  lbshipd_collectors_known - lbshipd_collectors_online\n  and on (job, instance) lbshipd_config_cached == 0\n) > 0",
		Summary:     "Nodes that report to etcd are offline",
		Description: "{{ $value }} nodes have reported before and are not alive now.",
		Means:       "Their daemons are down, or cannot reach etcd. Nodes that Prometheus does not scrape are counted too.",
		Danger:      "On a node whose daemon is down: what its sources remove meanwhile. On one that cannot reach etcd nothing: it runs on with what it knew last, but does not hear of changes.",
		First:       "lbshipd get collectors",
		Remedy:      "The list names them (STALE, OFFLINE) and when they were seen last: look there as for LbshipdDown. Nodes that are gone for good: `lbshipd delete collector NAME`.",
	},
	{
		Name: "LbshipdConfigRejected", Severity: Warning, For: "5m",
		Expr:        "lbshipd_config_last_reload_successful == 0",
		Summary:     "{{ $labels.instance }} refuses its newest configuration",
		Description: `What ran before goes on, since {{ range query (printf "lbshipd_config_last_reload_success_timestamp_seconds{job=%q,instance=%q}" $labels.job $labels.instance) }}{{ .Value | humanizeTimestamp }}{{ end }}.`,
		Means:       "The file or what etcd holds cannot be used as a whole; the log says where and why.",
		Danger:      "Nothing that runs. Changes have no effect; and a restart with a broken file would not start.",
		First:       "lbshipd check /etc/lbshipd/lbshipd.yaml",
		Remedy:      "Correct the line that it names. With etcd: `journalctl -u lbshipd -n 20 --grep 'WARN|ERROR'` names the object; `lbshipd history` and `lbshipd rollback` take the last change back.",
	},
	{
		Name: "LbshipdObjectRejected", Severity: Warning, For: "5m",
		Expr:        "lbshipd_config_rejected_objects > 0",
		Summary:     "{{ $labels.instance }} does without {{ $labels.kind }} objects that it cannot use",
		Description: "{{ $value }} of them, while the rest of the configuration runs.",
		Means:       "An object was written by hand or by a newer version, names another one that is not there, or names a file or a key that this node does not have.",
		Danger:      "What the object is for: a source that is not read is in danger once its files are rotated away; a target that is left out keeps its positions.",
		First:       "lbshipd status",
		Remedy:      "The status has each object with its reason; `lbshipd edit KIND NAME` mends it.",
	},
	{
		Name: "LbshipdConfigStoreAway", Severity: Warning, For: "10m",
		Expr:        "lbshipd_config_cached == 1",
		Summary:     "{{ $labels.instance }} cannot reach etcd",
		Description: "For 10 minutes it has run with what etcd held last.",
		Means:       "Records flow as before. Changes of the configuration do not arrive, and the node does not report.",
		Danger:      "Nothing. A restart works too: what etcd held last is kept in the data directory.",
		First:       "lbshipd doctor",
		Remedy:      "It names the error and the command that mends it. Is etcd healthy (`etcdctl endpoint health`), can this node reach it, are the certificate and the password of --etcd-* still good?",
	},
	{
		Name: "LbshipdConfigDiffers", Severity: Warning, For: "15m",
		Expr:        "count by (cluster, job) (\n  count by (cluster, job, hash) (lbshipd_config_info and on (job, instance) lbshipd_collectors_known)\n) > 1",
		Summary:     "Nodes on one etcd run different configurations",
		Description: "{{ $value }} different ones for 15 minutes.",
		Means:       "Some nodes have not taken a change: they cannot reach etcd (LbshipdConfigStoreAway), refuse it (LbshipdConfigRejected), or hold back because etcd has lost writes.",
		Danger:      "Nothing is lost; sources or targets that the change has brought may be missing on some nodes.",
		First:       "lbshipd get collectors",
		Remedy:      "The table \"Configurations\" of the overview says which nodes differ; `lbshipd status` there says why.",
	},
	{
		Name: "LbshipdCertificateExpiring", Severity: Warning, For: "1h",
		Expr: "lbshipd_tls_bundle_not_after_timestamp_seconds - time() < 14 * 86400\n" +
			"and lbshipd_tls_bundle_not_after_timestamp_seconds - time() < (lbshipd_tls_bundle_not_after_timestamp_seconds - lbshipd_tls_bundle_not_before_timestamp_seconds) / 4",
		Summary:     "The {{ $labels.part }} of TLS bundle {{ $labels.bundle }} on {{ $labels.instance }} expires in {{ $value | humanizeDuration }}",
		Description: "Less than 14 days, and less than a quarter of its life, are left.",
		Means:       "cert: the certificate that is shown to the target's server. ca: the authorities by which the server's certificate is judged.",
		Danger:      "From then on the targets with this bundle fail (tls), and their backlog grows.",
		First:       "lbshipd get tls-bundles",
		Remedy:      certificateRemedy,
	},
	{
		Name: "LbshipdCertificateExpiresSoon", Severity: Critical, For: "5m",
		Expr: "lbshipd_tls_bundle_not_after_timestamp_seconds - time() < 2 * 86400\n" +
			"and lbshipd_tls_bundle_not_after_timestamp_seconds - time() < (lbshipd_tls_bundle_not_after_timestamp_seconds - lbshipd_tls_bundle_not_before_timestamp_seconds) / 10",
		Summary:     "The {{ $labels.part }} of TLS bundle {{ $labels.bundle }} on {{ $labels.instance }} has expired or is about to",
		Description: "It expires in {{ $value | humanizeDuration }} (below 0: it has).",
		Means:       "As LbshipdCertificateExpiring, with less than two days and less than a tenth of its life left.",
		Danger:      "From then on the targets with this bundle fail (tls), and their backlog grows.",
		First:       "lbshipd get tls-bundles",
		Remedy:      certificateRemedy,
	},
	{
		Name: "LbshipdPositionsNotSaved", Severity: Critical, For: "1m",
		Expr:        "lbshipd_positions_last_save_successful == 0",
		Summary:     "{{ $labels.instance }} cannot save how far its targets are",
		Description: "The last save of the positions, or of the times given to lines without one, has failed.",
		Means:       "The disk of the data directory is full, read-only or broken. Records flow as before.",
		Danger:      "Nothing while the daemon runs. After a restart or a crash it sends again what was answered since the last good save, and lines without a time of their own may get another one: Loki then has them twice.",
		First:       "df -h /var/lib/lbshipd",
		Remedy:      "Make room, or mount the file system writable again; it is saved within a second by itself. Do not restart the daemon before that.",
	},
	{
		Name: "LbshipdDiskFilling", Severity: Warning, For: "10m",
		Expr: "lbshipd_data_directory_free_bytes < 256 * 1024 * 1024\n" +
			"or\npredict_linear(lbshipd_data_directory_free_bytes[30m], 4 * 3600) < 0 and predict_linear(lbshipd_data_directory_free_bytes[6h], 4 * 3600) < 0\n" +
			"and lbshipd_data_directory_free_bytes offset 2h", // a new node is filled for a while
		Summary:     "The disk with lbshipd's data directory on {{ $labels.instance }} is filling up",
		Description: "Less than 256 MiB are left, or at the pace of the last half hour and of the last six hours nothing is left within four hours.",
		Means:       "Positions, spools and dead letters are on this disk.",
		Danger:      "Once it is full: positions are not saved (LbshipdPositionsNotSaved), spools take no more (LbshipdSpoolStuck), and dead letters are not kept (LbshipdDeadLettersLost). Records flow on.",
		First:       "df -h /var/lib/lbshipd; du -xsh /var/lib/lbshipd/*",
		Remedy:      "Make room. If it is lbshipd's own: mend the target whose spool grows, `lbshipd replay` dead letters, or lower maxBytes of either.",
	},
	{
		Name: "LbshipdDescriptorsLow", Severity: Warning, For: "10m",
		Expr:        "process_open_fds / process_max_fds > 0.8\n" + ours,
		Summary:     "lbshipd on {{ $labels.instance }} has nearly all the file descriptors that it may have",
		Description: "{{ $value | humanizePercentage }} are in use.",
		Means:       "Each file that is read takes one, and so does each deleted or rotated one that a target still needs.",
		Danger:      "Once there are none, new files are not opened: they are read late, or not at all if they are rotated away before.",
		First:       "lbshipd status",
		Remedy:      "Raise LimitNOFILE= in a drop-in of the unit. Look for `paths` that match too much (`exclude`), and for a target that is away (panel \"Held files\").",
	},
}
