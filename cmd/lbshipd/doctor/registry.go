package doctor

// checks are all that is looked at, one line each, beside the settings, which come first.
var checks = []check{
	{"files of the configuration", "permissions", checkNamedFiles},
	{"data directory", "permissions", checkDataDir},
	{"journal", "sources", checkJournals},
	{"log files", "sources", checkFiles},
	{"deleted files", "sources", checkDeleted},
	{"clock", "machine", checkClock},
	{"disk", "machine", checkDisk},
	{"kernel limits", "machine", checkLimits},
	{"targets", "targets", checkTargets},
	{"certificates", "certificates", checkCertificates},
	{"etcd", "etcd", checkEtcd},
	{"daemon", "daemon", checkDaemon},
}
