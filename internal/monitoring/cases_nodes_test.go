package monitoring

func init() { alertCases = append(alertCases, nodeCases...) }

const (
	day   = "86400"
	build = `version="1.0",goversion="go1.26"`
	siem  = `bundle="siem",part="cert"`
)

var nodeCases = []alertCase{
	{
		alert: "LbshipdDown", when: "it was there and is not", at: "70m",
		series:      map[string]string{on("up", ""): "1x60 0x20", on("lbshipd_build_info", build): "1x60"},
		labels:      node(),
		summary:     "n1 cannot be scraped",
		description: "For 5 minutes its /metrics has not answered; within the last day it did.",
	},
	{
		alert: "LbshipdDown", when: "it is another program; one scrape fails", at: "70m",
		series: map[string]string{`up{job="node",instance="n1"}`: "1x60 0x20", on("up", ""): "1x67 0x1 1x20", on("lbshipd_build_info", build): "1x90"},
	},
	{
		alert: "LbshipdRestarting", when: "four starts within an hour", at: "60m",
		series:      map[string]string{on("process_start_time_seconds", ""): "0x10 600x10 1200x10 1800x10 2400x30", on("lbshipd_build_info", build): "1x70"},
		labels:      node(),
		summary:     "lbshipd on n1 starts again and again",
		description: "4 starts within the last hour.",
	},
	{
		alert: "LbshipdRestarting", when: "an upgrade; another program", at: "60m",
		series: map[string]string{on("process_start_time_seconds", ""): "0x30 1800x40", on("lbshipd_build_info", build): "1x70",
			`process_start_time_seconds{job="node",instance="n1"}`: "0x10 600x10 1200x10 1800x10 2400x30"},
	},
	{
		alert: "LbshipdCollectorOffline", when: "one of three is gone, and both others say so", at: "15m",
		series: map[string]string{
			on("lbshipd_collectors_known", ""): "3x20", on("lbshipd_collectors_online", ""): "2x20", on("lbshipd_config_cached", ""): "0x20",
			`lbshipd_collectors_known{job="lbshipd",instance="n2"}`: "3x20", `lbshipd_collectors_online{job="lbshipd",instance="n2"}`: "2x20", `lbshipd_config_cached{job="lbshipd",instance="n2"}`: "0x20",
		},
		labels:      map[string]string{"job": "lbshipd"},
		summary:     "Nodes that report to etcd are offline",
		description: "1 nodes have reported before and are not alive now.",
	},
	{
		alert: "LbshipdCollectorOffline", when: "who counts fewer cannot reach etcd", at: "15m",
		series: map[string]string{
			on("lbshipd_collectors_known", ""): "3x20", on("lbshipd_collectors_online", ""): "2x20", on("lbshipd_config_cached", ""): "1x20",
			`lbshipd_collectors_known{job="lbshipd",instance="n2"}`: "3x20", `lbshipd_collectors_online{job="lbshipd",instance="n2"}`: "3x20", `lbshipd_config_cached{job="lbshipd",instance="n2"}`: "0x20",
		},
	},
	{
		alert: "LbshipdConfigRejected", when: "a change is refused", at: "10m",
		series:      map[string]string{on("lbshipd_config_last_reload_successful", ""): "1x3 0x10", on("lbshipd_config_last_reload_success_timestamp_seconds", ""): "1700000000x20"},
		labels:      node(),
		summary:     "n1 refuses its newest configuration",
		description: "What ran before goes on, since 2023-11-14 22:13:20 +0000 UTC.",
	},
	{
		alert: "LbshipdConfigRejected", when: "it is mended at once", at: "10m",
		series: map[string]string{on("lbshipd_config_last_reload_successful", ""): "1x3 0x3 1x10"},
	},
	{
		alert: "LbshipdObjectRejected", when: "two targets cannot be used", at: "6m",
		series:      map[string]string{on("lbshipd_config_rejected_objects", `kind="target"`): "2x10", on("lbshipd_config_rejected_objects", `kind="source"`): "0x10"},
		labels:      node("kind", "target"),
		summary:     "n1 does without target objects that it cannot use",
		description: "2 of them, while the rest of the configuration runs.",
	},
	{
		alert: "LbshipdObjectRejected", when: "all can", at: "9m",
		series: map[string]string{on("lbshipd_config_rejected_objects", `kind="target"`): "0x10"},
	},
	{
		alert: "LbshipdConfigStoreAway", when: "for a quarter of an hour", at: "15m",
		series:      map[string]string{on("lbshipd_config_cached", ""): "1x20"},
		labels:      node(),
		summary:     "n1 cannot reach etcd",
		description: "For 10 minutes it has run with what etcd held last.",
	},
	{
		alert: "LbshipdConfigStoreAway", when: "etcd restarts", at: "15m",
		series: map[string]string{on("lbshipd_config_cached", ""): "0x5 1x5 0x10"},
	},
	{
		alert: "LbshipdConfigDiffers", when: "one node holds back", at: "20m",
		series: map[string]string{
			on("lbshipd_config_info", `hash="a"`): "1x20", `lbshipd_config_info{job="lbshipd",instance="n2",hash="b"}`: "1x20",
			on("lbshipd_collectors_known", ""): "2x20", `lbshipd_collectors_known{job="lbshipd",instance="n2"}`: "2x20",
		},
		labels:      map[string]string{"job": "lbshipd"},
		summary:     "Nodes on one etcd run different configurations",
		description: "2 different ones for 15 minutes.",
	},
	{
		alert: "LbshipdConfigDiffers", when: "a change takes its minute; nodes with files of their own", at: "25m",
		series: map[string]string{
			on("lbshipd_config_info", `hash="a"`): "1x5 _x20", on("lbshipd_config_info", `hash="b"`): "_x5 1x20", `lbshipd_config_info{job="lbshipd",instance="n2",hash="b"}`: "1x25",
			on("lbshipd_collectors_known", ""): "2x25", `lbshipd_collectors_known{job="lbshipd",instance="n2"}`: "2x25",
			`lbshipd_config_info{job="files",instance="n1",hash="a"}`: "1x25", `lbshipd_config_info{job="files",instance="n2",hash="b"}`: "1x25",
		},
	},
	{
		alert: "LbshipdCertificateExpiring", when: "ten of ninety days are left", at: "90m",
		series: map[string]string{on("lbshipd_tls_bundle_not_after_timestamp_seconds", siem): "869400x100", on("lbshipd_tls_bundle_not_before_timestamp_seconds", siem): "-6906600x100"},
		labels: node("bundle", "siem", "part", "cert"), summary: "The cert of TLS bundle siem on n1 expires in 10d 0h 0m 0s",
		description: "Less than 14 days, and less than a quarter of its life, are left.",
	},
	{
		alert: "LbshipdCertificateExpiring", when: "a month is left; a day of a certificate for a day", at: "90m",
		series: map[string]string{on("lbshipd_tls_bundle_not_after_timestamp_seconds", siem): "2600000x100", on("lbshipd_tls_bundle_not_before_timestamp_seconds", siem): "-6906600x100",
			on("lbshipd_tls_bundle_not_after_timestamp_seconds", `bundle="short",part="cert"`): day + "x100", on("lbshipd_tls_bundle_not_before_timestamp_seconds", `bundle="short",part="cert"`): "0x100"},
	},
	{
		alert: "LbshipdCertificateExpiresSoon", when: "it has expired an hour ago", at: "70m",
		series:      map[string]string{on("lbshipd_tls_bundle_not_after_timestamp_seconds", siem): "600x100", on("lbshipd_tls_bundle_not_before_timestamp_seconds", siem): "-6906600x100"},
		labels:      node("bundle", "siem", "part", "cert"),
		summary:     "The cert of TLS bundle siem on n1 has expired or is about to",
		description: "It expires in -1h 0m 0s (below 0: it has).",
	},
	{
		alert: "LbshipdCertificateExpiresSoon", when: "three days are left; half a day of one", at: "70m",
		series: map[string]string{on("lbshipd_tls_bundle_not_after_timestamp_seconds", siem): "263400x100", on("lbshipd_tls_bundle_not_before_timestamp_seconds", siem): "-6906600x100",
			on("lbshipd_tls_bundle_not_after_timestamp_seconds", `bundle="short",part="cert"`): "43200x100", on("lbshipd_tls_bundle_not_before_timestamp_seconds", `bundle="short",part="cert"`): "-43200x100"},
	},
	{
		alert: "LbshipdPositionsNotSaved", when: "the disk is full", at: "3m",
		series:      map[string]string{on("lbshipd_positions_last_save_successful", ""): "1 0x9"},
		labels:      node(),
		summary:     "n1 cannot save how far its targets are",
		description: "The last save of the positions, or of the times given to lines without one, has failed.",
	},
	{
		alert: "LbshipdPositionsNotSaved", when: "they are saved", at: "9m",
		series: map[string]string{on("lbshipd_positions_last_save_successful", ""): "1x10"},
	},
	{
		alert: "LbshipdDiskFilling", when: "60 GB are gone in two hours at this pace", every: "10m", at: "400m",
		series:      map[string]string{on("lbshipd_data_directory_free_bytes", ""): "260000000000-5000000000x40"},
		labels:      node(),
		summary:     "The disk with lbshipd's data directory on n1 is filling up",
		description: "Less than 256 MiB are left, or at the pace of the last half hour and of the last six hours nothing is left within four hours.",
	},
	{
		alert: "LbshipdDiskFilling", when: "little is left", at: "20m",
		series:      map[string]string{on("lbshipd_data_directory_free_bytes", ""): "200000000x20"},
		labels:      node(),
		summary:     "The disk with lbshipd's data directory on n1 is filling up",
		description: "Less than 256 MiB are left, or at the pace of the last half hour and of the last six hours nothing is left within four hours.",
	},
	{
		alert: "LbshipdDiskFilling", when: "something large was written at once, and no more", every: "10m", at: "400m",
		series: map[string]string{on("lbshipd_data_directory_free_bytes", ""): "60000000000x30 20000000000x10"},
	},
	{
		alert: "LbshipdDiskFilling", when: "a new node is being filled with what it is to have", at: "40m",
		series: map[string]string{on("lbshipd_data_directory_free_bytes", ""): "60000000000-1000000000x40"},
	},
	{
		alert: "LbshipdDescriptorsLow", when: "nine of ten are in use", at: "15m",
		series:      map[string]string{on("process_open_fds", ""): "900x20", on("process_max_fds", ""): "1000x20", on("lbshipd_build_info", build): "1x20"},
		labels:      node(),
		summary:     "lbshipd on n1 has nearly all the file descriptors that it may have",
		description: "90% are in use.",
	},
	{
		alert: "LbshipdDescriptorsLow", when: "few are; another program", at: "15m",
		series: map[string]string{on("process_open_fds", ""): "100x20", on("process_max_fds", ""): "1000x20", on("lbshipd_build_info", build): "1x20",
			`process_open_fds{job="node",instance="n1"}`: "900x20", `process_max_fds{job="node",instance="n1"}`: "1000x20"},
	},
}
